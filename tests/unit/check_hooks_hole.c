/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_hole.c -- pages that arrive for a hole of the block's file, and files that take none. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stream/format.h"
#include "tests/unit/hooks_pieces.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

#define PAGES 256u

static struct messages m;
static struct guest source, dest;
static struct rmig_err err;

/* --- the call that writes, counted and made to fail ------------------------------------------- */

static unsigned calls, fails_from; /* the first of them is call 1 */
static int fails_with;             /* an errno; 0: it writes no more than write_max_bytes */
static size_t write_max_bytes;

/* In the place of libc's, for the whole program. */
ssize_t pwritev(int fd, const struct iovec *iov, int niov, off_t offset)
{
    struct iovec first = iov[0];

    calls++;
    if (fails_from == 0 || calls < fails_from)
        return syscall(SYS_pwritev, fd, iov, niov, offset, 0);
    if (fails_with) {
        errno = fails_with;
        return -1;
    }
    if (first.iov_len > write_max_bytes)
        first.iov_len = write_max_bytes;
    return syscall(SYS_pwritev, fd, &first, 1, offset, 0);
}

static void setup(void)
{
    messages_init(&m);
    guest_init(&source, 1, PAGES * RMIG_PAGE_BYTES);
    guest_init(&dest, 1, PAGES * RMIG_PAGE_BYTES);
    err = (struct rmig_err)RMIG_ERR_INIT;
    calls = fails_from = 0;
    fails_with = 0;
}

static void teardown(void)
{
    messages_release(&m);
    guest_release(&source);
    guest_release(&dest);
}

static void move(void)
{
    save_all(&m, &source, NULL, NULL, 0);
    if (load_all(&m, &dest, NULL, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
    guest_assert_equal(&source, &dest);
}

/* --- files that take them --------------------------------------------------------------------- */

START_TEST(hole__several_pages_a_call_and_no_page_more)
{
    guest_fill(&source, 0, 3, 100, 1);
    guest_fill(&source, 0, 200, 1, 1);
    guest_fill(&source, 0, 202, 1, 1);
    guest_fill(&source, 0, PAGES - 1, 1, 1);
    move();
    ck_assert_uint_gt(calls, 0);
    ck_assert_uint_le(calls, 100 / 4);
    ck_assert_uint_eq(guest_allocated_pages(&dest, 0), 103);
}
END_TEST

START_TEST(hole__what_is_no_hole_is_written_in_place)
{
    guest_fill(&source, 0, 0, 32, 1);
    guest_fill(&dest, 0, 0, 8, 2);
    guest_fill(&dest, 0, 16, 4, 2);
    move();
    ck_assert_uint_gt(calls, 0);
    fails_from = 1; /* nothing is a hole now: it is not called */
    fails_with = EIO;
    calls = 0;
    messages_release(&m);
    messages_init(&m);
    guest_fill(&source, 0, 0, 32, 3);
    move();
    ck_assert_uint_eq(calls, 0);
}
END_TEST

START_TEST(hole__pages_in_any_order)
{
    static const uint8_t order[] = {3, 0, 1, 2, 3, 3, 0, 1};

    guest_release(&dest);
    guest_init(&dest, 2, 4 * RMIG_PAGE_BYTES);
    messages_init(&pieces);
    put_up_to_start();
    put_part(RMIG_SECTION_END);
    for (size_t i = 0; i < sizeof(order); i++) {
        put_be64((uint64_t)order[i] * RMIG_PAGE_BYTES | RMIG_RAM_PAGE | (i ? RMIG_RAM_CONTINUE : 0));
        if (i == 0)
            put_str8("block-1");
        put_page_bytes((uint8_t)(i + 1));
    }
    put_end_of(2);
    put_u8(RMIG_SECTION_EOF);
    /* all in one message, so that each run has its end in the buffer */
    pieces.ends[0] = pieces.len;
    pieces.count = 1;
    if (load_all(&pieces, &dest, NULL, NULL, NULL, &err) < 0)
        ck_abort_msg("%s", err.msg);
    messages_release(&pieces);
    ck_assert_int_eq(guest_page(&dest, 1, 0)[0], 7);
    ck_assert_int_eq(guest_page(&dest, 1, 1)[4095], 8);
    ck_assert_int_eq(guest_page(&dest, 1, 2)[4095], 4);
    ck_assert_int_eq(guest_page(&dest, 1, 3)[0], 6);
    ck_assert_uint_gt(calls, 0);
}
END_TEST

START_TEST(hole__a_short_write_goes_on_behind_it)
{
    static const size_t lengths[] = {1, 4095, 4096};

    guest_fill(&source, 0, 0, 64, 1);
    fails_from = 2;
    write_max_bytes = lengths[_i];
    move();
    ck_assert_uint_ge(calls, 2);
}
END_TEST

/* --- files that do not ------------------------------------------------------------------------ */

START_TEST(hole__a_file_that_cannot_be_written_is_written_by_its_mapping)
{
    static const int errnos[] = {EPERM, EINVAL, EBADF, EOPNOTSUPP, EIO, EFBIG};

    guest_fill(&source, 0, 0, 64, 1);
    fails_from = 1;
    fails_with = errnos[_i];
    move();
    ck_assert_uint_eq(calls, 1); /* it is not asked again */
}
END_TEST

START_TEST(hole__a_sealed_file_is_written_by_its_mapping)
{
    guest_release(&dest);
    guest_init(&dest, 1, RMIG_PAGE_BYTES);
    close(dest.blocks[0].fd);
    munmap(dest.blocks[0].host, RMIG_PAGE_BYTES);
    dest.blocks[0].len_bytes = PAGES * RMIG_PAGE_BYTES;
    dest.blocks[0].fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate(dest.blocks[0].fd, PAGES * RMIG_PAGE_BYTES), 0);
    dest.blocks[0].host = mmap(NULL, PAGES * RMIG_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                               dest.blocks[0].fd, 0);
    ck_assert_ptr_ne(dest.blocks[0].host, MAP_FAILED);
    ck_assert_int_eq(fcntl(dest.blocks[0].fd, F_ADD_SEALS, 0x0010 /* F_SEAL_FUTURE_WRITE */), 0);
    guest_fill(&source, 0, 0, 64, 1);
    move();
    ck_assert_uint_eq(calls, 1);
}
END_TEST

START_TEST(hole__a_file_that_is_appended_to_is_written_by_its_mapping)
{
    ck_assert_int_eq(fcntl(dest.blocks[0].fd, F_SETFL, O_APPEND), 0);
    guest_fill(&source, 0, 0, 64, 1);
    move();
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(lseek(dest.blocks[0].fd, 0, SEEK_END), PAGES * RMIG_PAGE_BYTES);
}
END_TEST

START_TEST(hole__a_descriptor_to_read_is_written_by_its_mapping)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", dest.blocks[0].fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    close(dest.blocks[0].fd);
    dest.blocks[0].fd = fd;
    guest_fill(&source, 0, 0, 64, 1);
    move();
    ck_assert_uint_eq(calls, 0);
}
END_TEST

START_TEST(hole__no_room_in_the_file)
{
    static const int errnos[] = {ENOSPC, EDQUOT};

    guest_fill(&source, 0, 0, 64, 1);
    fails_from = 3;
    fails_with = errnos[_i];
    save_all(&m, &source, NULL, NULL, 0);
    ck_assert_int_eq(load_all(&m, &dest, NULL, NULL, NULL, &err), -errnos[_i]);
    ck_assert_ptr_nonnull(strstr(err.msg, "no room"));
    ck_assert_ptr_nonnull(strstr(err.msg, "block-0"));
    ck_assert_uint_eq(calls, 3);
}
END_TEST

Suite *hooks_hole_suite(void)
{
    Suite *s = suite_create("hooks/hole");
    TCase *takes = tcase_create("file that takes pages"), *refuses = tcase_create("file that does not");

    tcase_add_checked_fixture(takes, setup, teardown);
    tcase_add_test(takes, hole__several_pages_a_call_and_no_page_more);
    tcase_add_test(takes, hole__what_is_no_hole_is_written_in_place);
    tcase_add_test(takes, hole__pages_in_any_order);
    tcase_add_loop_test(takes, hole__a_short_write_goes_on_behind_it, 0, 3);
    suite_add_tcase(s, takes);
    tcase_add_checked_fixture(refuses, setup, teardown);
    tcase_add_loop_test(refuses, hole__a_file_that_cannot_be_written_is_written_by_its_mapping, 0, 6);
    tcase_add_test(refuses, hole__a_sealed_file_is_written_by_its_mapping);
    tcase_add_test(refuses, hole__a_file_that_is_appended_to_is_written_by_its_mapping);
    tcase_add_test(refuses, hole__a_descriptor_to_read_is_written_by_its_mapping);
    tcase_add_loop_test(refuses, hole__no_room_in_the_file, 0, 2);
    suite_add_tcase(s, refuses);
    return s;
}
