/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_move.c -- whole moves: save and load together, over memory, sockets and hooks. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct messages m;
static struct guest source, dest;
static struct rmig_err err;

static void setup(void)
{
    messages_init(&m);
    memset(&source, 0, sizeof(source));
    memset(&dest, 0, sizeof(dest));
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
    messages_release(&m);
    guest_release(&source);
    guest_release(&dest);
}

static void load_ok(const struct rmig_hooks *hooks, void *opaque)
{
    if (load_all(&m, &dest, NULL, hooks, opaque, &err) < 0)
        ck_abort_msg("%s", err.msg);
}

/* --- round trips ------------------------------------------------------------------------------ */

START_TEST(move__blocks_of_all_sizes)
{
    static const uint64_t lengths[] = {4096,     8192,     65536,   1u << 20, (1u << 20) + 4096,
                                       2u << 20, 6u << 20, 3 * 4096};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char name[16];

        snprintf(name, sizeof(name), "b%zu", i);
        guest_add(&source, name, lengths[i], i % 2);
        guest_add(&dest, name, lengths[i], i % 3 == 0);
    }
    guest_fill_mixed(&source, 1);
    guest_fill_mixed(&dest, 2); /* leftovers that must go */
    save_all(&m, &source, NULL, NULL, 3);
    load_ok(NULL, NULL);
    guest_assert_equal(&source, &dest);
}
END_TEST

START_TEST(move__destination_order_differs)
{
    guest_init(&source, 3, 8 * RMIG_PAGE_BYTES);
    guest_init(&dest, 3, 8 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 1);
    struct rmig_block swap = dest.blocks[0];
    dest.blocks[0] = dest.blocks[2];
    dest.blocks[2] = swap;
    save_all(&m, &source, NULL, NULL, 0);
    load_ok(NULL, NULL);
    swap = dest.blocks[0];
    dest.blocks[0] = dest.blocks[2];
    dest.blocks[2] = swap;
    guest_assert_equal(&source, &dest);
}
END_TEST

START_TEST(move__names_of_255_bytes)
{
    char name[256];

    memset(name, 'x', 255);
    name[255] = '\0';
    for (char c = 'a'; c < 'e'; c++) {
        name[254] = c;
        guest_add(&source, name, 4 * RMIG_PAGE_BYTES, false);
        guest_add(&dest, name, 4 * RMIG_PAGE_BYTES, false);
    }
    guest_fill_mixed(&source, 1);
    save_all(&m, &source, NULL, NULL, 0);
    load_ok(NULL, NULL);
    guest_assert_equal(&source, &dest);
}
END_TEST

/* One mapping cut into one-page blocks: as many as a move can have. */
static void slice(struct guest *g, uint32_t count)
{
    uint8_t *p = mmap(NULL, (size_t)count * RMIG_PAGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(p, MAP_FAILED);
    g->blocks = calloc(count, sizeof(*g->blocks));
    ck_assert_ptr_nonnull(g->blocks);
    g->count = count;
    for (uint32_t i = 0; i < count; i++) {
        char name[32];

        snprintf(name, sizeof(name), "slice-%u", i * 7919 % 16411);
        g->blocks[i] = (struct rmig_block){.name = strdup(name),
                                           .host = p + (size_t)i * RMIG_PAGE_BYTES,
                                           .len_bytes = RMIG_PAGE_BYTES,
                                           .page_bytes = RMIG_PAGE_BYTES,
                                           .fd = -1};
    }
}

START_TEST(move__as_many_blocks_as_there_can_be)
{
    slice(&source, RMIG_BLOCKS_MAX);
    slice(&dest, RMIG_BLOCKS_MAX);
    for (uint32_t i = 0; i < RMIG_BLOCKS_MAX; i += 3)
        guest_fill(&source, i, 0, 1, i);
    save_all(&m, &source, NULL, NULL, 0);
    load_ok(NULL, NULL);
    guest_assert_equal(&source, &dest);
}
END_TEST

START_TEST(move__large_block_with_little_in_it)
{
    guest_add(&source, "big", 8ull << 30, false);
    guest_add(&dest, "big", 8ull << 30, false);
    ck_assert_uint_eq(source.blocks[0].page_bytes, 1u << 30);
    guest_fill(&source, 0, 1, 3, 1);
    guest_fill(&source, 0, (5ull << 30) / RMIG_PAGE_BYTES, 300, 1);
    guest_fill(&source, 0, guest_pages(&source, 0) - 1, 1, 1);
    save_all(&m, &source, NULL, NULL, 0);
    load_ok(NULL, NULL);
    /* no hole was filled, at either side */
    ck_assert_uint_eq(guest_allocated_pages(&source, 0), 304);
    ck_assert_uint_eq(guest_allocated_pages(&dest, 0), 304);
    ck_assert_int_eq(memcmp(guest_page(&source, 0, 1), guest_page(&dest, 0, 1), 3 * 4096), 0);
    ck_assert_int_eq(
        memcmp(guest_page(&source, 0, 5u << 18), guest_page(&dest, 0, 5u << 18), 300 * 4096), 0);
}
END_TEST

START_TEST(move__blocks_with_an_offset_in_one_file)
{
    struct rmig_block whole;

    guest_init(&source, 1, 32 * RMIG_PAGE_BYTES);
    guest_init(&dest, 1, 32 * RMIG_PAGE_BYTES);
    guest_fill(&source, 0, 3, 2, 1);
    guest_fill(&source, 0, 20, 9, 1);
    struct rmig_block parts[2][2];
    struct guest s = {parts[0], 2}, d = {parts[1], 2};

    for (int side = 0; side < 2; side++)
        for (int i = 0; i < 2; i++) {
            whole = side ? dest.blocks[0] : source.blocks[0];
            whole.name = i ? "high" : "low";
            whole.len_bytes = 16 * RMIG_PAGE_BYTES;
            whole.host = (uint8_t *)whole.host + (size_t)i * 16 * RMIG_PAGE_BYTES;
            whole.fd_offset_bytes = (uint64_t)i * 16 * RMIG_PAGE_BYTES;
            parts[side][i] = whole;
        }
    save_all(&m, &s, NULL, NULL, 0);
    if (load_all(&m, &d, NULL, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
    guest_assert_equal(&source, &dest);
    ck_assert_uint_eq(guest_allocated_pages(&dest, 0), 11);
}
END_TEST

/* --- device sections -------------------------------------------------------------------------- */

static unsigned sections_seen;

static int see_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len, struct rmig_err *e)
{
    char expected[64];

    (void)opaque;
    (void)e;
    snprintf(expected, sizeof(expected), "state of device %u", sections_seen);
    ck_assert_str_eq(name, "device");
    ck_assert_uint_eq(instance_id, sections_seen);
    ck_assert_uint_eq(version, 7);
    ck_assert_uint_eq(len, strlen(expected));
    ck_assert_mem_eq(data, expected, len);
    sections_seen++;
    return 0;
}

START_TEST(move__device_sections)
{
    const struct rmig_load_opts opts = {.section = see_section};

    guest_init(&source, 1, RMIG_PAGE_BYTES);
    guest_init(&dest, 1, RMIG_PAGE_BYTES);
    save_all(&m, &source, NULL, NULL, 40);
    sections_seen = 0;
    ck_assert_int_eq(load_all(&m, &dest, &opts, NULL, NULL, &err), 0);
    ck_assert_uint_eq(sections_seen, 40);
}
END_TEST

/* --- truncation ------------------------------------------------------------------------------- */

START_TEST(move__truncated_anywhere_fails)
{
    struct messages cut = {0};
    size_t whole, eof;

    guest_init(&source, 2, 2 * RMIG_PAGE_BYTES);
    guest_init(&dest, 2, 2 * RMIG_PAGE_BYTES);
    guest_fill(&source, 0, 1, 1, 1);
    guest_fill(&source, 1, 0, 1, 1);
    save_all(&m, &source, NULL, NULL, 2);
    whole = m.len;
    eof = m.ends[m.count - 2]; /* one byte after EOF: complete without its description */
    for (size_t len = 0; len <= whole; len++) {
        struct rmig_err e = RMIG_ERR_INIT;
        int rc;

        messages_init(&cut);
        messages_append(&cut, m.bytes, len);
        rc = load_all(&cut, &dest, NULL, NULL, NULL, &e);
        messages_release(&cut);
        if (len == whole || len == eof) {
            ck_assert_int_eq(rc, 0);
        } else {
            if (rc != -EIO)
                ck_abort_msg("%zu of %zu bytes: %d %s", len, whole, rc, e.msg);
            ck_assert_int_eq(e.code, -EIO);
        }
    }
    guest_assert_equal(&source, &dest);
}
END_TEST

/* --- hooks ------------------------------------------------------------------------------------ */

static uint32_t random_state;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static int answer_at_random(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    int answer = (int)(next_random() % 3);

    (void)f;
    if (answer == RMIG_PUT_SENT)
        *sent_bytes_p = run->len_bytes / 2;
    return answer;
}

START_TEST(hooks__pages_both_ways_arrive)
{
    struct fake fake;
    struct rmig_save *save = NULL;
    struct rmig_out *out = messages_out(&m);

    random_state = (uint32_t)_i + 1;
    guest_init(&source, 3, 256 * RMIG_PAGE_BYTES);
    guest_init(&dest, 3, 256 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 1);
    fake_init(&fake, &source, &dest, &m);
    fake.answer = answer_at_random;
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    ck_assert_int_eq(rmig_save_new(&save, out, source.blocks, source.count, NULL, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(save, NULL), 0);
    for (uint32_t round = 0; round < 6; round++) {
        ck_assert_int_eq(rmig_save_round(save, NULL), 0);
        for (int n = 0; n < 40; n++) {
            uint32_t block = next_random() % 3, page = next_random() % 256;

            if (next_random() % 4)
                guest_fill(&source, block, page, 1, next_random());
            else
                memset(guest_page(&source, block, page), 0, RMIG_PAGE_BYTES);
            ck_assert_int_eq(
                rmig_save_mark_dirty(save, block, page * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES), 0);
        }
    }
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);
    ck_assert_uint_gt(rmig_save_stats(save)->hook_pages, 0);
    ck_assert_uint_gt(rmig_save_stats(save)->normal_pages, 0);
    rmig_save_free(save);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);

    fake.nevents = 0;
    load_ok(&fake.hooks, &fake);
    guest_assert_equal(&source, &dest);
    ck_assert_uint_eq(fake.loaded, fake.window);
    /* set_blocks first, the list in order, then the marks */
    ck_assert_int_eq(fake.events[0].kind, FAKE_SET_BLOCKS);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(fake.events[1 + i].kind, FAKE_REG);
        ck_assert_int_eq(fake.events[1 + i].flag, RMIG_HOOK_BLOCK_REG);
        ck_assert_str_eq(fake.events[1 + i].name, source.blocks[i].name);
    }
    for (size_t i = 4; i < fake.nevents; i++)
        ck_assert_int_eq(fake.events[i].kind, FAKE_LOAD);
    ck_assert_uint_eq(fake_count(&fake, FAKE_LOAD), fake.window);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__load_failure_ends_the_load)
{
    struct fake fake;

    guest_init(&source, 2, 16 * RMIG_PAGE_BYTES);
    guest_init(&dest, 2, 16 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 1);
    fake_init(&fake, &source, &dest, &m);
    save_all(&m, &source, &fake.hooks, &fake, 1);
    fake.nevents = 0;
    fake.fail_at = _i; /* set_blocks, two of the list, marks of set-up, PART and END */
    ck_assert_int_eq(load_all(&m, &dest, NULL, &fake.hooks, &fake, &err), -EREMOTEIO);
    ck_assert_str_eq(err.msg, "fake: told to fail");
    ck_assert_uint_eq(fake.nevents, (size_t)_i + 1);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__stream_without_marks_loads_with_hooks)
{
    struct fake fake;

    guest_init(&source, 2, 16 * RMIG_PAGE_BYTES);
    guest_init(&dest, 2, 16 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 1);
    save_all(&m, &source, NULL, NULL, 1);
    fake_init(&fake, &source, &dest, NULL);
    load_ok(&fake.hooks, &fake);
    guest_assert_equal(&source, &dest);
    ck_assert_uint_eq(fake_count(&fake, FAKE_LOAD), 0);
    fake_release(&fake);
}
END_TEST

/* --- a guest that runs ------------------------------------------------------------------------ */

struct writer {
    struct guest view; /* the guest's memory at other addresses, as another process has it */
    struct rmig_save *save;
    atomic_bool stop;
    atomic_ullong writes;
};

static void map_view(struct guest *view, const struct guest *of)
{
    *view = (struct guest){0};
    for (uint32_t i = 0; i < of->count; i++)
        guest_add_view(view, &of->blocks[i]);
}

/* Write pages all over the guest, into holes too, and mark each after. */
static void *write_pages(void *arg)
{
    struct writer *w = arg;
    uint32_t x = 12345;

    while (!atomic_load(&w->stop)) {
        uint32_t block, page;

        x = x * 1664525u + 1013904223u;
        block = (x >> 8) % source.count;
        page = (uint32_t)((x >> 12) % guest_pages(&source, block));
        if (x >> 29)
            guest_fill(&w->view, block, page, 1, x);
        else
            memset(guest_page(&w->view, block, page), 0, RMIG_PAGE_BYTES);
        ck_assert_int_eq(
            rmig_save_mark_dirty(w->save, block, (uint64_t)page * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES),
            0);
        atomic_fetch_add(&w->writes, 1);
    }
    return NULL;
}

START_TEST(move__while_the_guest_writes)
{
    struct rmig_out *out = messages_out(&m);
    struct writer w = {0};
    pthread_t thread;

    guest_init(&source, 2, 2048 * RMIG_PAGE_BYTES);
    guest_init(&dest, 2, 2048 * RMIG_PAGE_BYTES);
    guest_fill(&source, 0, 100, 1000, 1);
    map_view(&w.view, &source);
    ck_assert_int_eq(rmig_save_new(&w.save, out, source.blocks, source.count, NULL, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(w.save, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_pages, &w), 0);
    /* eight rounds, and as many more as the writer needs to get some work done */
    for (int round = 0; round < 8 || atomic_load(&w.writes) < 1000; round++) {
        ck_assert_int_eq(rmig_save_round(w.save, NULL), 0);
        sched_yield();
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(rmig_save_complete(w.save, NULL), 0);
    ck_assert_uint_eq(rmig_save_stats(w.save)->remaining_pages, 0);
    ck_assert_int_eq(rmig_save_end(w.save, NULL), 0);
    rmig_save_free(w.save);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
    load_ok(NULL, NULL);
    guest_assert_equal(&source, &dest);
    guest_release(&w.view);
}
END_TEST

/* A cancel ends a wait within 100 ms; a busy machine gets some grace. */
#define PROMPT_MS 600

/* --- over a socket, cancel -------------------------------------------------------------------- */

struct receiver {
    struct rmig_in *in;
    struct rmig_cancel *cancel;
    struct rmig_err err;
    int rc;
};

static void *receive(void *arg)
{
    struct receiver *r = arg;
    const struct rmig_load_opts opts = {.cancel = r->cancel};
    struct rmig_load *load = NULL;

    r->rc = rmig_load_new(&load, r->in, dest.blocks, dest.count, &opts, &r->err);
    if (r->rc == 0)
        r->rc = rmig_load_run(load, &r->err);
    rmig_load_free(load);
    return NULL;
}

static struct rmig_channel *channel_of(int fd, struct rmig_cancel *cancel)
{
    const struct rmig_channel_opts opts = {.cancel = cancel};
    struct rmig_channel *ch = NULL;

    ck_assert_int_eq(rmig_channel_from_fd(fd, &opts, &ch, NULL), 0);
    return ch;
}

START_TEST(socket__a_whole_move)
{
    struct receiver r = {.err = RMIG_ERR_INIT};
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;
    pthread_t thread;
    int fds[2];

    guest_init(&source, 2, 2048 * RMIG_PAGE_BYTES);
    guest_init(&dest, 2, 2048 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(rmig_in_new(channel_of(fds[0], NULL), &r.in, NULL), 0);
    ck_assert_int_eq(rmig_out_new(channel_of(fds[1], NULL), &out, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, receive, &r), 0);
    ck_assert_int_eq(rmig_save_new(&save, out, source.blocks, source.count, NULL, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(save, NULL), 0);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);
    pthread_join(thread, NULL); /* the channel is open still: the load knows its end by itself */
    if (r.rc < 0)
        ck_abort_msg("%s", r.err.msg);
    rmig_save_free(save);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
    ck_assert_int_eq(rmig_in_close(r.in, NULL), 0);
    guest_assert_equal(&source, &dest);
}
END_TEST

START_TEST(cancel__ends_a_load_that_waits)
{
    struct receiver r = {.err = RMIG_ERR_INIT};
    const struct timespec pause = {0, 50 * 1000 * 1000};
    pthread_t thread;
    uint64_t begin;
    int fds[2];

    guest_init(&dest, 1, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_cancel_new(&r.cancel, NULL), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(rmig_in_new(channel_of(fds[0], r.cancel), &r.in, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, receive, &r), 0);
    nanosleep(&pause, NULL);
    begin = rmig_now_ns();
    rmig_cancel_trigger(r.cancel);
    if (_i)
        rmig_in_shutdown(r.in, NULL);
    pthread_join(thread, NULL);
    ck_assert_uint_le((rmig_now_ns() - begin) / RMIG_NS_PER_MS,
                      PROMPT_MS + slack_ms());
    ck_assert_int_eq(r.rc, -ECANCELED);
    ck_assert_int_eq(r.err.code, -ECANCELED);
    rmig_in_close(r.in, NULL);
    rmig_cancel_free(r.cancel);
    close(fds[1]);
}
END_TEST

static void *trigger_later(void *cancel)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};

    nanosleep(&pause, NULL);
    rmig_cancel_trigger(cancel);
    return NULL;
}

START_TEST(cancel__ends_a_save_that_waits)
{
    struct rmig_save_opts opts = {0};
    struct rmig_cancel *cancel = NULL;
    struct rmig_out *out = NULL;
    struct rmig_save *save = NULL;
    pthread_t thread;
    uint64_t begin;
    int fds[2];

    guest_init(&source, 1, 4096 * RMIG_PAGE_BYTES);
    guest_fill(&source, 0, 0, 4096, 1);
    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    opts.cancel = cancel;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(rmig_out_new(channel_of(fds[0], cancel), &out, NULL), 0);
    ck_assert_int_eq(rmig_save_new(&save, out, source.blocks, 1, &opts, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(save, NULL), 0);
    /* nobody reads: the socket fills up, then the cancel comes */
    ck_assert_int_eq(pthread_create(&thread, NULL, trigger_later, cancel), 0);
    begin = rmig_now_ns();
    ck_assert_int_eq(rmig_save_round(save, &err), -ECANCELED);
    ck_assert_uint_le((rmig_now_ns() - begin) / RMIG_NS_PER_MS,
                      PROMPT_MS + slack_ms());
    pthread_join(thread, NULL);
    rmig_save_free(save);
    rmig_out_close(out, NULL);
    rmig_cancel_free(cancel);
    close(fds[1]);
}
END_TEST

Suite *hooks_move_suite(void)
{
    Suite *s = suite_create("hooks/move");
    TCase *tc = tcase_create("move");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, move__blocks_of_all_sizes);
    tcase_add_test(tc, move__destination_order_differs);
    tcase_add_test(tc, move__names_of_255_bytes);
    tcase_add_test(tc, move__as_many_blocks_as_there_can_be);
    tcase_add_test(tc, move__large_block_with_little_in_it);
    tcase_add_test(tc, move__blocks_with_an_offset_in_one_file);
    tcase_add_test(tc, move__device_sections);
    tcase_add_test(tc, move__truncated_anywhere_fails);
    tcase_add_loop_test(tc, hooks__pages_both_ways_arrive, 0, 5);
    tcase_add_loop_test(tc, hooks__load_failure_ends_the_load, 0, 6);
    tcase_add_test(tc, hooks__stream_without_marks_loads_with_hooks);
    tcase_add_test(tc, move__while_the_guest_writes);
    tcase_add_test(tc, socket__a_whole_move);
    tcase_add_loop_test(tc, cancel__ends_a_load_that_waits, 0, 2);
    tcase_add_test(tc, cancel__ends_a_save_that_waits);
    suite_add_tcase(s, tc);
    return s;
}
