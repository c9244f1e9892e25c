/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_tail.c -- another hypervisor's device sections: taken as a whole and put back. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct guest guest;
static struct rmig_err err;
static struct rmig_load_opts opts;

/* What the callback got. */
static uint8_t *tail;
static size_t tail_len;
static unsigned ntails;
static int tail_answer;

static int take_tail(void *opaque, const void *data, size_t len, struct rmig_err *e)
{
    (void)opaque;
    (void)e;
    free(tail);
    tail = malloc(len);
    ck_assert_ptr_nonnull(tail);
    memcpy(tail, data, len);
    tail_len = len;
    ntails++;
    return tail_answer;
}

static int take_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                        const void *data, size_t len, struct rmig_err *e)
{
    (void)opaque, (void)name, (void)instance_id, (void)version, (void)data, (void)len, (void)e;
    ck_abort_msg("a section of a tail is not parsed");
    return 0;
}

static void setup(void)
{
    guest_init(&guest, 2, 4 * RMIG_PAGE_BYTES);
    messages_init(&pieces);
    err = (struct rmig_err)RMIG_ERR_INIT;
    opts = (struct rmig_load_opts){.tail = take_tail, .section = take_section};
    tail = NULL;
    tail_len = ntails = 0;
    tail_answer = 0;
}

static void teardown(void)
{
    free(tail);
    messages_release(&pieces);
    guest_release(&guest);
}

static int load(struct messages *m)
{
    return load_all(m, &guest, &opts, NULL, NULL, &err);
}

static void accepted(void)
{
    if (load(&pieces) < 0)
        ck_abort_msg("%s", err.msg);
    ck_assert_uint_eq(ntails, 1);
}

static void refused(int code, const char *word)
{
    int rc = load(&pieces);

    if (rc != code)
        ck_abort_msg("%d, not %d: %s", rc, code, err.msg);
    if (!strstr(err.msg, word))
        ck_abort_msg("'%s' does not tell of '%s'", err.msg, word);
}

/* End of sections and a description of text. */
static void put_end(const char *text)
{
    put_u8(RMIG_SECTION_EOF);
    put_u8(RMIG_SECTION_VMDESCRIPTION);
    put_be32((uint32_t)strlen(text));
    put_text(text);
}

/* --- load ------------------------------------------------------------------------------------- */

START_TEST(load__tail_is_all_that_follows_the_ram_section)
{
    size_t from;

    put_up_to_devices();
    from = pieces.len;
    put_head(RMIG_SECTION_FULL, 9, "timer", 0, 2);
    put_text("a body of no known length");
    put_footer(9);
    put_end("{\"page_size\": 4096, \"devices\": []}");
    accepted();
    ck_assert_uint_eq(tail_len, pieces.len - from);
    ck_assert_mem_eq(tail, pieces.bytes + from, tail_len);
}
END_TEST

START_TEST(load__tail_without_sections)
{
    put_up_to_devices();
    put_end("{\"page_size\": 4096}");
    accepted();
    ck_assert_uint_eq(tail_len, 6 + 19);
}
END_TEST

START_TEST(load__tail_byte_by_byte)
{
    struct messages slow;
    uint8_t *first;
    size_t first_len;

    messages_init(&slow);
    save_all(&pieces, &guest, NULL, NULL, 5);
    accepted();
    first = tail;
    first_len = tail_len;
    tail = NULL;
    for (size_t i = 0; i < pieces.len; i++)
        messages_append(&slow, pieces.bytes + i, 1);
    ck_assert_int_eq(load(&slow), 0);
    ck_assert_uint_eq(tail_len, first_len);
    ck_assert_mem_eq(tail, first, first_len);
    free(first);
    messages_release(&slow);
}
END_TEST

START_TEST(load__device_that_holds_a_description)
{
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "odd", 0, 2);
    put_text("{\"page_size\": }"); /* without its frame */
    put_end("{\"page_size\": 1}"); /* with it, but more follows */
    put_u8(RMIG_SECTION_EOF);      /* with a length that is a lie */
    put_u8(RMIG_SECTION_VMDESCRIPTION);
    put_be32(1000000);
    put_text("{\"page_size\": }");
    put_u8('!');
    put_footer(9);
    put_end("{\"page_size\": 4096, \"x\": \"{\\\"page_size\\\":\"}");
    /* in one message, as a fast source sends it: else the second would be taken for the end */
    pieces.count = 1;
    pieces.ends[0] = pieces.len;
    accepted();
}
END_TEST

/* What begins like a description where there is no room for its frame is none. */
START_TEST(load__tail_that_begins_with_a_description)
{
    size_t from;

    put_up_to_devices();
    from = pieces.len;
    put_u8(RMIG_SECTION_FULL);
    put_text("{\"page_size\": 1}");
    put_end("{\"page_size\": 4096}");
    accepted();
    ck_assert_uint_eq(tail_len, pieces.len - from);
}
END_TEST

START_TEST(load__large_tail)
{
    const size_t len = 3u << 20;
    uint8_t *body = malloc(len);

    ck_assert_ptr_nonnull(body);
    memset(body, '}', len);
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "large", 0, 2);
    messages_append(&pieces, body, len);
    put_footer(9);
    put_end("{\"page_size\": 4096}");
    accepted();
    free(body);
}
END_TEST

START_TEST(load__tail_cut_anywhere_fails)
{
    struct messages cut;
    size_t from;

    put_up_to_devices();
    from = pieces.len;
    put_head(RMIG_SECTION_FULL, 9, "timer", 0, 2);
    put_footer(9);
    put_end("{\"page_size\": 4096}");
    for (size_t len = from; len < pieces.len; len++) {
        messages_init(&cut);
        messages_append(&cut, pieces.bytes, len);
        err = (struct rmig_err)RMIG_ERR_INIT;
        ck_assert_int_eq(load(&cut), -EIO);
        messages_release(&cut);
    }
    ck_assert_uint_eq(ntails, 0);
}
END_TEST

START_TEST(load__bytes_behind_the_description_fail)
{
    put_up_to_devices();
    put_end("{\"page_size\": 4096}");
    put_u8('x');
    pieces.count--; /* in one message with the byte before */
    pieces.ends[pieces.count - 1] = pieces.len;
    refused(-EIO, "tail");
}
END_TEST

START_TEST(load__tail_without_a_description_tells_of_the_property)
{
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "timer", 0, 2);
    put_footer(9);
    put_u8(RMIG_SECTION_EOF);
    refused(-EIO, "suppress-vmdesc=off");
}
END_TEST

START_TEST(load__tail_first_byte_is_EPROTO)
{
    static const uint8_t bytes[] = {1, 2, 3, 5, 6, 7, 8, 0x7e, 0xff};

    put_up_to_devices();
    put_u8(bytes[_i]);
    refused(-EPROTO, "tail");
}
END_TEST

START_TEST(load__tail_beyond_its_bound_is_EPROTO)
{
    opts.max_tail_bytes = 100;
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "timer", 0, 2);
    for (int i = 0; i < 100; i++)
        put_u8(0);
    refused(-EPROTO, "100 bytes");
}
END_TEST

START_TEST(load__tail_beyond_the_RAM_that_is_allowed_is_EPROTO)
{
    opts.max_ram_bytes = 100;
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "timer", 0, 2);
    for (int i = 0; i < 100; i++)
        put_u8(0);
    refused(-EPROTO, "100 bytes");
}
END_TEST

START_TEST(load__callback_says_no)
{
    tail_answer = -EDOM;
    put_up_to_devices();
    put_end("{\"page_size\": 4096}");
    refused(-EDOM, "refused");
}
END_TEST

/* --- save ------------------------------------------------------------------------------------- */

static struct rmig_out *out;
static struct rmig_save *save;
static struct messages again;

static void start_save(void)
{
    messages_init(&again);
    out = messages_out(&again);
    save = NULL;
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, guest.count, NULL, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(save, NULL), 0);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
}

static void end_save(void)
{
    rmig_save_free(save);
    ck_assert_int_eq(rmig_out_close(out, NULL), 0);
    messages_release(&again);
}

START_TEST(save__tail_makes_the_same_stream)
{
    guest_fill_mixed(&guest, 1);
    save_all(&pieces, &guest, NULL, NULL, 5);
    accepted();
    start_save();
    ck_assert_int_eq(rmig_save_tail(save, tail, tail_len, &err), 0);
    ck_assert_uint_eq(again.len, pieces.len);
    ck_assert_mem_eq(again.bytes, pieces.bytes, pieces.len);
    /* the end of sections ends a message */
    ck_assert_uint_eq(again.ends[again.count - 2], pieces.ends[pieces.count - 2]);
    ck_assert_int_eq(rmig_save_end(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_tail(save, tail, tail_len, NULL), -EINVAL);
    end_save();
}
END_TEST

START_TEST(save__no_whole_tail_is_EINVAL)
{
    static const char whole[] = "\0\6\0\0\0\23{\"page_size\": 4096}";
    const size_t len = sizeof(whole) - 1;

    start_save();
    ck_assert_int_eq(rmig_save_tail(save, NULL, 0, NULL), -EINVAL);
    for (size_t n = 1; n < len; n++)
        ck_assert_int_eq(rmig_save_tail(save, whole, n, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_tail(save, "\1\0\6\0\0\0\23{\"page_size\": 4096}", len + 1, NULL),
                     -EINVAL);
    ck_assert_int_eq(rmig_out_error(out, NULL), 0);
    ck_assert_int_eq(rmig_save_tail(save, whole, len, &err), 0);
    end_save();
}
END_TEST

START_TEST(save__tail_after_a_section_is_EINVAL)
{
    start_save();
    ck_assert_int_eq(rmig_save_section(save, "d", 0, 0, "", 0, NULL), 0);
    ck_assert_int_eq(rmig_save_tail(save, "\0\6\0\0\0\23{\"page_size\": 4096}", 25, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "sections of our own"));
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);
    end_save();
}
END_TEST

Suite *hooks_tail_suite(void)
{
    Suite *s = suite_create("hooks/tail");
    TCase *tc = tcase_create("tail");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, load__tail_is_all_that_follows_the_ram_section);
    tcase_add_test(tc, load__tail_without_sections);
    tcase_add_test(tc, load__tail_byte_by_byte);
    tcase_add_test(tc, load__device_that_holds_a_description);
    tcase_add_test(tc, load__tail_that_begins_with_a_description);
    tcase_add_test(tc, load__large_tail);
    tcase_add_test(tc, load__tail_cut_anywhere_fails);
    tcase_add_test(tc, load__bytes_behind_the_description_fail);
    tcase_add_test(tc, load__tail_without_a_description_tells_of_the_property);
    tcase_add_loop_test(tc, load__tail_first_byte_is_EPROTO, 0, 9);
    tcase_add_test(tc, load__tail_beyond_its_bound_is_EPROTO);
    tcase_add_test(tc, load__tail_beyond_the_RAM_that_is_allowed_is_EPROTO);
    tcase_add_test(tc, load__callback_says_no);
    tcase_add_test(tc, save__tail_makes_the_same_stream);
    tcase_add_test(tc, save__no_whole_tail_is_EINVAL);
    tcase_add_test(tc, save__tail_after_a_section_is_EINVAL);
    suite_add_tcase(s, tc);
    return s;
}
