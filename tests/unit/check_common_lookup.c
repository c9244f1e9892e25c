/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_common_lookup.c -- names over a name server that answers as the test says, or not at all:
 * the deadline and cancel end a look-up. Runs in namespaces of its own; skipped where none can be
 * had.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/resolve.h"
#include "tests/unit/stream_suite.h"

#define DNS_PORT 53
#define NO_ANSWER (-1)
#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3

static int rcode; /* what the name server answers */

/* Answers each question with rcode and nothing else. */
static void *serve_names(void *server)
{
    uint8_t packet[512];
    struct sockaddr_in client;
    socklen_t len = sizeof(client);
    int fd = *(int *)server;
    ssize_t n;

    while ((n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&client, &len)) > 4) {
        if (rcode == NO_ANSWER)
            continue;
        packet[2] |= 0x80; /* an answer */
        packet[3] = (uint8_t)rcode;
        sendto(fd, packet, (size_t)n, 0, (struct sockaddr *)&client, len);
    }
    return NULL;
}

static struct sockaddr_in server_addr;
static pthread_t server_thread;
static int server_fd;

static void start_name_server(int answer)
{
    rcode = answer;
    server_addr.sin_family = AF_INET;
    server_addr.sin_port = htons(DNS_PORT);
    server_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server_fd = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(server_fd, (const struct sockaddr *)&server_addr, sizeof(server_addr)),
                     0);
    pthread_create(&server_thread, NULL, serve_names, &server_fd);
}

/* A packet that is too short to be a question ends it. */
static void stop_name_server(void)
{
    sendto(server_fd, "", 1, 0, (const struct sockaddr *)&server_addr, sizeof(server_addr));
    pthread_join(server_thread, NULL);
    close(server_fd);
}

static void nothing(void)
{
}

START_TEST(lookup__deadline_ends_it)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct addrinfo *list;
    uint64_t start;

    start_name_server(NO_ANSWER);
    prompt_begin();
    start = now_ms();
    ck_assert_failed(
        rmig_resolve("host.example", "1", false, rmig_deadline_ns(200), -1, &list, &err),
        -ETIMEDOUT, &err, "host.example: no answer");
    assert_prompt(now_ms() - start, 200);
}
END_TEST

static void *trigger_soon(void *cancel)
{
    sleep_ms(60);
    rmig_cancel_trigger(cancel);
    return NULL;
}

START_TEST(lookup__cancel_ends_it_within_100_ms)
{
    struct rmig_uri uri = uri_of("tcp:host.example:1");
    struct rmig_channel_opts opts = {.connect_timeout_ms = 20000};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch;
    uint64_t start;
    pthread_t thread;

    start_name_server(NO_ANSWER);
    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    prompt_begin();
    start = now_ms();
    pthread_create(&thread, NULL, trigger_soon, opts.cancel);
    ck_assert_failed(rmig_channel_open(&uri, RMIG_OPEN_READ, &opts, &ch, &err), -ECANCELED, &err,
                     "cancelled");
    assert_prompt(now_ms() - start, 60);
    pthread_join(thread, NULL);
    rmig_cancel_free(opts.cancel);
}
END_TEST

START_TEST(lookup__unknown_name_is_EHOSTUNREACH)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct addrinfo *list;

    start_name_server(RCODE_NXDOMAIN);
    ck_assert_failed(
        rmig_resolve("no.example", "1", false, rmig_deadline_ns(5000), -1, &list, &err),
        -EHOSTUNREACH, &err, "no.example");
}
END_TEST

START_TEST(lookup__failing_server_is_EAGAIN)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct addrinfo *list;

    start_name_server(RCODE_SERVFAIL);
    ck_assert_failed(
        rmig_resolve("host.example", "1", false, rmig_deadline_ns(9000), -1, &list, &err), -EAGAIN,
        &err, "host.example");
}
END_TEST

static int write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int put_over(const char *name, const char *text)
{
    char source[] = "/tmp/rmig-check-XXXXXX";
    int fd = mkstemp(source), rc;

    if (fd < 0)
        return -1;
    close(fd);
    rc = write_file(source, text);
    if (rc == 0 && access(name, F_OK) == 0)
        rc = mount(source, name, "none", MS_BIND, NULL);
    unlink(source);
    return rc;
}

/* A network with a loopback alone, and files of ours over those that say how names are looked up.
 */
static const char *enter_namespaces(void)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int flags = CLONE_NEWNET | CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0);
    int fd;

    if (unshare(flags) < 0)
        return "no network and mount namespaces to be had: run as root or allow user namespaces";
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCSIFFLAGS, &loopback) < 0)
        return "cannot set the loopback up";
    close(fd);
    if (access("/etc/resolv.conf", F_OK) < 0)
        return "there is no /etc/resolv.conf to put one over";
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
        put_over("/etc/nsswitch.conf", "hosts: files dns\n") < 0 ||
        put_over("/etc/resolv.conf", "nameserver 127.0.0.1\noptions attempts:1\n") < 0)
        return "cannot mount over /etc/resolv.conf";
    return NULL;
}

int main(void)
{
    const TTest *const tests[] = {lookup__deadline_ends_it, lookup__cancel_ends_it_within_100_ms,
                                  lookup__unknown_name_is_EHOSTUNREACH,
                                  lookup__failing_server_is_EAGAIN, NULL};
    const char *missing =
        CAN_LOOK_UP ? enter_namespaces() : "names cannot be looked up under the thread sanitizer";
    Suite *suite;

    if (missing) {
        printf("1..0 # SKIP %s\n", missing);
        return EXIT_SUCCESS;
    }
    suite = suite_create("common/lookup");
    suite_add_checked(suite, "lookup", tests, nothing, stop_name_server);
    return suite_run(suite);
}
