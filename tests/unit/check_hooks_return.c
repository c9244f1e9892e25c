/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_return.c -- the way back of a move: what a destination answers, and who waits for it. */
#include <rmig/rmig.h>

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct guest source, dest;
static struct rmig_err err;
static int ends[2];
static uint32_t patience_ms;

static void setup(void)
{
    guest_init(&source, 1, 4 * RMIG_PAGE_BYTES);
    guest_init(&dest, 1, 4 * RMIG_PAGE_BYTES);
    guest_fill(&source, 0, 0, 4, 1);
    messages_init(&pieces);
    err = (struct rmig_err)RMIG_ERR_INIT;
    patience_ms = 2000;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void teardown(void)
{
    messages_release(&pieces);
    guest_release(&source);
    guest_release(&dest);
}

/* Send all of source at ends[0] and wait for the answer. */
static int save(struct rmig_err *e)
{
    const struct rmig_save_opts opts = {.acknowledge = true};
    const struct rmig_channel_opts channel_opts = {.idle_timeout_ms = patience_ms};
    struct rmig_channel *ch = NULL;
    struct rmig_save *driver = NULL;
    struct rmig_out *out = NULL;
    int rc;

    ck_assert_int_eq(rmig_channel_from_fd(ends[0], &channel_opts, &ch, NULL), 0);
    ck_assert_int_eq(rmig_out_new(ch, &out, NULL), 0);
    ck_assert_int_eq(rmig_save_new(&driver, out, source.blocks, 1, &opts, NULL), 0);
    rc = rmig_save_setup(driver, e);
    if (rc == 0)
        rc = rmig_save_complete(driver, e);
    if (rc == 0)
        rc = rmig_save_end(driver, e);
    rmig_save_free(driver);
    rmig_out_close(out, NULL);
    return rc;
}

static int load_with(const struct rmig_load_opts *opts, struct rmig_err *e)
{
    struct rmig_channel *ch = NULL;
    struct rmig_load *driver = NULL;
    struct rmig_in *in = NULL;
    int rc;

    ck_assert_int_eq(rmig_channel_from_fd(ends[1], NULL, &ch, NULL), 0);
    ck_assert_int_eq(rmig_in_new(ch, &in, NULL), 0);
    ck_assert_int_eq(rmig_load_new(&driver, in, dest.blocks, 1, opts, NULL), 0);
    rc = rmig_load_run(driver, e);
    rmig_load_free(driver);
    rmig_in_close(in, NULL);
    return rc;
}

static int placed_answer;

static int placed(void *opaque, struct rmig_err *e)
{
    (void)opaque, (void)e;
    return placed_answer;
}

static void *load_thread(void *arg)
{
    const struct rmig_load_opts opts = {.ram_placed = placed};

    (void)arg;
    return (void *)(intptr_t)load_with(&opts, NULL);
}

/* Both ends; returns what the save did. */
static int move(void)
{
    pthread_t thread;
    void *loaded;
    int rc;

    ck_assert_int_eq(pthread_create(&thread, NULL, load_thread, NULL), 0);
    rc = save(&err);
    ck_assert_int_eq(pthread_join(thread, &loaded), 0);
    ck_assert_int_eq((intptr_t)loaded, placed_answer);
    return rc;
}

START_TEST(acknowledge__success_is_said)
{
    placed_answer = 0;
    if (move() < 0)
        ck_abort_msg("%s", err.msg);
    guest_assert_equal(&source, &dest);
}
END_TEST

START_TEST(acknowledge__a_failed_load_is_no_success)
{
    placed_answer = -ENOSPC;
    ck_assert_int_lt(move(), 0);
}
END_TEST

static sem_t given_up;
static unsigned ntails;

static int placed_late(void *opaque, struct rmig_err *e)
{
    (void)opaque, (void)e;
    while (sem_wait(&given_up) < 0)
        ;
    return 0;
}

static int take_tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *e)
{
    (void)opaque, (void)data, (void)len_bytes, (void)e;
    ntails++;
    return 0;
}

static void *late_thread(void *arg)
{
    const struct rmig_load_opts opts = {
        .ram_placed = placed_late, .tail = take_tail, .max_ram_bytes = 1 << 20
    };

    return (void *)(intptr_t)load_with(&opts, arg);
}

/* Storing took longer than it waits: both have the same answer. */
START_TEST(acknowledge__a_source_that_gave_up_keeps_its_guest)
{
    struct rmig_err load_err = RMIG_ERR_INIT;
    pthread_t thread;
    void *loaded;

    ck_assert_int_eq(sem_init(&given_up, 0, 0), 0);
    patience_ms = 50;
    ck_assert_int_eq(pthread_create(&thread, NULL, late_thread, &load_err), 0);
    ck_assert_int_eq(save(&err), -ETIMEDOUT);
    ck_assert_int_eq(sem_post(&given_up), 0);
    ck_assert_int_eq(pthread_join(thread, &loaded), 0);
    ck_assert_int_eq((intptr_t)loaded, -ECONNRESET);
    ck_assert_msg(strstr(load_err.msg, "the source has hung up"), "%s", load_err.msg);
    ck_assert_uint_eq(ntails, 0);
}
END_TEST

/* What a peer says on its way back, and what the save makes of it. */
static const struct {
    const char *bytes;
    size_t len;
    int rc;
    const char *word;
} answers[] = {
    {"\0\1\0\4\0\0\0\0", 8, 0, ""},
    {"\0\2\0\4\0\0\0\7\0\1\0\4\0\0\0\0", 16, 0, ""},
    {"\0\7\0\0\0\1\0\4\0\0\0\0", 12, 0, ""},
    {"\0\1\0\4\0\0\0\1", 8, -EREMOTEIO, "status 1"},
    {"\0\1\0\2\0\0", 6, -EPROTO, "message 1 of 2 bytes"},
    {"\0\7\2\1", 4, -EPROTO, "message 7 of 513 bytes"},
    {"\0\1\0", 3, -EIO, "waiting for the destination"},
    {"", 0, -EIO, "waiting for the destination"},
    {"\0\1\0\4\0\0", 6, -EIO, "ended after 6 bytes"},
    {"\0\7\0\4\0", 5, -EIO, "ended after 5 bytes"},
};

START_TEST(acknowledge__answer)
{
    char sink[4096];
    int rc;

    ck_assert_int_eq(write(ends[1], answers[_i].bytes, answers[_i].len), (ssize_t)answers[_i].len);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    rc = save(&err);
    if (rc != answers[_i].rc)
        ck_abort_msg("%d, not %d: %s", rc, answers[_i].rc, err.msg);
    ck_assert_msg(strstr(err.msg, answers[_i].word), "%s", err.msg);
    while (read(ends[1], sink, sizeof(sink)) > 0)
        ;
    close(ends[1]);
}
END_TEST

/* Messages until nobody takes them any more. */
static void *talk(void *arg)
{
    static const uint8_t message[] = {0, 7, 0, 0};
    uint8_t many[1024 * sizeof(message)], sink[4096];

    for (size_t i = 0; i < sizeof(many); i += sizeof(message))
        memcpy(many + i, message, sizeof(message));
    while (send(ends[1], many, sizeof(many), MSG_NOSIGNAL) > 0)
        while (recv(ends[1], sink, sizeof(sink), MSG_DONTWAIT) > 0)
            ;
    return arg;
}

START_TEST(acknowledge__messages_without_end)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, talk, NULL), 0);
    ck_assert_int_eq(save(&err), -EPROTO);
    ck_assert_msg(strstr(err.msg, "65536 messages"), "%s", err.msg);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close(ends[1]);
}
END_TEST

START_TEST(acknowledge__one_way_channel_goes_without)
{
    const struct rmig_save_opts opts = {.acknowledge = true};
    struct rmig_save *driver = NULL;
    struct rmig_out *out = messages_out(&pieces);

    ck_assert_int_eq(rmig_save_new(&driver, out, source.blocks, 1, &opts, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(driver, NULL), 0);
    ck_assert_int_eq(rmig_save_complete(driver, NULL), 0);
    ck_assert_int_eq(rmig_save_end(driver, NULL), 0);
    rmig_save_free(driver);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
    close(ends[0]);
    close(ends[1]);
    if (load_all(&pieces, &dest, NULL, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
}
END_TEST

/* --- commands ---------------------------------------------------------------------------------- */

static void put_command(uint16_t command, uint16_t len)
{
    put_u8(RMIG_SECTION_COMMAND);
    put_be16(command);
    put_be16(len);
}

/* Have the load at ends[1] read the pieces. Returns what it says. */
static int load_pieces(void)
{
    ck_assert_int_eq(write(ends[0], pieces.bytes, pieces.len), (ssize_t)pieces.len);
    ck_assert_int_eq(shutdown(ends[0], SHUT_WR), 0);
    return load_with(NULL, &err);
}

START_TEST(command__ping_is_answered)
{
    static const uint8_t pong[] = {0, 2, 0, 4, 0, 0, 0, 42};
    uint8_t got[sizeof(pong)];

    put_configuration();
    put_command(RMIG_COMMAND_OPEN_RETURN_PATH, 0);
    put_command(RMIG_COMMAND_PING, 4);
    put_be32(42);
    ck_assert_int_eq(load_pieces(), -EIO); /* the stream ends here */
    ck_assert_int_eq(read(ends[0], got, sizeof(got)), sizeof(got));
    ck_assert_mem_eq(got, pong, sizeof(pong));
    ck_assert_int_eq(read(ends[0], got, sizeof(got)), 0); /* and nothing else was said */
    close(ends[0]);
}
END_TEST

static const struct {
    uint16_t first, first_len, second, second_len;
    int rc;
    const char *word;
} wrong[] = {
    {RMIG_COMMAND_PING, 4, 0, 0, -EPROTO, "no OPEN_RETURN_PATH"},
    {RMIG_COMMAND_OPEN_RETURN_PATH, 1, 0, 0, -EPROTO, "length 1, 0 is needed"},
    {RMIG_COMMAND_OPEN_RETURN_PATH, 0, RMIG_COMMAND_OPEN_RETURN_PATH, 0, -EPROTO, "a second one"},
    {RMIG_COMMAND_OPEN_RETURN_PATH, 0, RMIG_COMMAND_PING, 3, -EPROTO, "length 3, 4 is needed"},
    {RMIG_COMMAND_POSTCOPY_ADVISE, 16, 0, 0, -ENOTSUP, "capability postcopy-ram"},
    {RMIG_COMMAND_POSTCOPY_ADVISE, 0, 0, 0, -ENOTSUP, "capability dirty-bitmaps"},
    {RMIG_COMMAND_ENABLE_COLO, 0, 0, 0, -ENOTSUP, "capability x-colo"},
};

START_TEST(command__wrong)
{
    int rc;

    put_configuration();
    put_command(wrong[_i].first, wrong[_i].first_len);
    if (wrong[_i].second)
        put_command(wrong[_i].second, wrong[_i].second_len);
    put_be32(0);
    rc = load_pieces();
    if (rc != wrong[_i].rc)
        ck_abort_msg("%d, not %d: %s", rc, wrong[_i].rc, err.msg);
    ck_assert_msg(strstr(err.msg, wrong[_i].word), "%s", err.msg);
    close(ends[0]);
}
END_TEST

START_TEST(command__return_path_over_a_one_way_channel)
{
    put_configuration();
    put_command(RMIG_COMMAND_OPEN_RETURN_PATH, 0);
    ck_assert_int_eq(load_all(&pieces, &dest, NULL, NULL, NULL, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.msg, "capability return-path"), "%s", err.msg);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

Suite *hooks_return_suite(void)
{
    Suite *s = suite_create("return");
    TCase *tc = tcase_create("acknowledge");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, acknowledge__success_is_said);
    tcase_add_test(tc, acknowledge__a_failed_load_is_no_success);
    tcase_add_test(tc, acknowledge__a_source_that_gave_up_keeps_its_guest);
    tcase_add_loop_test(tc, acknowledge__answer, 0, sizeof(answers) / sizeof(answers[0]));
    tcase_add_test(tc, acknowledge__messages_without_end);
    tcase_add_test(tc, acknowledge__one_way_channel_goes_without);
    suite_add_tcase(s, tc);
    tc = tcase_create("command");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, command__ping_is_answered);
    tcase_add_loop_test(tc, command__wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tc, command__return_path_over_a_one_way_channel);
    suite_add_tcase(s, tc);
    return s;
}
