/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_refuse.c -- each malformed field of a stream is refused, and the message names it. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/load.h"
#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static struct guest guest; /* blocks "block-0" and "block-1" of 4 pages */
static struct rmig_load_opts opts;

/* What the section callback got, and what it answers. */
static unsigned nsections;
static int section_answer;

static int take_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                        const void *data, size_t len, struct rmig_err *e)
{
    (void)opaque, (void)name, (void)instance_id, (void)version, (void)data, (void)len, (void)e;
    nsections++;
    return section_answer;
}

static void setup(void)
{
    guest_init(&guest, 2, 4 * RMIG_PAGE_BYTES);
    messages_init(&pieces);
    err = (struct rmig_err)RMIG_ERR_INIT;
    opts = (struct rmig_load_opts){.section = take_section};
    nsections = 0;
    section_answer = 0;
}

static void teardown(void)
{
    messages_release(&pieces);
    guest_release(&guest);
}

static int load(void)
{
    return load_all(&pieces, &guest, &opts, NULL, NULL, &err);
}

/* The load must fail so; word must be in the message, and so must the error's code in err. */
static void refused(int code, const char *word)
{
    int rc = load();

    if (rc != code)
        ck_abort_msg("%d, not %d: %s", rc, code, err.msg);
    ck_assert_int_eq(err.code, code);
    if (!strstr(err.msg, word))
        ck_abort_msg("'%s' does not tell of '%s'", err.msg, word);
}

/* --- what is refused: header, configuration, commands ----------------------------------------- */

START_TEST(refuse__magic)
{
    put_be32(0x51455600);
    put_be32(3);
    refused(-EPROTO, "magic");
}
END_TEST

START_TEST(refuse__says_at_which_byte)
{
    put_configuration(); /* header, 0x07, length, "test" */
    put_u8(RMIG_SECTION_VMDESCRIPTION);
    refused(-EPROTO, "stream, at byte 18: byte 0x06");
}
END_TEST

START_TEST(refuse__version)
{
    put_be32(RMIG_STREAM_MAGIC);
    put_be32(_i ? 4 : 2);
    refused(-EPROTO, "version");
}
END_TEST

START_TEST(refuse__machine_name_length)
{
    put_header();
    put_u8(RMIG_SECTION_CONFIGURATION);
    put_be32(_i ? 256 : 0);
    refused(-EPROTO, "machine name");
}
END_TEST

START_TEST(refuse__subsection_unknown)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/other");
    put_be32(1);
    refused(-EPROTO, "configuration/other");
}
END_TEST

START_TEST(refuse__subsection_version)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/uuid");
    put_be32(2);
    refused(-EPROTO, "version 2");
}
END_TEST

START_TEST(refuse__subsection_name_empty)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_u8(0);
    refused(-EPROTO, "length 0");
}
END_TEST

START_TEST(refuse__subsection_outside_the_configuration)
{
    if (_i)
        put_up_to_start();
    else
        put_header();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/uuid");
    refused(-EPROTO, "outside");
}
END_TEST

/* A header may not go on for ever. */
START_TEST(refuse__subsection_twice)
{
    put_configuration();
    for (int i = 0; i < 2; i++) {
        put_u8(RMIG_SECTION_SUBSECTION);
        put_str8("configuration/uuid");
        put_be32(1);
        put_text("0123456789abcdef");
    }
    put_ram_start();
    refused(-EPROTO, "configuration/uuid comes twice");
}
END_TEST

START_TEST(refuse__target_page_bits)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/target-page-bits");
    put_be32(1);
    put_be32(16);
    refused(-ENOTSUP, "16 target page bits");
}
END_TEST

START_TEST(refuse__capabilities)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/capabilities");
    put_be32(1);
    put_be32(1);
    put_str8("x-ignore-shared");
    refused(-ENOTSUP, "x-ignore-shared");
}
END_TEST

START_TEST(refuse__capability_count)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/capabilities");
    put_be32(1);
    put_be32(UINT32_MAX);
    refused(-EPROTO, "4294967295 capabilities");
}
END_TEST

/* What is told to be there and is not: the message says what was being read. */
START_TEST(refuse__configuration_that_is_cut)
{
    static const char *const words[] = {"the number of capabilities", "a capability's name",
                                        "a command's length"};

    put_configuration();
    put_u8(_i == 2 ? RMIG_SECTION_COMMAND : RMIG_SECTION_SUBSECTION);
    if (_i == 2) {
        put_be16(RMIG_COMMAND_PING);
    } else {
        put_str8("configuration/capabilities");
        put_be32(1);
    }
    if (_i == 1)
        put_be32(1);
    refused(-EIO, words[_i]);
}
END_TEST

START_TEST(refuse__second_configuration)
{
    put_configuration();
    put_u8(RMIG_SECTION_CONFIGURATION);
    refused(-EPROTO, "CONFIGURATION");
}
END_TEST

START_TEST(refuse__commands)
{
    put_configuration();
    put_u8(RMIG_SECTION_COMMAND);
    put_be16((uint16_t)_i);
    put_be16(0);
    refused(_i == RMIG_COMMAND_PING ? -EPROTO : -ENOTSUP, "command");
}
END_TEST

START_TEST(refuse__switchover_length)
{
    put_configuration();
    put_u8(RMIG_SECTION_COMMAND);
    put_be16(RMIG_COMMAND_SWITCHOVER_START);
    put_be16(4);
    refused(-EPROTO, "length 4");
}
END_TEST

START_TEST(refuse__switchover_twice)
{
    put_up_to_start();
    for (int i = 0; i < 2; i++) {
        put_u8(RMIG_SECTION_COMMAND);
        put_be16(RMIG_COMMAND_SWITCHOVER_START);
        put_be16(0);
    }
    refused(-EPROTO, "a second one");
}
END_TEST

/* One that says nothing over and over; one that says something now and then is let go on. */
START_TEST(refuse__parts_without_end_that_hold_nothing)
{
    put_up_to_start();
    for (uint32_t i = 0; i <= RMIG_IDLE_PARTS_MAX; i++) {
        put_part(RMIG_SECTION_PART);
        if (_i && i == RMIG_IDLE_PARTS_MAX / 2) {
            put_be64(RMIG_RAM_ZERO);
            put_str8("block-0");
            put_u8(0);
        }
        put_end_of(2);
    }
    if (!_i) {
        refused(-EPROTO, "parts in a row hold nothing");
        return;
    }
    put_part(RMIG_SECTION_END);
    put_end_of(2);
    put_description();
    ck_assert_int_eq(load(), 0);
}
END_TEST

START_TEST(refuse__section_types)
{
    static const uint8_t types[] = {0x06, 0x09, 0x7d, 0x7e, 0x7f, 0xff};

    put_up_to_start();
    put_u8(types[_i]);
    refused(-EPROTO, "no section may begin");
}
END_TEST

/* --- what is refused: the order of sections --------------------------------------------------- */

static const char *const not_ram[][2] = {
    {"block", "capability block"},
    {"dirty-bitmap", "capability dirty-bitmaps"},
    {"0000:00:02.0/vfio", "detach the device"},
};

START_TEST(refuse__start_of_another_name)
{
    put_configuration();
    put_head(RMIG_SECTION_START, 2, not_ram[_i][0], 0, 1);
    refused(-ENOTSUP, not_ram[_i][1]);
    ck_assert_ptr_nonnull(strstr(err.msg, not_ram[_i][0]));
}
END_TEST

START_TEST(refuse__start_instance_or_version)
{
    put_configuration();
    put_head(RMIG_SECTION_START, 2, "ram", _i == 0, _i == 1 ? 3 : _i == 2 ? 5 : 4);
    refused(-EPROTO, "instance");
}
END_TEST

START_TEST(refuse__start_name)
{
    put_configuration();
    put_u8(RMIG_SECTION_START);
    put_be32(2);
    if (_i == 0) {
        put_u8(0);
        refused(-EPROTO, "length 0");
    } else {
        put_str8("r\x01m");
        refused(-EPROTO, "not printable");
    }
}
END_TEST

START_TEST(refuse__second_start)
{
    put_up_to_start();
    put_ram_start();
    refused(-EPROTO, "second");
}
END_TEST

START_TEST(refuse__part_or_end_before_start)
{
    put_configuration();
    put_part(_i ? RMIG_SECTION_END : RMIG_SECTION_PART);
    refused(-EPROTO, "no START");
}
END_TEST

START_TEST(refuse__ram_after_end)
{
    put_up_to_devices();
    if (_i == 2)
        put_ram_start();
    else
        put_part(_i ? RMIG_SECTION_END : RMIG_SECTION_PART);
    refused(-EPROTO, _i == 2 ? "second" : "has ended");
}
END_TEST

START_TEST(refuse__other_section_id)
{
    put_up_to_start();
    put_u8(RMIG_SECTION_PART);
    put_be32(3);
    refused(-EPROTO, "id 3");
}
END_TEST

START_TEST(refuse__footer_byte)
{
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(RMIG_RAM_EOS);
    put_u8(0x7d);
    put_be32(2);
    refused(-EPROTO, "footer");
}
END_TEST

START_TEST(refuse__footer_id)
{
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(RMIG_RAM_EOS);
    put_footer(3);
    refused(-EPROTO, "id 3");
}
END_TEST

START_TEST(refuse__device_before_end)
{
    put_up_to_start();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    refused(-EPROTO, "before the ram section's end");
}
END_TEST

START_TEST(refuse__eof_before_end)
{
    if (_i)
        put_up_to_start();
    else
        put_configuration();
    put_u8(RMIG_SECTION_EOF);
    refused(-EPROTO, "end of sections");
}
END_TEST

/* --- what is refused: block list -------------------------------------------------------------- */

static void list_head(uint64_t total)
{
    put_configuration();
    put_ram_start();
    put_be64(total | RMIG_RAM_MEM_SIZE);
}

START_TEST(refuse__list_total)
{
    static const uint64_t totals[] = {0, 4096, 9 * 4096, UINT64_MAX & ~4095ull};

    list_head(totals[_i]);
    refused(-EPROTO, "bytes of RAM at the source");
}
END_TEST

START_TEST(refuse__list_unknown_block)
{
    list_head(8 * 4096);
    put_str8("block-2");
    put_be64(4096);
    refused(-EPROTO, "block-2");
}
END_TEST

START_TEST(refuse__list_block_twice)
{
    list_head(8 * 4096);
    put_str8("block-0");
    put_be64(4 * 4096);
    put_str8("block-0");
    put_be64(4 * 4096);
    refused(-EPROTO, "twice");
}
END_TEST

START_TEST(refuse__list_length)
{
    static const uint64_t lengths[] = {0, 4096, 8 * 4096, 4 * 4096 + 1, UINT64_MAX};

    list_head(8 * 4096);
    put_str8("block-0");
    put_be64(lengths[_i]);
    refused(-EPROTO, "bytes at the source");
}
END_TEST

START_TEST(refuse__list_name)
{
    list_head(8 * 4096);
    if (_i == 0) {
        put_u8(0);
        refused(-EPROTO, "length 0");
    } else {
        put_str8("block\n0");
        put_be64(4096);
        refused(-EPROTO, "not printable");
    }
}
END_TEST

START_TEST(refuse__second_list)
{
    if (_i == 0) {
        put_configuration();
        put_ram_start();
        put_block_list();
        put_block_list();
    } else {
        put_up_to_start();
        put_part(RMIG_SECTION_PART);
        put_block_list();
    }
    refused(-EPROTO, "second block list");
}
END_TEST

START_TEST(refuse__record_before_the_list)
{
    static const uint64_t words[] = {RMIG_RAM_EOS, RMIG_RAM_HOOK, RMIG_RAM_PAGE, RMIG_RAM_ZERO};

    put_configuration();
    put_ram_start();
    put_be64(words[_i]);
    refused(-EPROTO, "before the block list");
}
END_TEST

/* --- what is refused: records ----------------------------------------------------------------- */

static void in_part(uint64_t word)
{
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(word);
}

START_TEST(refuse__record_kinds)
{
    static const uint64_t not_supported[] = {
        RMIG_RAM_FULL,
        RMIG_RAM_XBZRLE,
        RMIG_RAM_COMPRESS_PAGE,
        RMIG_RAM_MULTIFD_FLUSH,
    };

    in_part(not_supported[_i]);
    refused(-ENOTSUP, "not supported");
}
END_TEST

START_TEST(refuse__record_flags)
{
    static const uint64_t bad[] = {
        0,
        RMIG_RAM_CONTINUE,
        RMIG_RAM_PAGE | RMIG_RAM_ZERO,
        RMIG_RAM_PAGE | RMIG_RAM_EOS,
        RMIG_RAM_EOS | RMIG_RAM_CONTINUE,
        RMIG_RAM_HOOK | RMIG_RAM_CONTINUE,
        RMIG_RAM_MEM_SIZE | RMIG_RAM_CONTINUE,
        RMIG_RAM_PAGE | 0x400,
        RMIG_RAM_PAGE | 0x800,
        RMIG_RAM_EOS | 4096,
        RMIG_RAM_HOOK | 4096,
    };

    ck_assert_uint_lt((size_t)_i, sizeof(bad) / sizeof(bad[0]));
    in_part(bad[_i]);
    refused(-EPROTO, "ram record");
}
END_TEST

START_TEST(refuse__continue_without_a_block)
{
    in_part(_i ? RMIG_RAM_PAGE | RMIG_RAM_CONTINUE : RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    refused(-EPROTO, "no block came before");
}
END_TEST

START_TEST(refuse__page_of_an_unknown_block)
{
    in_part(_i ? RMIG_RAM_PAGE : RMIG_RAM_ZERO);
    put_str8("block-9");
    refused(-EPROTO, "block-9");
}
END_TEST

START_TEST(refuse__page_outside_its_block)
{
    static const uint64_t offsets[] = {4 * 4096, 8 * 4096, UINT64_MAX & ~4095ull};

    in_part(offsets[_i / 2] | (_i % 2 ? RMIG_RAM_PAGE : RMIG_RAM_ZERO));
    put_str8("block-0");
    refused(-EPROTO, "outside RAM block block-0");
}
END_TEST

START_TEST(refuse__fill_byte)
{
    in_part(RMIG_RAM_ZERO);
    put_str8("block-0");
    put_u8(1);
    refused(-EPROTO, "fill byte 0x01");
}
END_TEST

START_TEST(refuse__mark_without_hooks)
{
    in_part(RMIG_RAM_HOOK);
    refused(-EINVAL, "nothing is attached");
}
END_TEST

/* --- what is refused: device sections, the end ------------------------------------------------ */

START_TEST(refuse__section_too_long)
{
    opts.max_section_bytes = _i ? 0 : 100;
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(_i ? (64u << 20) + 1 : 101);
    refused(-EPROTO, _i ? "67108864" : "100");
}
END_TEST

START_TEST(refuse__section_name)
{
    put_up_to_devices();
    put_u8(RMIG_SECTION_FULL);
    put_be32(9);
    put_u8(0);
    refused(-EPROTO, "length 0");
}
END_TEST

START_TEST(refuse__section_footer)
{
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(0);
    put_footer(10);
    refused(-EPROTO, "id 10");
    ck_assert_uint_eq(nsections, 0);
}
END_TEST

START_TEST(refuse__callback_says_no)
{
    section_answer = -EDOM;
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(0);
    put_footer(9);
    refused(-EDOM, "disk");
}
END_TEST

START_TEST(refuse__byte_after_eof)
{
    put_up_to_devices();
    put_u8(RMIG_SECTION_EOF);
    put_u8(RMIG_SECTION_FULL);
    refused(-EPROTO, "0x04");
}
END_TEST

START_TEST(refuse__description_length)
{
    put_up_to_devices();
    put_u8(RMIG_SECTION_EOF);
    put_u8(RMIG_SECTION_VMDESCRIPTION);
    put_be32(RMIG_VMDESCRIPTION_MAX + 1);
    refused(-EPROTO, "description");
}
END_TEST

START_TEST(run__twice_is_EINVAL)
{
    struct rmig_in *in = messages_in(&pieces);
    struct rmig_load *driver = NULL;

    ck_assert_int_eq(rmig_load_new(&driver, in, guest.blocks, guest.count, NULL, NULL), 0);
    ck_assert_int_lt(rmig_load_run(driver, NULL), 0);
    ck_assert_int_eq(rmig_load_run(driver, &err), -EINVAL);
    rmig_load_free(driver);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(new__bad_blocks)
{
    struct rmig_in *in = messages_in(&pieces);
    struct rmig_load *driver = NULL;

    ck_assert_int_eq(rmig_load_new(&driver, in, guest.blocks, 0, NULL, NULL), -EINVAL);
    guest.blocks[0].page_bytes = 8192;
    ck_assert_int_eq(rmig_load_new(&driver, in, guest.blocks, 2, NULL, &err), -EINVAL);
    ck_assert_ptr_null(driver);
    rmig_load_free(driver); /* none is fine */
    rmig_in_close(in, NULL);
}
END_TEST

Suite *hooks_refuse_suite(void)
{
    Suite *s = suite_create("hooks/refuse");
    TCase *tc = tcase_create("refuse");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, refuse__magic);
    tcase_add_test(tc, refuse__says_at_which_byte);
    tcase_add_loop_test(tc, refuse__version, 0, 2);
    tcase_add_loop_test(tc, refuse__machine_name_length, 0, 2);
    tcase_add_test(tc, refuse__subsection_unknown);
    tcase_add_test(tc, refuse__subsection_version);
    tcase_add_test(tc, refuse__subsection_name_empty);
    tcase_add_loop_test(tc, refuse__subsection_outside_the_configuration, 0, 2);
    tcase_add_test(tc, refuse__subsection_twice);
    tcase_add_test(tc, refuse__target_page_bits);
    tcase_add_test(tc, refuse__capabilities);
    tcase_add_test(tc, refuse__capability_count);
    tcase_add_loop_test(tc, refuse__configuration_that_is_cut, 0, 3);
    tcase_add_test(tc, refuse__second_configuration);
    tcase_add_loop_test(tc, refuse__commands, 0, 11);
    tcase_add_test(tc, refuse__switchover_length);
    tcase_add_test(tc, refuse__switchover_twice);
    tcase_add_loop_test(tc, refuse__parts_without_end_that_hold_nothing, 0, 2);
    tcase_add_loop_test(tc, refuse__section_types, 0, 6);
    tcase_add_loop_test(tc, refuse__start_of_another_name, 0, 3);
    tcase_add_loop_test(tc, refuse__start_instance_or_version, 0, 3);
    tcase_add_loop_test(tc, refuse__start_name, 0, 2);
    tcase_add_test(tc, refuse__second_start);
    tcase_add_loop_test(tc, refuse__part_or_end_before_start, 0, 2);
    tcase_add_loop_test(tc, refuse__ram_after_end, 0, 3);
    tcase_add_test(tc, refuse__other_section_id);
    tcase_add_test(tc, refuse__footer_byte);
    tcase_add_test(tc, refuse__footer_id);
    tcase_add_test(tc, refuse__device_before_end);
    tcase_add_loop_test(tc, refuse__eof_before_end, 0, 2);
    tcase_add_loop_test(tc, refuse__list_total, 0, 4);
    tcase_add_test(tc, refuse__list_unknown_block);
    tcase_add_test(tc, refuse__list_block_twice);
    tcase_add_loop_test(tc, refuse__list_length, 0, 5);
    tcase_add_loop_test(tc, refuse__list_name, 0, 2);
    tcase_add_loop_test(tc, refuse__second_list, 0, 2);
    tcase_add_loop_test(tc, refuse__record_before_the_list, 0, 4);
    tcase_add_loop_test(tc, refuse__record_kinds, 0, 4);
    tcase_add_loop_test(tc, refuse__record_flags, 0, 11);
    tcase_add_loop_test(tc, refuse__continue_without_a_block, 0, 2);
    tcase_add_loop_test(tc, refuse__page_of_an_unknown_block, 0, 2);
    tcase_add_loop_test(tc, refuse__page_outside_its_block, 0, 6);
    tcase_add_test(tc, refuse__fill_byte);
    tcase_add_test(tc, refuse__mark_without_hooks);
    tcase_add_loop_test(tc, refuse__section_too_long, 0, 2);
    tcase_add_test(tc, refuse__section_name);
    tcase_add_test(tc, refuse__section_footer);
    tcase_add_test(tc, refuse__callback_says_no);
    tcase_add_test(tc, refuse__byte_after_eof);
    tcase_add_test(tc, refuse__description_length);
    tcase_add_test(tc, run__twice_is_EINVAL);
    tcase_add_test(tc, new__bad_blocks);
    suite_add_tcase(s, tc);
    return s;
}
