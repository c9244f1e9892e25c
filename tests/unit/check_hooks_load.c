/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_load.c -- what the load driver accepts, and what it does with it. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct rmig_err err;
static struct guest guest; /* blocks "block-0" and "block-1" of 4 pages */
static struct rmig_load_opts opts;

/* What the section callback got. */
static unsigned nsections;
static char section_name[256];
static size_t section_len;

static int take_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                        const void *data, size_t len, struct rmig_err *e)
{
    (void)opaque;
    (void)instance_id;
    (void)version;
    (void)e;
    ck_assert_ptr_nonnull(data);
    snprintf(section_name, sizeof(section_name), "%s", name);
    section_len = len;
    nsections++;
    return 0;
}

static void setup(void)
{
    guest_init(&guest, 2, 4 * RMIG_PAGE_BYTES);
    messages_init(&pieces);
    err = (struct rmig_err)RMIG_ERR_INIT;
    opts = (struct rmig_load_opts){.section = take_section};
    nsections = 0;
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

static void accepted(void)
{
    if (load() < 0)
        ck_abort_msg("%s", err.msg);
}

/* --- what is accepted ------------------------------------------------------------------------- */

START_TEST(accept__smallest)
{
    put_up_to_devices();
    put_description();
    accepted();
    ck_assert_uint_eq(nsections, 0);
}
END_TEST

START_TEST(accept__without_description)
{
    put_up_to_devices();
    put_u8(RMIG_SECTION_EOF);
    accepted();
}
END_TEST

START_TEST(accept__without_configuration)
{
    put_header();
    put_ram_start();
    put_block_list();
    put_end_of(2);
    put_part(RMIG_SECTION_END);
    put_end_of(2);
    put_description();
    accepted();
}
END_TEST

START_TEST(accept__subsections_and_switchover)
{
    put_configuration();
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/target-page-bits");
    put_be32(1);
    put_be32(12);
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/capabilities");
    put_be32(1);
    put_be32(0);
    put_u8(RMIG_SECTION_SUBSECTION);
    put_str8("configuration/uuid");
    put_be32(1);
    put_text("0123456789abcdef");
    put_ram_start();
    put_block_list();
    put_end_of(2);
    put_u8(RMIG_SECTION_COMMAND);
    put_be16(RMIG_COMMAND_SWITCHOVER_START);
    put_be16(0);
    put_part(RMIG_SECTION_END);
    put_end_of(2);
    put_description();
    accepted();
}
END_TEST

START_TEST(accept__any_section_id_and_block_order)
{
    put_configuration();
    put_head(RMIG_SECTION_START, 77, "ram", 0, 4);
    put_be64(8 * RMIG_PAGE_BYTES | RMIG_RAM_MEM_SIZE);
    put_str8("block-1");
    put_be64(4 * RMIG_PAGE_BYTES);
    put_str8("block-0");
    put_be64(4 * RMIG_PAGE_BYTES);
    put_end_of(77);
    put_u8(RMIG_SECTION_END);
    put_be32(77);
    put_end_of(77);
    put_description();
    accepted();
}
END_TEST

START_TEST(accept__pages_and_zeroes)
{
    guest_fill(&guest, 0, 0, 4, 1);
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(RMIG_PAGE_BYTES | RMIG_RAM_PAGE);
    put_str8("block-1");
    put_page_bytes(0x5a);
    put_end_of(2);
    put_part(RMIG_SECTION_END);
    put_be64(3 * RMIG_PAGE_BYTES | RMIG_RAM_PAGE | RMIG_RAM_CONTINUE); /* of block-1 still */
    put_page_bytes(0xa5);
    put_be64(2 * RMIG_PAGE_BYTES | RMIG_RAM_ZERO);
    put_str8("block-0");
    put_u8(0);
    put_end_of(2);
    put_description();
    accepted();
    ck_assert_int_eq(guest_page(&guest, 1, 1)[4095], 0x5a);
    ck_assert_int_eq(guest_page(&guest, 1, 3)[0], 0xa5);
    ck_assert_int_eq(guest_page(&guest, 0, 2)[0], 0);
    ck_assert_int_ne(guest_page(&guest, 0, 1)[0], 0);
    ck_assert_int_ne(guest_page(&guest, 0, 3)[0], 0);
}
END_TEST

START_TEST(accept__device_sections)
{
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(3);
    put_text("abc");
    put_footer(9);
    put_head(RMIG_SECTION_FULL, 10, "net", 1, 2);
    put_be32(0);
    put_footer(10);
    put_description();
    accepted();
    ck_assert_uint_eq(nsections, 2);
    ck_assert_str_eq(section_name, "net");
    ck_assert_uint_eq(section_len, 0);
}
END_TEST

START_TEST(accept__device_sections_without_a_callback)
{
    opts.section = NULL;
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(3);
    put_text("abc");
    put_footer(9);
    put_description();
    accepted();
}
END_TEST

START_TEST(accept__large_device_section)
{
    const uint32_t len = 5u << 20;
    uint8_t *data = calloc(1, len);

    ck_assert_ptr_nonnull(data);
    put_up_to_devices();
    put_head(RMIG_SECTION_FULL, 9, "disk", 1, 2);
    put_be32(len);
    messages_append(&pieces, data, len);
    put_footer(9);
    put_description();
    accepted();
    ck_assert_uint_eq(section_len, len);
    free(data);
}
END_TEST

START_TEST(stats__pages_zeroes_and_sections)
{
    struct rmig_in *in;
    struct rmig_load *driver = NULL;
    const struct rmig_ram_stats *stats;

    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(RMIG_RAM_PAGE);
    put_str8("block-0");
    put_page_bytes(0x5a);
    put_be64(RMIG_PAGE_BYTES | RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_end_of(2);
    put_part(RMIG_SECTION_END);
    put_be64(RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_end_of(2);
    put_description();
    in = messages_in(&pieces);
    ck_assert_int_eq(rmig_load_new(&driver, in, guest.blocks, guest.count, NULL, NULL), 0);
    stats = rmig_load_stats(driver);
    ck_assert_uint_eq(stats->total_ram_bytes, 8 * RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_load_run(driver, &err), 0);
    ck_assert_uint_eq(stats->normal_pages, 1);
    ck_assert_uint_eq(stats->zero_pages, 2);
    ck_assert_uint_eq(stats->hole_pages, 1);
    ck_assert_uint_eq(stats->windows, 2);
    rmig_load_free(driver);
    rmig_in_close(in, NULL);
}
END_TEST

START_TEST(zero__a_hole_stays_one)
{
    put_up_to_start();
    put_part(RMIG_SECTION_END);
    for (uint64_t i = 0; i < 4; i++) {
        put_be64(i * RMIG_PAGE_BYTES | RMIG_RAM_ZERO);
        put_str8("block-0");
        put_u8(0);
    }
    put_end_of(2);
    put_description();
    accepted();
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 0);
}
END_TEST

START_TEST(zero__a_hole_that_was_filled_is_cleared)
{
    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_be64(0 | RMIG_RAM_ZERO); /* makes the whole block known as a hole */
    put_str8("block-0");
    put_u8(0);
    put_be64(RMIG_PAGE_BYTES | RMIG_RAM_PAGE | RMIG_RAM_CONTINUE);
    put_page_bytes(7);
    put_be64(2 * RMIG_PAGE_BYTES | RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_be64(RMIG_PAGE_BYTES | RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_end_of(2);
    put_description();
    accepted();
    ck_assert_int_eq(guest_page(&guest, 0, 1)[0], 0);
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 1);
}
END_TEST

/* A transport writes into what was known as a hole. */
static int fill_page_1(void *opaque, enum rmig_hook_flag flag, const char *name, struct rmig_err *e)
{
    (void)opaque, (void)name, (void)e;
    if (flag == RMIG_HOOK_HOOK)
        memset(guest_page(&guest, 0, 1), 7, RMIG_PAGE_BYTES);
    return 0;
}

START_TEST(zero__a_hole_that_a_hook_filled_is_cleared)
{
    static const struct rmig_hooks hooks = {.load = fill_page_1};

    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_be64(0 | RMIG_RAM_ZERO); /* makes the whole block known as a hole */
    put_str8("block-0");
    put_u8(0);
    put_be64(RMIG_RAM_HOOK);
    put_be64(RMIG_PAGE_BYTES | RMIG_RAM_ZERO | RMIG_RAM_CONTINUE);
    put_u8(0);
    put_end_of(2);
    put_description();
    ck_assert_int_eq(load_all(&pieces, &guest, &opts, &hooks, NULL, &err), 0);
    ck_assert_int_eq(guest_page(&guest, 0, 1)[0], 0);
}
END_TEST

Suite *hooks_load_suite(void)
{
    Suite *s = suite_create("hooks/load");
    TCase *tc = tcase_create("load");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, accept__smallest);
    tcase_add_test(tc, accept__without_description);
    tcase_add_test(tc, accept__without_configuration);
    tcase_add_test(tc, accept__subsections_and_switchover);
    tcase_add_test(tc, accept__any_section_id_and_block_order);
    tcase_add_test(tc, accept__pages_and_zeroes);
    tcase_add_test(tc, accept__device_sections);
    tcase_add_test(tc, accept__device_sections_without_a_callback);
    tcase_add_test(tc, accept__large_device_section);
    tcase_add_test(tc, stats__pages_zeroes_and_sections);
    tcase_add_test(tc, zero__a_hole_stays_one);
    tcase_add_test(tc, zero__a_hole_that_was_filled_is_cleared);
    tcase_add_test(tc, zero__a_hole_that_a_hook_filled_is_cleared);
    suite_add_tcase(s, tc);
    return s;
}
