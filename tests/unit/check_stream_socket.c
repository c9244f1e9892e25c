/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_socket.c -- tcp and unix endpoints: connecting, waiting, peers that go or are slow.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static struct rmig_err err;

static void setup(void)
{
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
}

static struct rmig_listener *listen_on(const char *text)
{
    struct rmig_uri uri = uri_of(text);
    struct rmig_listener *l;

    ck_assert_done(rmig_listener_open(&uri, &l, &err), &err);
    return l;
}

/* The URI of the listener's port at a host. */
static struct rmig_uri uri_at(const char *host, const struct rmig_listener *l)
{
    char text[64];

    snprintf(text, sizeof(text), "tcp:%s:%u", host, rmig_listener_port(l));
    return uri_of(text);
}

static struct rmig_channel *connect_to(const struct rmig_uri *uri,
                                       const struct rmig_channel_opts *opts)
{
    struct rmig_channel *ch;

    ck_assert_done(rmig_channel_open(uri, RMIG_OPEN_WRITE, opts, &ch, &err), &err);
    return ch;
}

static struct rmig_channel *accept_from(struct rmig_listener *l,
                                        const struct rmig_channel_opts *opts)
{
    struct rmig_channel *ch;

    ck_assert_done(rmig_listener_accept(l, 5000, opts, &ch, &err), &err);
    return ch;
}

/* Both ends of a connection over loopback. */
static void connect_both(const struct rmig_channel_opts *opts, struct rmig_channel **here,
                         struct rmig_channel **there)
{
    struct rmig_listener *l = listen_on("tcp:127.0.0.1:0");
    struct rmig_uri uri = uri_at("127.0.0.1", l);

    *here = connect_to(&uri, opts);
    *there = accept_from(l, opts);
    rmig_listener_close(l);
}

static void say(struct rmig_channel *ch, const char *text)
{
    struct iovec iov = {(void *)text, strlen(text)};

    ck_assert_done(rmig_channel_writev_all(ch, &iov, 1, &err), &err);
}

static void assert_hears(struct rmig_channel *ch, const char *text)
{
    char buf[64];

    ck_assert_done(rmig_channel_read_all(ch, buf, strlen(text), &err), &err);
    ck_assert_mem_eq(buf, text, strlen(text));
}

static void assert_talk(struct rmig_channel *a, struct rmig_channel *b)
{
    say(a, "ping");
    assert_hears(b, "ping");
    say(b, "pong!");
    assert_hears(a, "pong!");
}

START_TEST(tcp__both_address_families)
{
    static const char *const hosts[][2] = {{"tcp:127.0.0.1:0", "127.0.0.1"},
                                           {"tcp:[::1]:0", "[::1]"},
                                           {"tcp::0", "127.0.0.1"},
                                           {"tcp::0", "[::1]"},
                                           {"tcp:localhost:0", "localhost"}};

    size_t n = sizeof(hosts) / sizeof(hosts[0]) - (CAN_LOOK_UP ? 0 : 1); /* the name is the last */

    for (size_t i = 0; i < n; i++) {
        struct rmig_listener *l = listen_on(hosts[i][0]);
        struct rmig_uri uri = uri_at(hosts[i][1], l);
        struct rmig_channel *a = connect_to(&uri, NULL), *b = accept_from(l, NULL);

        ck_assert_uint_gt(rmig_listener_port(l), 0);
        ck_assert_int_ge(rmig_listener_fd(l), 0);
        assert_talk(a, b);
        ck_assert_done(rmig_channel_close(a, &err), &err);
        ck_assert_done(rmig_channel_close(b, &err), &err);
        rmig_listener_close(l);
    }
    rmig_listener_close(NULL);
}
END_TEST

static int option(struct rmig_channel *ch, int level, int name)
{
    socklen_t len = sizeof(int);
    int value = -1;

    ck_assert_int_eq(getsockopt(rmig_channel_fd(ch), level, name, &value, &len), 0);
    return value;
}

START_TEST(tcp__options_of_both_ends)
{
    struct rmig_channel *ends[2];

    connect_both(NULL, &ends[0], &ends[1]);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(option(ends[i], IPPROTO_TCP, TCP_NODELAY), 1);
        ck_assert_int_eq(option(ends[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        ck_assert_int_eq(option(ends[i], IPPROTO_TCP, TCP_KEEPIDLE), 1);
        ck_assert_int_eq(option(ends[i], IPPROTO_TCP, TCP_KEEPINTVL), 1);
        ck_assert_int_eq(option(ends[i], IPPROTO_TCP, TCP_KEEPCNT), 2);
        ck_assert_int_ne(fcntl(rmig_channel_fd(ends[i]), F_GETFD) & FD_CLOEXEC, 0);
        rmig_channel_close(ends[i], NULL);
    }
}
END_TEST

START_TEST(unix__both_ways_and_the_file_goes)
{
    struct rmig_listener *l = listen_on("unix:/tmp/rmig-check.sock");
    struct rmig_uri uri = uri_of("unix:/tmp/rmig-check.sock");
    struct rmig_channel *a = connect_to(&uri, NULL), *b = accept_from(l, NULL);
    struct stat st;

    ck_assert_uint_eq(rmig_listener_port(l), 0);
    assert_talk(a, b);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
    ck_assert_int_eq(stat("/tmp/rmig-check.sock", &st), 0);
    rmig_listener_close(l);
    ck_assert_int_eq(stat("/tmp/rmig-check.sock", &st), -1);
}
END_TEST

START_TEST(unix__file_of_a_dead_listener_is_replaced_a_live_one_is_not)
{
    struct rmig_uri uri = uri_of("unix:/tmp/rmig-check.sock");
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "/tmp/rmig-check.sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), file;
    struct rmig_listener *l, *second;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
    l = listen_on("unix:/tmp/rmig-check.sock");
    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -EADDRINUSE, &err, "listen");
    rmig_listener_close(l);
    /* What is no socket is nobody's to remove. */
    file = open(addr.sun_path, O_CREAT | O_WRONLY, 0600);
    setup();
    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -EADDRINUSE, &err, "listen");
    ck_assert_int_eq(unlink(addr.sun_path), 0);
    close(file);
}
END_TEST

START_TEST(unix__path_is_bounded_and_must_be_there)
{
    struct rmig_uri uri = uri_of("unix:/tmp/rmig-check-none.sock");
    struct rmig_listener *l;
    struct rmig_channel *ch;

    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_WRITE, NULL, &ch, &err), -ENOENT, &err,
                     "unix /tmp/rmig-check-none.sock: connect");
    /* A URI that did not come from the parser. */
    memset(uri.path, 'p', 200);
    uri.path[200] = '\0';
    setup();
    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_WRITE, NULL, &ch, &err), -ENAMETOOLONG, &err,
                     "200 bytes, at most 107");
    setup();
    ck_assert_failed(rmig_listener_open(&uri, &l, &err), -ENAMETOOLONG, &err, "200 bytes");
}
END_TEST

START_TEST(connect__refused_names_the_peer)
{
    struct rmig_listener *l = listen_on("tcp:127.0.0.1:0");
    struct rmig_uri uri = uri_at("127.0.0.1", l);
    struct rmig_channel *ch;
    char peer[64];

    rmig_listener_close(l);
    snprintf(peer, sizeof(peer), "tcp 127.0.0.1:%s: connect", uri.port);
    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_READ, NULL, &ch, &err), -ECONNREFUSED, &err,
                     peer);
}
END_TEST

START_TEST(connect__needs_host_and_port)
{
    struct rmig_uri uri = uri_of("tcp::4444");
    struct rmig_channel *ch;

    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_READ, NULL, &ch, &err), -EINVAL, &err,
                     "a host and a port");
    uri = uri_of("tcp:127.0.0.1:0");
    setup();
    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_READ, NULL, &ch, &err), -EINVAL, &err,
                     "a host and a port");
}
END_TEST

/* A listener that accepts nobody, its queue full: more connections wait. Ends with -1. */
static int full_listener(int family, const struct sockaddr *addr, socklen_t len, int clients[64])
{
    int fd = socket(family, SOCK_STREAM, 0), n = 0;
    struct sockaddr_storage at;
    socklen_t at_len = sizeof(at);

    ck_assert_int_eq(bind(fd, addr, len), 0);
    ck_assert_int_eq(listen(fd, 0), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &at_len), 0);
    for (; n < 4; n++) {
        clients[n] = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(clients[n], (struct sockaddr *)&at, at_len) < 0 && errno == EAGAIN)
            break;
        sleep_ms(20);
    }
    clients[n] = -1;
    return fd;
}

static void assert_connect_ends(const struct rmig_uri *uri)
{
    struct rmig_channel_opts opts = {.connect_timeout_ms = 200};
    struct rmig_channel *ch;
    uint64_t start = now_ms();

    setup();
    ck_assert_failed(rmig_channel_open(uri, RMIG_OPEN_READ, &opts, &ch, &err), -ETIMEDOUT, &err,
                     "connect");
    ck_assert_uint_ge(now_ms() - start, 190);
    ck_assert_uint_lt(now_ms() - start, 1500 + slack_ms());
    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    rmig_cancel_trigger(opts.cancel);
    prompt_begin();
    start = now_ms();
    setup();
    ck_assert_failed(rmig_channel_open(uri, RMIG_OPEN_READ, &opts, &ch, &err), -ECANCELED, &err,
                     "cancelled");
    assert_prompt(now_ms() - start, 0);
    rmig_cancel_free(opts.cancel);
}

START_TEST(connect__deadline_and_cancel_end_it)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/tmp/rmig-check-full.sock"};
    socklen_t len = sizeof(in);
    struct rmig_uri uri;
    int clients[64], fd;
    char text[64];

    fd = full_listener(AF_INET, (struct sockaddr *)&in, sizeof(in), clients);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(text, sizeof(text), "tcp:127.0.0.1:%u", ntohs(in.sin_port));
    uri = uri_of(text);
    assert_connect_ends(&uri);
    unlink(un.sun_path);
    fd = full_listener(AF_UNIX, (struct sockaddr *)&un, sizeof(un), clients);
    uri = uri_of("unix:/tmp/rmig-check-full.sock");
    assert_connect_ends(&uri);
    unlink(un.sun_path);
    close(fd);
}
END_TEST

START_TEST(listen__what_cannot_be)
{
    struct rmig_listener *l = listen_on("tcp:127.0.0.1:0"), *second;
    struct rmig_uri uri = uri_at("127.0.0.1", l);

    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -EADDRINUSE, &err, "listen");
    rmig_listener_close(l);
    uri = uri_of("exec:true");
    setup();
    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -EINVAL, &err, "tcp: and unix:");
    uri = uri_of("tcp:192.0.2.1:0"); /* nobody's address */
    setup();
    ck_assert_int_eq(rmig_listener_open(&uri, &second, &err), -EADDRNOTAVAIL);
    uri = uri_of("unix:/no/such/dir/s");
    setup();
    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -ENOENT, &err, "/no/such/dir/s");
    uri = uri_of("tcp:127.0.0.1:1");
    snprintf(uri.port, sizeof(uri.port), "x");
    setup();
    ck_assert_failed(rmig_listener_open(&uri, &second, &err), -EINVAL, &err, "port");
}
END_TEST

static void *trigger_soon(void *cancel)
{
    sleep_ms(50);
    rmig_cancel_trigger(cancel);
    return NULL;
}

START_TEST(accept__deadline_and_cancel_end_it)
{
    struct rmig_listener *l = listen_on("tcp:127.0.0.1:0");
    struct rmig_channel_opts opts = {.cancel = NULL};
    struct rmig_channel *ch;
    uint64_t start = now_ms();
    pthread_t thread;

    ck_assert_failed(rmig_listener_accept(l, 60, NULL, &ch, &err), -ETIMEDOUT, &err,
                     "nobody connected within 60 ms");
    ck_assert_uint_ge(now_ms() - start, 59);
    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    prompt_begin();
    start = now_ms();
    pthread_create(&thread, NULL, trigger_soon, opts.cancel);
    setup();
    ck_assert_failed(rmig_listener_accept(l, -1, &opts, &ch, &err), -ECANCELED, &err, "cancelled");
    assert_prompt(now_ms() - start, 50);
    pthread_join(thread, NULL);
    rmig_listener_close(l);
    rmig_cancel_free(opts.cancel);
}
END_TEST

START_TEST(peer__that_closes_is_the_end_then_EPIPE_and_no_signal)
{
    static uint8_t bytes[1 << 16];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct rmig_channel *a, *b;
    char buf[8];
    int rc = 0;

    connect_both(NULL, &a, &b);
    say(b, "last");
    rmig_channel_close(b, NULL);
    assert_hears(a, "last");
    ck_assert_failed(rmig_channel_read_all(a, buf, 1, &err), -EIO, &err, "end of stream");
    setup();
    for (int i = 0; i < 1000 && rc == 0; i++)
        rc = rmig_channel_writev_all(a, &iov, 1, &err);
    ck_assert_msg(rc == -EPIPE || rc == -ECONNRESET, "answered %d: %s", rc, err.msg);
    ck_assert_msg(strstr(err.msg, "tcp 127.0.0.1:") != NULL, "%s", err.msg);
    rmig_channel_close(a, NULL);
}
END_TEST

START_TEST(peer__that_resets_is_ECONNRESET)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct rmig_channel *a, *b;
    char buf[8];

    connect_both(NULL, &a, &b);
    setsockopt(rmig_channel_fd(b), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    rmig_channel_close(b, NULL);
    ck_assert_failed(rmig_channel_read_all(a, buf, 1, &err), -ECONNRESET, &err,
                     strerror(ECONNRESET));
    rmig_channel_close(a, NULL);
}
END_TEST

START_TEST(shutdown__each_direction)
{
    struct rmig_channel *a, *b;
    char buf[8];

    connect_both(NULL, &a, &b);
    ck_assert_done(rmig_channel_shutdown(a, RMIG_SHUT_WRITE, &err), &err);
    ck_assert_failed(rmig_channel_read_all(b, buf, 1, &err), -EIO, &err, "end of stream");
    setup();
    say(b, "still");
    assert_hears(a, "still");
    ck_assert_done(rmig_channel_shutdown(a, RMIG_SHUT_BOTH, &err), &err);
    ck_assert_int_eq(rmig_channel_read_all(a, buf, 1, &err), -EIO);
    rmig_channel_close(b, NULL);
    /* Reset by then, perhaps: as good as shut down. */
    setup();
    ck_assert_done(rmig_channel_shutdown(a, RMIG_SHUT_BOTH, &err), &err);
    close(rmig_channel_fd(a));
    ck_assert_failed(rmig_channel_shutdown(a, RMIG_SHUT_BOTH, &err), -EBADF, &err, "shutdown");
    rmig_channel_close(a, NULL);
}
END_TEST

START_TEST(idle__deadline_ends_reading_and_writing)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 150};
    struct iovec iov = more_than_fits();
    struct rmig_channel *a, *b;
    uint64_t start = now_ms();
    char buf[8];

    connect_both(&opts, &a, &b);
    ck_assert_failed(rmig_channel_read_all(a, buf, 1, &err), -ETIMEDOUT, &err,
                     "nothing received for 150 ms");
    ck_assert_uint_ge(now_ms() - start, 149);
    setup();
    ck_assert_failed(rmig_channel_writev_all(a, &iov, 1, &err), -ETIMEDOUT, &err,
                     "nothing taken for 150 ms");
    ck_assert_uint_lt(now_ms() - start, 5000 + slack_ms());
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

/* Does nothing for a while, then reads all. */
static void *read_late(void *ch)
{
    static uint8_t buf[1 << 20];
    struct iovec iov = {buf, sizeof(buf)};
    struct rmig_channel *c = ch;
    size_t got = 0;
    ssize_t n;

    sleep_ms(3500);
    while ((n = c->ops->readv(c, &iov, 1, NULL)) > 0)
        got += (size_t)n;
    return (void *)got;
}

/*
 * The window is closed for much longer than the time after which a dead peer is given up; the peer
 * answers probes, so it is alive.
 */
START_TEST(peer__that_is_slow_is_not_taken_for_dead)
{
    const struct rmig_channel_opts opts = {.dead_peer_ms = 600, .idle_timeout_ms = 8000};
    struct iovec iov = more_than_fits();
    struct rmig_channel *a, *b;
    pthread_t thread;
    void *got;

    connect_both(&opts, &a, &b);
    pthread_create(&thread, NULL, read_late, b);
    ck_assert_done(rmig_channel_writev_all(a, &iov, 1, &err), &err);
    rmig_channel_close(a, NULL);
    pthread_join(thread, &got);
    ck_assert_uint_eq((size_t)got, iov.iov_len);
    rmig_channel_close(b, NULL);
}
END_TEST

/* Reading for longer than that while the peer has nothing to say is fine as well. */
START_TEST(peer__that_is_silent_is_not_taken_for_dead)
{
    const struct rmig_channel_opts opts = {.dead_peer_ms = 500, .idle_timeout_ms = 1700};
    struct rmig_channel *a, *b;
    uint64_t start = now_ms();
    char buf[8];

    connect_both(&opts, &a, &b);
    say(a, "x");
    ck_assert_failed(rmig_channel_read_all(a, buf, 1, &err), -ETIMEDOUT, &err, "nothing received");
    ck_assert_uint_ge(now_ms() - start, 1699);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

/*
 * From here on the socket drops whatever arrives and asks nothing: its host has died, as far as the
 * peer can tell.
 */
static void die(struct rmig_channel *ch)
{
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &drop};
    const int off = 0;
    int fd = rmig_channel_fd(ch);

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof(off)), 0);
}

/* And comes back. */
static void *revive_later(void *ch)
{
    const int unused = 0;

    sleep_ms(1300);
    setsockopt(rmig_channel_fd(ch), SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
    return NULL;
}

static void assert_noticed(int rc, uint64_t start_ms, uint64_t least_ms, uint64_t most_ms)
{
    uint64_t took = now_ms() - start_ms;

    ck_assert_msg(rc == -ETIMEDOUT, "answered %d: %s", rc, err.msg);
    ck_assert_msg(took >= least_ms && took <= most_ms + slack_ms(), "noticed after %llu ms: %s",
                  (unsigned long long)took, err.msg);
}

START_TEST(peer__that_died_is_noticed_while_nothing_is_in_flight)
{
    struct rmig_channel *a, *b;
    uint64_t start;
    char buf[8];

    connect_both(NULL, &a, &b);
    assert_talk(a, b);
    die(b);
    start = now_ms();
    assert_noticed(rmig_channel_read_all(a, buf, 1, &err), start, 1000, 2700);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

/* A link may lose the only probe that the system sends in 2 s. */
START_TEST(peer__that_misses_one_probe_is_not_taken_for_dead)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 3500};
    struct rmig_channel *a, *b;
    pthread_t thread;
    char buf[8];

    connect_both(&opts, &a, &b);
    assert_talk(a, b);
    die(b);
    pthread_create(&thread, NULL, revive_later, b);
    ck_assert_failed(rmig_channel_read_all(a, buf, 1, &err), -ETIMEDOUT, &err, "nothing received");
    pthread_join(thread, NULL);
    setup();
    assert_talk(a, b);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

START_TEST(peer__that_died_is_noticed_while_data_is_in_flight)
{
    const struct rmig_channel_opts opts = {.dead_peer_ms = 500};
    struct iovec iov = more_than_fits();
    struct rmig_channel *a, *b;
    uint64_t start;
    char buf[8];

    connect_both(&opts, &a, &b);
    assert_talk(a, b);
    die(b);
    start = now_ms();
    assert_noticed(rmig_channel_writev_all(a, &iov, 1, &err), start, 500, 1500);
    ck_assert_msg(strstr(err.msg, "has not answered") != NULL, "%s", err.msg);
    /* The reader of the same connection finds the same. */
    setup();
    start = now_ms();
    assert_noticed(rmig_channel_read_all(a, buf, 1, &err), start, 0, 1500);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

/* By default within 2 s, and a moment. A machine that is busy gets three tries. */
START_TEST(peer__that_died_is_noticed_in_time)
{
    struct iovec iov = more_than_fits();
    uint64_t took = UINT64_MAX;

    for (int i = 0; i < 3 && took > 2150 + slack_ms(); i++) {
        struct rmig_channel *a, *b;
        uint64_t start;

        setup();
        connect_both(NULL, &a, &b);
        die(b);
        start = now_ms();
        assert_noticed(rmig_channel_writev_all(a, &iov, 1, &err), start, 1900, 60000);
        took = now_ms() - start;
        rmig_channel_close(a, NULL);
        rmig_channel_close(b, NULL);
    }
    ck_assert_uint_le(took, 2150 + slack_ms());
}
END_TEST

static void *die_later(void *ch)
{
    sleep_ms(1000);
    die(ch);
    return NULL;
}

START_TEST(peer__that_died_is_noticed_while_its_window_is_closed)
{
    struct iovec iov = more_than_fits();
    struct rmig_channel *a, *b;
    pthread_t thread;
    uint64_t start;

    connect_both(NULL, &a, &b);
    pthread_create(&thread, NULL, die_later, b);
    start = now_ms();
    /* It may have answered just before: 2 s from there, and a look each quarter of a second. */
    assert_noticed(rmig_channel_writev_all(a, &iov, 1, &err), start, 2000, 4000);
    ck_assert_msg(strstr(err.msg, "has not answered") != NULL, "%s", err.msg);
    pthread_join(thread, NULL);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

/* The short spacing of probes ends with the wait: nothing but a wait may give a connection up. */
START_TEST(peer__user_timeout_is_off_between_waits)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 700};
    struct iovec iov = more_than_fits();
    struct rmig_channel *a, *b;

    connect_both(&opts, &a, &b);
    ck_assert_failed(rmig_channel_writev_all(a, &iov, 1, &err), -ETIMEDOUT, &err, "nothing taken");
    ck_assert_int_eq(option(a, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    rmig_channel_close(a, NULL);
    rmig_channel_close(b, NULL);
}
END_TEST

START_TEST(stream__over_tcp_with_a_return_path)
{
    static uint8_t pages[200 * 4096], copy[200 * 4096];
    struct rmig_channel *a, *b;
    struct rmig_out *out, *answer;
    struct rmig_in *in, *back;
    uint64_t v;

    fill_pattern(pages, sizeof(pages), 1);
    connect_both(NULL, &a, &b);
    ck_assert_done(rmig_out_new_mode(a, "wb", &out, &err), &err);
    ck_assert_done(rmig_in_new_mode(b, "rb", &in, &err), &err);
    ck_assert_done(rmig_out_return_path(out, &back, &err), &err);
    ck_assert_done(rmig_in_return_path(in, &answer, &err), &err);
    ck_assert_int_eq(rmig_out_fd(out), rmig_in_fd(back));
    for (uint64_t i = 0; i < 200; i++) {
        rmig_out_put_be64(out, i);
        rmig_out_put_ref(out, pages + i * 4096, 4096, false);
    }
    ck_assert_int_eq(rmig_out_flush(out), 0);
    for (uint64_t i = 0; i < 200; i++) {
        ck_assert_int_eq(rmig_in_get_be64(in, &v), 0);
        ck_assert_uint_eq(v, i);
        ck_assert_int_eq(rmig_in_get_buffer(in, copy + i * 4096, 4096), 0);
    }
    ck_assert_mem_eq(copy, pages, sizeof(pages));
    rmig_out_put_be64(answer, 4711);
    ck_assert_int_eq(rmig_out_flush(answer), 0);
    ck_assert_int_eq(rmig_in_get_be64(back, &v), 0);
    ck_assert_uint_eq(v, 4711);
    ck_assert_int_eq(rmig_in_close(back, NULL), 0);
    ck_assert_int_eq(rmig_out_close(answer, NULL), 0);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
    ck_assert_int_eq(rmig_in_close(in, NULL), 0);
}
END_TEST

/* Who does not block waits when it wants to: for a byte, for room, at most until the idle deadline. */
START_TEST(wait__in_each_direction)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = 80};
    struct rmig_channel *here, *there;
    uint8_t byte;
    struct iovec iov = {&byte, 1};

    connect_both(&opts, &here, &there);
    ck_assert_int_eq(here->ops->set_blocking(here, false, &err), 0);
    ck_assert_int_eq(here->ops->readv(here, &iov, 1, &err), -EAGAIN);
    ck_assert_failed(rmig_channel_wait(here, RMIG_SHUT_READ, &err), -ETIMEDOUT, &err,
                     "nothing received for 80 ms");
    err = (struct rmig_err)RMIG_ERR_INIT;
    say(there, "x");
    ck_assert_done(rmig_channel_wait(here, RMIG_SHUT_READ, &err), &err);
    ck_assert_int_eq(here->ops->readv(here, &iov, 1, &err), 1);
    ck_assert_done(rmig_channel_wait(here, RMIG_SHUT_WRITE, &err), &err);
    rmig_channel_close(here, NULL);
    rmig_channel_close(there, NULL);
}
END_TEST

Suite *stream_socket_suite(void)
{
    const TTest *const connecting[] = {
        tcp__both_address_families,
        tcp__options_of_both_ends,
        unix__both_ways_and_the_file_goes,
        unix__file_of_a_dead_listener_is_replaced_a_live_one_is_not,
        unix__path_is_bounded_and_must_be_there,
        connect__refused_names_the_peer,
        connect__needs_host_and_port,
        connect__deadline_and_cancel_end_it,
        listen__what_cannot_be,
        accept__deadline_and_cancel_end_it,
        NULL,
    };
    const TTest *const talking[] = {peer__that_closes_is_the_end_then_EPIPE_and_no_signal,
                                    peer__that_resets_is_ECONNRESET,
                                    shutdown__each_direction,
                                    idle__deadline_ends_reading_and_writing,
                                    wait__in_each_direction,
                                    peer__that_is_slow_is_not_taken_for_dead,
                                    peer__that_is_silent_is_not_taken_for_dead,
                                    peer__that_died_is_noticed_while_nothing_is_in_flight,
                                    peer__that_misses_one_probe_is_not_taken_for_dead,
                                    peer__that_died_is_noticed_while_data_is_in_flight,
                                    peer__that_died_is_noticed_in_time,
                                    peer__that_died_is_noticed_while_its_window_is_closed,
                                    peer__user_timeout_is_off_between_waits,
                                    stream__over_tcp_with_a_return_path,
                                    NULL};
    Suite *suite = suite_create("stream/socket");

    suite_add_checked(suite, "connecting", connecting, setup, teardown);
    suite_add_checked(suite, "talking", talking, setup, teardown);
    return suite;
}
