/* SPDX-License-Identifier: BSD-3-Clause */
/* check_common_wait.c -- cancel, deadlines, the one wait, the I/O vector cursor, numeric addresses.
 */
#include "common/wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/iov.h"
#include "common/resolve.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static struct rmig_cancel *new_cancel(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_cancel *cancel;

    ck_assert_done(rmig_cancel_new(&cancel, &err), &err);
    return cancel;
}

static void *trigger_soon(void *cancel)
{
    sleep_ms(50);
    rmig_cancel_trigger(cancel);
    return NULL;
}

START_TEST(cancel__stays_triggered)
{
    struct rmig_cancel *cancel = new_cancel();
    struct pollfd p = {.fd = rmig_cancel_fd(cancel), .events = POLLIN};

    ck_assert(!rmig_cancel_triggered(cancel));
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    errno = 77;
    rmig_cancel_trigger(cancel);
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(errno, 77);
    ck_assert(rmig_cancel_triggered(cancel));
    ck_assert_int_eq(poll(&p, 1, 0), 1);
    rmig_cancel_free(cancel);
}
END_TEST

START_TEST(cancel__none_is_fine)
{
    ck_assert(!rmig_cancel_triggered(NULL));
    ck_assert_int_eq(rmig_cancel_fd(NULL), -1);
    rmig_cancel_trigger(NULL);
    rmig_cancel_free(NULL);
}
END_TEST

START_TEST(wait_fd__event_is_told)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(rmig_wait_fd(ends[0], POLLIN, -1, 0), -ETIMEDOUT);
    ck_assert_int_eq(rmig_wait_fd(ends[1], POLLOUT, -1, 0), POLLOUT);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(rmig_wait_fd(ends[0], POLLIN, -1, RMIG_NEVER_NS), POLLIN);
    close(ends[0]);
    ck_assert_int_ne(rmig_wait_fd(ends[1], POLLOUT, -1, RMIG_NEVER_NS) & POLLERR, 0);
    close(ends[1]);
    ck_assert_int_eq(rmig_wait_fd(ends[1], POLLOUT, -1, RMIG_NEVER_NS), -EBADF);
}
END_TEST

START_TEST(wait_fd__deadline_ends_it)
{
    uint64_t start = now_ms(), took;

    ck_assert_int_eq(rmig_wait_fd(-1, 0, -1, rmig_deadline_ns(60)), -ETIMEDOUT);
    took = now_ms() - start;
    ck_assert_msg(took >= 59 && took < 1000, "60 ms took %llu", (unsigned long long)took);
}
END_TEST

START_TEST(wait_fd__cancel_ends_it_within_100_ms)
{
    struct rmig_cancel *cancel = new_cancel();
    uint64_t start;
    pthread_t thread;

    prompt_begin();
    start = now_ms();
    pthread_create(&thread, NULL, trigger_soon, cancel);
    ck_assert_int_eq(rmig_wait_fd(-1, 0, rmig_cancel_fd(cancel), RMIG_NEVER_NS), -ECANCELED);
    assert_prompt(now_ms() - start, 50);
    pthread_join(thread, NULL);
    rmig_cancel_free(cancel);
}
END_TEST

START_TEST(wait_fd__cancel_wins_over_data)
{
    struct rmig_cancel *cancel = new_cancel();
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(rmig_wait_fd(ends[1], POLLOUT, rmig_cancel_fd(cancel), 0), -ECANCELED);
    close(ends[0]);
    close(ends[1]);
    rmig_cancel_free(cancel);
}
END_TEST

static void do_nothing(int signal_number)
{
    (void)signal_number;
}

START_TEST(wait_fd__signal_does_not_end_it)
{
    const struct sigaction action = {.sa_handler = do_nothing};
    uint64_t start = now_ms();

    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 0);
    ck_assert_int_eq(rmig_wait_fd(-1, 0, -1, rmig_deadline_ns(80)), -ETIMEDOUT);
    ck_assert_uint_ge(now_ms() - start, 79);
}
END_TEST

START_TEST(deadline__poll_ms_rounds_up)
{
    int ms = rmig_poll_ms(rmig_deadline_ns(1000));

    ck_assert(ms > 900 && ms <= 1000);
    ck_assert_int_eq(rmig_poll_ms(RMIG_NEVER_NS), -1);
    ck_assert_int_eq(rmig_poll_ms(rmig_deadline_ns(-1)), -1);
    ck_assert_int_eq(rmig_poll_ms(0), 0);
    ck_assert_int_eq(rmig_poll_ms(rmig_now_ns() + 1) > 1, 0);
    ck_assert_int_eq(rmig_poll_ms(RMIG_NEVER_NS - 1), INT32_MAX);
}
END_TEST

/* Transfers step bytes at a time and joins what the windows gave. */
static size_t walk(const struct iovec *iov, int niov, size_t step, uint8_t *joined)
{
    struct rmig_iov_cursor c;
    size_t done = 0;

    rmig_iov_cursor_init(&c, iov, niov);
    while (rmig_iov_cursor_next(&c)) {
        size_t left = step;

        ck_assert_int_ge(c.nwindow, 1);
        for (int i = 0; i < c.nwindow && left; i++) {
            size_t n = c.window[i].iov_len < left ? c.window[i].iov_len : left;

            memcpy(joined + done, c.window[i].iov_base, n);
            done += n;
            left -= n;
        }
        rmig_iov_cursor_advance(&c, step - left);
    }
    ck_assert_uint_eq(c.left_bytes, 0);
    ck_assert_uint_eq(c.total_bytes, done);
    return done;
}

START_TEST(iov_cursor__any_step_gives_all_bytes_in_order)
{
    static uint8_t memory[2000], joined[2000];
    struct iovec iov[200];
    size_t total = 0;

    fill_pattern(memory, sizeof(memory), 1);
    for (int i = 0; i < 200; i++) {
        iov[i] = (struct iovec){memory + total, (size_t)(i % 4 == 3 ? 0 : i % 19)};
        total += iov[i].iov_len;
    }
    for (size_t step = 1; step < 70; step++) {
        memset(joined, 0, sizeof(joined));
        ck_assert_uint_eq(walk(iov, 200, step, joined), total);
        ck_assert_mem_eq(joined, memory, total);
    }
    ck_assert_uint_eq(walk(iov, 200, 5000, joined), total);
    ck_assert_uint_eq(walk(iov, 0, 1, joined), 0);
}
END_TEST

START_TEST(iov_cursor__window_is_what_the_system_takes)
{
    static struct iovec iov[RMIG_IOV_CALL_MAX + 10];
    struct rmig_iov_cursor c;
    char byte;

    for (int i = 0; i < RMIG_IOV_CALL_MAX + 10; i++)
        iov[i] = (struct iovec){&byte, 2};
    rmig_iov_cursor_init(&c, iov, RMIG_IOV_CALL_MAX + 10);
    ck_assert(rmig_iov_cursor_next(&c));
    ck_assert_int_eq(c.nwindow, RMIG_IOV_CALL_MAX);
    rmig_iov_cursor_advance(&c, 3);
    ck_assert(rmig_iov_cursor_next(&c));
    ck_assert_int_eq(c.nwindow, RMIG_IOV_WINDOW);
    ck_assert_uint_eq(c.window[0].iov_len, 1);
}
END_TEST

static void assert_resolves(const char *host, const char *port, bool passive, const char *text)
{
    struct rmig_err err = RMIG_ERR_INIT;
    char found[RMIG_ADDRESS_TEXT_BYTES];
    struct addrinfo *list;

    ck_assert_done(rmig_resolve(host, port, passive, 0, -1, &list, &err), &err);
    ck_assert_str_eq(rmig_address_text(list->ai_addr, list->ai_addrlen, found), text);
    freeaddrinfo(list);
}

START_TEST(resolve__numeric_needs_no_time)
{
    assert_resolves("127.0.0.1", "80", false, "127.0.0.1:80");
    assert_resolves("::1", "65535", false, "[::1]:65535");
    assert_resolves("0", "0", true, "0.0.0.0:0");
    assert_resolves("", "1", true, "0.0.0.0:1");
}
END_TEST

START_TEST(resolve__bad_input_is_refused)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct addrinfo *list;
    char host[2000];

    ck_assert_failed(rmig_resolve("127.0.0.1", "http", false, RMIG_NEVER_NS, -1, &list, &err),
                     -EINVAL, &err, "port \"http\"");
    err.code = 0;
    ck_assert_failed(rmig_resolve("127.0.0.1", "65616", false, RMIG_NEVER_NS, -1, &list, &err),
                     -EINVAL, &err, "65616");
    err.code = 0;
    ck_assert_failed(rmig_resolve("127.0.0.1", "", false, RMIG_NEVER_NS, -1, &list, &err), -EINVAL,
                     &err, "port");
    err.code = 0; /* as zeroed connection parameters have it */
    ck_assert_failed(rmig_resolve("127.0.0.1", NULL, false, RMIG_NEVER_NS, -1, &list, &err),
                     -EINVAL, &err, "port");
    memset(host, 'h', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    err.code = 0;
    ck_assert_failed(rmig_resolve(host, "1", false, RMIG_NEVER_NS, -1, &list, &err), -EINVAL, &err,
                     "1999 bytes");
}
END_TEST

#if CAN_LOOK_UP
START_TEST(resolve__name_from_the_hosts_file)
{
    struct rmig_err err = RMIG_ERR_INIT;
    char text[RMIG_ADDRESS_TEXT_BYTES];
    struct addrinfo *list;

    ck_assert_done(rmig_resolve("localhost", "7", false, rmig_deadline_ns(5000), -1, &list, &err),
                   &err);
    rmig_address_text(list->ai_addr, list->ai_addrlen, text);
    ck_assert_msg(!strcmp(text, "127.0.0.1:7") || !strcmp(text, "[::1]:7"), "localhost is %s",
                  text);
    freeaddrinfo(list);
}
END_TEST
#endif

START_TEST(address_text__odd_family_is_no_crash)
{
    struct sockaddr odd = {.sa_family = 999};
    char text[RMIG_ADDRESS_TEXT_BYTES];

    ck_assert_str_eq(rmig_address_text(&odd, sizeof(odd), text), "unknown address");
}
END_TEST

Suite *common_wait_suite(void)
{
    const TTest *const wait[] = {cancel__stays_triggered,
                                 cancel__none_is_fine,
                                 wait_fd__event_is_told,
                                 wait_fd__deadline_ends_it,
                                 wait_fd__cancel_ends_it_within_100_ms,
                                 wait_fd__cancel_wins_over_data,
                                 wait_fd__signal_does_not_end_it,
                                 deadline__poll_ms_rounds_up,
                                 NULL};
    const TTest *const iov[] = {iov_cursor__any_step_gives_all_bytes_in_order,
                                iov_cursor__window_is_what_the_system_takes, NULL};
    const TTest *const resolve[] = {
        resolve__numeric_needs_no_time,
        resolve__bad_input_is_refused,
#if CAN_LOOK_UP
        resolve__name_from_the_hosts_file,
#endif
        address_text__odd_family_is_no_crash,
        NULL,
    };
    Suite *suite = suite_create("common/wait");

    suite_add(suite, "wait", wait);
    suite_add(suite, "iov", iov);
    suite_add(suite, "resolve", resolve);
    return suite;
}
