/* SPDX-License-Identifier: BSD-3-Clause */
/* check_tools_walk.c -- streams of a stock QEMU and of our own, whole, cut, changed and made up,
 * are followed to their end or to the byte where they go wrong. */
#include "tools/rmig_walk.h"

#include <errno.h>
#include <stdio.h>

#include "tests/fuzz/bytes_channel.h"
#include "tests/fuzz/fuzz_guest.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"
#include "tools/rmig_fields.h"

#define STREAM_MAX (1u << 17)

static struct walk walk;
static uint8_t stream[STREAM_MAX];
static size_t stream_bytes;

static const char *const captured[] = {"qemu-q35",           "qemu-microvm",  "qemu-isapc",
                                       "qemu-ignore-shared", "qemu-compress", "qemu-no-footers"};
#define NCAPTURED (sizeof(captured) / sizeof(captured[0]))

static void read_captured(const char *name)
{
    const char *top = getenv("abs_top_srcdir");
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/fuzz_inspect/%s", top ? top : ".", name);
    f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s: is missing", path);
    stream_bytes = fread(stream, 1, sizeof(stream), f);
    fclose(f);
    ck_assert(stream_bytes > 0 && stream_bytes < sizeof(stream));
}

/* How far apart are the bytes at which a captured stream is cut or changed: all streams together at
 * no more than RMIG_MUTATIONS of them, if that is set. */
static size_t stride(void)
{
    const char *text = getenv("RMIG_MUTATIONS");
    unsigned long most = text ? strtoul(text, NULL, 10) : 0;
    size_t apart = most ? (NCAPTURED * stream_bytes / most) | 1 : 0;

    return apart > 61 ? apart : 61;
}

static int follow(size_t nbytes, int seekable)
{
    return walk_run(&walk, bytes_channel(stream, nbytes, seekable, seekable ? 0 : 701));
}

/* --- streams that were made up ------------------------------------------------------------------
 */

static void put(const void *data, size_t nbytes)
{
    ck_assert(stream_bytes + nbytes <= sizeof(stream));
    memcpy(stream + stream_bytes, data, nbytes);
    stream_bytes += nbytes;
}

static void put_number(uint64_t value, unsigned nbytes)
{
    while (nbytes-- > 0)
        put(&(uint8_t){(uint8_t)(value >> 8 * nbytes)}, 1);
}

static void put_name(const char *text)
{
    put_number(strlen(text), 1);
    put(text, strlen(text));
}

static void put_head(const char *machine)
{
    stream_bytes = 0;
    put("QEVM\0\0\0\3\7", 9);
    put_number(strlen(machine), 4);
    put(machine, strlen(machine));
}

static void put_start(const char *name, uint32_t version)
{
    put_number(WALK_START, 1);
    put_number(2, 4);
    put_name(name);
    put_number(0, 4);
    put_number(version, 4);
}

/* One block, "mem", of two pages. */
static void put_block_list(void)
{
    put_number(0x2000 | 4, 8);
    put_name("mem");
    put_number(0x2000, 8);
}

static void put_body_end(void)
{
    put_number(0x10, 8);
    put_number(WALK_FOOTER, 1);
    put_number(2, 4);
}

static void expect_wrong(uint64_t at, const char *what)
{
    int rc = follow(stream_bytes, 1);
    char byte[32];

    ck_assert_failed(rc, -EPROTO, &walk.scan.err, what);
    snprintf(byte, sizeof(byte), "byte %llu: ", (unsigned long long)at);
    ck_assert_msg(strncmp(walk.scan.err.msg, byte, strlen(byte)) == 0 && walk.scan.err_at == at,
                  "\"%s\" is not about byte %llu", walk.scan.err.msg, (unsigned long long)at);
}

/* --- captured -----------------------------------------------------------------------------------
 */

START_TEST(walk__streams_of_qemu_to_the_last_byte)
{
    static const unsigned devices[NCAPTURED] = {30, 15, 21, 15, 15, 15};

    for (size_t i = 0; i < 2 * NCAPTURED; i++) {
        read_captured(captured[i / 2]);
        ck_assert_done(follow(stream_bytes, i % 2), &walk.scan.err);
        ck_assert(walk.complete && walk.scan.at == stream_bytes);
        ck_assert_uint_eq(walk.devices.count, devices[i / 2]);
        for (uint32_t d = 0; d < walk.devices.count; d++)
            ck_assert_int_eq(walk.devices.items[d].found, WALK_BY_DESCRIPTION);
        ck_assert_str_eq(walk.run_state, "prelaunch");
        ck_assert_int_eq(walk.ignore_shared, i / 2 == 3);
        ck_assert_uint_eq(walk.pages[WALK_COMPRESSED], i / 2 == 4);
        ck_assert_int_eq(walk.footers, i / 2 == 5 ? WALK_NO_FOOTERS : WALK_FOOTERS);
        walk_release(&walk);
    }
}
END_TEST

START_TEST(walk__a_stream_that_is_cut_off_is_wrong_at_the_cut)
{
    for (size_t i = 0; i < NCAPTURED; i++) {
        uint64_t end;

        read_captured(captured[i]);
        ck_assert_done(follow(stream_bytes, 1), &walk.scan.err);
        end = walk.sections_end + 1;
        walk_release(&walk);
        for (size_t cut = i; cut < stream_bytes; cut += stride()) {
            ck_assert(follow(cut, cut % 2) < 0 || cut == end);
            ck_assert_msg(walk.scan.err_at == cut, "cut at %zu: %s", cut, walk.scan.err.msg);
            walk_release(&walk);
        }
    }
}
END_TEST

START_TEST(walk__without_a_description_devices_are_found_by_their_footers)
{
    uint64_t end;

    read_captured("qemu-q35");
    ck_assert_done(follow(stream_bytes, 1), &walk.scan.err);
    end = walk.sections_end + 1;
    walk_release(&walk);
    ck_assert_done(follow(end, 1), &walk.scan.err);
    ck_assert(walk.complete && walk.desc_at == 0);
    ck_assert_uint_eq(walk.devices.count, 30);
    for (uint32_t d = 0; d < walk.devices.count; d++)
        ck_assert_int_eq(walk.devices.items[d].found, WALK_BY_FOOTER);
    ck_assert_str_eq(walk.run_state, "prelaunch");
    walk_release(&walk);
}
END_TEST

START_TEST(walk__any_byte_may_be_another_one)
{
    for (size_t i = 0; i < NCAPTURED; i++) {
        read_captured(captured[i]);
        for (size_t at = i; at < stream_bytes; at += stride()) {
            uint8_t was = stream[at];

            stream[at] ^= (uint8_t)(1 + at % 255);
            (void)follow(stream_bytes, 1);
            ck_assert(walk.scan.err_at <= stream_bytes);
            ck_assert(walk.complete || walk.scan.err.code < 0);
            walk_release(&walk);
            stream[at] = was;
        }
    }
}
END_TEST

/* The byte that a device's end is at. */
static uint64_t device_end(const char *name)
{
    uint64_t end = 0;

    ck_assert_done(follow(stream_bytes, 1), &walk.scan.err);
    for (uint32_t i = 0; i < walk.devices.count; i++)
        if (strcmp(walk.devices.items[i].name, name) == 0)
            end = walk.devices.items[i].body_at + walk.devices.items[i].body_bytes;
    walk_release(&walk);
    ck_assert_uint_ne(end, 0);
    return end;
}

static uint8_t *find(const char *text)
{
    uint8_t *at = memmem(stream, stream_bytes, text, strlen(text));

    ck_assert_msg(at != NULL, "no %s", text);
    return at;
}

START_TEST(walk__a_description_that_is_wrong_is_told_and_the_devices_are_listed)
{
    uint64_t end;

    read_captured("qemu-microvm");
    end = device_end("timer");
    *(uint8_t *)memchr(find("\"cpu_ticks_offset\""), '8', 100) = '9';
    expect_wrong(end + 1, "the footer of device timer");
    ck_assert_uint_eq(walk.devices.count, 15);
    ck_assert_int_eq(walk.devices.items[0].found, WALK_BY_FOOTER);
    ck_assert_int_eq(walk.devices.items[1].found, WALK_BY_DESCRIPTION);
    ck_assert(walk.scan.at == stream_bytes);
    walk_release(&walk);
}
END_TEST

START_TEST(walk__devices_of_the_description_are_all_there)
{
    read_captured("qemu-microvm");
    find("\"timer\", \"instance_id\": 0")[strlen("\"timer\", \"instance_id\": ")] = '3';
    (void)follow(stream_bytes, 1);
    ck_assert_failed(walk.scan.err.code, -EPROTO, &walk.scan.err,
                     "the description has a device timer, instance 3, the stream has none");
    walk_release(&walk);
}
END_TEST

START_TEST(walk__a_subsection_begins_where_the_description_has_it)
{
    uint8_t *name;

    read_captured("qemu-microvm");
    name = find("\x05\x0a"
                "fw_cfg/dma");
    name[5] = 'X';
    expect_wrong((uint64_t)(name - stream), "subsection fw_cfg/dma should begin here");
    walk_release(&walk);
    name[5] = 'c';
    name[15]++; /* its version */
    expect_wrong((uint64_t)(name - stream) + 12, "has version 1, and 0 by the description");
    walk_release(&walk);
}
END_TEST

/* --- our own ------------------------------------------------------------------------------------
 */

static void keep_path(void *opaque, const struct field *field)
{
    char *paths = opaque;

    snprintf(paths + strlen(paths), 256 - strlen(paths), "%s:%llu ", field->path,
             (unsigned long long)(field->size * field->count));
}

START_TEST(walk__streams_of_our_own_with_their_fields)
{
    for (unsigned n = 0; n < FUZZ_SEEDS; n++) {
        uint8_t *bytes;
        size_t len = fuzz_seed(n, &bytes);

        ck_assert_done(walk_run(&walk, bytes_channel(bytes, len, 1, 0)), &walk.scan.err);
        ck_assert(walk.complete);
        ck_assert_uint_eq(walk.devices.count, n % 4);
        ck_assert_uint_eq(walk.blocks.count, FUZZ_BLOCKS);
        ck_assert_int_eq(walk.hook_marks > 0, n % 2);
        if (n % 4 > 1) {
            char paths[256] = "";
            uint32_t left = 100;

            ck_assert_done(fields_visit(&walk, &walk.devices.items[1], &left, keep_path, paths),
                           &walk.scan.err);
            ck_assert_str_eq(paths, "data_len:4 data:100 ");
        }
        walk_release(&walk);
        free(bytes);
    }
}
END_TEST

/* --- made up ------------------------------------------------------------------------------------
 */

START_TEST(walk__all_kinds_of_records_are_counted)
{
    static const uint8_t page[4096];

    put_head("m");
    put_start("ram", 4);
    put_block_list();
    put_number(0x80, 8);
    put_body_end();
    put_number(WALK_END, 1);
    put_number(2, 4);
    put_number(0x1000 | 2, 8);
    put_name("mem");
    put_number(0, 1);
    put_number(0x1000 | 0x20 | 8, 8);
    put(page, sizeof(page));
    put_number(0x20 | 0x40, 8);
    put_number(1, 1);
    put_number(3, 2);
    put("abc", 3);
    put_number(0x20 | 0x100, 8);
    put_number(2, 4);
    put("zz", 2);
    put_number(0x200, 8);
    put_body_end();
    put_number(WALK_EOF, 1);
    ck_assert_done(follow(stream_bytes, 1), &walk.scan.err);
    for (int k = 0; k < WALK_PAGE_KINDS; k++)
        ck_assert(walk.pages[k] == 1 && walk.blocks.items[0].pages[k] == 1);
    ck_assert(walk.hook_marks == 1 && walk.multifd_marks == 1);
    walk_release(&walk);
}
END_TEST

START_TEST(walk__postcopy_is_named_with_its_page_sizes)
{
    put_head("m");
    put_number(WALK_COMMAND, 1);
    put_number(3, 2);
    put_number(0, 2);
    put_start("ram", 4);
    put_number(0x5000 | 4, 8);
    put_name("huge");
    put_number(0x2000, 8);
    put_number(0x200000, 8);
    put_name("plain");
    put_number(0x1000, 8);
    put_name("last");
    put_number(0x2000, 8);
    put_number(0x40000000, 8);
    put_body_end();
    put_number(WALK_EOF, 1);
    ck_assert_done(follow(stream_bytes, 0), &walk.scan.err);
    ck_assert_uint_eq(walk.commands.count, 1);
    ck_assert_str_eq(walk_command_name(walk.commands.items[0].command), "POSTCOPY_ADVISE");
    ck_assert_uint_eq(walk.blocks.items[0].page_bytes, 0x200000);
    ck_assert_uint_eq(walk.blocks.items[1].page_bytes, 0);
    ck_assert_uint_eq(walk.blocks.items[2].page_bytes, 0x40000000);
    walk_release(&walk);
}
END_TEST

START_TEST(walk__what_cannot_be_followed_is_named)
{
    put_head("m");
    put_start("dirty-bitmap", 1);
    put("unknown", 7);
    expect_wrong(14 + 1 + 4 + 13 + 8, "section dirty-bitmap, id 2, version 1: only its own code");
    ck_assert_uint_eq(walk.sections.count, 1);
    walk_release(&walk);
    put_head("m");
    put_number(WALK_SUBSECTION, 1);
    put_name("configuration/new");
    put_number(1, 4);
    expect_wrong(14, "subsection configuration/new, version 1, is not known");
    walk_release(&walk);
    put_head("m");
    put_start("ram", 5);
    expect_wrong(27, "section ram has version 5");
    walk_release(&walk);
    put_head("m");
    put_number(WALK_SUBSECTION, 1);
    put_name("configuration/capabilities");
    put_number(1, 4);
    put_number(1, 4);
    put_name("mapped-ram");
    put_start("ram", 4);
    put_block_list();
    expect_wrong(stream_bytes, "capability mapped-ram");
    ck_assert_uint_eq(walk.blocks.count, 1);
    walk_release(&walk);
}
END_TEST

/* A RAM record that is wrong, behind a list of one block. */
static void expect_record_wrong(uint64_t word, const void *rest, size_t nbytes, uint64_t after,
                                const char *what)
{
    uint64_t at;

    put_head("m");
    put_start("ram", 4);
    put_block_list();
    at = stream_bytes;
    put_number(word, 8);
    put(rest, nbytes);
    expect_wrong(at + after, what);
    walk_release(&walk);
}

START_TEST(walk__damage_is_named_with_its_byte)
{
    stream_bytes = 0;
    put("QEVN\0\0\0\3", 8);
    expect_wrong(0, "no migration stream: 0x5145564e");
    walk_release(&walk);
    stream[3] = 'M', stream[7] = 2;
    expect_wrong(4, "version 2");
    walk_release(&walk);
    put_head("m");
    put_number(9, 1);
    expect_wrong(14, "0x09, where a section");
    walk_release(&walk);
    put_head("a\nb");
    expect_wrong(14, "0x0a is not printable");
    walk_release(&walk);
    put_head("m");
    put_number(WALK_PART, 1);
    put_number(77, 4);
    expect_wrong(15, "section PART has id 77, which no section has started");
    walk_release(&walk);
    put_head("m");
    put_start("ram", 4);
    put_block_list();
    put_number(0x10, 8);
    put("\x7e\0\0\0\3", 5);
    expect_wrong(stream_bytes - 4, "the footer of section ram has id 3, not 2");
    walk_release(&walk);
    put_head("m");
    put_number(WALK_EOF, 1);
    put_number(5, 1);
    expect_wrong(15, "0x05, where the description (0x06)");
    walk_release(&walk);
    put_head("m");
    put_start("ram", 4);
    put_number(0x1000 | 2, 8);
    put_name("mem");
    expect_wrong(39, "RAM block mem, which is not in the list"); /* of which there is none */
    walk_release(&walk);
    expect_record_wrong(0x2000 | 2, "\3mem", 4, 0, "a page at 0x2000 of RAM block mem");
    expect_record_wrong(0x1000 | 2, "\3mom", 4, 8, "RAM block mom, which is not in the list");
    expect_record_wrong(0x20 | 2, "", 0, 0, "no block came before");
    expect_record_wrong(0x8 | 2, "", 0, 0, "RAM record 0x000000000000000a is of no kind");
    expect_record_wrong(0x1, "", 0, 0, "of no kind");
    expect_record_wrong(0x1000 | 4, "", 0, 0, "a list of RAM blocks, which only the first");
    expect_record_wrong(0x40, "\3mem\2", 5, 12, "encoding 2");
    expect_record_wrong(0x40, "\3mem\1\x10\1", 7, 13, "4097 bytes, longer than a page");
    expect_record_wrong(0x100, "\3mem\0\0\x20\1", 8, 12, "8193 bytes, longer than two pages");
}
END_TEST

START_TEST(walk__a_list_of_blocks_is_bounded)
{
    put_head("m");
    put_start("ram", 4);
    put_number(0x1000 | 4, 8);
    put_name("mem");
    put_number(0x2000, 8);
    expect_wrong(39, "RAM block mem has 8192 bytes, 4096 of the total are left");
    walk_release(&walk);
    put_head("m");
    put_start("ram", 4);
    put_number(0x2000 | 4, 8);
    for (int i = 0; i < 2; i++) {
        put_name("mem");
        put_number(0x1000, 8);
    }
    expect_wrong(31, "RAM block mem is listed twice");
    walk_release(&walk);
}
END_TEST

Suite *tools_walk_suite(void)
{
    const TTest *const tests[] = {
        walk__streams_of_qemu_to_the_last_byte,
        walk__a_stream_that_is_cut_off_is_wrong_at_the_cut,
        walk__without_a_description_devices_are_found_by_their_footers,
        walk__any_byte_may_be_another_one,
        walk__a_description_that_is_wrong_is_told_and_the_devices_are_listed,
        walk__devices_of_the_description_are_all_there,
        walk__a_subsection_begins_where_the_description_has_it,
        walk__streams_of_our_own_with_their_fields,
        walk__all_kinds_of_records_are_counted,
        walk__postcopy_is_named_with_its_page_sizes,
        walk__what_cannot_be_followed_is_named,
        walk__damage_is_named_with_its_byte,
        walk__a_list_of_blocks_is_bounded,
        NULL};
    Suite *suite = suite_create("tools/walk");

    suite_add(suite, "walk", tests);
    return suite;
}
