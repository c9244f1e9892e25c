/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_sockets.c -- listeners, connections and streams over sockets, with each call in them
 * failing. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <rmig/stream.h>

#include "tests/unit/fault_bytes.h"
#include "tests/unit/fault_scene.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

/* Long enough for a machine that stalls, no longer: nothing waits for it that works. */
static const struct rmig_channel_opts opts = {.idle_timeout_ms = 20000,
                                              .connect_timeout_ms = 20000};

static int keep_first(int rc, int more, const struct rmig_err *why, struct rmig_err *err)
{
    return rc == 0 && more < 0 ? rmig_err_set(err, more, "%s", why->msg) : rc;
}

/* --- over two ends that are connected --------------------------------------------------------- */

/* There, and back by the return paths; then both streams of in are shut down. */
static int there_and_back(struct rmig_out *out, struct rmig_in *in, struct rmig_err *err)
{
    struct rmig_in *out_back = NULL;
    struct rmig_out *in_back = NULL;
    uint32_t word = 0;
    int rc = rmig_out_return_path(out, &out_back, err);

    if (rc == 0)
        rc = rmig_in_return_path(in, &in_back, err);
    if (rc == 0)
        rc = bytes_put_to(out, 0, err);
    if (rc == 0)
        rc = bytes_get_from(in, 0, err);
    if (rc == 0) {
        rmig_out_put_be32(in_back, 77);
        rmig_out_flush(in_back);
        rc = rmig_out_error(in_back, err);
    }
    if (rc == 0) {
        rc = rmig_in_get_be32(out_back, &word);
        if (rc < 0)
            rc = bytes_stays_failed_in(out_back, err);
        else
            ck_assert_uint_eq(word, 77);
    }
    rmig_in_close(out_back, NULL);
    rmig_out_close(in_back, NULL);
    return rc;
}

/* A stream that does not wait says so; once shut down it fails. */
static int non_blocking_and_shut(struct rmig_in *in, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    uint8_t byte;
    int rc = rmig_in_set_blocking(in, false, err);

    if (rc < 0)
        return rc;
    rc = rmig_in_get_u8(in, &byte);
    if (rc != -EAGAIN)
        return bytes_stays_failed_in(in, err);
    rc = rmig_in_shutdown(in, err);
    ck_assert_int_eq(rmig_in_error(in, &e), -EIO);
    bytes_stays_failed_in(in, &e);
    return rc;
}

/* Takes both channels over. */
static int play_ends(struct rmig_channel *from, struct rmig_channel *to, struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    struct rmig_out *out = NULL;
    struct rmig_in *in = NULL;
    int rc = rmig_out_new(from, &out, err);

    if (rc < 0)
        rmig_channel_close(from, NULL);
    if (rc == 0)
        rc = rmig_in_new_mode(to, "rb", &in, err);
    if (!in)
        rmig_channel_close(to, NULL);
    if (rc == 0)
        rc = there_and_back(out, in, err);
    if (rc == 0)
        rc = non_blocking_and_shut(in, err);
    (void)rmig_in_close(in, NULL);
    return keep_first(rc, rmig_out_close(out, &close_err), &close_err, err);
}

static int ends[2];

static void prepare_pair(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static int play_pair(struct rmig_err *err)
{
    struct rmig_channel *from, *to;
    int rc = rmig_channel_from_fd(ends[0], &opts, &from, err);

    if (rc < 0) {
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    rc = rmig_channel_from_fd(ends[1], &opts, &to, err);
    if (rc < 0) {
        close(ends[1]);
        rmig_channel_close(from, NULL);
        return rc;
    }
    return play_ends(from, to, err);
}

START_TEST(pair__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "pair", .says = "fd:|stream", .prepare = prepare_pair, .play = play_pair};

    fault_scene_play(&scene);
}
END_TEST

/* A reader in full flow, to whom for a moment nothing comes, lets its sender run ahead. */
static void prepare_flow(void)
{
    static uint8_t bytes[80000];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct rmig_channel *ch;
    struct rmig_err err = RMIG_ERR_INIT;

    prepare_pair();
    ck_assert_done(rmig_channel_from_fd(ends[0], &opts, &ch, &err), &err);
    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
    rmig_channel_close(ch, NULL);
}

static int play_flow(struct rmig_err *err)
{
    static uint8_t bytes[40000];
    struct rmig_channel *ch;
    int rc = rmig_channel_from_fd(ends[1], &opts, &ch, err);

    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    rc = rmig_channel_read_all(ch, bytes, sizeof(bytes), err);
    if (rc == 0)
        rc = rmig_channel_read_all(ch, bytes, 30000, err);
    if (rc == 0)
        rc = rmig_channel_read_all(ch, bytes, 10000, err);
    rmig_channel_close(ch, NULL);
    return rc;
}

START_TEST(flow__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "pair-flow", .says = "fd:|socket:", .prepare = prepare_flow, .play = play_flow};

    fault_scene_play(&scene);
}
END_TEST

/* --- listening and connecting ----------------------------------------------------------------- */

static struct rmig_uri uri;

/* Listens at the URI, connects to it, and plays over the two ends. */
static int play_listener(struct rmig_err *err)
{
    struct rmig_channel *from, *to;
    struct rmig_uri target = uri;
    struct rmig_listener *l;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc < 0)
        return rc;
    if (uri.kind == RMIG_URI_TCP) {
        snprintf(target.port, sizeof(target.port), "%u", rmig_listener_port(l));
        if (!target.host[0])
            snprintf(target.host, sizeof(target.host), "127.0.0.1");
    }
    rc = rmig_channel_open(&target, RMIG_OPEN_WRITE, &opts, &from, err);
    if (rc == 0) {
        rc = rmig_listener_accept(l, 20000, &opts, &to, err);
        if (rc < 0)
            rmig_channel_close(from, NULL);
    }
    rmig_listener_close(l);
    return rc < 0 ? rc : play_ends(from, to, err);
}

static void prepare_tcp(void)
{
    uri = (struct rmig_uri){.kind = RMIG_URI_TCP, .host = "127.0.0.1", .port = "0", .fd = -1};
}

START_TEST(tcp__each_call_fails)
{
    static const struct fault_scene scene = {.name = "tcp",
                                             .says = "tcp|resolve|listen|stream|127.0.0.1",
                                             .prepare = prepare_tcp,
                                             .play = play_listener};

    fault_scene_play(&scene);
}
END_TEST

static void prepare_any(void)
{
    uri = (struct rmig_uri){.kind = RMIG_URI_TCP, .port = "0", .fd = -1};
}

/* Any address: of IPv6, else of IPv4. */
static int play_any(struct rmig_err *err)
{
    struct rmig_listener *l;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc == 0) {
        ck_assert_uint_gt(rmig_listener_port(l), 0);
        rmig_listener_close(l);
    }
    return rc;
}

START_TEST(any__each_call_fails)
{
    static const struct fault_scene scene = {
        .name = "any", .says = "tcp|resolve|listen", .prepare = prepare_any, .play = play_any};

    fault_scene_play(&scene);
}
END_TEST

/* A name has to be looked up. */
static void prepare_name(void)
{
    uri = (struct rmig_uri){.kind = RMIG_URI_TCP, .host = "localhost", .port = "0", .fd = -1};
}

START_TEST(name__each_call_fails)
{
    static const struct fault_scene scene = {.name = "name",
                                             .says = "tcp|resolve|listen",
                                             .prepare = prepare_name,
                                             .play = play_any,
                                             .foreign_fds = true};

    fault_scene_play(&scene);
}
END_TEST

/* --- unix ------------------------------------------------------------------------------------- */

static void prepare_unix(void)
{
    char dir[] = "/tmp/rmig-faults-XXXXXX";

    ck_assert_ptr_nonnull(mkdtemp(dir));
    uri = (struct rmig_uri){.kind = RMIG_URI_UNIX, .fd = -1};
    snprintf(uri.path, sizeof(uri.path), "%s/socket", dir);
}

/* A fault leaves no socket behind in the file system but where it is that it cannot be removed. */
static void clean_unix(void)
{
    unlink(uri.path);
    *strrchr(uri.path, '/') = '\0';
    ck_assert_int_eq(rmdir(uri.path), 0);
}

static int play_unix(struct rmig_err *err)
{
    struct stat st;
    int rc = play_listener(err);

    if (rc < 0 && fault_came() < 2) /* the second one is that it cannot be removed */
        ck_assert_msg(lstat(uri.path, &st) < 0, "the socket's file is left: %s", err->msg);
    return rc;
}

START_TEST(unix__each_call_fails)
{
    static const struct fault_scene scene = {.name = "unix",
                                             .says = "unix|listen|stream",
                                             .prepare = prepare_unix,
                                             .play = play_unix,
                                             .clean = clean_unix};

    fault_scene_play(&scene);
}
END_TEST

/* A listener that is gone has left its file. */
static void prepare_stale(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    prepare_unix();
    memcpy(address.sun_path, uri.path, strlen(uri.path));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static int play_stale(struct rmig_err *err)
{
    struct rmig_listener *l;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc == 0)
        rmig_listener_close(l);
    return rc;
}

START_TEST(stale__each_call_fails)
{
    static const struct fault_scene scene = {.name = "stale",
                                             .says = "unix|listen",
                                             .prepare = prepare_stale,
                                             .play = play_stale,
                                             .clean = clean_unix};

    fault_scene_play(&scene);
}
END_TEST

/* A listener that is there is not replaced. */
static int play_taken(struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_listener *l, *other;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc < 0)
        return rc;
    rc = rmig_listener_open(&uri, &other, &e);
    if (rc == 0) /* there is one all the same if the system says that nobody listens */
        rmig_listener_close(other);
    ck_assert(rc == -EADDRINUSE || fault_came());
    rmig_listener_close(l);
    return rc == 0 || rc == -EADDRINUSE ? 0 : rmig_err_set(err, rc, "%s", e.msg);
}

START_TEST(taken__each_call_fails)
{
    static const struct fault_scene scene = {.name = "taken",
                                             .says = "unix|listen",
                                             .prepare = prepare_unix,
                                             .play = play_taken,
                                             .clean = clean_unix};

    fault_scene_play(&scene);
}
END_TEST

/* --- a peer that is silent -------------------------------------------------------------------- */

/* Nobody connects: the wait ends at its deadline, by a clock that jumps there. */
static int play_nobody(struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    struct rmig_listener *l;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc < 0)
        return rc;
    rc = rmig_listener_accept(l, 1000, &opts, &ch, &e);
    rmig_listener_close(l);
    return rc == -ETIMEDOUT ? 0 : rmig_err_set(err, rc, "%s", e.msg);
}

START_TEST(nobody__each_call_fails)
{
    static const struct fault_scene scene = {.name = "nobody",
                                             .says = "tcp|resolve|listen|127.0.0.1",
                                             .prepare = prepare_tcp,
                                             .play = play_nobody,
                                             .clock_jumps = true};

    fault_scene_play(&scene);
}
END_TEST

/* Connected, and nothing comes: the peer is looked at from time to time, until the idle deadline.
 */
static int play_silent(struct rmig_err *err)
{
    struct rmig_channel_opts brief = {.idle_timeout_ms = 1000, .connect_timeout_ms = 20000};
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_uri target = uri;
    struct rmig_channel *ch;
    struct rmig_listener *l;
    uint8_t byte;
    int rc = rmig_listener_open(&uri, &l, err), close_rc;

    if (rc < 0)
        return rc;
    snprintf(target.port, sizeof(target.port), "%u", rmig_listener_port(l));
    rc = rmig_channel_open(&target, RMIG_OPEN_READ, &brief, &ch, err);
    if (rc == 0) {
        rc = rmig_channel_read_all(ch, &byte, 1, &e);
        rc = rc == -ETIMEDOUT ? 0 : rmig_err_set(err, rc, "%s", e.msg);
        e = (struct rmig_err)RMIG_ERR_INIT;
        close_rc = rmig_channel_close(ch, &e);
        rc = keep_first(rc, close_rc, &e, err);
    }
    rmig_listener_close(l);
    return rc;
}

START_TEST(silent__each_call_fails)
{
    static const struct fault_scene scene = {.name = "silent",
                                             .says = "tcp|resolve|listen|127.0.0.1",
                                             .prepare = prepare_tcp,
                                             .play = play_silent,
                                             .clock_jumps = true};

    fault_scene_play(&scene);
}
END_TEST

/* Sends until the peer's window is closed, and all that was sent is acknowledged. */
static void close_window(struct rmig_channel *ch, const struct iovec *iov)
{
    struct tcp_info info = {.tcpi_unacked = 1};
    socklen_t len = sizeof(info);
    bool full = false;

    ck_assert_int_eq(ch->ops->set_blocking(ch, false, NULL), 0);
    while (!full || info.tcpi_unacked) {
        full = ch->ops->writev(ch, iov, 1, NULL) == -EAGAIN;
        if (full)
            sleep_ms(1);
        ck_assert_int_eq(getsockopt(rmig_channel_fd(ch), IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    }
    ck_assert_int_eq(ch->ops->set_blocking(ch, true, NULL), 0);
}

/* A peer that takes nothing more: it is looked at whether it lives. */
static int stuff(struct rmig_listener *l, struct rmig_channel *ch, struct rmig_err *err)
{
    const int small = 4096;
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_channel *peer;
    struct iovec iov = more_than_fits();
    int rc;

    ck_assert_int_eq(setsockopt(rmig_channel_fd(ch), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)),
                     0);
    rc = rmig_listener_accept(l, 20000, &opts, &peer, err);
    if (rc == 0) {
        close_window(ch, &iov);
        fault_clock_jumps();
        rc = rmig_channel_writev_all(ch, &iov, 1, &e);
        rc = rc == -ETIMEDOUT ? 0 : rmig_err_set(err, rc, "%s", e.msg);
        rmig_channel_close(peer, NULL);
    }
    munmap(iov.iov_base, iov.iov_len);
    return rc;
}

static int play_stuffed(struct rmig_err *err)
{
    const struct rmig_channel_opts brief = {.idle_timeout_ms = 1000, .connect_timeout_ms = 20000};
    const int small = 4096;
    struct rmig_uri target = uri;
    struct rmig_channel *ch;
    struct rmig_listener *l;
    int rc = rmig_listener_open(&uri, &l, err);

    if (rc < 0)
        return rc;
    /* what is accepted inherits it */
    ck_assert_int_eq(setsockopt(rmig_listener_fd(l), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)),
                     0);
    snprintf(target.port, sizeof(target.port), "%u", rmig_listener_port(l));
    rc = rmig_channel_open(&target, RMIG_OPEN_WRITE, &brief, &ch, err);
    if (rc == 0) {
        rc = stuff(l, ch, err);
        rmig_channel_close(ch, NULL);
    }
    rmig_listener_close(l);
    return rc;
}

START_TEST(stuffed__each_call_fails)
{
    static const struct fault_scene scene = {.name = "silent-and-stuffed",
                                             .says = "tcp|resolve|listen|127.0.0.1",
                                             .prepare = prepare_tcp,
                                             .play = play_stuffed};

    fault_scene_play_call(&scene, CALL_setsockopt);
}
END_TEST

Suite *faults_sockets_suite(void)
{
    const TTest *const pair[] = {pair__each_call_fails, flow__each_call_fails, NULL};
    const TTest *const tcp[] = {tcp__each_call_fails,     any__each_call_fails,
                                nobody__each_call_fails,  silent__each_call_fails,
                                stuffed__each_call_fails, NULL};
    const TTest *const lookup[] = {name__each_call_fails, NULL};
    const TTest *const local[] = {unix__each_call_fails, stale__each_call_fails,
                                  taken__each_call_fails, NULL};
    Suite *suite = suite_create("faults/sockets");

    fault_scene_suite_add(suite, "pair", pair, bytes_init);
    fault_scene_suite_add(suite, "tcp", tcp, bytes_init);
    fault_scene_suite_add(suite, "lookup", lookup, bytes_init);
    fault_scene_suite_add(suite, "unix", local, bytes_init);
    return suite;
}
