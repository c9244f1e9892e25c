/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_plugin.c -- the ops table as a host uses it: options, limits, the end of a connection. */
#include <rmig/transport.h>

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bytes.h"
#include "tests/unit/rdma_move.h"
#include "tests/unit/suites.h"

#define MIB ((uint64_t)1 << 20)

static const struct rmig_transport_ops *ops;
static struct rmig_transport_params params;
static struct rmig_err err;
static struct ram ram;

static const uint64_t lengths[] = { 2 * MIB };

static void setup(void)
{
    fabric_reset();
    ops = move_ops();
    err = (struct rmig_err)RMIG_ERR_INIT;
    params = fixture_params();
    ram_init(&ram, 1, lengths);
}

static void teardown(void)
{
    ram_release(&ram);
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
    fabric_reset();
}

/* --- the table -------------------------------------------------------------------------------- */

START_TEST(init__table_is_complete)
{
    ck_assert_uint_eq(ops->abi, RMIG_TRANSPORT_ABI);
    ck_assert_uint_eq(ops->struct_size, sizeof(*ops));
    ck_assert_str_eq(ops->name, "rdma");
    ck_assert(ops->probe && ops->connect && ops->listen && ops->accept && ops->listener_close);
    ck_assert(ops->channel && ops->hooks && ops->finish && ops->stats && ops->close);
}
END_TEST

START_TEST(init__host_of_another_kind_is_refused)
{
    struct rmig_host host = { .abi = RMIG_TRANSPORT_ABI + 1, .struct_size = sizeof(host) };

    ck_assert_ptr_null(rmig_transport_init(NULL));
    ck_assert_ptr_null(rmig_transport_init(&host));
    host.abi = RMIG_TRANSPORT_ABI;
    host.struct_size = sizeof(host) - 1;
    ck_assert_ptr_null(rmig_transport_init(&host));
}
END_TEST

START_TEST(close__of_nothing_is_fine)
{
    ops->close(NULL);
    ops->listener_close(NULL);
}
END_TEST

/* --- options that cannot be met --------------------------------------------------------------- */

/* How probe, connect and listen answer to the same options. */
static int try_op(int which)
{
    struct rmig_transport_listener *listener;
    struct rmig_transport_conn *conn;
    uint16_t port;

    err = (struct rmig_err)RMIG_ERR_INIT;
    switch (which) {
    case 0:
        return ops->probe(&params, 0, &err);
    case 1:
        return ops->connect(&params, &conn, &err);
    default:
        return ops->listen(&params, &listener, &port, &err);
    }
}

START_TEST(options__no_device_on_this_host)
{
    fabric_set_devices(0);
    ck_assert_failed(try_op(_i), -ENODEV, &err, "no RDMA device");
}
END_TEST

START_TEST(options__device_that_does_not_exist_is_named)
{
    params.device = "mlx9_9";
    params.host = _i == 2 ? NULL : "127.0.0.1";
    params.port = "4";
    ck_assert_failed(try_op(_i), -ENODEV, &err, "mlx9_9");
    ck_assert_msg(strstr(err.msg, "fab0"), "%s", err.msg); /* and those that do */
}
END_TEST

START_TEST(options__device_port_or_gid_that_it_lacks)
{
    params.device = "fab0";
    params.host = _i % 3 == 2 ? NULL : "127.0.0.1";
    params.port = "4";
    if (_i < 3)
        params.device_port = 2;
    else
        params.gid_index = 7;
    ck_assert_failed(try_op(_i % 3), -EADDRNOTAVAIL, &err, _i < 3 ? "port 2" : "GID index 7");
}
END_TEST

START_TEST(options__host_or_port_that_is_none)
{
    static const struct {
        const char *host, *port;
        int op;
    } cases[] = { { NULL, "1", 1 }, { "", "1", 1 }, { "127.0.0.1", "no-such-port", 1 },
                  { "127.0.0.1", "65536", 1 }, { "127.0.0.1", "no-such-port", 2 },
                  { "127.0.0.1", "70000", 2 } };

    params.host = cases[_i].host;
    params.port = cases[_i].port;
    ck_assert_int_lt(try_op(cases[_i].op), 0);
    ck_assert_int_ne(err.code, 0);
    ck_assert_msg(strstr(err.msg, _i < 2 ? "host" : cases[_i].port), "%s", err.msg);
}
END_TEST

START_TEST(options__defaults_are_enough_to_probe)
{
    params = (struct rmig_transport_params){ .struct_size = sizeof(params), .gid_index = -1,
                                             .cancel_fd = -1 };
    ck_assert_done(ops->probe(&params, 0, &err), &err);
    params.device = "fab0"; /* its first port */
    ck_assert_done(ops->probe(&params, 0, &err), &err);
}
END_TEST

/* --- RLIMIT_MEMLOCK --------------------------------------------------------------------------- */

struct caps {
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static void get_caps(struct caps *caps)
{
    *caps = (struct caps){ .header = { .version = _LINUX_CAPABILITY_VERSION_3 } };
    ck_assert_int_eq(syscall(SYS_capget, &caps->header, caps->data), 0);
}

static bool has_ipc_lock(const struct caps *caps)
{
    return caps->data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

static void drop_ipc_lock(struct caps caps)
{
    caps.data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    ck_assert_int_eq(syscall(SYS_capset, &caps.header, caps.data), 0);
}

static struct rlimit limit_before;
static struct caps caps_before;

static void setup_limit(void)
{
    struct rlimit limit;

    setup();
    ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit_before), 0);
    get_caps(&caps_before);
    limit = limit_before;
    limit.rlim_cur = RMIG_CTRL_PINNED_BYTES + 4096;
    if (limit.rlim_max < limit.rlim_cur)
        limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static void teardown_limit(void)
{
    ck_assert_int_eq(syscall(SYS_capset, &caps_before.header, caps_before.data), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit_before), 0);
    teardown();
}

START_TEST(memlock__limit_that_RAM_exceeds_is_refused_with_both_figures)
{
    drop_ipc_lock(caps_before);
    ck_assert_failed(ops->probe(&params, _i ? UINT64_MAX : 512 * MIB, &err), -ENOMEM, &err,
                     "RLIMIT_MEMLOCK is");
    if (!_i)
        ck_assert_msg(strstr(err.msg, "515.0 MiB"), "%s", err.msg);
    ck_assert_msg(strstr(err.msg, "ulimit -l"), "%s", err.msg);
}
END_TEST

START_TEST(memlock__limit_of_nothing_is_refused)
{
    struct rlimit none = { 0, limit_before.rlim_max };

    drop_ipc_lock(caps_before);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    ck_assert_failed(ops->probe(&params, 0, &err), -ENOMEM, &err, "RLIMIT_MEMLOCK is 0.0");
}
END_TEST

START_TEST(memlock__what_fits_is_let_through)
{
    drop_ipc_lock(caps_before);
    if (limit_before.rlim_max >= RMIG_CTRL_PINNED_BYTES + 4096)
        ck_assert_done(ops->probe(&params, 4096, &err), &err);
}
END_TEST

/* The capability exempts, where the kernel says so; in a user namespace it does not. */
START_TEST(memlock__capability_counts_as_the_kernel_counts_it)
{
    void *page = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct rlimit none = { 0, limit_before.rlim_max };
    bool exempt;

    ck_assert(page != MAP_FAILED);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    exempt = mlock(page, MIB) == 0;
    ck_assert(!exempt || has_ipc_lock(&caps_before));
    ck_assert_int_eq(ops->probe(&params, 512 * MIB, &err), exempt ? 0 : -ENOMEM);
    munmap(page, MIB);
}
END_TEST

/* --- a connection ----------------------------------------------------------------------------- */

static struct rmig_transport_conn *from, *to; /* the source's end and the destination's */
static struct rmig_transport_listener *listener;

static int connect_one(void *arg, struct rmig_err *e)
{
    (void)arg;
    return ops->connect(&params, &from, e);
}

static int accept_one(void *arg, struct rmig_err *e)
{
    (void)arg;
    return ops->accept(listener, 1000, &params, &to, e);
}

static void connect_both(void)
{
    struct task task;
    uint16_t port;
    char text[8];

    ck_assert_done(ops->listen(&params, &listener, &port, &err), &err);
    task_start(&task, accept_one, NULL);
    snprintf(text, sizeof(text), "%u", port);
    params.port = text;
    ck_assert_done(ops->connect(&params, &from, &err), &err);
    ck_assert_done(task_join(&task, 60000), &task.err);
    ops->listener_close(listener);
}

static void close_both(void)
{
    ops->close(from);
    ops->close(to);
    from = to = NULL;
}

static int write_one(void *arg, struct rmig_err *e)
{
    struct rmig_channel *ch = ops->channel(from);

    return (int)ch->ops->writev(ch, &(struct iovec){ arg, 8 }, 1, e);
}

/* 8 bytes go from one end to the other, and this many of them are read. */
static void send_and_read(size_t nread)
{
    uint8_t sent[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, got[8];
    struct rmig_channel *ch = ops->channel(to);
    struct task task;

    task_start(&task, write_one, sent);
    ck_assert_int_eq(ch->ops->readv(ch, &(struct iovec){ got, nread }, 1, &err), (ssize_t)nread);
    ck_assert_int_eq(task_join(&task, 60000), 8);
    ck_assert_mem_eq(got, sent, nread);
}

START_TEST(hooks__each_side_has_its_own)
{
    const struct rmig_hooks *source, *dest;

    connect_both();
    source = ops->hooks(from);
    dest = ops->hooks(to);
    ck_assert(source->set_blocks && source->before_iterate && source->save_page &&
              source->after_iterate && !source->load);
    ck_assert(dest->set_blocks && dest->load && !dest->before_iterate && !dest->save_page &&
              !dest->after_iterate);
    close_both();
}
END_TEST

/* The hook mark is the last thing in its message: what lies behind it would be read as guest RAM's. */
START_TEST(load__bytes_behind_the_mark_in_its_message_are_EPROTO)
{
    connect_both();
    ck_assert_done(ops->hooks(to)->set_blocks(to, ram.blocks, 1, &err), &err);
    send_and_read((size_t)_i);
    ck_assert_failed(ops->hooks(to)->load(to, RMIG_HOOK_HOOK, NULL, &err), -EPROTO, &err,
                     _i == 1 ? "7 bytes behind" : "1 bytes behind");
    close_both();
}
END_TEST

/* All that an end could be asked for when it is over answers so, and touches nothing. */
START_TEST(hooks__after_the_end_are_ENOTCONN)
{
    struct rmig_run run = { .len_bytes = RMIG_PAGE_BYTES };
    const struct rmig_hooks *source, *dest;
    struct rmig_channel *ch;
    char byte;

    connect_both();
    source = ops->hooks(from);
    dest = ops->hooks(to);
    send_and_read(8);
    if (_i)
        ck_assert_done(source->set_blocks(from, ram.blocks, 1, &err), &err);
    ck_assert_done(ops->finish(to, &err), &err);
    ck_assert_done(ops->finish(from, &err), &err);
    ck_assert_int_eq(source->set_blocks(from, ram.blocks, 1, &err), -ENOTCONN);
    ck_assert_int_eq(source->before_iterate(from, RMIG_HOOK_ROUND, &err), -ENOTCONN);
    ck_assert_int_eq(source->save_page(from, &run, NULL, &err), -ENOTCONN);
    ck_assert_int_eq(source->after_iterate(from, RMIG_HOOK_ROUND, &err), -ENOTCONN);
    ck_assert_int_eq(dest->set_blocks(to, ram.blocks, 1, &err), -ENOTCONN);
    ck_assert_int_eq(dest->load(to, RMIG_HOOK_BLOCK_REG, "block0", &err), -ENOTCONN);
    ck_assert_int_eq(dest->load(to, RMIG_HOOK_HOOK, NULL, &err), -ENOTCONN);
    ch = ops->channel(from);
    ck_assert_int_eq(ch->ops->writev(ch, &(struct iovec){ &byte, 1 }, 1, &err), -ENOTCONN);
    ck_assert_failed(err.code, -ENOTCONN, &err, "over");
    ck_assert_done(ops->finish(from, &err), &err); /* twice is fine */
    close_both();
}
END_TEST

static int exchange(void *arg, struct rmig_err *e)
{
    const struct rmig_hooks *hooks = ops->hooks(from);
    int rc = hooks->set_blocks(from, ram.blocks, 1, e);

    (void)arg;
    if (rc == 0)
        rc = hooks->before_iterate(from, RMIG_HOOK_SETUP, e);
    return rc < 0 ? rc : hooks->after_iterate(from, RMIG_HOOK_SETUP, e);
}

/* Both ends are connected, and all RAM of the destination is registered for the source. */
static void open_to_the_source(struct ram *copy)
{
    struct task task;

    ram_init(copy, 1, lengths);
    params.pin_all = true;
    connect_both();
    task_start(&task, exchange, NULL);
    ck_assert_done(ops->hooks(to)->set_blocks(to, copy->blocks, 1, &err), &err);
    ck_assert_done(ops->hooks(to)->load(to, RMIG_HOOK_BLOCK_REG, "block0", &err), &err);
    ck_assert_done(ops->hooks(to)->load(to, RMIG_HOOK_HOOK, NULL, &err), &err);
    ck_assert_done(task_join(&task, 60000), &task.err);
}

/* From the moment that finish() returns the guest may run: nothing is open to the source any more. */
START_TEST(finish__destination_gives_up_every_region)
{
    struct fabric_counts counts;
    struct ram copy;

    open_to_the_source(&copy);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.remote_regions, 1);
    ck_assert_done(ops->finish(to, &err), &err);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.remote_regions, 0);
    ck_assert_uint_eq(counts.registered_bytes, RMIG_CTRL_PINNED_BYTES);
    close_both();
    ram_release(&copy);
}
END_TEST

/* RAM is out of reach and the stream goes on; another hook mark would want it back. */
START_TEST(revoke__gives_up_every_region_and_keeps_the_channel)
{
    struct rmig_transport_stats stats = { .struct_size = sizeof(stats) };
    struct fabric_counts counts;
    struct ram copy;

    open_to_the_source(&copy);
    ck_assert_int_eq(ops->revoke(from, &err), -EINVAL);
    memset(&err, 0, sizeof(err));
    ck_assert_done(ops->revoke(to, &err), &err);
    fabric_get_counts(FABRIC_PASSIVE, &counts);
    ck_assert_uint_eq(counts.remote_regions, 0);
    send_and_read(8);
    ck_assert_int_eq(ops->stats(to, &stats), 0);
    ck_assert_uint_eq(stats.registrations, 1);
    ck_assert_failed(ops->hooks(to)->load(to, RMIG_HOOK_HOOK, NULL, &err), -EPROTO, &err,
                     "after all RAM was loaded");
    ck_assert_done(ops->finish(to, NULL), &err);
    ck_assert_int_eq(ops->revoke(to, NULL), -ENOTCONN);
    close_both();
    ram_release(&copy);
}
END_TEST

/* The guest may not run while a peer can write to its RAM. */
START_TEST(revoke__a_region_that_stays_is_a_failure)
{
    struct ram copy;

    open_to_the_source(&copy);
    fabric_fail_call(FABRIC_PASSIVE, API_dereg_mr, 1, EBUSY);
    ck_assert_failed(ops->revoke(to, &err), -EBUSY, &err, "block0");
    memset(&err, 0, sizeof(err));
    ck_assert_done(ops->revoke(to, &err), &err); /* it is tried again */
    close_both();
    ram_release(&copy);
}
END_TEST

START_TEST(listener__polls_readable_when_a_source_asks)
{
    struct pollfd fd = { .events = POLLIN };
    struct task task;
    uint16_t port;
    char text[8];

    params.connect_timeout_ms = 500;
    ck_assert_done(ops->listen(&params, &listener, &port, &err), &err);
    fd.fd = ops->listener_fd(listener);
    ck_assert_int_eq(poll(&fd, 1, 20), 0);
    snprintf(text, sizeof(text), "%u", port);
    params.port = text;
    task_start(&task, connect_one, NULL);
    ck_assert_int_eq(poll(&fd, 1, 2000), 1);
    ck_assert_done(accept_one(NULL, &err), &err);
    ck_assert_done(task_join(&task, 60000), &task.err);
    ops->listener_close(listener);
    close_both();
}
END_TEST

/* finish() at the source is no success before the destination has hung up. */
START_TEST(finish__source_waits_for_the_destination)
{
    params.idle_timeout_ms = 60;
    connect_both();
    ck_assert_failed(ops->finish(from, &err), -ETIMEDOUT, &err, "say that it has everything");
    ops->close(to);
    to = NULL;
    memset(&err, 0, sizeof(err));
    ck_assert_failed(ops->finish(from, &err), -ECONNABORTED, &err, "ERROR"); /* not in order */
    close_both();
}
END_TEST

START_TEST(stats__stay_after_the_end_and_keep_to_their_size)
{
    struct rmig_transport_stats stats = { .struct_size = sizeof(stats) }, part;

    connect_both();
    send_and_read(8);
    ck_assert_int_eq(ops->stats(from, &stats), 0);
    ck_assert_uint_eq(stats.control_messages, 1);
    ck_assert_uint_eq(stats.pinned_bytes, RMIG_CTRL_PINNED_BYTES);
    ck_assert_done(ops->finish(to, &err), &err);
    ck_assert_done(ops->finish(from, &err), &err);
    ck_assert_int_eq(ops->stats(from, &stats), 0);
    ck_assert_uint_eq(stats.control_messages, 1);
    ck_assert_uint_eq(stats.wire_bytes, RMIG_WIRE_HEADER_BYTES + 8);
    ck_assert_uint_eq(stats.pinned_bytes, 0);
    ck_assert_uint_eq(stats.peak_pinned_bytes, RMIG_CTRL_PINNED_BYTES);
    memset(&part, 0x55, sizeof(part));
    part.struct_size = offsetof(struct rmig_transport_stats, write_wrs); /* an older host's */
    ck_assert_int_eq(ops->stats(from, &part), 0);
    ck_assert_uint_eq(part.wire_bytes, stats.wire_bytes);
    ck_assert_uint_eq(part.write_wrs, UINT64_C(0x5555555555555555));
    close_both();
}
END_TEST

Suite *rdma_plugin_suite(void)
{
    Suite *suite = suite_create("rdma/plugin");
    TCase *connection = tcase_create("connection");
    TCase *table = tcase_create("table"), *options = tcase_create("options");
    TCase *memlock = tcase_create("memlock");

    suite_add_tcase(suite, table);
    tcase_add_checked_fixture(table, setup, teardown);
    tcase_add_test(table, init__table_is_complete);
    tcase_add_test(table, init__host_of_another_kind_is_refused);
    tcase_add_test(table, close__of_nothing_is_fine);
    suite_add_tcase(suite, options);
    tcase_add_checked_fixture(options, setup, teardown);
    tcase_add_loop_test(options, options__no_device_on_this_host, 0, 3);
    tcase_add_loop_test(options, options__device_that_does_not_exist_is_named, 0, 3);
    tcase_add_loop_test(options, options__device_port_or_gid_that_it_lacks, 0, 6);
    tcase_add_loop_test(options, options__host_or_port_that_is_none, 0, 6);
    tcase_add_test(options, options__defaults_are_enough_to_probe);
    suite_add_tcase(suite, memlock);
    tcase_set_tags(memlock, "memlock"); /* valgrind does not know mlock2(2) */
    tcase_add_checked_fixture(memlock, setup_limit, teardown_limit);
    tcase_add_loop_test(memlock, memlock__limit_that_RAM_exceeds_is_refused_with_both_figures, 0, 2);
    tcase_add_test(memlock, memlock__limit_of_nothing_is_refused);
    tcase_add_test(memlock, memlock__what_fits_is_let_through);
    tcase_add_test(memlock, memlock__capability_counts_as_the_kernel_counts_it);
    suite_add_tcase(suite, connection);
    tcase_add_checked_fixture(connection, setup, teardown);
    tcase_add_test(connection, hooks__each_side_has_its_own);
    tcase_add_loop_test(connection, load__bytes_behind_the_mark_in_its_message_are_EPROTO, 1, 2);
    tcase_add_loop_test(connection, load__bytes_behind_the_mark_in_its_message_are_EPROTO, 7, 8);
    tcase_add_loop_test(connection, hooks__after_the_end_are_ENOTCONN, 0, 2);
    tcase_add_test(connection, finish__destination_gives_up_every_region);
    tcase_add_test(connection, revoke__gives_up_every_region_and_keeps_the_channel);
    tcase_add_test(connection, revoke__a_region_that_stays_is_a_failure);
    tcase_add_test(connection, listener__polls_readable_when_a_source_asks);
    tcase_add_test(connection, finish__source_waits_for_the_destination);
    tcase_add_test(connection, stats__stay_after_the_end_and_keep_to_their_size);
    return suite;
}
