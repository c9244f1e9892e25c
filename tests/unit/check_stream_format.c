/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_format.c -- the container's words against bytes that a stock source put on the wire.
 */
#include "stream/format.h"

#include <errno.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

START_TEST(header__is_what_a_stock_source_writes)
{
    static const uint8_t wire[] = {0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3};
    struct rmig_err err = RMIG_ERR_INIT;
    uint8_t ours[RMIG_STREAM_HEADER_BYTES];

    rmig_format_header_encode(ours);
    ck_assert_mem_eq(ours, wire, sizeof(wire));
    ck_assert_done(rmig_format_header_decode(wire, &err), &err);
}
END_TEST

START_TEST(header__other_magic_and_versions_are_refused)
{
    static const uint8_t magic[] = {'Q', 'E', 'V', 'N', 0, 0, 0, 3};
    static const uint8_t two[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 2};
    static const uint8_t four[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 4};
    struct rmig_err err = RMIG_ERR_INIT;

    ck_assert_failed(rmig_format_header_decode(magic, &err), -EPROTO, &err, "0x5145564e");
    err.code = 0;
    ck_assert_failed(rmig_format_header_decode(two, &err), -EPROTO, &err, "obsolete");
    err.code = 0;
    ck_assert_failed(rmig_format_header_decode(four, &err), -EPROTO, &err, "version 4");
}
END_TEST

START_TEST(section__start_of_ram_is_what_a_stock_source_writes)
{
    static const uint8_t wire[] = {1, 0, 0, 0, 2, 3, 'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0, 4};
    const struct rmig_section_head ram = {.id = RMIG_RAM_SECTION_ID,
                                          .name = RMIG_RAM_SECTION_NAME,
                                          .instance = RMIG_RAM_SECTION_INSTANCE,
                                          .version = RMIG_RAM_SECTION_VERSION};
    struct rmig_err err = RMIG_ERR_INIT;
    uint8_t ours[RMIG_SECTION_HEAD_MAX];

    ck_assert_int_eq(rmig_format_section_encode(ours, RMIG_SECTION_START, &ram, &err),
                     sizeof(wire));
    ck_assert_mem_eq(ours, wire, sizeof(wire));
}
END_TEST

START_TEST(section__name_and_type_are_checked)
{
    char name[RMIG_STR8_MAX + 2];
    struct rmig_section_head head = {.id = 9, .name = name};
    struct rmig_err err = RMIG_ERR_INIT;
    uint8_t buf[RMIG_SECTION_HEAD_MAX];

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    ck_assert_failed(rmig_format_section_encode(buf, RMIG_SECTION_FULL, &head, &err), -EINVAL, &err,
                     "1 to 255");
    name[RMIG_STR8_MAX] = '\0';
    err.code = 0;
    ck_assert_int_eq(rmig_format_section_encode(buf, RMIG_SECTION_FULL, &head, &err), sizeof(buf));
    name[0] = '\0';
    ck_assert_failed(rmig_format_section_encode(buf, RMIG_SECTION_FULL, &head, &err), -EINVAL, &err,
                     "1 to 255");
    err.code = 0;
    name[0] = 'n';
    ck_assert_failed(rmig_format_section_encode(buf, RMIG_SECTION_PART, &head, &err), -EINVAL, &err,
                     "PART");
}
END_TEST

static struct rmig_ram_word decoded(uint64_t word)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_ram_word w;

    ck_assert_done(rmig_format_ram_decode(word, &w, &err), &err);
    return w;
}

START_TEST(ram_word__each_kind)
{
    struct rmig_ram_word w = decoded(0x0000000001082004); /* as captured */

    ck_assert_uint_eq(w.kind, RMIG_RAM_MEM_SIZE);
    ck_assert_uint_eq(w.value, 0x1082000);
    w = decoded(0x80);
    ck_assert_uint_eq(w.kind, RMIG_RAM_HOOK);
    ck_assert_uint_eq(w.value, 0);
    w = decoded(rmig_format_ram_word(0x7000, RMIG_RAM_PAGE | RMIG_RAM_CONTINUE));
    ck_assert_uint_eq(w.kind, RMIG_RAM_PAGE);
    ck_assert_uint_eq(w.same, 1);
    ck_assert_uint_eq(w.value, 0x7000);
    w = decoded(rmig_format_ram_word(UINT64_MAX << 12, RMIG_RAM_ZERO));
    ck_assert_uint_eq(w.kind, RMIG_RAM_ZERO);
    ck_assert_uint_eq(w.same, 0);
    ck_assert_uint_eq(w.value, UINT64_MAX << 12);
    ck_assert_uint_eq(decoded(RMIG_RAM_EOS).kind, RMIG_RAM_EOS);
}
END_TEST

/* Of all 4096 flag words 7 are good: the kinds, and the two with CONTINUE. */
START_TEST(ram_word__every_combination_of_flags)
{
    unsigned good = 0;

    for (uint64_t flags = 0; flags <= RMIG_RAM_FLAGS_MASK; flags++) {
        struct rmig_err err = RMIG_ERR_INIT;
        struct rmig_ram_word w;
        int rc = rmig_format_ram_decode(flags, &w, &err);

        good += rc == 0;
        ck_assert(rc == 0 || rc == -EPROTO || rc == -ENOTSUP);
        ck_assert_int_eq(err.code, rc);
    }
    ck_assert_uint_eq(good, 7);
}
END_TEST

static void assert_word_refused(uint64_t word, int code, const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_ram_word w;

    ck_assert_failed(rmig_format_ram_decode(word, &w, &err), code, &err, what);
}

START_TEST(ram_word__what_is_wrong_is_named)
{
    assert_word_refused(0x3040, -ENOTSUP, "XBZRLE at 0x3000");
    assert_word_refused(RMIG_RAM_FULL, -ENOTSUP, "FULL");
    assert_word_refused(RMIG_RAM_COMPRESS_PAGE, -ENOTSUP, "COMPRESS_PAGE");
    assert_word_refused(RMIG_RAM_MULTIFD_FLUSH, -ENOTSUP, "MULTIFD_FLUSH");
    assert_word_refused(0, -EPROTO, "none");
    assert_word_refused(RMIG_RAM_PAGE | RMIG_RAM_ZERO, -EPROTO, "ZERO|PAGE");
    assert_word_refused(0x800 | RMIG_RAM_PAGE, -EPROTO, "0x808");
    assert_word_refused(RMIG_RAM_EOS | RMIG_RAM_CONTINUE, -EPROTO, "CONTINUE on EOS");
    assert_word_refused(0x1000 | RMIG_RAM_EOS, -EPROTO, "EOS with value 0x1000");
    assert_word_refused(0x1000 | RMIG_RAM_HOOK, -EPROTO, "HOOK with value 0x1000");
}
END_TEST

START_TEST(names__known_and_unknown)
{
    char buf[96], tiny[6];

    ck_assert_str_eq(rmig_format_section_name(RMIG_SECTION_EOF), "EOF");
    ck_assert_str_eq(rmig_format_section_name(RMIG_SECTION_COMMAND), "COMMAND");
    ck_assert_str_eq(rmig_format_section_name(RMIG_SECTION_FOOTER), "FOOTER");
    ck_assert_str_eq(rmig_format_section_name(9), "unknown");
    ck_assert_str_eq(rmig_format_command_name(RMIG_COMMAND_OPEN_RETURN_PATH), "OPEN_RETURN_PATH");
    ck_assert_str_eq(rmig_format_command_name(RMIG_COMMAND_SWITCHOVER_START), "SWITCHOVER_START");
    ck_assert_str_eq(rmig_format_command_name(0), "unknown");
    ck_assert_str_eq(rmig_format_command_name(12), "unknown");
    ck_assert_str_eq(
        rmig_format_ram_flags_name(0x3ff, buf, sizeof(buf)),
        "FULL|ZERO|MEM_SIZE|PAGE|EOS|CONTINUE|XBZRLE|HOOK|COMPRESS_PAGE|MULTIFD_FLUSH");
    ck_assert_str_eq(rmig_format_ram_flags_name(0x3ff, tiny, sizeof(tiny)), "FULL|");
    ck_assert_str_eq(rmig_format_ram_flags_name(0x1000, buf, sizeof(buf)), "none");
    ck_assert_ptr_eq(rmig_format_ram_flags_name(0x1, buf, 0), buf);
}
END_TEST

Suite *stream_format_suite(void)
{
    const TTest *const tests[] = {header__is_what_a_stock_source_writes,
                                  header__other_magic_and_versions_are_refused,
                                  section__start_of_ram_is_what_a_stock_source_writes,
                                  section__name_and_type_are_checked,
                                  ram_word__each_kind,
                                  ram_word__every_combination_of_flags,
                                  ram_word__what_is_wrong_is_named,
                                  names__known_and_unknown,
                                  NULL};
    Suite *suite = suite_create("stream/format");

    suite_add(suite, "format", tests);
    return suite;
}
