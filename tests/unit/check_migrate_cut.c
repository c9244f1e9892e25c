/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_migrate_cut.c -- the table of rmig(7): the link is lost at each step of a move, by a proxy that
 * closes it or falls silent. Who runs the guest then, and what do both sides say?
 */
#include <rmig/migrate.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/vm.h"

#define IDLE_MS 400u
#define ANSWER_BYTES 4u
/* Answers that the proxy has let through. */
enum { NONE, LISTED, PREPARED, STARTED };

enum cut {
    CUT_LISTED,   /* the word that the lists agree does not arrive */
    CUT_RAM,      /* half way through the first round */
    CUT_STATE,    /* device state does not arrive */
    CUT_PREPARED, /* the word that everything is there does not */
    CUT_GO,       /* the go-ahead does not */
    CUT_STARTED,  /* the word that it runs does not */
    CUT_AFTER,    /* all has been said */
    CUTS
};

static const struct {
    enum rmig_move_state source, dest;
    bool runs_here, runs_there;
} table[CUTS] = {
    [CUT_LISTED] = {RMIG_MOVE_FAILED, RMIG_MOVE_FAILED, true, false},
    [CUT_RAM] = {RMIG_MOVE_FAILED, RMIG_MOVE_FAILED, true, false},
    [CUT_STATE] = {RMIG_MOVE_FAILED, RMIG_MOVE_FAILED, true, false},
    [CUT_PREPARED] = {RMIG_MOVE_FAILED, RMIG_MOVE_FAILED, true, false},
    [CUT_GO] = {RMIG_MOVE_IN_DOUBT, RMIG_MOVE_FAILED, false, false},
    [CUT_STARTED] = {RMIG_MOVE_IN_DOUBT, RMIG_MOVE_DONE, false, true},
    [CUT_AFTER] = {RMIG_MOVE_DONE, RMIG_MOVE_DONE, false, true},
};

static struct vm here, there;
static struct rmig_source *source;
static struct rmig_dest *dest;
static struct rmig_err err, dest_err;
static int dest_rc;

/* --- the proxy -------------------------------------------------------------------------------- */

static struct proxy {
    enum cut cut;
    bool silent; /* else it closes both sides */
    uint16_t dest_port;
    int listener, from, to; /* from the source, to the destination */
    unsigned said;          /* answers let through */
    uint64_t passed_bytes;  /* of the stream */
    atomic_bool saving;     /* device state is being saved */
    atomic_bool stop;
} proxy;

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static uint16_t proxy_listen(void)
{
    struct sockaddr_in at = loopback(0);
    socklen_t len = sizeof(at);

    proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(proxy.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(proxy.listener, 1), 0);
    ck_assert_int_eq(getsockname(proxy.listener, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static void proxy_connect(void)
{
    struct sockaddr_in to = loopback(proxy.dest_port);

    proxy.from = accept(proxy.listener, NULL, NULL);
    ck_assert_int_ge(proxy.from, 0);
    proxy.to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(proxy.to, (struct sockaddr *)&to, sizeof(to)), 0);
}

/* Is it time, with something from the source waiting? */
static bool cut_before_stream(void)
{
    switch (proxy.cut) {
    case CUT_RAM:
        return proxy.passed_bytes > 300 * RMIG_PAGE_BYTES;
    case CUT_STATE:
        return atomic_load(&proxy.saving);
    case CUT_GO:
        return proxy.said == PREPARED;
    default:
        return false;
    }
}

static bool cut_before_answer(void)
{
    return (proxy.cut == CUT_LISTED && proxy.said == NONE) ||
           (proxy.cut == CUT_PREPARED && proxy.said == LISTED) ||
           (proxy.cut == CUT_STARTED && proxy.said == PREPARED);
}

/* Returns: false once it is cut, or one side has hung up. */
static bool pass(int from, int to, size_t most, ssize_t *n_p)
{
    static uint8_t buf[65536];

    *n_p = read(from, buf, most < sizeof(buf) ? most : sizeof(buf));
    return *n_p > 0 && send(to, buf, (size_t)*n_p, MSG_NOSIGNAL) == *n_p;
}

static bool proxy_step(void)
{
    struct pollfd fds[2] = {{proxy.from, POLLIN, 0}, {proxy.to, POLLIN, 0}};
    ssize_t n;

    if (poll(fds, 2, 20) < 0)
        return false;
    if (fds[1].revents) {
        if (cut_before_answer() || !pass(proxy.to, proxy.from, ANSWER_BYTES, &n))
            return false;
        proxy.said++;
        if (proxy.said == STARTED)
            return false;
    }
    if (fds[0].revents) {
        if (cut_before_stream() || !pass(proxy.from, proxy.to, 65536, &n))
            return false;
        proxy.passed_bytes += (uint64_t)n;
    }
    return true;
}

static void *proxy_main(void *unused)
{
    proxy_connect();
    while (!atomic_load(&proxy.stop) && proxy_step())
        continue;
    while (proxy.silent && !atomic_load(&proxy.stop))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    close(proxy.from);
    close(proxy.to);
    close(proxy.listener);
    return unused;
}

static void saving(void *unused)
{
    (void)unused;
    /* what was sent before passes first */
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
    atomic_store(&proxy.saving, true);
}

/* --- the table -------------------------------------------------------------------------------- */

static void *dest_main(void *unused)
{
    dest_rc = rmig_dest_run(dest, &dest_err);
    return unused;
}

static void make_both(void)
{
    const struct rmig_source_opts source_opts = {.struct_size = sizeof(source_opts),
                                                 .idle_timeout_ms = IDLE_MS};
    const struct rmig_dest_opts dest_opts = {.struct_size = sizeof(dest_opts),
                                             .idle_timeout_ms = IDLE_MS,
                                             .accept_timeout_ms = 3 * IDLE_MS};
    char uri[64];

    err = dest_err = (struct rmig_err)RMIG_ERR_INIT;
    ck_assert_int_eq(rmig_dest_new(&dest, "tcp:127.0.0.1:0", &there.ops, &there, &dest_opts, &err),
                     0);
    proxy.dest_port = rmig_dest_port(dest);
    snprintf(uri, sizeof(uri), "tcp:127.0.0.1:%u", proxy_listen());
    ck_assert_int_eq(rmig_source_new(&source, uri, &here.ops, &here, &source_opts, &err), 0);
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

START_TEST(cut__at_each_step_the_table_holds)
{
    pthread_t dest_thread, proxy_thread;
    enum cut cut = (enum cut)(_i / 2);
    int rc;

    proxy = (struct proxy){.cut = cut, .silent = _i % 2};
    vm_init(&here);
    vm_init(&there);
    guest_fill(&here.guest, 0, 100, 1500, 7);
    here.on_save = saving;
    make_both();
    vm_start(&here);
    ck_assert_int_eq(pthread_create(&dest_thread, NULL, dest_main, NULL), 0);
    ck_assert_int_eq(pthread_create(&proxy_thread, NULL, proxy_main, NULL), 0);
    rc = rmig_source_run(source, &err);
    pthread_join(dest_thread, NULL);
    atomic_store(&proxy.stop, true);
    pthread_join(proxy_thread, NULL);

    ck_assert_msg(source_state() == table[cut].source && dest_state() == table[cut].dest,
                  "source %d (%d %s), destination %d (%d %s)", source_state(), rc, err.msg,
                  dest_state(), dest_rc, dest_err.msg);
    ck_assert_int_eq(rc == 0, table[cut].source == RMIG_MOVE_DONE);
    ck_assert_int_eq(dest_rc == 0, table[cut].dest == RMIG_MOVE_DONE);
    ck_assert(here.has_thread == table[cut].runs_here && there.has_thread == table[cut].runs_there);
    ck_assert(rc == 0 || err.msg[0]);
    if (table[cut].source == RMIG_MOVE_IN_DOUBT && !table[cut].runs_there) {
        ck_assert_int_eq(rmig_source_reclaim(source, NULL), 0);
        ck_assert(here.has_thread);
    }
    vm_stop(&here);
    vm_stop(&there);
    vm_assert_whole(table[cut].runs_there ? &there : &here);
    rmig_source_free(source);
    rmig_dest_free(dest);
    vm_release(&here);
    vm_release(&there);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("migrate/cut");
    TCase *tc = tcase_create("cut");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, cut__at_each_step_the_table_holds, 0, 2 * CUTS);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
