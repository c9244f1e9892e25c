/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_bytes.c -- puts something of every kind in a stream, and gets it out again. */
#include "tests/unit/fault_bytes.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/unit/fault_calls.h"
#include "tests/unit/stream_suite.h"

#define REF_BYTES 5000u
#define FREED_BYTES 4096u
#define SMALL_BYTES 100u
#define BLOCK_BYTES 3000u
#define LARGE_BYTES 34000u
#define AT_OFFSET 7u

static uint8_t pattern[LARGE_BYTES];
static uint8_t freed_pattern[FREED_BYTES];
static uint8_t *freed;
static int copy_fd = -1;

void bytes_init(void)
{
    fill_pattern(pattern, sizeof(pattern), 7);
    fill_pattern(freed_pattern, sizeof(freed_pattern), 8);
    freed = mmap(NULL, FREED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(freed, MAP_FAILED);
    copy_fd = memfd_create("copy", MFD_CLOEXEC);
    ck_assert_int_ge(copy_fd, 0);
}

/* --- a stream that has failed ----------------------------------------------------------------- */

int bytes_stays_failed_out(struct rmig_out *out, struct rmig_err *err)
{
    struct rmig_err again = RMIG_ERR_INIT;
    int code = rmig_out_error(out, err);
    unsigned writes = fault_writes();

    ck_assert_int_lt(code, 0);
    rmig_out_put_u8(out, 1);
    rmig_out_put_ref(out, pattern, sizeof(pattern), false);
    rmig_out_put_buffer(out, pattern, sizeof(pattern));
    ck_assert_int_eq(rmig_out_flush(out), code);
    ck_assert_int_eq((int)rmig_out_put_compressed_level(out, 1, pattern, SMALL_BYTES), code);
    ck_assert_int_eq(rmig_out_put_buffer_at(out, pattern, 1, 0), code);
    ck_assert_int_eq((int)rmig_out_tell(out), code);
    ck_assert(rmig_out_buffer_empty(out));
    ck_assert(rmig_out_rate_reached(out));
    ck_assert_uint_eq(fault_writes(), writes);
    ck_assert_int_eq(rmig_out_error(out, &again), code);
    ck_assert_str_eq(again.msg, err->msg);
    return code;
}

int bytes_stays_failed_in(struct rmig_in *in, struct rmig_err *err)
{
    struct rmig_err again = RMIG_ERR_INIT;
    int code = rmig_in_error(in, err);
    const uint8_t *p;
    uint8_t byte = 0xa5;

    ck_assert_int_lt(code, 0);
    ck_assert_int_eq(rmig_in_get_u8(in, &byte), code);
    ck_assert_uint_eq(byte, 0xa5);
    ck_assert_int_eq((int)rmig_in_peek(in, &p, 1, 0), code);
    ck_assert_int_eq(rmig_in_skip(in, 1), code);
    ck_assert_int_eq(rmig_in_get_buffer_at(in, &byte, 1, 0), code);
    ck_assert_int_eq((int)rmig_in_seek(in, 0, SEEK_SET), code);
    ck_assert_int_eq(rmig_in_error(in, &again), code);
    ck_assert_str_eq(again.msg, err->msg);
    return code;
}

/* --- putting ---------------------------------------------------------------------------------- */

/* Compressed blocks; what only the caller is told leaves the stream as it was. */
static int put_blocks(struct rmig_out *out, struct rmig_err *err)
{
    z_stream zs = {0};
    ssize_t n = rmig_out_put_compressed_level(out, 5, pattern, BLOCK_BYTES);

    if (n >= 0) {
        ck_assert_int_eq(deflateInit(&zs, 1), Z_OK);
        n = rmig_out_put_compressed(out, &zs, pattern, BLOCK_BYTES);
        deflateEnd(&zs);
    }
    if (n < 0 && rmig_out_error(out, NULL) == 0)
        return rmig_err_set(err, (int)n, "output stream: the caller is told, the stream goes on");
    return n < 0 ? (int)n : 0;
}

static int put_private(struct rmig_out *out, struct rmig_err *err)
{
    struct rmig_out *private;
    ssize_t n;
    int rc = rmig_out_new_private(&private, err);

    if (rc < 0)
        return rc;
    rmig_out_put_buffer(private, pattern, SMALL_BYTES);
    rmig_out_put_ref(private, pattern + SMALL_BYTES, SMALL_BYTES, false);
    rmig_out_put_u8(private, 9);
    n = rmig_out_put_stream(out, private);
    ck_assert_int_eq(rmig_out_close(private, err), 0);
    ck_assert(n < 0 || n == 2 * SMALL_BYTES + 1);
    return n < 0 ? (int)n : 0;
}

static int put_at(struct rmig_out *out)
{
    int64_t at = rmig_out_tell(out);
    int rc = at < 0 ? (int)at : rmig_out_put_buffer_at(out, "at", 2, AT_OFFSET);

    if (rc == 0) {
        ck_assert_int_eq((int)at, 15);
        at = rmig_out_seek(out, 0, SEEK_END);
        rc = at < 0 ? (int)at : 0;
    }
    return rc;
}

static int put_rest(struct rmig_out *out, unsigned what, struct rmig_err *err)
{
    int rc = 0;

    rmig_out_put_buffer(out, pattern, SMALL_BYTES);
    rmig_out_put_ref(out, pattern, REF_BYTES, false);
    rmig_out_put_counted_string(out, "counted");
    memcpy(freed, freed_pattern, FREED_BYTES);
    rmig_out_put_ref(out, freed, FREED_BYTES, true);
    rc = put_private(out, err);
    if (rc == 0)
        rc = rmig_out_flush(out);
    if (rc == 0 && (what & BYTES_COMPRESSED))
        rc = put_blocks(out, err);
    if (rc == 0) {
        rmig_out_put_buffer(out, pattern, LARGE_BYTES);
        rc = rmig_out_flush(out);
    }
    return rc;
}

int bytes_put_to(struct rmig_out *out, unsigned what, struct rmig_err *err)
{
    int rc;

    rmig_out_put_u8(out, 1);
    rmig_out_put_be16(out, 2);
    rmig_out_put_be32(out, 3);
    rmig_out_put_be64(out, 4);
    rc = what & BYTES_POSITIONS ? put_at(out) : 0;
    if (rc == 0)
        rc = put_rest(out, what, err);
    if (rmig_out_error(out, NULL) < 0) {
        ck_assert_int_eq(rmig_out_error(out, NULL), rc);
        bytes_stays_failed_out(out, err);
    }
    return rc;
}

int bytes_put(struct rmig_channel *ch, unsigned what, struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    struct rmig_out *out;
    int rc = rmig_out_new(ch, &out, err), close_rc;

    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = bytes_put_to(out, what, err);
    close_rc = rmig_out_close(out, &close_err);
    if (rc == 0 && close_rc < 0)
        rc = rmig_err_set(err, close_rc, "%s", close_err.msg);
    return rc;
}

/* --- getting ---------------------------------------------------------------------------------- */

static int get_numbers(struct rmig_in *in, bool patched)
{
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;
    int rc = rmig_in_get_u8(in, &u8);

    if (rc == 0)
        rc = rmig_in_get_be16(in, &u16);
    if (rc == 0)
        rc = rmig_in_get_be32(in, &u32);
    if (rc == 0)
        rc = rmig_in_get_be64(in, &u64);
    if (rc == 0)
        ck_assert(u8 == 1 && u16 == 2 && u32 == 3 && u64 == (patched ? 0x6174000000000004u : 4));
    return rc;
}

static int get_pattern(struct rmig_in *in, size_t len, const uint8_t *wanted)
{
    static uint8_t got[LARGE_BYTES];
    const uint8_t *p = NULL;
    int rc = rmig_in_get_in_place(in, got, len, &p);

    if (rc == 0)
        ck_assert_mem_eq(p, wanted, len);
    return rc;
}

/* The page that was put by reference, to a file: what fails there is no fault of the stream. */
static int get_copy(struct rmig_in *in, struct rmig_err *err)
{
    static uint8_t got[FREED_BYTES];
    int rc;

    ck_assert_int_eq(ftruncate(copy_fd, 0), 0);
    ck_assert_int_eq(lseek(copy_fd, 0, SEEK_SET), 0);
    rc = rmig_in_copy_to_fd(in, copy_fd, FREED_BYTES);
    if (rc == 0) {
        ck_assert_int_eq(pread(copy_fd, got, sizeof(got), 0), FREED_BYTES);
        ck_assert_mem_eq(got, freed_pattern, FREED_BYTES);
    } else if (rmig_in_error(in, NULL) == 0) {
        off_t done = lseek(copy_fd, 0, SEEK_CUR);

        /* all that was not written is still there */
        ck_assert_int_eq(get_pattern(in, FREED_BYTES - (size_t)done, freed_pattern + done), 0);
        return rmig_err_set(err, rc, "input stream: the caller is told, the stream goes on");
    }
    return rc;
}

static int get_blocks(struct rmig_in *in, struct rmig_err *err)
{
    static uint8_t got[BLOCK_BYTES];
    z_stream zs = {0};
    ssize_t n = rmig_in_get_compressed(in, NULL, got, sizeof(got));

    if (n >= 0) {
        ck_assert_int_eq(n, BLOCK_BYTES);
        ck_assert_mem_eq(got, pattern, BLOCK_BYTES);
        memset(got, 0, sizeof(got));
        ck_assert_int_eq(inflateInit(&zs), Z_OK);
        n = rmig_in_get_compressed(in, &zs, got, sizeof(got));
        inflateEnd(&zs);
    }
    if (n >= 0)
        ck_assert_mem_eq(got, pattern, BLOCK_BYTES);
    if (n < 0 && rmig_in_error(in, NULL) == 0)
        return rmig_err_set(err, (int)n, "input stream: the caller is told, the stream goes on");
    return n < 0 ? (int)n : 0;
}

static int get_small(struct rmig_in *in)
{
    char text[256];
    const uint8_t *p;
    ssize_t n = rmig_in_peek(in, &p, SMALL_BYTES, 0);
    int rc = n < 0 ? (int)n : rmig_in_skip(in, 1);

    if (rc == 0)
        rc = get_pattern(in, SMALL_BYTES - 1, pattern + 1);
    if (rc == 0)
        rc = get_pattern(in, REF_BYTES, pattern);
    if (rc == 0)
        rc = rmig_in_get_counted_string(in, text);
    if (rc > 0)
        ck_assert_str_eq(text, "counted");
    /* a string that ends early is 0 bytes long, and the stream says why */
    return rc > 0 ? 0 : rmig_in_error(in, NULL);
}

static int get_at(struct rmig_in *in)
{
    int64_t at = rmig_in_tell(in);
    char text[2];
    int rc = at < 0 ? (int)at : rmig_in_get_buffer_at(in, text, 2, AT_OFFSET);

    if (rc == 0) {
        ck_assert_int_eq((int)at, 15);
        ck_assert_mem_eq(text, "at", 2);
        at = rmig_in_seek(in, 0, SEEK_CUR);
        rc = at < 0 ? (int)at : 0;
    }
    return rc;
}

int bytes_get_from(struct rmig_in *in, unsigned what, struct rmig_err *err)
{
    int rc = get_numbers(in, what & BYTES_POSITIONS);

    if (rc == 0 && (what & BYTES_POSITIONS))
        rc = get_at(in);
    if (rc == 0)
        rc = get_small(in);
    if (rc == 0)
        rc = get_copy(in, err);
    if (rc == 0)
        rc = get_pattern(in, 2 * SMALL_BYTES, pattern);
    if (rc == 0)
        rc = rmig_in_skip(in, 1);
    if (rc == 0 && (what & BYTES_COMPRESSED))
        rc = get_blocks(in, err);
    if (rc == 0)
        rc = get_pattern(in, LARGE_BYTES, pattern);
    if (rmig_in_error(in, NULL) < 0) {
        ck_assert_int_eq(rmig_in_error(in, NULL), rc);
        bytes_stays_failed_in(in, err);
    }
    return rc;
}

int bytes_get(struct rmig_channel *ch, unsigned what, struct rmig_err *err)
{
    struct rmig_err close_err = RMIG_ERR_INIT;
    struct rmig_in *in;
    int rc = rmig_in_new(ch, &in, err), close_rc;

    if (rc < 0) {
        rmig_channel_close(ch, NULL);
        return rc;
    }
    rc = bytes_get_from(in, what, err);
    close_rc = rmig_in_close(in, &close_err);
    if (rc == 0 && close_rc < 0)
        rc = rmig_err_set(err, close_rc, "%s", close_err.msg);
    return rc;
}
