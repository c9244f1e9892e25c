/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_migrate_move.c -- whole moves of a guest that runs: what ends well, what fails, who runs it. By
 * tcp; with RMIG_TEST_RDMA_ADDR, an address of this host that has RDMA, by rdma.
 */
#include <rmig/migrate.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "stream/format.h"
#include "tests/unit/vm.h"

static struct vm here, there;
static struct rmig_source *source;
static struct rmig_dest *dest;
static struct rmig_source_opts source_opts;
static struct rmig_dest_opts dest_opts;
static struct rmig_err err, dest_err;
static int rc, dest_rc;
static pthread_t dest_thread;
static char uri[64], scratch[] = "/tmp/rmig-move.XXXXXX";

static void setup(void)
{
    vm_init(&here);
    vm_init(&there);
    guest_fill(&here.guest, 0, 512, 500, 7); /* behind what the vCPU writes to */
    source = NULL;
    dest = NULL;
    source_opts = (struct rmig_source_opts){.struct_size = sizeof(source_opts),
                                            .idle_timeout_ms = 3000};
    dest_opts = (struct rmig_dest_opts){.struct_size = sizeof(dest_opts), .idle_timeout_ms = 3000,
                                        .accept_timeout_ms = 5000};
    err = dest_err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
    rmig_source_free(source);
    rmig_dest_free(dest);
    vm_release(&here);
    vm_release(&there);
}

static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* --- both ends -------------------------------------------------------------------------------- */

static const char *rdma_addr(void)
{
    return getenv("RMIG_TEST_RDMA_ADDR");
}

/* What the other side says of its failure: over RDMA only that it failed. */
static const char *said(const char *reason)
{
    return rdma_addr() ? "reported that it failed" : reason;
}

static void *dest_main(void *unused)
{
    dest_rc = rmig_dest_run(dest, &dest_err);
    return unused;
}

static void make_dest_at(const char *at)
{
    ck_assert_msg(rmig_dest_new(&dest, at, &there.ops, &there, &dest_opts, &err) == 0, "%s",
                  err.msg);
}

static void make_dest(void)
{
    const char *addr = rdma_addr() ? rdma_addr() : "127.0.0.1";
    const char *scheme = rdma_addr() ? "rdma" : "tcp";

    snprintf(uri, sizeof(uri), "%s:%s:0", scheme, addr);
    make_dest_at(uri);
    snprintf(uri, sizeof(uri), "%s:%s:%u", scheme, addr, rmig_dest_port(dest));
}

static void make_source(const char *to)
{
    ck_assert_msg(rmig_source_new(&source, to, &here.ops, &here, &source_opts, &err) == 0, "%s",
                  err.msg);
}

/* The guest runs here; both ends are made and the destination waits. */
static void make_both(void)
{
    make_dest();
    make_source(uri);
    there.hot_pages = here.hot_pages;
    vm_start(&here);
    ck_assert_int_eq(pthread_create(&dest_thread, NULL, dest_main, NULL), 0);
}

static void run_both(void)
{
    make_both();
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
}

static enum rmig_move_state source_state(void)
{
    struct rmig_move_status status;

    rmig_source_status(source, &status);
    return status.state;
}

static enum rmig_move_state dest_state(void)
{
    struct rmig_move_status status;

    rmig_dest_status(dest, &status);
    return status.state;
}

/* It went on there with what it had here, and lost nothing. */
static void assert_moved(void)
{
    uint64_t at_move = here.counter;

    ck_assert_msg(rc == 0 && dest_rc == 0, "%d %s; %d %s", rc, err.msg, dest_rc, dest_err.msg);
    ck_assert_int_eq(source_state(), RMIG_MOVE_DONE);
    ck_assert_int_eq(dest_state(), RMIG_MOVE_DONE);
    ck_assert(!here.has_thread && there.has_thread && !atomic_load(&here.tracking));
    sleep_ms(5);
    vm_stop(&there);
    ck_assert_uint_ge(there.counter, at_move);
    vm_assert_whole(&there);
    for (uint32_t page = here.hot_pages; page < VM_PAGES; page++)
        ck_assert_mem_eq(guest_page(&there.guest, 0, page), guest_page(&here.guest, 0, page),
                         RMIG_PAGE_BYTES);
}

/* It runs here as if nothing had been, and has never run there. */
static void assert_stayed(int code, const char *what)
{
    ck_assert_msg(rc == code && strstr(err.msg, what), "%d: \"%s\", not %d, \"%s\"", rc, err.msg,
                  code, what);
    ck_assert_int_eq(source_state(), RMIG_MOVE_FAILED);
    ck_assert(here.has_thread && !there.has_thread && !atomic_load(&here.tracking));
    ck_assert_uint_eq(atomic_load(&here.throttle_percent), 0);
    if (dest) {
        ck_assert_int_lt(dest_rc, 0);
        ck_assert_int_eq(dest_state(), RMIG_MOVE_FAILED);
    }
    sleep_ms(5);
    vm_stop(&here);
    vm_assert_whole(&here);
}

/* --- what ends well --------------------------------------------------------------------------- */

START_TEST(move__a_running_guest_goes_on_there)
{
    struct rmig_move_status status;

    run_both();
    rmig_source_status(source, &status);
    assert_moved();
    ck_assert_str_eq(status.transport, rdma_addr() ? "rdma" : "tcp");
    ck_assert_uint_eq(status.total_ram_bytes, (uint64_t)VM_PAGES * RMIG_PAGE_BYTES);
    ck_assert_uint_ge(status.sent_bytes, 500 * RMIG_PAGE_BYTES);
    ck_assert_uint_ge(status.zero_bytes, 1000 * RMIG_PAGE_BYTES);
    ck_assert(status.round >= 1 && status.throughput_bytes_per_s > 0 && status.setup_ns > 0);
    ck_assert(status.downtime_ns > 0 && status.downtime_ns < status.elapsed_ns);
    ck_assert(status.device_state_bytes > 8 && status.device_state_bytes < 100);
    ck_assert_uint_eq(status.remaining_bytes, 0);
    ck_assert_uint_eq(here.npause, 1);
    ck_assert_uint_eq(here.nresume, 0);
}
END_TEST

/* The destination's memory is new, and says so; is used, and does not. */
START_TEST(move__zero_pages_are_said_where_ram_there_is_not_zero)
{
    struct rmig_move_status status;

    if (_i)
        memset(guest_page(&there.guest, 0, 0), 0xff, (size_t)VM_PAGES * RMIG_PAGE_BYTES);
    else
        dest_opts.flags = RMIG_DEST_RAM_IS_ZERO;
    run_both();
    assert_moved();
    rmig_source_status(source, &status);
    ck_assert_uint_ge(status.zero_bytes, 1000 * RMIG_PAGE_BYTES);
    if (_i)
        ck_assert_uint_eq(status.unsaid_bytes, 0);
    else
        ck_assert_uint_ge(status.unsaid_bytes, 1000 * RMIG_PAGE_BYTES);
}
END_TEST

static unsigned nprobed;

/* Sockets of this process whose peer has to miss 11 probes before it is dead. */
static void count_probed(void *unused)
{
    (void)unused;
    for (int fd = 0; fd < 64; fd++) {
        int probes = 0;
        socklen_t len = sizeof(probes);

        if (getsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, &len) == 0 && probes == 11)
            nprobed++;
    }
}

START_TEST(move__both_ends_notice_a_dead_peer_as_late_as_asked)
{
    nprobed = 0;
    source_opts.dead_peer_ms = dest_opts.dead_peer_ms = 20000;
    here.on_save = count_probed;
    run_both();
    assert_moved();
    ck_assert_uint_eq(nprobed, 2);
}
END_TEST

START_TEST(move__over_a_unix_socket_and_over_a_pair)
{
    int fds[2];

    if (_i) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        snprintf(uri, sizeof(uri), "fd:%d", fds[1]);
        make_dest_at(uri);
        snprintf(uri, sizeof(uri), "fd:%d", fds[0]);
    } else {
        snprintf(uri, sizeof(uri), "unix:/tmp/rmig-move-%d", (int)getpid());
        make_dest_at(uri);
    }
    make_source(uri);
    vm_start(&here);
    ck_assert_int_eq(pthread_create(&dest_thread, NULL, dest_main, NULL), 0);
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
    assert_moved();
}
END_TEST

/* Both ends driven by one thread that polls: no op is called on another one. */
static pthread_t main_thread;

static void assert_main_thread(void *unused)
{
    (void)unused;
    ck_assert(pthread_equal(pthread_self(), main_thread));
}

static void count_progress(void *opaque, const struct rmig_move_status *status)
{
    unsigned *seen = opaque;

    assert_main_thread(NULL);
    *seen |= 1u << status->state;
}

START_TEST(step__one_thread_drives_both_ends)
{
    struct pollfd fds[2];
    unsigned seen = 0;
    bool source_ended = false, dest_ended = false;

    main_thread = pthread_self();
    here.on_save = here.on_sync = there.on_resume = assert_main_thread;
    source_opts.progress = count_progress;
    source_opts.progress_opaque = &seen;
    make_dest();
    make_source(uri);
    vm_start(&here);
    fds[0] = (struct pollfd){rmig_source_fd(source), POLLIN, 0};
    fds[1] = (struct pollfd){rmig_dest_fd(dest), POLLIN, 0};
    ck_assert_int_eq(rmig_source_step(source, &err), 1);
    ck_assert_int_eq(rmig_dest_step(dest, &dest_err), 1);
    while (!source_ended || !dest_ended) {
        fds[0].fd = source_ended ? -1 : fds[0].fd;
        fds[1].fd = dest_ended ? -1 : fds[1].fd;
        ck_assert_int_ge(poll(fds, 2, 5000), 1);
        if (fds[0].revents) {
            rc = rmig_source_step(source, &err);
            source_ended = rc != 1;
        }
        if (fds[1].revents) {
            dest_rc = rmig_dest_step(dest, &dest_err);
            dest_ended = dest_rc != 1;
        }
    }
    assert_moved();
    ck_assert_uint_ne(seen & 1u << RMIG_MOVE_DONE, 0);
    ck_assert_int_eq(rmig_source_step(source, &err), -EINVAL);
}
END_TEST

START_TEST(store__a_guest_lies_in_a_file_and_runs_from_it)
{
    int fd = mkstemp(scratch);

    close(fd);
    snprintf(uri, sizeof(uri), "file:%s", scratch);
    make_source(uri);
    vm_start(&here);
    rc = rmig_source_run(source, &err);
    ck_assert_int_eq(rc, 0);
    ck_assert(!here.has_thread);
    ck_assert_uint_eq(vm_count_running(), 0);
    ck_assert_int_eq(source_state(), RMIG_MOVE_DONE);
    ck_assert_int_eq(rmig_dest_new(&dest, uri, &there.ops, &there, &dest_opts, &err), 0);
    dest_main(NULL);
    unlink(scratch);
    assert_moved();
}
END_TEST

/* The go-ahead is the last thing in the file: without it nothing runs. */
START_TEST(store__a_file_that_is_cut_off_does_not_run)
{
    int fd = mkstemp(scratch);
    off_t len;

    snprintf(uri, sizeof(uri), "file:%s", scratch);
    make_source(uri);
    ck_assert_int_eq(rmig_source_run(source, &err), 0);
    len = lseek(fd, 0, SEEK_END);
    ck_assert_int_eq(ftruncate(fd, _i ? len / 2 : len - 1), 0);
    ck_assert_int_eq(rmig_dest_new(&dest, uri, &there.ops, &there, &dest_opts, &err), 0);
    dest_main(NULL);
    close(fd);
    unlink(scratch);
    ck_assert_int_eq(dest_rc, -EIO);
    ck_assert(!there.has_thread && there.nresume == 0);
}
END_TEST

/* --- convergence ------------------------------------------------------------------------------ */

/* 8 MB/s of link, and a guest that writes four times that. */
static void slow_link(void)
{
    source_opts.max_bandwidth_bytes_per_s = 8 << 20;
    source_opts.downtime_limit_ms = 20;
    here.hot_pages = VM_PAGES;
    here.step_us = 10;
}

START_TEST(converge__a_guest_that_is_too_fast_stays_at_the_deadline)
{
    slow_link();
    source_opts.deadline_ms = 1000;
    run_both();
    assert_stayed(-ETIME, "did not converge in 1000 ms");
    ck_assert_ptr_null(strstr(err.msg, " 0.0 MiB"));
    ck_assert_uint_eq(here.nthrottle, 0);
}
END_TEST

START_TEST(converge__with_auto_converge_it_is_slowed_until_it_fits)
{
    struct rmig_move_status status;

    slow_link();
    here.hot_pages = 512;
    source_opts.auto_converge = true;
    source_opts.downtime_limit_ms = 150;
    run_both();
    assert_moved();
    ck_assert_uint_ge(here.nthrottle, 1);
    ck_assert_uint_eq(atomic_load(&here.throttle_percent), 0);
    rmig_source_status(source, &status);
    ck_assert_uint_eq(status.throttle_percent, 0);
}
END_TEST

/* --- what fails ------------------------------------------------------------------------------- */

START_TEST(fail__a_destination_that_refuses_says_why)
{
    there.fail_load = -ENODEV;
    run_both();
    assert_stayed(-EREMOTEIO, said("device cpu: no such device here"));
    ck_assert_int_eq(dest_rc, -ENODEV);
    ck_assert_uint_eq(there.nresume, 0);
}
END_TEST

START_TEST(fail__a_guest_that_does_not_start_there_runs_here)
{
    there.fail_resume = -EIO;
    run_both();
    assert_stayed(-EREMOTEIO, said("no vCPU would start"));
    ck_assert_int_eq(dest_rc, -EIO);
    ck_assert_uint_eq(here.nresume, 1);
}
END_TEST

START_TEST(fail__an_op_of_the_source)
{
    if (_i)
        here.fail_save = -EIO;
    else
        here.fail_pause = -EBUSY;
    run_both();
    assert_stayed(_i ? -EIO : -EBUSY, _i ? "save_devices: a device has no state"
                                         : "pause: a vCPU is stuck");
}
END_TEST

START_TEST(fail__nobody_listens)
{
    make_dest();
    rmig_dest_free(dest);
    dest = NULL;
    make_source(uri);
    vm_start(&here);
    rc = rmig_source_run(source, &err);
    assert_stayed(-ECONNREFUSED, "");
    ck_assert_uint_eq(here.npause, 0);
}
END_TEST

START_TEST(fail__other_memory_there)
{
    guest_add(&there.guest, "more", RMIG_PAGE_BYTES, true);
    dest_opts.accept_timeout_ms = 500;
    run_both();
    ck_assert_int_eq(dest_rc, -ETIMEDOUT); /* it went on waiting for the right one */
    ck_assert_int_lt(rc, 0);
    assert_stayed(rc, "");
    ck_assert_uint_eq(here.npause, 0);
}
END_TEST

/* --- cancel ----------------------------------------------------------------------------------- */

static void cancel_source(void *unused)
{
    (void)unused;
    ck_assert_int_eq(rmig_source_cancel(source), 0);
}

static void cancel_dest(void *unused)
{
    (void)unused;
    ck_assert_int_eq(rmig_dest_cancel(dest), 0);
}

START_TEST(cancel__before_the_go_ahead_the_guest_stays)
{
    void (**when)(void *opaque) = _i & 1 ? &here.on_save : &here.on_sync;

    *when = _i & 2 ? cancel_dest : cancel_source;
    run_both();
    ck_assert_int_eq(_i & 2 ? dest_rc : rc, -ECANCELED);
    assert_stayed(rc, "");
}
END_TEST

START_TEST(cancel__before_run_is_kept)
{
    make_both();
    ck_assert_int_eq(rmig_source_cancel(source), 0);
    ck_assert_int_eq(rmig_dest_cancel(dest), 0);
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
    assert_stayed(-ECANCELED, "");
}
END_TEST

static void dest_gives_up(void *unused, const struct rmig_move_status *status)
{
    (void)unused;
    if (status->state != RMIG_MOVE_COMMITTED || dest_state() == RMIG_MOVE_FAILED)
        return;
    ck_assert_int_eq(rmig_dest_cancel(dest), 0);
    while (dest_state() != RMIG_MOVE_FAILED)
        sleep_ms(1);
}

/* It has everything, and is cancelled before the go-ahead comes: it says so, and there is no doubt. */
START_TEST(cancel__of_the_destination_at_the_go_ahead_leaves_no_doubt)
{
    source_opts.progress = dest_gives_up;
    run_both();
    ck_assert_int_eq(dest_rc, -ECANCELED);
    assert_stayed(-EREMOTEIO, said("cancelled"));
}
END_TEST

static void cancel_both_in_vain(void *unused)
{
    (void)unused;
    ck_assert_int_eq(rmig_source_cancel(source), -EALREADY);
    ck_assert_int_eq(rmig_dest_cancel(dest), -EALREADY);
}

START_TEST(cancel__after_the_go_ahead_comes_too_late)
{
    there.on_resume = cancel_both_in_vain;
    run_both();
    assert_moved();
}
END_TEST

/* --- doubt ------------------------------------------------------------------------------------ */

static void be_slow(void *unused)
{
    (void)unused;
    sleep_ms(600);
}

START_TEST(doubt__no_answer_to_the_go_ahead)
{
    source_opts.idle_timeout_ms = 200;
    there.on_resume = be_slow;
    make_both();
    rc = rmig_source_run(source, &err);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "nobody knows"));
    ck_assert_int_eq(source_state(), RMIG_MOVE_IN_DOUBT);
    ck_assert(!here.has_thread && here.nresume == 0);
    pthread_join(dest_thread, NULL);
    ck_assert_int_eq(dest_rc, 0);
    vm_stop(&there); /* its host is fenced */
    ck_assert_int_eq(rmig_source_reclaim(source, &err), 0);
    ck_assert(here.has_thread);
    ck_assert_int_eq(source_state(), RMIG_MOVE_FAILED);
    ck_assert_int_eq(rmig_source_reclaim(source, NULL), -EINVAL);
}
END_TEST

/* --- strangers -------------------------------------------------------------------------------- */

START_TEST(strangers__are_sent_away_and_the_wait_goes_on)
{
    static const char garbage[] = "GET / HTTP/1.1\r\n\r\n";
    struct rmig_channel *ch = NULL;
    struct rmig_uri to;

    make_both();
    ck_assert_int_eq(rmig_uri_parse(uri, &to, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct iovec iov = {(void *)(uintptr_t)garbage, sizeof(garbage)};

        ck_assert_int_eq(rmig_channel_open(&to, RMIG_OPEN_WRITE, NULL, &ch, NULL), 0);
        if (i)
            ck_assert_int_eq(rmig_channel_writev_all(ch, &iov, 1, NULL), 0);
        rmig_channel_close(ch, NULL);
    }
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
    assert_moved();
}
END_TEST

/* Page 1500 of a block that is not over yet: the START section of a source, and a page in its middle. */
static void stranger_writes(const struct rmig_uri *to)
{
    const size_t end_bytes = 8 + 5; /* EOS and footer */
    struct rmig_save *save = NULL;
    struct rmig_channel *ch = NULL;
    uint8_t record[8 + 1 + 255 + RMIG_PAGE_BYTES], *p = record;
    const char *name = here.guest.blocks[0].name;
    struct messages m;
    struct rmig_out *out;

    messages_init(&m);
    out = messages_out(&m);
    ck_assert_int_eq(rmig_save_new(&save, out, here.guest.blocks, 1, NULL, &err), 0);
    ck_assert_int_eq(rmig_save_setup(save, &err), 0);
    rmig_store_be64(p, rmig_format_ram_word((uint64_t)1500 * RMIG_PAGE_BYTES, RMIG_RAM_PAGE));
    p += 8;
    *p++ = (uint8_t)strlen(name);
    memcpy(p, name, strlen(name));
    p += strlen(name);
    memset(p, 0xff, RMIG_PAGE_BYTES);
    p += RMIG_PAGE_BYTES;
    struct iovec iov[] = {{m.bytes, m.len - end_bytes}, {record, (size_t)(p - record)}};
    ck_assert_int_eq(rmig_channel_open(to, RMIG_OPEN_WRITE, NULL, &ch, NULL), 0);
    ck_assert_int_eq(rmig_channel_writev_all(ch, iov, 2, NULL), 0);
    rmig_channel_close(ch, NULL);
    rmig_save_free(save);
    rmig_out_close(out, NULL);
    messages_release(&m);
}

/* What a stranger has written is not taken for the memory that was promised to read zero. */
START_TEST(strangers__what_they_wrote_is_gone)
{
    struct rmig_uri to;

    dest_opts.flags = RMIG_DEST_RAM_IS_ZERO;
    make_both();
    ck_assert_int_eq(rmig_uri_parse(uri, &to, NULL), 0);
    stranger_writes(&to);
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
    assert_moved();
}
END_TEST

/* --- bad input -------------------------------------------------------------------------------- */

START_TEST(new__what_is_wrong_is_named)
{
    struct rmig_vm_ops ops = here.ops;

    ck_assert_int_eq(rmig_source_new(&source, "tcp:host", &ops, &here, NULL, &err), -EINVAL);
    ops.pause = NULL;
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_source_new(&source, "tcp:h:1", &ops, &here, NULL, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "pause"));
    ops = here.ops;
    ops.throttle = NULL;
    source_opts.auto_converge = true;
    err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_source_new(&source, "tcp:h:1", &ops, &here, &source_opts, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "throttle"));
    ops.struct_size = 8;
    ck_assert_int_eq(rmig_dest_new(&dest, "tcp::0", &ops, &here, NULL, NULL), -EINVAL);
    ck_assert_ptr_null(source);
    ck_assert_ptr_null(dest);
}
END_TEST

START_TEST(free__ends_what_runs)
{
    make_dest();
    ck_assert_int_eq(rmig_dest_step(dest, &err), 1);
    if (_i) {
        make_source(uri);
        vm_start(&here);
        ck_assert_int_eq(rmig_source_step(source, &err), 1);
        sleep_ms(20);
        rmig_source_free(source);
        source = NULL;
        ck_assert(here.has_thread);
    }
    rmig_dest_free(dest);
    dest = NULL;
    ck_assert(!there.has_thread);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("migrate/move");
    TCase *tc = tcase_create("move");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, move__a_running_guest_goes_on_there);
    tcase_add_loop_test(tc, move__zero_pages_are_said_where_ram_there_is_not_zero, 0, 2);
    if (!rdma_addr())
        tcase_add_test(tc, move__both_ends_notice_a_dead_peer_as_late_as_asked);
    tcase_add_loop_test(tc, move__over_a_unix_socket_and_over_a_pair, 0, 2);
    tcase_add_test(tc, step__one_thread_drives_both_ends);
    tcase_add_test(tc, store__a_guest_lies_in_a_file_and_runs_from_it);
    tcase_add_loop_test(tc, store__a_file_that_is_cut_off_does_not_run, 0, 2);
    tcase_add_test(tc, fail__a_destination_that_refuses_says_why);
    tcase_add_test(tc, fail__a_guest_that_does_not_start_there_runs_here);
    tcase_add_loop_test(tc, fail__an_op_of_the_source, 0, 2);
    tcase_add_test(tc, fail__nobody_listens);
    tcase_add_test(tc, fail__other_memory_there);
    tcase_add_loop_test(tc, cancel__before_the_go_ahead_the_guest_stays, 0, 4);
    tcase_add_test(tc, cancel__before_run_is_kept);
    tcase_add_test(tc, cancel__of_the_destination_at_the_go_ahead_leaves_no_doubt);
    tcase_add_test(tc, cancel__after_the_go_ahead_comes_too_late);
    tcase_add_test(tc, doubt__no_answer_to_the_go_ahead);
    if (!rdma_addr()) {
        tcase_add_test(tc, strangers__are_sent_away_and_the_wait_goes_on);
        tcase_add_test(tc, strangers__what_they_wrote_is_gone);
    }
    tcase_add_test(tc, new__what_is_wrong_is_named);
    tcase_add_loop_test(tc, free__ends_what_runs, 0, 2);
    suite_add_tcase(s, tc);
    /* how fast the guest is and the move: not for a machine that does other work */
    tc = tcase_create("converge");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_set_tags(tc, "speed");
    tcase_add_test(tc, converge__a_guest_that_is_too_fast_stays_at_the_deadline);
    tcase_add_test(tc, converge__with_auto_converge_it_is_slowed_until_it_fits);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
