/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_threads.c -- cancel and shutdown from another thread end what waits, in time. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static struct rmig_channel_opts opts;
static struct rmig_channel *here, *there;
static uint64_t begun_ms; /* when the other thread did it */

static void setup(void)
{
    struct rmig_uri uri = uri_of("tcp:127.0.0.1:0");
    struct rmig_listener *l;

    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&opts, 0, sizeof(opts));
    ck_assert_done(rmig_cancel_new(&opts.cancel, &err), &err);
    ck_assert_done(rmig_listener_open(&uri, &l, &err), &err);
    snprintf(uri.port, sizeof(uri.port), "%u", rmig_listener_port(l));
    ck_assert_done(rmig_channel_open(&uri, RMIG_OPEN_WRITE, &opts, &here, &err), &err);
    ck_assert_done(rmig_listener_accept(l, 5000, &opts, &there, &err), &err);
    rmig_listener_close(l);
}

static void teardown(void)
{
    rmig_channel_close(here, NULL);
    rmig_channel_close(there, NULL);
    rmig_cancel_free(opts.cancel);
}

static void *cancel_soon(void *unused)
{
    sleep_ms(60);
    begun_ms = now_ms();
    rmig_cancel_trigger(opts.cancel);
    return unused;
}

static void *shut_in(void *in)
{
    sleep_ms(60);
    begun_ms = now_ms();
    ck_assert_int_eq(rmig_in_shutdown(in, NULL), 0);
    return NULL;
}

static void *shut_out(void *out)
{
    sleep_ms(60);
    begun_ms = now_ms();
    ck_assert_int_eq(rmig_out_shutdown(out, NULL), 0);
    return NULL;
}

/* Starts the thread that will end what this one waits in. */
static pthread_t ends_soon(void *(*how)(void *), void *arg)
{
    pthread_t thread;

    prompt_begin();
    pthread_create(&thread, NULL, how, arg);
    return thread;
}

static void assert_in_time(pthread_t thread)
{
    uint64_t end = now_ms();

    pthread_join(thread, NULL);
    assert_prompt(end - begun_ms, 0);
}

START_TEST(cancel__ends_a_read)
{
    pthread_t thread;
    char byte;

    thread = ends_soon(cancel_soon, NULL);
    ck_assert_failed(rmig_channel_read_all(here, &byte, 1, &err), -ECANCELED, &err, "cancelled");
    assert_in_time(thread);
}
END_TEST

START_TEST(cancel__ends_a_write)
{
    struct iovec iov = more_than_fits();
    pthread_t thread;

    thread = ends_soon(cancel_soon, NULL);
    ck_assert_failed(rmig_channel_writev_all(here, &iov, 1, &err), -ECANCELED, &err, "cancelled");
    assert_in_time(thread);
}
END_TEST

START_TEST(cancel__ends_a_put_as_the_streams_error)
{
    static uint8_t bytes[1 << 20];
    struct rmig_out *out;
    pthread_t thread;

    ck_assert_done(rmig_out_new(here, &out, &err), &err);
    here = NULL;
    thread = ends_soon(cancel_soon, NULL);
    while (!rmig_out_rate_reached(out))
        rmig_out_put_buffer(out, bytes, sizeof(bytes));
    assert_in_time(thread);
    ck_assert_failed(rmig_out_close(out, &err), -ECANCELED, &err, "cancelled");
}
END_TEST

/* Data comes without end: cancel must not wait for a pause. */
static void *pour(void *unused)
{
    static uint8_t bytes[1 << 16];
    struct iovec iov = {bytes, sizeof(bytes)};

    while (there->ops->writev(there, &iov, 1, NULL) > 0)
        continue;
    return unused;
}

START_TEST(cancel__ends_a_read_that_never_waits)
{
    static uint8_t buf[1 << 16];
    struct rmig_in *in;
    pthread_t thread, source;
    int rc = 0;

    ck_assert_done(rmig_in_new(here, &in, &err), &err);
    here = NULL;
    pthread_create(&source, NULL, pour, NULL);
    thread = ends_soon(cancel_soon, NULL);
    while (rc == 0)
        rc = rmig_in_get_buffer(in, buf, sizeof(buf));
    ck_assert_int_eq(rc, -ECANCELED);
    assert_in_time(thread);
    pthread_join(source, NULL);
    rmig_in_close(in, NULL);
}
END_TEST

/* There is data to be read and room to write: cancel comes first all the same. */
START_TEST(cancel__comes_before_data)
{
    struct iovec iov = {(void *)"x", 1};
    char byte;

    ck_assert_done(rmig_channel_writev_all(there, &iov, 1, &err), &err);
    rmig_cancel_trigger(opts.cancel);
    ck_assert_failed(rmig_channel_writev_all(here, &iov, 1, &err), -ECANCELED, &err, "cancelled");
    err.code = 0;
    ck_assert_failed(rmig_channel_read_all(here, &byte, 1, &err), -ECANCELED, &err, "cancelled");
}
END_TEST

START_TEST(shutdown__ends_a_read)
{
    struct rmig_in *in;
    pthread_t thread;
    uint64_t v;

    ck_assert_done(rmig_in_new(here, &in, &err), &err);
    here = NULL;
    thread = ends_soon(shut_in, in);
    ck_assert_int_eq(rmig_in_get_be64(in, &v), -EIO);
    assert_in_time(thread);
    ck_assert_failed(rmig_in_close(in, &err), -EIO, &err, "shut down");
}
END_TEST

/*
 * The reader is in the middle of a page when the shutdown comes: it must answer with the error, not
 * with what is left of the page. Many times, as it is about the order of two things.
 */
START_TEST(shutdown__never_lets_a_cut_page_pass)
{
    static uint8_t page[4096];
    struct iovec iov = {page, sizeof(page) / 2};

    for (int round = 0; round < 20; round++) {
        struct rmig_in *in;
        pthread_t thread;

        ck_assert_done(rmig_in_new(here, &in, &err), &err);
        here = NULL;
        ck_assert_done(rmig_channel_writev_all(there, &iov, 1, &err), &err);
        pthread_create(&thread, NULL, shut_in, in);
        ck_assert_int_eq(rmig_in_get_buffer(in, page, sizeof(page)), -EIO);
        ck_assert_int_eq(rmig_in_get_buffer(in, page, 1), -EIO);
        pthread_join(thread, NULL);
        ck_assert_failed(rmig_in_close(in, &err), -EIO, &err, "shut down");
        teardown();
        setup();
    }
}
END_TEST

START_TEST(shutdown__ends_a_put)
{
    static uint8_t page[4096];
    struct rmig_out *out;
    pthread_t thread;
    uint64_t puts = 0;

    ck_assert_done(rmig_out_new(here, &out, &err), &err);
    here = NULL;
    thread = ends_soon(shut_out, out);
    while (!rmig_out_rate_reached(out)) {
        rmig_out_put_be64(out, puts++);
        rmig_out_put_ref(out, page, sizeof(page), false);
    }
    assert_in_time(thread);
    ck_assert_failed(rmig_out_close(out, &err), -EIO, &err, "shut down");
}
END_TEST

/* Errors from all sides at once: one of them sticks, and its message belongs to its code. */
struct reporter {
    pthread_t thread;
    struct rmig_out *out;
    int code;
};

static void *report(void *arg)
{
    struct reporter *r = arg;

    for (int i = 0; i < 100; i++) {
        struct rmig_err e = RMIG_ERR_INIT;

        rmig_out_set_error(r->out, r->code, "code %d", r->code);
        rmig_out_error(r->out, &e);
        if (e.code >= 0 || strtol(e.msg + strlen("code "), NULL, 10) != e.code)
            return r;
    }
    return NULL;
}

START_TEST(set_error__from_many_threads)
{
    struct reporter reporters[4];
    struct rmig_out *out;

    ck_assert_done(rmig_out_new_private(&out, &err), &err);
    for (int i = 0; i < 4; i++) {
        reporters[i] = (struct reporter){.out = out, .code = -10 - i};
        pthread_create(&reporters[i].thread, NULL, report, &reporters[i]);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;

        pthread_join(reporters[i].thread, &wrong);
        ck_assert_ptr_null(wrong);
    }
    rmig_out_close(out, NULL);
}
END_TEST

/* Descriptor that takes nothing more: shutting the stream down ends the copy to it. */
START_TEST(shutdown__ends_a_copy_to_a_full_descriptor)
{
    struct rmig_in *in;
    pthread_t source, thread;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_done(rmig_in_new(here, &in, &err), &err);
    here = NULL;
    pthread_create(&source, NULL, pour, NULL);
    thread = ends_soon(shut_in, in);
    ck_assert_int_eq(rmig_in_copy_to_fd(in, ends[1], 1u << 20), -EIO);
    assert_in_time(thread);
    rmig_in_close(in, NULL);
    pthread_join(source, NULL);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* --- both directions at once ------------------------------------------------------------------ */

#define TALK_PAGES 2000u

/* A stream and its return path, at one end: one thread puts, another gets, what depends on seed. */
struct talker {
    struct rmig_out *out;
    struct rmig_in *in;
    uint32_t out_seed, in_seed;
    int put_rc, get_rc;
};

static void *talk(void *opaque)
{
    struct talker *t = opaque;
    static _Thread_local uint8_t page[4096];

    for (uint32_t i = 0; i < TALK_PAGES; i++) {
        fill_pattern(page, sizeof(page), t->out_seed + i);
        rmig_out_put_be32(t->out, i);
        rmig_out_put_buffer(t->out, page, sizeof(page));
        if (i % 7 == 0)
            rmig_out_flush(t->out);
    }
    t->put_rc = rmig_out_flush(t->out);
    return NULL;
}

static void *listen_in(void *opaque)
{
    struct talker *t = opaque;
    static _Thread_local uint8_t page[4096], wanted[4096];

    for (uint32_t i = 0; i < TALK_PAGES && t->get_rc == 0; i++) {
        uint32_t number = 0;

        fill_pattern(wanted, sizeof(wanted), t->in_seed + i);
        t->get_rc = rmig_in_get_be32(t->in, &number);
        if (t->get_rc == 0)
            t->get_rc = rmig_in_get_buffer(t->in, page, sizeof(page));
        if (t->get_rc == 0 && (number != i || memcmp(page, wanted, sizeof(page)) != 0))
            t->get_rc = -EBADMSG;
    }
    return NULL;
}

START_TEST(return_path__both_directions_at_once)
{
    struct talker source = {.out_seed = 1, .in_seed = 100000};
    struct talker dest = {.out_seed = 100000, .in_seed = 1};
    void *(*const parts[])(void *) = {talk, listen_in};
    pthread_t threads[4];

    ck_assert_done(rmig_out_new(here, &source.out, &err), &err);
    ck_assert_done(rmig_out_return_path(source.out, &source.in, &err), &err);
    ck_assert_done(rmig_in_new(there, &dest.in, &err), &err);
    ck_assert_done(rmig_in_return_path(dest.in, &dest.out, &err), &err);
    here = there = NULL;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, parts[i % 2], i < 2 ? &source : &dest), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(source.put_rc, 0);
    ck_assert_int_eq(source.get_rc, 0);
    ck_assert_int_eq(dest.put_rc, 0);
    ck_assert_int_eq(dest.get_rc, 0);
    rmig_in_close(source.in, NULL);
    rmig_out_close(source.out, NULL);
    rmig_out_close(dest.out, NULL);
    rmig_in_close(dest.in, NULL);
}
END_TEST

Suite *stream_threads_suite(void)
{
    const TTest *const tests[] = {cancel__ends_a_read,
                                  cancel__ends_a_write,
                                  cancel__ends_a_put_as_the_streams_error,
                                  cancel__ends_a_read_that_never_waits,
                                  cancel__comes_before_data,
                                  shutdown__ends_a_read,
                                  shutdown__never_lets_a_cut_page_pass,
                                  shutdown__ends_a_put,
                                  shutdown__ends_a_copy_to_a_full_descriptor,
                                  set_error__from_many_threads,
                                  return_path__both_directions_at_once,
                                  NULL};
    Suite *suite = suite_create("stream/threads");

    suite_add_checked(suite, "threads", tests, setup, teardown);
    return suite;
}
