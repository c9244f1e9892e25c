/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_drivers.c -- the save and load drivers, a dirty map and a plugin, with each call in
 * them failing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <rmig/rmig.h>

#include "hooks/devices.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define NBLOCKS 3u
#define PAGES 8u
#define SECTIONS 9u

static struct guest source, dest;
static unsigned nsections, ntails;

/* Several pages of data in a row, zero pages, holes; one block that no file backs. */
static void setup(void)
{
    memset(&source, 0, sizeof(source));
    memset(&dest, 0, sizeof(dest));
    for (uint32_t i = 0; i < NBLOCKS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "block-%u", i);
        guest_add(&source, name, PAGES * RMIG_PAGE_BYTES, i == 2);
        guest_add(&dest, name, PAGES * RMIG_PAGE_BYTES, i == 2);
        guest_fill(&source, i, 0, 2, i + 1);
        memset(guest_page(&source, i, 2), 0, RMIG_PAGE_BYTES);
        guest_fill(&source, i, 6, 1, i + 7);
    }
}

/* The destination's memory as it was, so that what is there afterwards has come. */
static void prepare(void)
{
    for (uint32_t i = 0; i < NBLOCKS; i++) {
        const struct rmig_block *b = &dest.blocks[i];

        if (b->fd < 0) {
            memset(b->host, 0, b->len_bytes);
            continue;
        }
        ck_assert_int_eq(ftruncate(b->fd, 0), 0);
        ck_assert_int_eq(ftruncate(b->fd, (off_t)b->len_bytes), 0);
    }
    nsections = ntails = 0;
}

/* --- the parts of a move ---------------------------------------------------------------------- */

/* A driver that has failed says so to whatever comes, and its stream has failed with it. */
static int stays_failed(struct rmig_save *save, struct rmig_out *out, int rc)
{
    struct rmig_err e = RMIG_ERR_INIT;
    unsigned writes = fault_writes();

    ck_assert_int_eq(rmig_out_error(out, NULL), rc);
    ck_assert_int_eq(rmig_save_round(save, &e), rc);
    ck_assert_int_eq(rmig_save_complete(save, NULL), rc);
    ck_assert_int_eq(rmig_save_end(save, NULL), rc);
    ck_assert_int_eq(e.code, rc);
    ck_assert_str_ne(e.msg, "");
    ck_assert_uint_eq(fault_writes(), writes);
    return rc;
}

static int save_parts(struct rmig_save *save, struct rmig_err *err)
{
    int rc = rmig_save_setup(save, err);

    if (rc == 0)
        rc = rmig_save_round(save, err);
    if (rc == 0) {
        ck_assert_int_eq(rmig_save_mark_dirty(save, 1, 0, RMIG_PAGE_BYTES), 0);
        rc = rmig_save_complete(save, err);
    }
    for (uint32_t i = 1; rc == 0 && i <= SECTIONS; i++)
        rc = rmig_save_section(save, "device", i, 7, "state", i == 1 ? 5 : 0, err);
    return rc;
}

/* Without devices: all that the description has is made at the end. */
static int save_bare_parts(struct rmig_save *save, struct rmig_err *err)
{
    int rc = rmig_save_setup(save, err);

    return rc < 0 ? rc : rmig_save_complete(save, err);
}

/* Saves the source. The stream stays. */
static int save_to(struct rmig_out *out, const struct rmig_save_opts *opts, bool bare,
                   struct rmig_err *err)
{
    struct rmig_save *save;
    int rc = rmig_save_new(&save, out, source.blocks, source.count, opts, err);

    if (rc < 0) {
        ck_assert_int_eq(rmig_out_error(out, NULL), 0);
        return rc;
    }
    rc = bare ? save_bare_parts(save, err) : save_parts(save, err);
    if (rc == 0)
        rc = rmig_save_end(save, err);
    if (rc < 0)
        stays_failed(save, out, rc);
    rmig_save_free(save);
    return rc;
}

static int take_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                        const void *data, size_t len, struct rmig_err *err)
{
    (void)opaque, (void)name, (void)data, (void)err;
    ck_assert_uint_eq(instance_id, ++nsections);
    ck_assert_uint_eq(version, 7);
    ck_assert_uint_eq(len, instance_id == 1 ? 5 : 0);
    return 0;
}

static int take_tail(void *opaque, const void *data, size_t len, struct rmig_err *err)
{
    (void)opaque, (void)err;
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_gt(len, 0);
    ntails++;
    return 0;
}

static int take_layout(void *opaque, const struct rmig_layout *layout,
                       const struct rmig_block **blocks_p, struct rmig_err *err)
{
    (void)opaque, (void)err;
    ck_assert_uint_eq(layout->nblocks, NBLOCKS);
    *blocks_p = dest.blocks;
    return 0;
}

/* Loads into the destination, which then is the source's equal. The stream stays. */
static int load_from(struct rmig_in *in, const struct rmig_load_opts *opts, struct rmig_err *err)
{
    struct rmig_load *load;
    int rc = opts->layout ? rmig_load_new(&load, in, NULL, 0, opts, err)
                          : rmig_load_new(&load, in, dest.blocks, dest.count, opts, err);

    if (rc < 0) {
        ck_assert_int_eq(rmig_in_error(in, NULL), 0);
        return rc;
    }
    rc = rmig_load_run(load, err);
    if (rc < 0)
        ck_assert_int_eq(rmig_in_error(in, NULL), rc);
    rmig_load_free(load);
    if (rc < 0)
        return rc;
    guest_assert_equal(&source, &dest);
    ck_assert_uint_eq(nsections, opts->section ? SECTIONS : 0);
    ck_assert_uint_eq(ntails, opts->tail ? 1 : 0);
    return 0;
}

/* --- through memory --------------------------------------------------------------------------- */

static struct rmig_hooks hooks; /* that decline everything */

static int open_buffer(struct rmig_out **out_p, struct rmig_err *err)
{
    struct rmig_buffer *buf;
    struct rmig_channel *ch;
    int rc = rmig_buffer_new(300000, &buf, err);

    if (rc < 0)
        return rc;
    rc = rmig_channel_from_buffer(buf, RMIG_OPEN_WRITE, &ch, err);
    if (rc < 0) {
        rmig_buffer_free(buf);
        return rc;
    }
    rc = rmig_out_new(ch, out_p, err);
    if (rc < 0)
        rmig_channel_close(ch, NULL);
    return rc;
}

/* What out has put, as a stream of its own. */
static int reopen(struct rmig_out *out, struct rmig_in **in_p, struct rmig_err *err)
{
    struct rmig_buffer *copy;
    struct rmig_channel *ch;
    int rc = rmig_buffer_clone(rmig_out_buffer(out), &copy, err);

    if (rc < 0)
        return rc;
    rc = rmig_channel_from_buffer(copy, RMIG_OPEN_READ, &ch, err);
    if (rc < 0) {
        rmig_buffer_free(copy);
        return rc;
    }
    rc = rmig_in_new(ch, in_p, err);
    if (rc < 0)
        rmig_channel_close(ch, NULL);
    return rc;
}

static int move(const struct rmig_save_opts *save_opts, const struct rmig_load_opts *load_opts,
                bool hooked, struct rmig_err *err)
{
    struct rmig_out *out;
    struct rmig_in *in;
    int rc = open_buffer(&out, err);

    if (rc < 0)
        return rc;
    rc = save_to(out, save_opts, false, err);
    if (rc == 0)
        rc = reopen(out, &in, err);
    rmig_out_close(out, NULL);
    if (rc < 0)
        return rc;
    rc = hooked ? rmig_in_attach_hooks(in, &hooks, NULL, err) : 0;
    if (rc == 0)
        rc = load_from(in, load_opts, err);
    rmig_in_close(in, NULL);
    return rc;
}

static int play_move(struct rmig_err *err)
{
    static const struct rmig_load_opts opts = {.section = take_section};

    return move(NULL, &opts, true, err);
}

START_TEST(move__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "move",
        .says = "buffer|stream|save|load|RAM|dirty|device|hooks|pages at",
        .prepare = prepare,
        .play = play_move};

    fault_scene_play(&scene);
}
END_TEST

/* The destination learns the blocks from the stream, and takes the devices as a whole. */
static int play_layout(struct rmig_err *err)
{
    static const struct rmig_load_opts opts = {.layout = take_layout, .tail = take_tail};

    return move(NULL, &opts, false, err);
}

START_TEST(layout__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "layout",
        .says = "buffer|stream|save|load|RAM|dirty|device|tail|pages at",
        .prepare = prepare,
        .play = play_layout};

    fault_scene_play(&scene);
}
END_TEST

/* A rate limit has the rounds wait; the clock jumps, so that this takes no time. */
static int play_rate(struct rmig_err *err)
{
    static const struct rmig_save_opts save_opts = {.max_bandwidth_bytes_per_s = 200000};
    static const struct rmig_load_opts opts = {.section = take_section};

    return move(&save_opts, &opts, false, err);
}

START_TEST(rate__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "rate",
        .says = "buffer|stream|save|load|RAM|dirty|device|rate limit|pages at",
        .prepare = prepare,
        .play = play_rate,
        .clock_jumps = true};

    fault_scene_play(&scene);
}
END_TEST

/* --- with hooks ------------------------------------------------------------------------------- */

static int take_run(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                    struct rmig_err *err)
{
    (void)opaque, (void)err;
    *sent_bytes_p = run->len_bytes;
    return run->flags & RMIG_RUN_ZERO ? RMIG_PUT_NOT_SUPPORTED : RMIG_PUT_SENT;
}

/* A transport takes the pages; in debug builds it is checked that none comes twice. */
static int play_hooked(struct rmig_err *err)
{
    static const struct rmig_hooks taking = {.save_page = take_run};
    struct rmig_channel *ch;
    struct rmig_out *out;
    int rc = rmig_channel_null(&ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_out_new(ch, &out, err);
    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = rmig_out_attach_hooks(out, &taking, NULL, err);
    if (rc == 0)
        rc = save_to(out, NULL, true, err);
    rmig_out_close(out, NULL);
    return rc;
}

START_TEST(hooked__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "hooked", .says = "null|stream|save|RAM|dirty|device|hooks", .play = play_hooked};

    fault_scene_play(&scene);
}
END_TEST

/* --- with an answer --------------------------------------------------------------------------- */

static int ends[2];
static bool with_tail;

/* The source's end of a socket has the answer already, so that one thread can play both ends. */
static void prepare_answer(void)
{
    static const uint8_t shut[] = {0, 1, 0, 4, 0, 0, 0, 0};
    const int room = 1 << 20; /* a quarter full, it polls as not writable */

    prepare();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    ck_assert_int_eq(write(ends[1], shut, sizeof(shut)), sizeof(shut));
}

static int adopt(int fd, struct rmig_channel **ch_p, struct rmig_err *err)
{
    int rc = rmig_channel_from_fd(fd, NULL, ch_p, err);

    if (rc < 0)
        close(fd);
    return rc;
}

static int save_answered(struct rmig_out *out, struct rmig_err *err)
{
    static const struct rmig_save_opts save_opts = {.acknowledge = true};
    static const struct rmig_load_opts with_sections = {.section = take_section}, tail = {.tail = take_tail};
    struct rmig_channel *ch;
    struct rmig_in *in;
    int rc = save_to(out, &save_opts, false, err);

    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    rc = adopt(ends[1], &ch, err);
    if (rc < 0)
        return rc;
    rc = rmig_in_new(ch, &in, err);
    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = load_from(in, with_tail ? &tail : &with_sections, err);
    rmig_in_close(in, NULL);
    return rc;
}

static int play_answer(struct rmig_err *err)
{
    struct rmig_channel *ch;
    struct rmig_out *out;
    int rc = adopt(ends[0], &ch, err);

    if (rc == 0) {
        rc = rmig_out_new(ch, &out, err);
        if (rc < 0)
            rmig_channel_close(ch, NULL);
    }
    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    rc = save_answered(out, err);
    rmig_out_close(out, NULL);
    return rc;
}

START_TEST(answer__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "answer",
        .says = "fd:|stream|save|load|RAM|dirty|device|destination|tail|pages at",
        .prepare = prepare_answer,
        .play = play_answer};

    for (int i = 0; i < 2; i++) {
        with_tail = i;
        fault_scene_play(&scene);
    }
}
END_TEST

/* --- the description of devices --------------------------------------------------------------- */

/* Devices whose text fills the memory for it, so that the end of it needs more. */
static int describe(struct rmig_devices *d, struct rmig_err *err)
{
    char name[200] = "n";
    struct rmig_device device = {name, 1, 1, 1};
    size_t used, bytes = 0;
    int rc;

    do { /* until one more, with a longer name, is the last that fits */
        used = d->used_bytes;
        rc = rmig_devices_add(d, &device, err);
        bytes = d->used_bytes - used;
    } while (rc == 0 && (used == 0 || d->room_bytes - d->used_bytes > bytes + sizeof(name)));
    if (rc < 0)
        return rc;
    /* the name is in it twice */
    memset(name, 'n', 1 + (d->room_bytes - d->used_bytes - bytes) / 2);
    used = d->room_bytes;
    rc = rmig_devices_add(d, &device, err);
    if (rc == 0) {
        ck_assert_uint_eq(d->room_bytes, used);
        rc = rmig_devices_finish(d, err);
        ck_assert(rc < 0 || d->room_bytes > used);
    }
    return rc;
}

static int play_description(struct rmig_err *err)
{
    struct rmig_devices devices = {0};
    int rc = describe(&devices, err);

    rmig_devices_release(&devices);
    return rc;
}

START_TEST(description__each_allocation_fails)
{
    static const struct fault_scene scene = {
        .name = "description", .says = "device description", .play = play_description};

    fault_scene_play(&scene);
}
END_TEST

/* --- a dirty map ------------------------------------------------------------------------------ */

static int count_pages(void *opaque, const struct rmig_run *run)
{
    *(uint64_t *)opaque += run->len_bytes / RMIG_PAGE_BYTES;
    return 0;
}

static int play_map(struct rmig_err *err)
{
    struct rmig_dirty *map;
    uint64_t npages = 0;
    int rc = rmig_dirty_map_open(source.blocks, source.count, &map, err);

    if (rc < 0)
        return rc;
    rc = map->ops->start(map, err);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(rmig_dirty_map_mark(map, 1, RMIG_PAGE_BYTES, 2 * RMIG_PAGE_BYTES), 0);
    ck_assert_int_eq(map->ops->sync(map, count_pages, &npages, err), 0);
    ck_assert_uint_eq(npages, 2);
    map->ops->stop(map);
    map->ops->free(map);
    return 0;
}

START_TEST(map__each_allocation_fails)
{
    static const struct fault_scene scene = {
        .name = "map", .says = "dirty tracking", .play = play_map};

    fault_scene_play(&scene);
}
END_TEST

/* --- a plugin --------------------------------------------------------------------------------- */

static void setup_plugin(void)
{
    const char *build = getenv("abs_top_builddir");
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s/tests/abi/.libs", build ? build : ".");
    setenv("RMIG_TRANSPORT_DIR", dir, 1);
}

static int play_plugin(struct rmig_err *err)
{
    struct rmig_transport *t;
    int rc = rmig_transport_load("variant", &t, err);

    if (rc < 0)
        return rc;
    ck_assert_str_eq(rmig_transport_ops(t)->name, "variant");
    rmig_transport_unload(t);
    return 0;
}

START_TEST(plugin__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "plugin", .says = "transport", .play = play_plugin};

    fault_scene_play(&scene);
}
END_TEST

/* A directory is no plugin. */
static void prepare_directory(void)
{
    char dir[] = "/tmp/rmig-faults-XXXXXX", path[64];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/rmig-transport-none.so", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    setenv("RMIG_TRANSPORT_DIR", dir, 1);
}

static void clean_directory(void)
{
    const char *dir = getenv("RMIG_TRANSPORT_DIR");
    char path[64];

    snprintf(path, sizeof(path), "%s/rmig-transport-none.so", dir);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int play_directory(struct rmig_err *err)
{
    struct rmig_transport *t;
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = rmig_transport_load("none", &t, &e);

    return rc == -ENOEXEC ? 0 : rmig_err_set(err, rc, "%s", e.msg);
}

START_TEST(directory__each_call_fails)
{
    static const struct fault_scene scene = {.name = "directory",
                                             .says = "transport",
                                             .prepare = prepare_directory,
                                             .play = play_directory,
                                             .clean = clean_directory};

    fault_scene_play(&scene);
}
END_TEST

Suite *faults_drivers_suite(void)
{
    const TTest *const drivers[] = {move__each_call_fails,
                                    layout__each_call_fails,
                                    rate__each_call_fails,
                                    hooked__each_call_fails,
                                    answer__each_call_fails,
                                    map__each_allocation_fails,
                                    description__each_allocation_fails,
                                    NULL};
    const TTest *const plugin[] = {plugin__each_call_fails, directory__each_call_fails, NULL};
    Suite *suite = suite_create("faults/drivers");

    fault_scene_suite_add(suite, "drivers", drivers, setup);
    fault_scene_suite_add(suite, "plugin", plugin, setup_plugin);
    return suite;
}
