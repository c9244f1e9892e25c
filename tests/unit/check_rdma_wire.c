/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_wire.c -- the control protocol's encoders and decoders, against captured messages. */
#include "rdma/wire.h"

#include <errno.h>

#include "common/bytes.h"
#include "tests/unit/rdma_suite.h"
#include "tests/unit/suites.h"

#define GUARD 0xa5

/* A message of each type as a peer may send it: type, records, payload bytes. */
static const struct {
    uint32_t type;
    uint32_t repeat;
    uint32_t len_bytes;
} good[] = {
    { RMIG_WIRE_ERROR, 1, 0 },
    { RMIG_WIRE_READY, 1, 0 },
    { RMIG_WIRE_QEMU_FILE, 0, 1 },
    { RMIG_WIRE_QEMU_FILE, 0xdeadbeef, 32768 }, /* repeat is garbage before QEMU 8.2 */
    { RMIG_WIRE_QEMU_FILE, 0, RMIG_WIRE_PAYLOAD_MAX_BYTES },
    { RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, 0 },
    { RMIG_WIRE_RAM_BLOCKS_RESULT, 1, 6 * RMIG_WIRE_BLOCK_BYTES },
    { RMIG_WIRE_COMPRESS, 1, RMIG_WIRE_COMPRESS_BYTES },
    { RMIG_WIRE_REGISTER_REQUEST, 1, RMIG_WIRE_REGISTER_BYTES },
    { RMIG_WIRE_REGISTER_REQUEST, RMIG_WIRE_REPEAT_MAX,
      RMIG_WIRE_REPEAT_MAX * RMIG_WIRE_REGISTER_BYTES },
    { RMIG_WIRE_REGISTER_RESULT, 1, RMIG_WIRE_RESULT_BYTES },
    { RMIG_WIRE_REGISTER_RESULT, 2, RMIG_WIRE_RESULT_BYTES }, /* what QEMU answers to two */
    { RMIG_WIRE_REGISTER_FINISHED, 1, 0 },
    { RMIG_WIRE_UNREGISTER_REQUEST, 2, 2 * RMIG_WIRE_REGISTER_BYTES },
    { RMIG_WIRE_UNREGISTER_FINISHED, 1, 0 },
};
#define NGOOD (sizeof(good) / sizeof(good[0]))

/* The bytes of a message, at the very end of an allocation: reading beyond them is an error. */
struct message {
    uint8_t *base;
    uint8_t *bytes;
    size_t len_bytes;
};

static struct message message_new(size_t len_bytes)
{
    struct message m = { .base = malloc(RMIG_WIRE_MESSAGE_MAX_BYTES), .len_bytes = len_bytes };

    ck_assert_ptr_nonnull(m.base);
    ck_assert_uint_le(len_bytes, RMIG_WIRE_MESSAGE_MAX_BYTES);
    m.bytes = m.base + RMIG_WIRE_MESSAGE_MAX_BYTES - len_bytes;
    memset(m.bytes, GUARD, len_bytes);
    return m;
}

static struct message message_of(uint32_t type, uint32_t repeat, uint32_t payload_bytes)
{
    struct message m = message_new(RMIG_WIRE_HEADER_BYTES + payload_bytes);
    struct rmig_wire_header h = { payload_bytes, type, repeat };

    rmig_wire_encode_header(m.bytes, &h);
    return m;
}

/* Decoding must fail with -EPROTO, say what, and leave the out-param alone. */
static void refused(const uint8_t *bytes, size_t len_bytes, const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_header h = { 77, 77, 77 };

    ck_assert_failed(rmig_wire_decode_header(bytes, len_bytes, &h, &err), -EPROTO, &err, what);
    ck_assert_uint_eq(h.len_bytes, 77);
    ck_assert_uint_eq(h.type, 77);
    ck_assert_uint_eq(h.repeat, 77);
}

/* --- header ----------------------------------------------------------------------------------- */

START_TEST(decode_header__every_type_round_trips)
{
    struct message m = message_of(good[_i].type, good[_i].repeat, good[_i].len_bytes);
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_header h;

    ck_assert_done(rmig_wire_decode_header(m.bytes, m.len_bytes, &h, &err), &err);
    ck_assert_uint_eq(h.type, good[_i].type);
    ck_assert_uint_eq(h.len_bytes, good[_i].len_bytes);
    ck_assert_uint_eq(h.repeat, good[_i].repeat);
    free(m.base);
}
END_TEST

START_TEST(decode_header__truncated_at_every_byte_is_EPROTO)
{
    struct message m = message_of(good[_i].type, good[_i].repeat, good[_i].len_bytes);

    for (size_t n = 0; n < m.len_bytes; n++) {
        struct message cut;

        if (n > 4096 && n % 4093) /* a long stream message: a sample of its lengths */
            continue;
        cut = message_new(n);
        memcpy(cut.bytes, m.bytes, n);
        refused(cut.bytes, n, n < RMIG_WIRE_HEADER_BYTES ? "a header has" : "bytes came");
        free(cut.base);
    }
    free(m.base);
}
END_TEST

START_TEST(decode_header__bytes_behind_the_message_is_EPROTO)
{
    struct message m = message_of(RMIG_WIRE_READY, 1, 0);
    uint8_t longer[RMIG_WIRE_HEADER_BYTES + 1] = { 0 };

    memcpy(longer, m.bytes, m.len_bytes);
    refused(longer, sizeof(longer), "len says 0, 1 bytes came");
    free(m.base);
}
END_TEST

START_TEST(decode_header__unknown_type_is_EPROTO)
{
    static const uint32_t bad[] = { RMIG_WIRE_NONE, RMIG_WIRE_TYPE_END, 13, 255, 256, 0x03000000,
                                    0x7fffffff, 0x80000000, UINT32_MAX };
    struct message m = message_of(bad[_i], 1, 0);

    refused(m.bytes, m.len_bytes, "type");
    free(m.base);
}
END_TEST

START_TEST(decode_header__len_unlike_the_bytes_received_is_EPROTO)
{
    static const uint32_t bad[] = { 0,  1,  23, 25, 0x18000000, RMIG_WIRE_PAYLOAD_MAX_BYTES,
                                    RMIG_WIRE_PAYLOAD_MAX_BYTES + 1, 0x7fffffff, UINT32_MAX - 15,
                                    UINT32_MAX };
    struct message m = message_of(RMIG_WIRE_COMPRESS, 1, RMIG_WIRE_COMPRESS_BYTES);

    rmig_store_be32(m.bytes, bad[_i]);
    refused(m.bytes, m.len_bytes, "len");
    free(m.base);
}
END_TEST

/* A payload on a type that has none, and the other way round. */
START_TEST(decode_header__payload_that_the_type_cannot_have_is_EPROTO)
{
    static const struct {
        uint32_t type, repeat, len_bytes;
    } bad[] = {
        { RMIG_WIRE_ERROR, 1, 1 },
        { RMIG_WIRE_READY, 1, 16 },
        { RMIG_WIRE_RAM_BLOCKS_REQUEST, 1, 32 },
        { RMIG_WIRE_REGISTER_FINISHED, 1, 4 },
        { RMIG_WIRE_UNREGISTER_FINISHED, 1, 24 },
        { RMIG_WIRE_QEMU_FILE, 0, 0 }, /* a stock destination may hang on it */
        { RMIG_WIRE_RAM_BLOCKS_RESULT, 1, 0 },
        { RMIG_WIRE_RAM_BLOCKS_RESULT, 1, 31 },
        { RMIG_WIRE_RAM_BLOCKS_RESULT, 1, 33 },
        { RMIG_WIRE_COMPRESS, 1, 0 },
        { RMIG_WIRE_COMPRESS, 1, 23 },
        { RMIG_WIRE_COMPRESS, 2, 48 },
        { RMIG_WIRE_REGISTER_RESULT, 1, 0 },
        { RMIG_WIRE_REGISTER_RESULT, 1, 15 },
        { RMIG_WIRE_REGISTER_RESULT, 1, 24 },
    };
    struct message m;

    ck_assert_int_lt(_i, (int)(sizeof(bad) / sizeof(bad[0])));
    m = message_of(bad[_i].type, bad[_i].repeat, bad[_i].len_bytes);
    refused(m.bytes, m.len_bytes, rmig_wire_type_name(bad[_i].type));
    free(m.base);
}
END_TEST

START_TEST(decode_header__repeat_unlike_the_records_is_EPROTO)
{
    static const struct {
        uint32_t repeat, records;
    } bad[] = {
        { 0, 1 },          { 2, 1 },          { 1, 2 },          { 0, 0 },
        { 1, 0 },          { UINT32_MAX, 1 }, { 0x01000000, 1 }, { 0x0aaaaaab, 0 },
        { RMIG_WIRE_REPEAT_MAX + 1, RMIG_WIRE_REPEAT_MAX + 1 },
        { 0x0aaaaaab, 1 }, /* 24 * repeat wraps to 8 in 32 bits */
        { 0xaaaaaaac, 1 }, /* 24 * repeat wraps to 32 in 32 bits */
        { 0x2aaaaaac, 1 },
    };
    static const uint32_t types[] = { RMIG_WIRE_REGISTER_REQUEST, RMIG_WIRE_UNREGISTER_REQUEST };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct message m =
            message_of(types[_i], bad[i].repeat, bad[i].records * RMIG_WIRE_REGISTER_BYTES);

        refused(m.bytes, m.len_bytes, "repeat");
        free(m.base);
    }
}
END_TEST

START_TEST(decode_header__padding_is_ignored)
{
    struct message m = message_of(RMIG_WIRE_READY, 1, 0);
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_header h;

    rmig_store_be32(m.bytes + 12, 0xdeadbeef);
    ck_assert_done(rmig_wire_decode_header(m.bytes, m.len_bytes, &h, &err), &err);
    free(m.base);
}
END_TEST

START_TEST(decode_header__works_without_an_error_object)
{
    uint8_t nothing[1] = { 0 };
    struct rmig_wire_header h;

    ck_assert_int_eq(rmig_wire_decode_header(nothing, 0, &h, NULL), -EPROTO);
}
END_TEST

START_TEST(encode_header__ready_is_as_captured)
{
    struct rmig_wire_header h = { 0, RMIG_WIRE_READY, 1 };
    uint8_t wanted[RMIG_WIRE_HEADER_BYTES], got[RMIG_WIRE_HEADER_BYTES];

    suite_hex("00000000 00000002 00000001 00000000", wanted, sizeof(wanted));
    memset(got, GUARD, sizeof(got));
    rmig_wire_encode_header(got, &h);
    ck_assert_mem_eq(got, wanted, sizeof(wanted));
}
END_TEST

START_TEST(type_name__every_number_has_one)
{
    for (uint32_t type = 0; type < RMIG_WIRE_TYPE_END; type++)
        ck_assert_str_ne(rmig_wire_type_name(type), "unknown");
    ck_assert_str_eq(rmig_wire_type_name(RMIG_WIRE_TYPE_END), "unknown");
    ck_assert_str_eq(rmig_wire_type_name(UINT32_MAX), "unknown");
    ck_assert_str_eq(rmig_wire_type_name(9), "REGISTER_FINISHED");
}
END_TEST

/* --- private data ----------------------------------------------------------------------------- */

START_TEST(private__stock_bytes_are_as_captured)
{
    static const struct {
        uint32_t flags;
        const char *hex;
    } cases[] = { { 0, "00000001 00000000" }, { RMIG_WIRE_FLAG_PIN_ALL, "00000001 00000001" } };
    struct rmig_wire_private priv = { .version = 1, .flags = cases[_i].flags, .nlanes = 1 };
    struct rmig_err err = RMIG_ERR_INIT;
    uint8_t wanted[8], got[RMIG_WIRE_PRIVATE_MAX_BYTES], padded[56] = { 0 };

    suite_hex(cases[_i].hex, wanted, sizeof(wanted));
    memset(got, GUARD, sizeof(got));
    ck_assert_uint_eq(rmig_wire_encode_private(got, &priv), sizeof(wanted));
    ck_assert_mem_eq(got, wanted, sizeof(wanted));
    ck_assert_uint_eq(got[sizeof(wanted)], GUARD);

    memcpy(padded, wanted, sizeof(wanted)); /* as RoCE delivers it */
    memset(&priv, GUARD, sizeof(priv));
    ck_assert_done(rmig_wire_decode_private(padded, sizeof(padded), &priv, &err), &err);
    ck_assert_uint_eq(priv.version, 1);
    ck_assert_uint_eq(priv.flags, cases[_i].flags);
    ck_assert_uint_eq(priv.nlanes, 1);
    ck_assert_uint_eq(priv.lane, 0);
}
END_TEST

START_TEST(private__lanes_round_trip)
{
    for (uint32_t nlanes = 1; nlanes <= RMIG_WIRE_LANES_MAX; nlanes++)
        for (uint32_t lane = 0; lane < nlanes; lane++) {
            struct rmig_wire_private in = { 1, RMIG_WIRE_FLAGS_KNOWN, 0x123456789abcdef0, lane,
                                            nlanes, 0xfedcba987654321 };
            struct rmig_wire_private out;
            struct rmig_err err = RMIG_ERR_INIT;
            uint8_t buf[RMIG_WIRE_PRIVATE_MAX_BYTES];

            ck_assert_uint_eq(rmig_wire_encode_private(buf, &in), sizeof(buf));
            ck_assert_done(rmig_wire_decode_private(buf, sizeof(buf), &out, &err), &err);
            ck_assert_uint_eq(out.flags, in.flags);
            ck_assert_uint_eq(out.session, in.session);
            ck_assert_uint_eq(out.lane, lane);
            ck_assert_uint_eq(out.nlanes, nlanes);
            ck_assert_uint_eq(out.pin_budget_bytes, in.pin_budget_bytes);
        }
}
END_TEST

/* Cut where it is too long, and ended by what the connection manager pads it with. */
START_TEST(reason__arrives_as_it_was_said)
{
    uint8_t buf[RMIG_WIRE_REASON_MAX_BYTES] = { 0 };
    char said[300], text[RMIG_WIRE_REASON_MAX_BYTES];

    for (size_t n = 1; n < sizeof(said); n++) {
        size_t most = sizeof(buf) - 6, len;

        memset(said, 'x', n);
        said[n] = '\0';
        memset(buf, 0, sizeof(buf));
        len = rmig_wire_encode_reason(buf, said);
        ck_assert_uint_eq(len, 6 + (n < most ? n : most));
        ck_assert(rmig_wire_decode_reason(buf, len, text));
        ck_assert_uint_eq(strlen(text), n < most ? n : most);
        ck_assert(rmig_wire_decode_reason(buf, sizeof(buf), text));
        ck_assert_uint_eq(strlen(text), n < most ? n : most);
        if (n == sizeof(said) - 1)
            break;
    }
}
END_TEST

START_TEST(reason__what_cannot_be_printed_is_not)
{
    static const uint8_t bytes[] = { 'r', 'm', 'i', 'g', ':', ' ', 27, '[', '2', 'J', '\n', 200, 127, '~' };
    char text[RMIG_WIRE_REASON_MAX_BYTES];

    ck_assert(rmig_wire_decode_reason(bytes, sizeof(bytes), text));
    ck_assert_str_eq(text, "?[2J???~");
}
END_TEST

START_TEST(reason__of_another_kind_is_none)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = { { NULL, 0 }, { "rmig: ", 6 }, { "rmig: \0why", 10 }, { "QEMU: why", 9 },
                  { "rmig", 4 }, { "\0\0\0\1\0\0\0\0", 8 } };
    char text[RMIG_WIRE_REASON_MAX_BYTES];

    ck_assert(!rmig_wire_decode_reason((const uint8_t *)cases[_i].bytes, cases[_i].len, text));
}
END_TEST

START_TEST(private__missing_or_short_is_EPROTO)
{
    static const uint32_t flags[] = { 0, RMIG_WIRE_FLAG_LANES, RMIG_WIRE_FLAG_PIN_BUDGET,
                                      RMIG_WIRE_FLAG_LANES | RMIG_WIRE_FLAG_PIN_BUDGET };
    struct rmig_wire_private priv = { .version = 1, .flags = flags[_i], .nlanes = 2 };
    struct rmig_wire_private out = { .version = 77 };
    uint8_t buf[RMIG_WIRE_PRIVATE_MAX_BYTES];
    size_t len_bytes = rmig_wire_encode_private(buf, &priv);

    for (size_t n = 0; n < len_bytes; n++) {
        struct rmig_err err = RMIG_ERR_INIT;
        uint8_t *cut = malloc(n ? n : 1);

        ck_assert_ptr_nonnull(cut);
        memcpy(cut, buf, n);
        ck_assert_failed(rmig_wire_decode_private(cut, n, &out, &err), -EPROTO, &err,
                         "bytes of private data");
        free(cut);
    }
    ck_assert_int_eq(rmig_wire_decode_private(NULL, 56, &out, NULL), -EPROTO);
    ck_assert_uint_eq(out.version, 77);
}
END_TEST

START_TEST(private__other_version_is_EPROTO)
{
    static const uint32_t bad[] = { 0, 2, 0x01000000, UINT32_MAX };
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_private out;
    uint8_t buf[8] = { 0 };

    rmig_store_be32(buf, bad[_i]);
    ck_assert_failed(rmig_wire_decode_private(buf, sizeof(buf), &out, &err), -EPROTO, &err,
                     "version");
}
END_TEST

START_TEST(private__unknown_flags_are_masked)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_private out;
    uint8_t buf[RMIG_WIRE_PRIVATE_MAX_BYTES] = { 0 };

    rmig_store_be32(buf, 1);
    rmig_store_be32(buf + 4, UINT32_MAX & ~RMIG_WIRE_FLAG_LANES);
    ck_assert_done(rmig_wire_decode_private(buf, sizeof(buf), &out, &err), &err);
    ck_assert_uint_eq(out.flags, RMIG_WIRE_FLAGS_KNOWN & ~RMIG_WIRE_FLAG_LANES);
}
END_TEST

START_TEST(private__bad_lane_figures_are_EPROTO)
{
    static const struct {
        uint32_t lane, nlanes;
    } bad[] = { { 0, 0 }, { 0, RMIG_WIRE_LANES_MAX + 1 }, { 1, 1 }, { 8, 8 }, { UINT32_MAX, 8 },
                { 0, UINT32_MAX } };
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_wire_private out;
    uint8_t buf[RMIG_WIRE_PRIVATE_MAX_BYTES] = { 0 };

    rmig_store_be32(buf, 1);
    rmig_store_be32(buf + 4, RMIG_WIRE_FLAG_LANES);
    rmig_store_be32(buf + 16, bad[_i].lane);
    rmig_store_be32(buf + 20, bad[_i].nlanes);
    ck_assert_failed(rmig_wire_decode_private(buf, sizeof(buf), &out, &err), -EPROTO, &err, "lane");
}
END_TEST

/* --- records: captured bytes both ways -------------------------------------------------------- */

static const struct {
    const char *hex;
    struct rmig_wire_block block;
} blocks[] = {
    { "00007ffb6204d000 0000000000000000 0000000001000000 00000000 00000000",
      { 0x7ffb6204d000, 0, 0x1000000, 0 } },
    { "00007ffb61000000 0000000001080000 0000000000020000 00000000 00000000",
      { 0x7ffb61000000, 0x1080000, 0x20000, 0 } },
    { "00007ffb61600000 0000000001000000 0000000000040000 00000000 00000000",
      { 0x7ffb61600000, 0x1000000, 0x40000, 0 } },
    { "00007ffb61400000 0000000001040000 0000000000020000 00000000 00000000",
      { 0x7ffb61400000, 0x1040000, 0x20000, 0 } },
    { "00007ffb60e00000 0000000001280000 0000000000001000 00000000 00000000",
      { 0x7ffb60e00000, 0x1280000, 0x1000, 0 } },
    { "00007ffb60c00000 00000000012c0000 0000000000001000 00000000 00000000",
      { 0x7ffb60c00000, 0x12c0000, 0x1000, 0 } },
    { "00007f0fc5ef2000 0000000000000000 0000000001000000 000026ac 00000000", /* pin-all */
      { 0x7f0fc5ef2000, 0, 0x1000000, 0x26ac } },
};

START_TEST(block__captured_record_both_ways)
{
    struct rmig_wire_block got;
    uint8_t wanted[RMIG_WIRE_BLOCK_BYTES], made[RMIG_WIRE_BLOCK_BYTES];

    ck_assert_uint_eq(suite_hex(blocks[_i].hex, wanted, sizeof(wanted)), sizeof(wanted));
    rmig_wire_decode_block(wanted, &got);
    ck_assert_uint_eq(got.remote_addr, blocks[_i].block.remote_addr);
    ck_assert_uint_eq(got.ram_addr, blocks[_i].block.ram_addr);
    ck_assert_uint_eq(got.len_bytes, blocks[_i].block.len_bytes);
    ck_assert_uint_eq(got.rkey, blocks[_i].block.rkey);
    memset(made, GUARD, sizeof(made));
    rmig_wire_encode_block(made, &blocks[_i].block);
    ck_assert_mem_eq(made, wanted, sizeof(wanted));
}
END_TEST

START_TEST(register__captured_record_is_read_with_garbage_pad)
{
    static const struct {
        const char *hex;
        struct rmig_wire_register reg;
    } cases[] = {
        { "0000000000200000 00000000 587f0000 0000000000000000", { 0x200000, 0, 0 } },
        { "0000000001280000 00000004 01000000 0000000000000000", { 0x1280000, 4, 0 } },
    };
    struct rmig_wire_register got;
    uint8_t captured[RMIG_WIRE_REGISTER_BYTES], made[RMIG_WIRE_REGISTER_BYTES];

    suite_hex(cases[_i].hex, captured, sizeof(captured));
    rmig_wire_decode_register(captured, &got);
    ck_assert_uint_eq(got.ram_addr, cases[_i].reg.ram_addr);
    ck_assert_uint_eq(got.block_index, cases[_i].reg.block_index);
    ck_assert_uint_eq(got.extra_chunks, cases[_i].reg.extra_chunks);
    memset(made, GUARD, sizeof(made));
    rmig_wire_encode_register(made, &got);
    memset(captured + 12, 0, 4); /* our own pad is 0 */
    ck_assert_mem_eq(made, captured, sizeof(captured));
}
END_TEST

START_TEST(result__captured_record_both_ways)
{
    struct rmig_wire_result got;
    uint8_t wanted[RMIG_WIRE_RESULT_BYTES], made[RMIG_WIRE_RESULT_BYTES];

    suite_hex("0000081f 00000000 00007ffb6204d000", wanted, sizeof(wanted));
    rmig_wire_decode_result(wanted, &got);
    ck_assert_uint_eq(got.rkey, 0x81f);
    ck_assert_uint_eq(got.host_addr, 0x7ffb6204d000);
    memset(made, GUARD, sizeof(made));
    rmig_wire_encode_result(made, &got);
    ck_assert_mem_eq(made, wanted, sizeof(wanted));
}
END_TEST

START_TEST(compress__captured_record_both_ways)
{
    static const struct {
        const char *hex;
        struct rmig_wire_compress compress;
    } cases[] = {
        { "00000000 00000000 0000000000400000 0000000000100000", { 0, 0, 0x400000, 0x100000 } },
        { "00000000 00000003 0000000001040000 0000000000020000", { 0, 3, 0x1040000, 0x20000 } },
    };
    struct rmig_wire_compress got;
    uint8_t wanted[RMIG_WIRE_COMPRESS_BYTES], made[RMIG_WIRE_COMPRESS_BYTES];

    suite_hex(cases[_i].hex, wanted, sizeof(wanted));
    rmig_wire_decode_compress(wanted, &got);
    ck_assert_uint_eq(got.value, cases[_i].compress.value);
    ck_assert_uint_eq(got.block_index, cases[_i].compress.block_index);
    ck_assert_uint_eq(got.ram_addr, cases[_i].compress.ram_addr);
    ck_assert_uint_eq(got.len_bytes, cases[_i].compress.len_bytes);
    memset(made, GUARD, sizeof(made));
    rmig_wire_encode_compress(made, &got);
    ck_assert_mem_eq(made, wanted, sizeof(wanted));
}
END_TEST

/* Every field of every record at its extremes survives encoding and decoding, on any alignment. */
START_TEST(records__extremes_round_trip_unaligned)
{
    static const uint64_t wide[] = { 0, 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX,
                                     UINT64_MAX };
    uint8_t buf[8 + RMIG_WIRE_BLOCK_BYTES];

    for (size_t shift = 0; shift < 8; shift++)
        for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
            struct rmig_wire_block b = { wide[i], ~wide[i], wide[i], (uint32_t)wide[i] }, b2;
            struct rmig_wire_register r = { wide[i], (uint32_t)~wide[i], wide[i] }, r2;
            struct rmig_wire_result a = { (uint32_t)wide[i], ~wide[i] }, a2;
            struct rmig_wire_compress c = { (uint32_t)wide[i], (uint32_t)~wide[i], wide[i],
                                            ~wide[i] }, c2;

            rmig_wire_encode_block(buf + shift, &b);
            rmig_wire_decode_block(buf + shift, &b2);
            ck_assert(b2.remote_addr == b.remote_addr && b2.ram_addr == b.ram_addr &&
                      b2.len_bytes == b.len_bytes && b2.rkey == b.rkey);
            rmig_wire_encode_register(buf + shift, &r);
            rmig_wire_decode_register(buf + shift, &r2);
            ck_assert(r2.ram_addr == r.ram_addr && r2.block_index == r.block_index &&
                      r2.extra_chunks == r.extra_chunks);
            rmig_wire_encode_result(buf + shift, &a);
            rmig_wire_decode_result(buf + shift, &a2);
            ck_assert(a2.rkey == a.rkey && a2.host_addr == a.host_addr);
            rmig_wire_encode_compress(buf + shift, &c);
            rmig_wire_decode_compress(buf + shift, &c2);
            ck_assert(c2.value == c.value && c2.block_index == c.block_index &&
                      c2.ram_addr == c.ram_addr && c2.len_bytes == c.len_bytes);
        }
}
END_TEST

/* --- mutations -------------------------------------------------------------------------------- */

/* What must hold of whatever the decoder accepts. */
static void accepted_is_sound(const struct rmig_wire_header *h, size_t received_bytes)
{
    ck_assert(h->type > RMIG_WIRE_NONE && h->type < RMIG_WIRE_TYPE_END);
    ck_assert(received_bytes == (size_t)h->len_bytes + RMIG_WIRE_HEADER_BYTES);
    ck_assert(received_bytes <= RMIG_WIRE_MESSAGE_MAX_BYTES);
    switch (h->type) {
    case RMIG_WIRE_QEMU_FILE:
        ck_assert(h->len_bytes >= 1);
        break;
    case RMIG_WIRE_RAM_BLOCKS_RESULT:
        ck_assert(h->len_bytes && h->len_bytes % RMIG_WIRE_BLOCK_BYTES == 0);
        break;
    case RMIG_WIRE_COMPRESS:
        ck_assert(h->len_bytes == RMIG_WIRE_COMPRESS_BYTES);
        break;
    case RMIG_WIRE_REGISTER_REQUEST:
    case RMIG_WIRE_UNREGISTER_REQUEST:
        ck_assert(h->repeat >= 1 && h->repeat <= RMIG_WIRE_REPEAT_MAX);
        ck_assert(h->len_bytes == (uint64_t)h->repeat * RMIG_WIRE_REGISTER_BYTES);
        break;
    case RMIG_WIRE_REGISTER_RESULT:
        ck_assert(h->len_bytes && h->len_bytes % RMIG_WIRE_RESULT_BYTES == 0);
        break;
    default:
        ck_assert(h->len_bytes == 0);
    }
}

/* Flips, overwrites with telling values, and cuts; keeps the length within size. */
static size_t mutate(uint8_t *bytes, size_t len_bytes, size_t size, uint64_t *seed)
{
    static const uint8_t telling[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, 0x10, 0x18, 0x20 };

    for (uint64_t n = 1 + suite_random(seed) % 3; n; n--) {
        uint64_t r = suite_random(seed);
        size_t at = len_bytes ? (size_t)(r >> 8) % len_bytes : 0;

        switch (r % 5) {
        case 0:
            if (len_bytes)
                bytes[at] ^= (uint8_t)(1u << (r >> 40) % 8);
            break;
        case 1:
            if (len_bytes)
                bytes[at] = telling[(r >> 40) % sizeof(telling)];
            break;
        case 2:
            if (len_bytes >= RMIG_WIRE_HEADER_BYTES)
                rmig_store_be32(bytes + 4 * ((r >> 40) % 3), (uint32_t)(r >> 44) % 32);
            break;
        case 3:
            len_bytes = at;
            break;
        default:
            if (len_bytes < size)
                bytes[len_bytes++] = (uint8_t)(r >> 40);
        }
    }
    return len_bytes;
}

START_TEST(decode_header__seeded_mutations_never_pass_unsound)
{
    uint64_t count = suite_figure("RMIG_MUTATIONS", 1000000), accepted = 0;
    uint64_t seed = 0x9e3779b97f4a7c15 + (uint64_t)_i;
    uint32_t payload = good[_i].len_bytes > 192 ? 192 : good[_i].len_bytes;
    uint32_t repeat = good[_i].repeat == RMIG_WIRE_REPEAT_MAX ? 8 : good[_i].repeat;
    size_t size = RMIG_WIRE_HEADER_BYTES + 256, len = RMIG_WIRE_HEADER_BYTES + payload;
    uint8_t *original = malloc(size), *room = malloc(2 * size);

    ck_assert(original && room);
    memset(original, 0, size);
    rmig_wire_encode_header(original,
                            &(struct rmig_wire_header){ payload, good[_i].type, repeat });
    for (uint64_t n = 0; n < count; n++) {
        struct rmig_err err = RMIG_ERR_INIT;
        struct rmig_wire_header h;
        size_t mutated;
        uint8_t *end;

        memcpy(room, original, len);
        mutated = mutate(room, len, size, &seed);
        end = room + 2 * size - mutated; /* the message ends where the allocation ends */
        memmove(end, room, mutated);
        if (rmig_wire_decode_header(end, mutated, &h, &err) == 0) {
            accepted_is_sound(&h, mutated);
            ck_assert_int_eq(err.code, 0);
            accepted++;
        } else {
            ck_assert_int_eq(err.code, -EPROTO);
        }
    }
    ck_assert_msg(count < 10000 || (accepted > 0 && accepted < count),
                  "%llu of %llu accepted: the mutations test nothing",
                  (unsigned long long)accepted, (unsigned long long)count);
    free(original);
    free(room);
}
END_TEST

START_TEST(private__seeded_mutations_never_pass_unsound)
{
    uint64_t count = suite_figure("RMIG_MUTATIONS", 1000000), accepted = 0;
    uint64_t seed = 0x2545f4914f6cdd1d;
    struct rmig_wire_private in = { 1, RMIG_WIRE_FLAGS_KNOWN, 42, 1, 4, 7 };
    size_t size = 64, len;
    uint8_t original[64] = { 0 }, *room = malloc(2 * size);

    ck_assert_ptr_nonnull(room);
    len = rmig_wire_encode_private(original, &in);
    for (uint64_t n = 0; n < count; n++) {
        struct rmig_wire_private out;
        size_t mutated;
        uint8_t *end;

        memcpy(room, original, len);
        mutated = mutate(room, len, size, &seed);
        end = room + 2 * size - mutated;
        memmove(end, room, mutated);
        if (rmig_wire_decode_private(end, mutated, &out, NULL) < 0)
            continue;
        accepted++;
        ck_assert_uint_eq(out.version, RMIG_WIRE_VERSION);
        ck_assert_uint_eq(out.flags & ~RMIG_WIRE_FLAGS_KNOWN, 0);
        ck_assert(out.nlanes >= 1 && out.nlanes <= RMIG_WIRE_LANES_MAX && out.lane < out.nlanes);
        ck_assert_uint_ge(mutated, 8 + (out.flags & RMIG_WIRE_FLAG_LANES ? 16 : 0) +
                                       (out.flags & RMIG_WIRE_FLAG_PIN_BUDGET ? 8 : 0));
    }
    ck_assert(count < 10000 || (accepted > 0 && accepted < count));
    free(room);
}
END_TEST

Suite *rdma_wire_suite(void)
{
    Suite *suite = suite_create("rdma/wire");
    TCase *header = tcase_create("header"), *priv = tcase_create("private");
    TCase *records = tcase_create("records"), *mutations = tcase_create("mutations");

    suite_add_tcase(suite, header);
    tcase_add_loop_test(header, decode_header__every_type_round_trips, 0, NGOOD);
    tcase_add_loop_test(header, decode_header__truncated_at_every_byte_is_EPROTO, 0, NGOOD);
    tcase_add_test(header, decode_header__bytes_behind_the_message_is_EPROTO);
    tcase_add_loop_test(header, decode_header__unknown_type_is_EPROTO, 0, 9);
    tcase_add_loop_test(header, decode_header__len_unlike_the_bytes_received_is_EPROTO, 0, 10);
    tcase_add_loop_test(header, decode_header__payload_that_the_type_cannot_have_is_EPROTO, 0, 15);
    tcase_add_loop_test(header, decode_header__repeat_unlike_the_records_is_EPROTO, 0, 2);
    tcase_add_test(header, decode_header__padding_is_ignored);
    tcase_add_test(header, decode_header__works_without_an_error_object);
    tcase_add_test(header, encode_header__ready_is_as_captured);
    tcase_add_test(header, type_name__every_number_has_one);
    suite_add_tcase(suite, priv);
    tcase_add_loop_test(priv, private__stock_bytes_are_as_captured, 0, 2);
    tcase_add_test(priv, private__lanes_round_trip);
    tcase_add_test(priv, reason__arrives_as_it_was_said);
    tcase_add_test(priv, reason__what_cannot_be_printed_is_not);
    tcase_add_loop_test(priv, reason__of_another_kind_is_none, 0, 6);
    tcase_add_loop_test(priv, private__missing_or_short_is_EPROTO, 0, 4);
    tcase_add_loop_test(priv, private__other_version_is_EPROTO, 0, 4);
    tcase_add_test(priv, private__unknown_flags_are_masked);
    tcase_add_loop_test(priv, private__bad_lane_figures_are_EPROTO, 0, 6);
    suite_add_tcase(suite, records);
    tcase_add_loop_test(records, block__captured_record_both_ways, 0,
                        (int)(sizeof(blocks) / sizeof(blocks[0])));
    tcase_add_loop_test(records, register__captured_record_is_read_with_garbage_pad, 0, 2);
    tcase_add_test(records, result__captured_record_both_ways);
    tcase_add_loop_test(records, compress__captured_record_both_ways, 0, 2);
    tcase_add_test(records, records__extremes_round_trip_unaligned);
    suite_add_tcase(suite, mutations);
    tcase_set_timeout(mutations, 120);
    tcase_add_loop_test(mutations, decode_header__seeded_mutations_never_pass_unsound, 0, NGOOD);
    tcase_add_test(mutations, private__seeded_mutations_never_pass_unsound);
    return suite;
}
