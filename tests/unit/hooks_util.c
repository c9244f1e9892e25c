/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_util.c -- what the tests of hooks/ share. */
#include "tests/unit/hooks_util.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int run_suite(Suite *s)
{
    SRunner *r = srunner_create(s);
    int failed;

    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- guests ----------------------------------------------------------------------------------- */

static void map_block(struct rmig_block *b, bool anonymous)
{
    void *p;

    b->fd = -1;
    if (!anonymous) {
        b->fd = memfd_create("guest", MFD_CLOEXEC);
        ck_assert_int_ge(b->fd, 0);
        ck_assert_int_eq(ftruncate(b->fd, (off_t)b->len_bytes), 0);
    }
    if (b->page_bytes > RMIG_PAGE_BYTES) {
        /* alignment beyond a page: reserve more, then map over an aligned part of it */
        uintptr_t at;

        p = mmap(NULL, b->len_bytes + b->page_bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ck_assert_ptr_ne(p, MAP_FAILED);
        at = ((uintptr_t)p + b->page_bytes - 1) & ~(uintptr_t)(b->page_bytes - 1);
        munmap(p, at - (uintptr_t)p);
        munmap((void *)(at + b->len_bytes), b->page_bytes - (at - (uintptr_t)p));
        p = (void *)at;
    } else {
        p = NULL;
    }
    p = mmap(p, b->len_bytes, PROT_READ | PROT_WRITE,
             (anonymous ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_NORESERVE |
                 (p ? MAP_FIXED : 0),
             b->fd, 0);
    ck_assert_ptr_ne(p, MAP_FAILED);
    b->host = p;
}

static struct rmig_block *new_block(struct guest *g)
{
    g->blocks = realloc(g->blocks, (g->count + 1) * sizeof(*g->blocks));
    ck_assert_ptr_nonnull(g->blocks);
    memset(&g->blocks[g->count], 0, sizeof(*g->blocks));
    return &g->blocks[g->count++];
}

void guest_add(struct guest *g, const char *name, uint64_t len_bytes, bool anonymous)
{
    struct rmig_block *b = new_block(g);

    b->name = strdup(name);
    ck_assert_ptr_nonnull(b->name);
    b->len_bytes = len_bytes;
    b->page_bytes = len_bytes % (1u << 30) == 0   ? 1u << 30
                    : len_bytes % (2u << 20) == 0 ? 2u << 20
                                                  : RMIG_PAGE_BYTES;
    map_block(b, anonymous);
}

void guest_add_view(struct guest *g, const struct rmig_block *block)
{
    struct rmig_block *b = new_block(g);

    *b = *block;
    b->name = strdup(block->name);
    b->fd = dup(block->fd);
    ck_assert(b->name && b->fd >= 0);
    b->host = mmap(NULL, b->len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd,
                   (off_t)b->fd_offset_bytes);
    ck_assert_ptr_ne(b->host, MAP_FAILED);
}

void guest_init(struct guest *g, uint32_t count, uint64_t len_bytes)
{
    memset(g, 0, sizeof(*g));
    for (uint32_t i = 0; i < count; i++) {
        char name[32];

        snprintf(name, sizeof(name), "block-%u", i);
        guest_add(g, name, len_bytes, false);
    }
}

void guest_release(struct guest *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        munmap(g->blocks[i].host, g->blocks[i].len_bytes);
        if (g->blocks[i].fd >= 0)
            close(g->blocks[i].fd);
        free((void *)(uintptr_t)g->blocks[i].name);
    }
    free(g->blocks);
    memset(g, 0, sizeof(*g));
}

uint8_t *guest_page(const struct guest *g, uint32_t block, uint64_t page)
{
    return (uint8_t *)g->blocks[block].host + page * RMIG_PAGE_BYTES;
}

uint64_t guest_pages(const struct guest *g, uint32_t block)
{
    return g->blocks[block].len_bytes / RMIG_PAGE_BYTES;
}

void guest_fill(struct guest *g, uint32_t block, uint64_t first, uint64_t count, uint32_t seed)
{
    for (uint64_t i = first; i < first + count; i++) {
        uint32_t *p = (uint32_t *)(void *)guest_page(g, block, i);
        uint32_t x = seed * 2654435761u + (uint32_t)i * 40503u + block + 1;

        for (size_t w = 0; w < RMIG_PAGE_BYTES / sizeof(*p); w++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            p[w] = x | 1;
        }
    }
}

void guest_fill_mixed(struct guest *g, uint32_t seed)
{
    for (uint32_t b = 0; b < g->count; b++)
        for (uint64_t i = 0; i < guest_pages(g, b); i++) {
            uint64_t turn = (i / 3 + b + seed) % 4;

            if (turn < 2)
                guest_fill(g, b, i, 1, seed);
            else if (turn == 2)
                memset(guest_page(g, b, i), 0, RMIG_PAGE_BYTES);
        }
}

/* Is the page one that its file does not hold? Anonymous memory has none. */
static bool is_hole(const struct rmig_block *b, uint64_t page)
{
    off_t offset = (off_t)(page * RMIG_PAGE_BYTES), at;

    if (b->fd < 0)
        return false;
    at = lseek(b->fd, offset, SEEK_DATA);
    return at < 0 || at >= offset + (off_t)RMIG_PAGE_BYTES;
}

static bool page_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, RMIG_PAGE_BYTES - 1) == 0;
}

void guest_assert_equal(const struct guest *a, const struct guest *b)
{
    ck_assert_uint_eq(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++)
        for (uint64_t n = 0; n < guest_pages(a, i); n++) {
            bool hole_a = is_hole(&a->blocks[i], n), hole_b = is_hole(&b->blocks[i], n), same;

            if (hole_a || hole_b)
                same = (hole_a || page_zero(guest_page(a, i, n))) &&
                       (hole_b || page_zero(guest_page(b, i, n)));
            else
                same = memcmp(guest_page(a, i, n), guest_page(b, i, n), RMIG_PAGE_BYTES) == 0;
            if (!same)
                ck_abort_msg("block %u (%.40s), page %llu differs", i, a->blocks[i].name,
                             (unsigned long long)n);
        }
}

uint64_t guest_allocated_pages(const struct guest *g, uint32_t block)
{
    struct stat st;

    ck_assert_int_eq(fstat(g->blocks[block].fd, &st), 0);
    return (uint64_t)st.st_blocks * 512 / RMIG_PAGE_BYTES;
}

/* --- messages --------------------------------------------------------------------------------- */

struct message_channel {
    struct rmig_channel base;
    struct messages *m;
    size_t pos;  /* reader: next byte */
    size_t next; /* reader: index of the message that pos is in */
};

void messages_init(struct messages *m)
{
    memset(m, 0, sizeof(*m));
    m->fail_after = SIZE_MAX;
}

void messages_release(struct messages *m)
{
    free(m->bytes);
    free(m->ends);
    memset(m, 0, sizeof(*m));
}

static void add_bytes(struct messages *m, const void *bytes, size_t len)
{
    if (m->len + len > m->room) {
        m->room = 2 * m->room + len;
        m->bytes = realloc(m->bytes, m->room);
        ck_assert_ptr_nonnull(m->bytes);
    }
    if (len)
        memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void end_message(struct messages *m)
{
    if (m->count == m->ends_room) {
        m->ends_room = 2 * m->ends_room + 16;
        m->ends = realloc(m->ends, m->ends_room * sizeof(*m->ends));
        ck_assert_ptr_nonnull(m->ends);
    }
    m->ends[m->count++] = m->len;
}

void messages_append(struct messages *m, const void *bytes, size_t len)
{
    add_bytes(m, bytes, len);
    end_message(m);
}

static ssize_t message_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                              struct rmig_err *err)
{
    struct messages *m = ((struct message_channel *)ch)->m;
    size_t total = 0;

    for (int i = 0; i < niov; i++)
        total += iov[i].iov_len;
    if (m->len + total > m->fail_after)
        return rmig_err_set(err, -EPIPE, "messages: told to fail");
    for (int i = 0; i < niov; i++) {
        const uint8_t *p = iov[i].iov_base;

        if (m->watch && p >= m->watch && p < m->watch + m->watch_len)
            m->watched += iov[i].iov_len;
        add_bytes(m, p, iov[i].iov_len);
    }
    end_message(m);
    return (ssize_t)total;
}

static ssize_t message_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                             struct rmig_err *err)
{
    struct message_channel *mc = (struct message_channel *)ch;
    size_t done = 0;

    (void)err;
    while (mc->next < mc->m->count && mc->m->ends[mc->next] <= mc->pos)
        mc->next++;
    if (mc->next == mc->m->count)
        return 0;
    for (int i = 0; i < niov; i++) {
        size_t n = mc->m->ends[mc->next] - mc->pos;

        if (n > iov[i].iov_len)
            n = iov[i].iov_len;
        if (n)
            memcpy(iov[i].iov_base, mc->m->bytes + mc->pos, n);
        mc->pos += n;
        done += n;
    }
    return (ssize_t)done;
}

static int message_close(struct rmig_channel *ch, struct rmig_err *err)
{
    (void)err;
    free(ch);
    return 0;
}

static ssize_t no_io(struct rmig_channel *ch, const struct iovec *iov, int niov,
                     struct rmig_err *err)
{
    (void)ch;
    (void)iov;
    (void)niov;
    return rmig_err_set(err, -EBADF, "messages: not in this direction");
}

static struct rmig_channel *message_channel(struct messages *m, uint32_t flags)
{
    static const struct rmig_channel_ops out_ops = {
        .name = "messages", .readv = no_io, .writev = message_writev, .close = message_close};
    static const struct rmig_channel_ops in_ops = {
        .name = "messages", .readv = message_readv, .writev = no_io, .close = message_close};
    struct message_channel *mc = calloc(1, sizeof(*mc));

    ck_assert_ptr_nonnull(mc);
    mc->base.ops = flags == RMIG_CHANNEL_WRITABLE ? &out_ops : &in_ops;
    mc->base.flags = flags;
    mc->m = m;
    return &mc->base;
}

struct rmig_out *messages_out(struct messages *m)
{
    struct rmig_out *out = NULL;

    ck_assert_int_eq(rmig_out_new(message_channel(m, RMIG_CHANNEL_WRITABLE), &out, NULL), 0);
    return out;
}

struct rmig_in *messages_in(struct messages *m)
{
    struct rmig_in *in = NULL;

    ck_assert_int_eq(rmig_in_new(message_channel(m, RMIG_CHANNEL_READABLE), &in, NULL), 0);
    return in;
}

/* --- fake transport --------------------------------------------------------------------------- */

static struct fake_event *new_event(struct fake *f, enum fake_event_kind kind)
{
    struct fake_event *e;

    if (f->nevents == f->events_room) {
        f->events_room = 2 * f->events_room + 64;
        f->events = realloc(f->events, f->events_room * sizeof(*f->events));
        ck_assert_ptr_nonnull(f->events);
    }
    e = &f->events[f->nevents++];
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    return e;
}

static int fails(const struct fake *f, struct rmig_err *err)
{
    if (f->fail_at >= 0 && f->nevents == (size_t)f->fail_at + 1)
        return rmig_err_set(err, -EREMOTEIO, "fake: told to fail");
    return 0;
}

static int fake_set_blocks(void *opaque, const struct rmig_block *blocks, uint32_t nblocks,
                           struct rmig_err *err)
{
    struct fake *f = opaque;

    new_event(f, FAKE_SET_BLOCKS);
    ck_assert_ptr_nonnull(blocks);
    ck_assert_uint_gt(nblocks, 0);
    return fails(f, err);
}

static int fake_before(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    static const uint8_t mark[8] = {0, 0, 0, 0, 0, 0, 0, 0x80};
    struct fake *f = opaque;

    new_event(f, FAKE_BEFORE)->flag = flag;
    if (f->messages) {
        ck_assert_uint_ge(f->messages->len, sizeof(mark));
        ck_assert_mem_eq(f->messages->bytes + f->messages->len - sizeof(mark), mark, sizeof(mark));
    }
    ck_assert_uint_eq(f->nopen, 0);
    return fails(f, err);
}

static int fake_save(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *err)
{
    struct fake *f = opaque;
    int rc;

    new_event(f, FAKE_SAVE)->run = *run;
    ck_assert_uint_eq(*sent_bytes_p, 0);
    rc = fails(f, err);
    if (rc == 0)
        rc = f->answer ? f->answer(f, run, sent_bytes_p) : RMIG_PUT_DELAYED;
    if (rc <= RMIG_PUT_NOT_SUPPORTED)
        return rc;
    if (f->nopen == f->open_room) {
        f->open_room = 2 * f->open_room + 64;
        f->open = realloc(f->open, f->open_room * sizeof(*f->open));
        ck_assert_ptr_nonnull(f->open);
    }
    f->open[f->nopen++] = *run;
    return rc;
}

static void keep_write(struct fake *f, const struct rmig_run *run)
{
    struct fake_write *w;

    if (f->nwrites == f->writes_room) {
        f->writes_room = 2 * f->writes_room + 64;
        f->writes = realloc(f->writes, f->writes_room * sizeof(*f->writes));
        ck_assert_ptr_nonnull(f->writes);
    }
    w = &f->writes[f->nwrites++];
    w->run = *run;
    w->window = f->window;
    w->bytes = NULL;
    if (run->flags & RMIG_RUN_ZERO)
        return;
    w->bytes = malloc(run->len_bytes);
    ck_assert_ptr_nonnull(w->bytes);
    memcpy(w->bytes, (uint8_t *)f->source->blocks[run->block_index].host + run->offset_bytes,
           run->len_bytes);
}

static int fake_after(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct fake *f = opaque;

    new_event(f, FAKE_AFTER)->flag = flag;
    for (size_t i = 0; i < f->nopen; i++)
        keep_write(f, &f->open[i]);
    f->nopen = 0;
    f->window++;
    return fails(f, err);
}

static void place(struct fake *f, const struct fake_write *w)
{
    uint8_t *p = (uint8_t *)f->dest->blocks[w->run.block_index].host + w->run.offset_bytes;

    if (w->bytes)
        memcpy(p, w->bytes, w->run.len_bytes);
    else
        memset(p, 0, w->run.len_bytes);
}

static int fake_load(void *opaque, enum rmig_hook_flag flag, const char *name, struct rmig_err *err)
{
    struct fake *f = opaque;
    struct fake_event *e = new_event(f, flag == RMIG_HOOK_BLOCK_REG ? FAKE_REG : FAKE_LOAD);

    e->flag = flag;
    if (name)
        snprintf(e->name, sizeof(e->name), "%s", name);
    if (flag == RMIG_HOOK_HOOK) {
        for (size_t i = 0; i < f->nwrites; i++)
            if (f->writes[i].window == f->loaded)
                place(f, &f->writes[i]);
        f->loaded++;
    }
    return fails(f, err);
}

void fake_init(struct fake *f, struct guest *source, struct guest *dest, struct messages *m)
{
    memset(f, 0, sizeof(*f));
    f->source = source;
    f->dest = dest;
    f->messages = m;
    f->fail_at = -1;
    f->hooks = (struct rmig_hooks){fake_set_blocks, fake_before, fake_save, fake_after, fake_load};
}

void fake_release(struct fake *f)
{
    for (size_t i = 0; i < f->nwrites; i++)
        free(f->writes[i].bytes);
    free(f->writes);
    free(f->events);
    free(f->open);
    memset(f, 0, sizeof(*f));
}

size_t fake_count(const struct fake *f, enum fake_event_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < f->nevents; i++)
        n += f->events[i].kind == kind;
    return n;
}

/* --- whole moves ------------------------------------------------------------------------------ */

void save_all(struct messages *m, const struct guest *g, const struct rmig_hooks *hooks,
              void *opaque, uint32_t sections)
{
    struct rmig_out *out = messages_out(m);
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_save *save = NULL;

    if (hooks)
        ck_assert_int_eq(rmig_out_attach_hooks(out, hooks, opaque, NULL), 0);
    ck_assert_int_eq(rmig_save_new(&save, out, g->blocks, g->count, NULL, &err), 0);
    if (rmig_save_setup(save, &err) < 0 || rmig_save_round(save, &err) < 0 ||
        rmig_save_complete(save, &err) < 0)
        ck_abort_msg("%s", err.msg);
    for (uint32_t i = 0; i < sections; i++) {
        char data[64];
        int n = snprintf(data, sizeof(data), "state of device %u", i);

        ck_assert_int_eq(rmig_save_section(save, "device", i, 7, data, (size_t)n, &err), 0);
    }
    if (rmig_save_end(save, &err) < 0)
        ck_abort_msg("%s", err.msg);
    rmig_save_free(save);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
}

int load_all(struct messages *m, const struct guest *g, const struct rmig_load_opts *opts,
             const struct rmig_hooks *hooks, void *opaque, struct rmig_err *err)
{
    struct rmig_in *in = messages_in(m);
    struct rmig_load *load = NULL;
    int rc;

    if (hooks)
        ck_assert_int_eq(rmig_in_attach_hooks(in, hooks, opaque, NULL), 0);
    ck_assert_int_eq(rmig_load_new(&load, in, g->blocks, g->count, opts, err), 0);
    rc = rmig_load_run(load, err);
    rmig_load_free(load);
    rmig_in_close(in, NULL);
    return rc;
}
