/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_save.c -- what the save driver puts on the wire. */
#include <rmig/save_load.h>

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "stream/format.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct messages m;
static struct rmig_err err;
static struct rmig_out *out;
static struct rmig_save *save;
static struct guest guest;

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    messages_init(&m);
    err = (struct rmig_err)RMIG_ERR_INIT;
    out = messages_out(&m);
    save = NULL;
}

static void teardown(void)
{
    rmig_save_free(save);
    rmig_out_close(out, NULL);
    messages_release(&m);
    guest_release(&guest);
}

static void start(const struct rmig_save_opts *opts)
{
    if (rmig_save_new(&save, out, guest.blocks, guest.count, opts, &err) < 0 ||
        rmig_save_setup(save, &err) < 0)
        ck_abort_msg("%s", err.msg);
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* The stream of a real machine up to the first hook mark, as it was seen on the wire. */
static const char captured[] =
    "5145564d00000003070000000a70632d7133352d372e3201000000020372616d0000000000000004"
    "0000000001082004036d656d0000000001000000"
    "142f726f6d406574632f616370692f7461626c65730000000000020000"
    "0770632e62696f730000000000040000"
    "0670632e726f6d0000000000020000"
    "152f726f6d406574632f7461626c652d6c6f616465720000000000001000"
    "122f726f6d406574632f616370692f727364700000000000001000"
    "0000000000000080";

static void add_captured_blocks(void)
{
    guest_add(&guest, "mem", 0x1000000, false);
    guest_add(&guest, "/rom@etc/acpi/tables", 0x20000, false);
    guest_add(&guest, "pc.bios", 0x40000, false);
    guest_add(&guest, "pc.rom", 0x20000, false);
    guest_add(&guest, "/rom@etc/table-loader", 0x1000, false);
    guest_add(&guest, "/rom@etc/acpi/rsdp", 0x1000, false);
}

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    ck_assert_uint_eq(len, strlen(hex) / 2);
    for (size_t i = 0; i < len; i++) {
        char text[3];

        snprintf(text, sizeof(text), "%02x", bytes[i]);
        if (memcmp(text, hex + 2 * i, 2) != 0)
            ck_abort_msg("byte %zu is %s, not %.2s", i, text, hex + 2 * i);
    }
}

START_TEST(setup__first_message_is_the_captured_one)
{
    const struct rmig_save_opts opts = {.machine = "pc-q35-7.2"};
    struct fake fake;

    add_captured_blocks();
    fake_init(&fake, &guest, &guest, &m);
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
    start(&opts);
    assert_hex(m.bytes, m.ends[0], captured);
    /* the rest: EOS and footer, after the pass */
    assert_hex(m.bytes + m.ends[0], m.len - m.ends[0], "00000000000000107e00000002");
    ck_assert_uint_eq(fake.nevents, 3);
    ck_assert_int_eq(fake.events[1].kind, FAKE_BEFORE);
    ck_assert_int_eq(fake.events[1].flag, RMIG_HOOK_SETUP);
    ck_assert_int_eq(fake.events[2].kind, FAKE_AFTER);
    ck_assert_int_eq(fake.events[2].flag, RMIG_HOOK_SETUP);
    fake_release(&fake);
}
END_TEST

START_TEST(setup__without_hooks_there_is_no_mark)
{
    const struct rmig_save_opts opts = {.machine = "pc-q35-7.2"};
    char expected[sizeof(captured) + 32];

    add_captured_blocks();
    start(&opts);
    snprintf(expected, sizeof(expected), "%.*s00000000000000107e00000002",
             (int)(sizeof(captured) - 1 - 16), captured);
    assert_hex(m.bytes, m.len, expected);
}
END_TEST

START_TEST(new__bad_arguments)
{
    struct rmig_save_opts opts = {.machine = ""};
    char name[300];

    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 1, &opts, NULL), -EINVAL);
    memset(name, 'm', sizeof(name));
    name[256] = '\0';
    opts.machine = name;
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 1, &opts, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 0, NULL, NULL), -EINVAL);
    guest.blocks[0].len_bytes = 100;
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 1, NULL, &err), -EINVAL);
    guest.blocks[0].len_bytes = RMIG_PAGE_BYTES;
    ck_assert_ptr_null(save);
}
END_TEST

START_TEST(calls__out_of_order_are_EINVAL_and_harmless)
{
    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 1, NULL, NULL), 0);
    ck_assert_int_eq(rmig_save_round(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_setup(save, NULL), 0);
    ck_assert_int_eq(rmig_save_setup(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, "d", 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_end(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(rmig_save_complete(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_round(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);
    ck_assert_int_eq(rmig_save_end(save, &err), -EINVAL);
    ck_assert_int_eq(rmig_out_error(out, NULL), 0);
}
END_TEST

/* --- records ---------------------------------------------------------------------------------- */

/* A reader of what the driver wrote, one thing after the other. */
static size_t at;

static void expect_u8(uint8_t v)
{
    ck_assert_uint_lt(at, m.len);
    ck_assert_uint_eq(m.bytes[at], v);
    at++;
}

static void expect_be32(uint32_t v)
{
    ck_assert_uint_le(at + 4, m.len);
    ck_assert_uint_eq(rmig_load_be32(m.bytes + at), v);
    at += 4;
}

static void expect_be64(uint64_t v)
{
    ck_assert_uint_le(at + 8, m.len);
    ck_assert_uint_eq(rmig_load_be64(m.bytes + at), v);
    at += 8;
}

static void expect_str8(const char *s)
{
    expect_u8((uint8_t)strlen(s));
    ck_assert_uint_le(at + strlen(s), m.len);
    ck_assert_mem_eq(m.bytes + at, s, strlen(s));
    at += strlen(s);
}

static void expect_page(uint32_t block, uint64_t page, const char *name)
{
    expect_be64(page * RMIG_PAGE_BYTES | RMIG_RAM_PAGE | (name ? 0 : RMIG_RAM_CONTINUE));
    if (name)
        expect_str8(name);
    ck_assert_uint_le(at + RMIG_PAGE_BYTES, m.len);
    ck_assert_mem_eq(m.bytes + at, guest_page(&guest, block, page), RMIG_PAGE_BYTES);
    at += RMIG_PAGE_BYTES;
}

static void expect_zero(uint64_t page, const char *name)
{
    expect_be64(page * RMIG_PAGE_BYTES | RMIG_RAM_ZERO | (name ? 0 : RMIG_RAM_CONTINUE));
    if (name)
        expect_str8(name);
    expect_u8(0);
}

static void expect_section_end(void)
{
    expect_be64(RMIG_RAM_EOS);
    expect_u8(RMIG_SECTION_FOOTER);
    expect_be32(2);
}

START_TEST(round__records_of_pages_and_zeroes)
{
    guest_init(&guest, 2, 4 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 2, 1);
    memset(guest_page(&guest, 0, 2), 0, RMIG_PAGE_BYTES);
    guest_fill(&guest, 1, 3, 1, 1);
    start(NULL);
    at = m.len;
    ck_assert_int_eq(rmig_save_round(save, &err), 0);
    expect_u8(RMIG_SECTION_PART);
    expect_be32(2);
    expect_page(0, 0, "block-0");
    expect_page(0, 1, NULL);
    expect_zero(2, NULL);
    expect_zero(3, NULL);
    expect_zero(0, "block-1");
    expect_zero(1, NULL);
    expect_zero(2, NULL);
    expect_page(1, 3, NULL);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
    ck_assert_uint_eq(rmig_save_stats(save)->normal_pages, 3);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, 5);
    ck_assert_uint_eq(rmig_save_stats(save)->hole_pages, 4);
    ck_assert_uint_eq(rmig_save_stats(save)->remaining_pages, 0);
    ck_assert_uint_eq(rmig_save_stats(save)->rounds, 1);
    ck_assert_uint_eq(rmig_save_stats(save)->windows, 1);
    ck_assert_uint_eq(rmig_save_stats(save)->total_ram_bytes, 8 * RMIG_PAGE_BYTES);

    /* CONTINUE holds across sections */
    ck_assert_int_eq(rmig_save_mark_dirty(save, 1, 0, 2 * RMIG_PAGE_BYTES), 0);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 1, 3 * RMIG_PAGE_BYTES, RMIG_PAGE_BYTES), 0);
    ck_assert_int_eq(rmig_save_complete(save, &err), 0);
    expect_u8(RMIG_SECTION_END);
    expect_be32(2);
    expect_zero(0, NULL);
    expect_zero(1, NULL);
    expect_page(1, 3, NULL);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
}
END_TEST

/* The first pass leaves them out; a page that has become zero, or is zero again, is said. */
START_TEST(ram_is_zero__zero_pages_of_the_first_pass_go_unsaid)
{
    guest_init(&guest, 1, 4 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 2, 1);
    memset(guest_page(&guest, 0, 1), 0, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_ram_is_zero(save, &err), 0);
    at = m.len;
    ck_assert_int_eq(rmig_save_round(save, &err), 0);
    expect_u8(RMIG_SECTION_PART);
    expect_be32(2);
    expect_page(0, 0, "block-0");
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, 3);
    ck_assert_uint_eq(rmig_save_stats(save)->hole_pages, 2);
    ck_assert_uint_eq(rmig_save_stats(save)->unsaid_pages, 3);

    memset(guest_page(&guest, 0, 0), 0, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 0, 3 * RMIG_PAGE_BYTES), 0);
    ck_assert_int_eq(rmig_save_complete(save, &err), 0);
    expect_u8(RMIG_SECTION_END);
    expect_be32(2);
    expect_zero(0, NULL);
    expect_zero(1, NULL);
    expect_zero(2, NULL);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, 6);
    ck_assert_uint_eq(rmig_save_stats(save)->unsaid_pages, 3);
}
END_TEST

START_TEST(ram_is_zero__only_between_setup_and_the_first_pass)
{
    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    ck_assert_int_eq(rmig_save_new(&save, out, guest.blocks, 1, NULL, &err), 0);
    ck_assert_int_eq(rmig_save_ram_is_zero(save, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_setup(save, &err), 0);
    ck_assert_int_eq(rmig_save_round(save, &err), 0);
    ck_assert_int_eq(rmig_save_ram_is_zero(save, &err), -EINVAL);
    ck_assert_str_eq(err.msg, "rmig_save_ram_is_zero: out of order, pages were sent before");
}
END_TEST

START_TEST(round__nothing_dirty_is_an_empty_part)
{
    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    at = m.len;
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    expect_u8(RMIG_SECTION_PART);
    expect_be32(2);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
}
END_TEST

START_TEST(round__pages_go_out_without_a_copy)
{
    guest_init(&guest, 1, 512 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, 512, 1);
    m.watch = guest.blocks[0].host;
    m.watch_len = guest.blocks[0].len_bytes;
    start(NULL);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ck_assert_uint_eq(m.watched, guest.blocks[0].len_bytes);
}
END_TEST

START_TEST(mark_dirty__bad_ranges)
{
    guest_init(&guest, 2, 4 * RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 1, 4096), -EINVAL);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 0, 4095), -EINVAL);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 0, 0), -ERANGE);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 4 * 4096, 4096), -ERANGE);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 4096, 4 * 4096), -ERANGE);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, UINT64_MAX - 4095, 8192), -ERANGE);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 2, 0, 4096), -ERANGE);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 1, 0, 4 * 4096), 0);
}
END_TEST

START_TEST(round__holes_are_not_read)
{
    guest_init(&guest, 1, 4096 * (uint64_t)RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 7, 1, 1);
    guest_fill(&guest, 0, 4000, 2, 1);
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 3);
    start(NULL);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 3);
    ck_assert_uint_eq(rmig_save_stats(save)->hole_pages, 4093);
    ck_assert_uint_eq(rmig_save_stats(save)->normal_pages, 3);
}
END_TEST

/* --- device sections and the end -------------------------------------------------------------- */

START_TEST(section__bytes_on_the_wire)
{
    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    at = m.len;
    ck_assert_int_eq(rmig_save_section(save, "cpu", 5, 3, "abc", 3, NULL), 0);
    ck_assert_int_eq(rmig_save_section(save, "empty", 0, 1, NULL, 0, NULL), 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    expect_u8(RMIG_SECTION_FULL);
    expect_be32(3);
    expect_str8("cpu");
    expect_be32(5);
    expect_be32(3);
    expect_be32(3);
    ck_assert_mem_eq(m.bytes + at, "abc", 3);
    at += 3;
    expect_u8(RMIG_SECTION_FOOTER);
    expect_be32(3);
    expect_u8(RMIG_SECTION_FULL);
    expect_be32(4);
    expect_str8("empty");
    expect_be32(0);
    expect_be32(1);
    expect_be32(0);
    expect_u8(RMIG_SECTION_FOOTER);
    expect_be32(4);
    ck_assert_uint_eq(at, m.len);
}
END_TEST

START_TEST(section__bad_names)
{
    char name[300];

    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    ck_assert_int_eq(rmig_save_section(save, name, 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, "", 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, NULL, 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, "a\nb", 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, "a\x80", 0, 0, "", 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_save_section(save, "a", 0, 0, "", (size_t)UINT32_MAX + 1, NULL), -E2BIG);
    name[255] = '\0';
    ck_assert_int_eq(rmig_save_section(save, name, 0, 0, "", 0, NULL), 0);
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);
}
END_TEST

START_TEST(section__description_has_a_limit)
{
    char name[256];
    int rc = 0;

    memset(name, '"', 255); /* each byte of it needs an escape */
    name[255] = '\0';
    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    for (uint32_t i = 0; i < 100000 && rc == 0; i++)
        rc = rmig_save_section(save, name, i, 0, "", 0, &err);
    ck_assert_int_eq(rc, -E2BIG);
    ck_assert_ptr_nonnull(strstr(err.msg, "description"));
}
END_TEST

/* Sum of a device's fields, as a reader of the description computes a body's length. */
static json_int_t body_bytes(json_t *device)
{
    json_t *fields = json_object_get(device, "fields"), *field;
    json_int_t sum = 0;
    size_t i;

    ck_assert(json_is_array(fields));
    json_array_foreach(fields, i, field)
    {
        ck_assert(json_is_string(json_object_get(field, "name")));
        ck_assert(json_is_integer(json_object_get(field, "size")));
        sum += json_integer_value(json_object_get(field, "size"));
    }
    return sum;
}

static const char *const odd_names[] = {"cpu", "a\"quote", "back\\slash", "~!@#$%^&*() {}[]",
                                        "cpu"};
#define NODD (sizeof(odd_names) / sizeof(odd_names[0]))

START_TEST(end__description_finds_each_section)
{
    size_t devices_at, eof_at;
    json_t *root, *devices;
    uint32_t len;

    guest_init(&guest, 1, RMIG_PAGE_BYTES);
    start(NULL);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(rmig_out_flush(out), 0);
    devices_at = m.len;
    for (uint32_t i = 0; i < NODD; i++)
        ck_assert_int_eq(rmig_save_section(save, odd_names[i], i, 10 + i, odd_names, 8 * i, NULL),
                         0);
    ck_assert_int_eq(rmig_save_end(save, NULL), 0);

    /* the byte of EOF ends a message, the description is the next one */
    eof_at = m.ends[m.count - 2] - 1;
    at = eof_at;
    expect_u8(RMIG_SECTION_EOF);
    expect_u8(RMIG_SECTION_VMDESCRIPTION);
    len = rmig_load_be32(m.bytes + at);
    at += 4;
    ck_assert_uint_eq(at + len, m.len);
    ck_assert_int_eq(memcmp(m.bytes + at, "{\"page_size\":", 13), 0);
    root = json_loadb((const char *)m.bytes + at, len, 0, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "page_size")), 4096);
    devices = json_object_get(root, "devices");
    ck_assert_uint_eq(json_array_size(devices), NODD);

    at = devices_at;
    for (uint32_t i = 0; i < NODD; i++) {
        json_t *device = json_array_get(devices, i);

        ck_assert_str_eq(json_string_value(json_object_get(device, "name")), odd_names[i]);
        ck_assert_int_eq(json_integer_value(json_object_get(device, "instance_id")), i);
        ck_assert_int_eq(json_integer_value(json_object_get(device, "version")), 10 + i);
        ck_assert(json_is_string(json_object_get(device, "vmsd_name")));
        expect_u8(RMIG_SECTION_FULL);
        expect_be32(3 + i);
        expect_str8(odd_names[i]);
        expect_be32(i);
        expect_be32(10 + i);
        at += (size_t)body_bytes(device);
        expect_u8(RMIG_SECTION_FOOTER);
        expect_be32(3 + i);
    }
    ck_assert_uint_eq(at, eof_at);
    json_decref(root);
}
END_TEST

/* --- hooks ------------------------------------------------------------------------------------ */

static struct fake fake;

static void attach(int (*answer)(struct fake *, const struct rmig_run *, uint64_t *))
{
    fake_init(&fake, &guest, &guest, &m);
    fake.answer = answer;
    ck_assert_int_eq(rmig_out_attach_hooks(out, &fake.hooks, &fake, NULL), 0);
}

START_TEST(hooks__taken_pages_leave_no_record)
{
    guest_init(&guest, 2, 8 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 2, 3, 1);
    attach(NULL);
    start(NULL);
    at = m.len;
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    expect_u8(RMIG_SECTION_PART);
    expect_be32(2);
    expect_be64(RMIG_RAM_HOOK);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
    /* set_blocks, set-up; before, hole, data, hole, hole, after */
    ck_assert_uint_eq(fake.nevents, 3 + 6);
    ck_assert_uint_eq(fake.events[4].run.flags, RMIG_RUN_ZERO);
    ck_assert_uint_eq(fake.events[4].run.len_bytes, 2 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(fake.events[5].run.flags, 0);
    ck_assert_uint_eq(fake.events[5].run.offset_bytes, 2 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(fake.events[5].run.len_bytes, 3 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(fake.events[7].run.block_index, 1);
    ck_assert_uint_eq(fake.events[7].run.len_bytes, 8 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(rmig_save_stats(save)->hook_pages, 3);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, 13);
    ck_assert_uint_eq(rmig_save_stats(save)->normal_pages, 0);
    ck_assert_int_eq(rmig_save_complete(save, NULL), 0);
    ck_assert_int_eq(fake.events[fake.nevents - 2].flag, RMIG_HOOK_FINISH);
    ck_assert_int_eq(fake.events[fake.nevents - 1].flag, RMIG_HOOK_FINISH);
    fake_release(&fake);
}
END_TEST

static int decline(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p)
{
    (void)f;
    (void)run;
    (void)sent_bytes_p;
    return RMIG_PUT_NOT_SUPPORTED;
}

START_TEST(hooks__do_not_see_zero_pages_where_ram_is_zero)
{
    guest_init(&guest, 1, 8 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 3, 1, 1);
    attach(decline);
    start(NULL);
    ck_assert_int_eq(rmig_save_ram_is_zero(save, &err), 0);
    ck_assert_int_eq(rmig_save_round(save, &err), 0);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 1);
    ck_assert_uint_eq(rmig_save_stats(save)->unsaid_pages, 7);
    ck_assert_int_eq(rmig_save_mark_dirty(save, 0, 0, 3 * RMIG_PAGE_BYTES), 0);
    ck_assert_int_eq(rmig_save_round(save, &err), 0);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 2);
    ck_assert_uint_eq(rmig_save_stats(save)->unsaid_pages, 7);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__declined_pages_follow_the_pass)
{
    guest_init(&guest, 1, 4 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 1, 2, 1);
    attach(decline);
    start(NULL);
    at = m.len;
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    expect_u8(RMIG_SECTION_PART);
    expect_be32(2);
    expect_be64(RMIG_RAM_HOOK);
    expect_zero(0, "block-0");
    expect_page(0, 1, NULL);
    expect_page(0, 2, NULL);
    expect_zero(3, NULL);
    expect_section_end();
    ck_assert_uint_eq(at, m.len);
    ck_assert_uint_eq(rmig_save_stats(save)->normal_pages, 2);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, 2);
    ck_assert_uint_eq(rmig_save_stats(save)->hook_pages, 0);
    fake_release(&fake);
}
END_TEST

/* More declined than the list may hold: several windows; each page once; END stays one section. */
START_TEST(hooks__many_declined_pages_take_several_windows)
{
    const uint64_t pages = 24 * 1024; /* 96 MiB */
    size_t before, windows;

    guest_init(&guest, 1, pages * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 0, pages, 1);
    attach(decline);
    start(NULL);
    before = fake_count(&fake, FAKE_BEFORE);
    ck_assert_int_eq(_i ? rmig_save_complete(save, NULL) : rmig_save_round(save, NULL), 0);
    windows = fake_count(&fake, FAKE_BEFORE) - before;
    ck_assert_uint_ge(windows, 2);
    ck_assert_uint_eq(fake_count(&fake, FAKE_AFTER), fake_count(&fake, FAKE_BEFORE));
    ck_assert_uint_eq(rmig_save_stats(save)->normal_pages, pages);
    ck_assert_uint_eq(rmig_save_stats(save)->windows, _i ? 1 : windows);
    ck_assert_uint_eq(rmig_save_stats(save)->remaining_pages, 0);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__a_declined_hole_is_cut_to_fit)
{
    const uint64_t pages = 8 * 1024 * 1024; /* 32 GiB: 72 MiB of records */

    guest_init(&guest, 1, pages * RMIG_PAGE_BYTES);
    attach(decline);
    start(NULL);
    ck_assert_int_eq(rmig_save_complete(save, &err), 0);
    ck_assert_uint_eq(rmig_save_stats(save)->zero_pages, pages);
    ck_assert_uint_eq(rmig_save_stats(save)->hole_pages, pages);
    ck_assert_uint_eq(fake_count(&fake, FAKE_BEFORE), 3);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 2);
    ck_assert_uint_eq(guest_allocated_pages(&guest, 0), 0);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__runs_are_capped_and_holes_are_not)
{
    guest_init(&guest, 1, 1u << 30);
    guest_fill(&guest, 0, 0, 1000, 1);
    attach(NULL);
    start(NULL);
    ck_assert_int_eq(rmig_save_round(save, NULL), 0);
    ck_assert_uint_eq(fake_count(&fake, FAKE_SAVE), 5);
    for (size_t i = 4; i < 7; i++)
        ck_assert_uint_eq(fake.events[i].run.len_bytes, 1u << 20);
    ck_assert_uint_eq(fake.events[8].run.len_bytes, (1u << 30) - 1000 * RMIG_PAGE_BYTES);
    fake_release(&fake);
}
END_TEST

START_TEST(hooks__each_failure_ends_the_save)
{
    int rc;

    guest_init(&guest, 1, 8 * RMIG_PAGE_BYTES);
    guest_fill(&guest, 0, 2, 3, 1);
    attach(NULL);
    fake.fail_at = _i;
    rc = rmig_save_new(&save, out, guest.blocks, guest.count, NULL, &err);
    ck_assert_int_eq(rc, 0);
    rc = rmig_save_setup(save, &err);
    if (rc == 0)
        rc = rmig_save_round(save, &err);
    ck_assert_int_eq(rc, -EREMOTEIO);
    ck_assert_str_eq(err.msg, "fake: told to fail");
    ck_assert_int_eq(rmig_save_complete(save, NULL), -EREMOTEIO); /* it sticks */
    ck_assert_int_eq(rmig_out_error(out, NULL), -EREMOTEIO);
    ck_assert_uint_eq(fake.nevents, (size_t)_i + 1);
    fake_release(&fake);
}
END_TEST

Suite *hooks_save_suite(void)
{
    Suite *s = suite_create("hooks/save");
    TCase *tc = tcase_create("save");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, setup__first_message_is_the_captured_one);
    tcase_add_test(tc, setup__without_hooks_there_is_no_mark);
    tcase_add_test(tc, new__bad_arguments);
    tcase_add_test(tc, calls__out_of_order_are_EINVAL_and_harmless);
    tcase_add_test(tc, round__records_of_pages_and_zeroes);
    tcase_add_test(tc, ram_is_zero__zero_pages_of_the_first_pass_go_unsaid);
    tcase_add_test(tc, ram_is_zero__only_between_setup_and_the_first_pass);
    tcase_add_test(tc, round__nothing_dirty_is_an_empty_part);
    tcase_add_test(tc, round__pages_go_out_without_a_copy);
    tcase_add_test(tc, mark_dirty__bad_ranges);
    tcase_add_test(tc, round__holes_are_not_read);
    tcase_add_test(tc, section__bytes_on_the_wire);
    tcase_add_test(tc, section__bad_names);
    tcase_add_test(tc, section__description_has_a_limit);
    tcase_add_test(tc, end__description_finds_each_section);
    tcase_add_test(tc, hooks__taken_pages_leave_no_record);
    tcase_add_test(tc, hooks__do_not_see_zero_pages_where_ram_is_zero);
    tcase_add_test(tc, hooks__declined_pages_follow_the_pass);
    tcase_add_loop_test(tc, hooks__many_declined_pages_take_several_windows, 0, 2);
    tcase_add_test(tc, hooks__a_declined_hole_is_cut_to_fit);
    tcase_add_test(tc, hooks__runs_are_capped_and_holes_are_not);
    tcase_add_loop_test(tc, hooks__each_failure_ends_the_save, 0, 8);
    suite_add_tcase(s, tc);
    return s;
}
