/* SPDX-License-Identifier: BSD-3-Clause */
/* check_tools_store.c -- a RAM image is made of what the RAM holds, and holes of it stay holes. */
#include "tools/rmig_store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGES 64u
#define PAGE RMIG_PAGE_BYTES

static struct rmig_block block;
static int image_fd;
static struct rmig_err err;

static int memfd(void)
{
    int fd = memfd_create("check", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Pages 3 and 4 have something, page 5 was written with zeros, the last has something. */
static void setup(void)
{
    block = (struct rmig_block){.name = "ram", .len_bytes = PAGES * PAGE, .page_bytes = PAGE, .fd = memfd()};
    ck_assert_int_eq(ftruncate(block.fd, PAGES * PAGE), 0);
    block.host = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, block.fd, 0);
    ck_assert_ptr_ne(block.host, MAP_FAILED);
    memset((uint8_t *)block.host + 3 * PAGE, 0x5a, 2 * PAGE);
    memset((uint8_t *)block.host + 5 * PAGE, 0, PAGE);
    ((uint8_t *)block.host)[PAGES * PAGE - 1] = 1;
    image_fd = memfd();
}

static void teardown(void)
{
    munmap(block.host, PAGES * PAGE);
    close(block.fd);
    close(image_fd);
}

static uint64_t allocated_pages(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512 / PAGE;
}

START_TEST(image__has_what_the_ram_has)
{
    uint8_t *image;

    ck_assert_int_eq(store_image(image_fd, &block, NULL, &err), 0);
    image = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, image_fd, 0);
    ck_assert_ptr_ne(image, MAP_FAILED);
    ck_assert_uint_eq(allocated_pages(image_fd), 3);
    ck_assert_int_eq(memcmp(image, block.host, PAGES * PAGE), 0);
    munmap(image, PAGES * PAGE);
}
END_TEST

START_TEST(image__takes_no_memory_for_what_was_never_written)
{
    ck_assert_int_eq(store_image(image_fd, &block, NULL, &err), 0);
    ck_assert_uint_eq(allocated_pages(block.fd), 4);
}
END_TEST

START_TEST(image__can_be_cancelled)
{
    struct rmig_cancel *cancel;

    ck_assert_int_eq(rmig_cancel_new(&cancel, &err), 0);
    rmig_cancel_trigger(cancel);
    ck_assert_int_eq(store_image(image_fd, &block, cancel, &err), -ECANCELED);
    rmig_cancel_free(cancel);
}
END_TEST

START_TEST(image__that_cannot_be_written)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(store_image(fds[1], &block, NULL, &err), -EINVAL);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

Suite *tools_store_suite(void)
{
    Suite *s = suite_create("tools/store");
    TCase *tc = tcase_create("image");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, image__has_what_the_ram_has);
    tcase_add_test(tc, image__takes_no_memory_for_what_was_never_written);
    tcase_add_test(tc, image__can_be_cancelled);
    tcase_add_test(tc, image__that_cannot_be_written);
    suite_add_tcase(s, tc);
    return s;
}
