/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_layout.c -- a load that learns the RAM blocks from the stream, and what it tells. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static const struct guest none; /* a load without blocks */
static struct guest made;
static struct rmig_err err;
static struct rmig_load_opts opts;
static unsigned nlayouts, nwrites, nplaced;
static struct rmig_run last_write;
static char machine[256];
static struct rmig_configuration configuration;
static int layout_answer, placed_answer;

static int make(void *opaque, const struct rmig_layout *layout, const struct rmig_block **blocks_p,
                struct rmig_err *e)
{
    (void)opaque, (void)e;
    nlayouts++;
    if (layout_answer < 0)
        return layout_answer;
    snprintf(machine, sizeof(machine), "%s", layout->machine);
    configuration = layout->configuration;
    for (uint32_t i = 0; i < layout->nblocks; i++) {
        ck_assert_ptr_null(layout->blocks[i].host);
        ck_assert_uint_eq(layout->blocks[i].page_bytes, RMIG_PAGE_BYTES);
        guest_add(&made, layout->blocks[i].name, layout->blocks[i].len_bytes, false);
    }
    *blocks_p = made.blocks;
    return 0;
}

static void wrote(void *opaque, uint32_t block_index, uint64_t offset_bytes, uint64_t len_bytes)
{
    (void)opaque;
    nwrites++;
    last_write = (struct rmig_run){block_index, 0, offset_bytes, len_bytes};
}

static int placed(void *opaque, struct rmig_err *e)
{
    (void)opaque, (void)e;
    nplaced++;
    return placed_answer;
}

static void setup(void)
{
    memset(&made, 0, sizeof(made));
    messages_init(&pieces);
    err = (struct rmig_err)RMIG_ERR_INIT;
    opts = (struct rmig_load_opts){.layout = make, .wrote = wrote, .ram_placed = placed};
    nlayouts = nwrites = nplaced = 0;
    layout_answer = placed_answer = 0;
}

static void teardown(void)
{
    messages_release(&pieces);
    guest_release(&made);
}

static void accepted(void)
{
    if (load_all(&pieces, &none, &opts, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
}

static void refused(int code, const char *word)
{
    int rc = load_all(&pieces, &none, &opts, NULL, NULL, &err);

    if (rc != code)
        ck_abort_msg("%d, not %d: %s", rc, code, err.msg);
    if (!strstr(err.msg, word))
        ck_abort_msg("'%s' does not tell of '%s'", err.msg, word);
}

static void put_page_of(const char *block, uint64_t offset, uint8_t byte)
{
    put_be64(offset | RMIG_RAM_PAGE);
    put_str8(block);
    put_page_bytes(byte);
}

static void put_zero_of(const char *block, uint64_t offset)
{
    put_be64(offset | RMIG_RAM_ZERO);
    put_str8(block);
    put_u8(0);
}

START_TEST(layout__blocks_as_the_source_lists_them)
{
    put_up_to_start();
    put_part(RMIG_SECTION_END);
    put_page_of("block-1", RMIG_PAGE_BYTES, 7);
    put_end_of(2);
    put_description();
    accepted();
    ck_assert_uint_eq(nlayouts, 1);
    ck_assert_uint_eq(made.count, 2);
    ck_assert_str_eq(machine, "test");
    ck_assert_str_eq(made.blocks[1].name, "block-1");
    ck_assert_uint_eq(made.blocks[1].len_bytes, 4 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(*guest_page(&made, 1, 1), 7);
}
END_TEST

/* A destination that is told less than the source said cannot refuse the wrong guest. */
START_TEST(layout__configuration_is_handed_on)
{
    const struct rmig_configuration says[] = {
        {.says_page_bits = false},
        {.says_page_bits = true},
        {.has_uuid = true, .uuid = "0123456789abcde"},
        {.says_page_bits = true, .has_uuid = true, .uuid = "fedcba987654321"},
    };
    const struct rmig_save_opts said = {.machine = "arm", .configuration = says[_i]};
    struct rmig_save *save = NULL;
    struct rmig_out *out = messages_out(&pieces);
    struct guest source;

    guest_init(&source, 1, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_save_new(&save, out, source.blocks, 1, &said, &err), 0);
    ck_assert_int_eq(rmig_save_setup(save, &err), 0);
    ck_assert_int_eq(rmig_save_complete(save, &err), 0);
    ck_assert_int_eq(rmig_save_end(save, &err), 0);
    rmig_save_free(save);
    rmig_out_close(out, NULL);
    accepted();
    ck_assert_str_eq(machine, "arm");
    ck_assert_int_eq(configuration.says_page_bits, says[_i].says_page_bits);
    ck_assert_int_eq(configuration.has_uuid, says[_i].has_uuid);
    ck_assert_mem_eq(configuration.uuid, says[_i].uuid, sizeof(configuration.uuid));
    guest_release(&source);
}
END_TEST

START_TEST(layout__hooks_get_the_table_before_the_list)
{
    struct guest source;
    struct fake fake;
    struct messages stream;

    guest_init(&source, 2, 4 * RMIG_PAGE_BYTES);
    guest_fill_mixed(&source, 3);
    messages_init(&stream);
    fake_init(&fake, &source, &made, &stream);
    save_all(&stream, &source, &fake.hooks, &fake, 0);
    if (load_all(&stream, &none, &opts, &fake.hooks, &fake, &err) < 0)
        ck_abort_msg("%s", err.msg);
    guest_assert_equal(&source, &made);
    fake_release(&fake);
    messages_release(&stream);
    guest_release(&source);
}
END_TEST

START_TEST(layout__more_than_allowed)
{
    opts.max_ram_bytes = 8 * RMIG_PAGE_BYTES - 1;
    put_up_to_start();
    refused(-EPROTO, "at most 32767 are allowed");
    ck_assert_uint_eq(nlayouts, 0);
}
END_TEST

START_TEST(layout__same_name_twice)
{
    put_configuration();
    put_ram_start();
    put_be64(8 * RMIG_PAGE_BYTES | RMIG_RAM_MEM_SIZE);
    for (int i = 0; i < 2; i++) {
        put_str8("twin");
        put_be64(4 * RMIG_PAGE_BYTES);
    }
    refused(-EPROTO, "twin is listed twice");
    ck_assert_uint_eq(nlayouts, 0);
}
END_TEST

/* One block of len bytes, in a list whose sum is total. */
static void put_list(uint64_t total, uint64_t len)
{
    put_configuration();
    put_ram_start();
    put_be64(total | RMIG_RAM_MEM_SIZE);
    put_str8("block");
    put_be64(len);
}

static const struct {
    uint64_t total, len;
    const char *word;
} lengths[] = {
    {RMIG_PAGE_BYTES, 0, "length 0 is not"},
    {RMIG_PAGE_BYTES, RMIG_PAGE_BYTES - 1, "length 4095 is not"},
    {RMIG_PAGE_BYTES, 2 * RMIG_PAGE_BYTES, "only 4096 are left"},
    {RMIG_PAGE_BYTES, UINT64_MAX & ~0xfffull, "only 4096 are left"},
    {0, 0, "0 bytes of RAM"},
};

START_TEST(layout__length)
{
    put_list(lengths[_i].total, lengths[_i].len);
    refused(-EPROTO, lengths[_i].word);
    ck_assert_uint_eq(nlayouts, 0);
}
END_TEST

START_TEST(layout__more_blocks_than_a_move_can_have)
{
    char name[16];

    put_configuration();
    put_ram_start();
    put_be64((RMIG_BLOCKS_MAX + 1ull) * RMIG_PAGE_BYTES | RMIG_RAM_MEM_SIZE);
    for (uint32_t i = 0; i <= RMIG_BLOCKS_MAX; i++) {
        snprintf(name, sizeof(name), "b%u", i);
        put_str8(name);
        put_be64(RMIG_PAGE_BYTES);
    }
    refused(-EPROTO, "more than 16383 RAM blocks");
}
END_TEST

START_TEST(layout__refused_by_its_owner)
{
    layout_answer = -ENOSPC;
    put_up_to_start();
    refused(-ENOSPC, "refused with error");
}
END_TEST

START_TEST(layout__byte_0_in_the_machine_name)
{
    put_header();
    put_u8(RMIG_SECTION_CONFIGURATION);
    put_be32(3);
    put_u8('a');
    put_be16(0);
    refused(-EPROTO, "machine name a");
}
END_TEST

START_TEST(wrote__pages_and_what_became_zero)
{
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_page_of("block-1", RMIG_PAGE_BYTES, 7);
    put_zero_of("block-0", 0); /* it is zero: nothing is written */
    put_end_of(2);
    put_part(RMIG_SECTION_END);
    put_zero_of("block-1", RMIG_PAGE_BYTES);
    put_end_of(2);
    put_description();
    accepted();
    ck_assert_uint_eq(nwrites, 2);
    ck_assert_uint_eq(last_write.block_index, 1);
    ck_assert_uint_eq(last_write.offset_bytes, RMIG_PAGE_BYTES);
    ck_assert_uint_eq(last_write.len_bytes, RMIG_PAGE_BYTES);
}
END_TEST

START_TEST(placed__before_anything_else_is_read)
{
    put_up_to_start();
    put_part(RMIG_SECTION_PART);
    put_be64(RMIG_RAM_EOS);
    put_footer(2);
    put_part(RMIG_SECTION_END);
    put_be64(RMIG_RAM_EOS);
    refused(-EIO, "footer"); /* the stream ends here, after the call */
    ck_assert_uint_eq(nplaced, 1);
}
END_TEST

START_TEST(placed__refusal_ends_the_load)
{
    placed_answer = -ENOSPC;
    put_up_to_devices();
    put_description();
    refused(-ENOSPC, "RAM in place");
}
END_TEST

Suite *hooks_layout_suite(void)
{
    Suite *s = suite_create("layout");
    TCase *tc = tcase_create("layout");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, layout__blocks_as_the_source_lists_them);
    tcase_add_loop_test(tc, layout__configuration_is_handed_on, 0, 4);
    tcase_add_test(tc, layout__hooks_get_the_table_before_the_list);
    tcase_add_test(tc, layout__more_than_allowed);
    tcase_add_test(tc, layout__same_name_twice);
    tcase_add_loop_test(tc, layout__length, 0, sizeof(lengths) / sizeof(lengths[0]));
    tcase_add_test(tc, layout__more_blocks_than_a_move_can_have);
    tcase_add_test(tc, layout__refused_by_its_owner);
    tcase_add_test(tc, layout__byte_0_in_the_machine_name);
    tcase_add_test(tc, wrote__pages_and_what_became_zero);
    tcase_add_test(tc, placed__before_anything_else_is_read);
    tcase_add_test(tc, placed__refusal_ends_the_load);
    suite_add_tcase(s, tc);
    return s;
}
