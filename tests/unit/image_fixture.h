/* SPDX-License-Identifier: BSD-3-Clause */
/* image_fixture.h -- what the tests of RAM images share: a file, a guest to save, one to load. */
#ifndef TESTS_UNIT_IMAGE_FIXTURE_H
#define TESTS_UNIT_IMAGE_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rmig/image.h>

#include "tests/unit/hooks_util.h"

#define PAGE RMIG_PAGE_BYTES
#define BLOCK_PAGES 600u /* 2.3 MiB: more than the alignment */

/* A program that uses it has all of it for itself. */
static struct rmig_err err;
static struct guest source, dest;
static struct rmig_channel *ch;
static struct rmig_image *image;
static int fd;

static inline struct rmig_channel *channel(int of)
{
    struct rmig_channel *c = NULL;

    if (rmig_channel_from_fd(dup(of), NULL, &c, &err) < 0)
        ck_abort_msg("%s", err.msg);
    return c;
}

static inline void setup(void)
{
    err = (struct rmig_err)RMIG_ERR_INIT;
    memset(&source, 0, sizeof(source));
    memset(&dest, 0, sizeof(dest));
    fd = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ch = channel(fd);
    image = NULL;
    guest_init(&source, 2, BLOCK_PAGES * PAGE);
    guest_add(&source, "private", 3 * PAGE, true);
    guest_fill_mixed(&source, 1);
    /* the other way round */
    guest_add(&dest, "private", 3 * PAGE, true);
    guest_add(&dest, source.blocks[1].name, BLOCK_PAGES * PAGE, true);
    guest_add(&dest, source.blocks[0].name, BLOCK_PAGES * PAGE, false);
}

static inline void teardown(void)
{
    rmig_image_free(image);
    rmig_channel_close(ch, NULL);
    close(fd);
    guest_release(&source);
    guest_release(&dest);
}

static inline void done(int rc)
{
    if (rc < 0)
        ck_abort_msg("%s", err.msg);
}

static inline void refused(int rc, int code, const char *word)
{
    ck_assert_msg(rc == code, "%d, not %d: %s", rc, code, err.msg);
    ck_assert_int_eq(err.code, code);
    ck_assert_msg(strstr(err.msg, word) != NULL, "\"%s\" does not tell of \"%s\"", err.msg, word);
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static inline void create(void)
{
    done(rmig_image_create(&image, ch, source.blocks, source.count, NULL, &err));
}

static inline ssize_t put(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_run run = {block, 0, first * PAGE, count * PAGE};
    ssize_t n = rmig_image_put(image, &run, &err);

    done((int)(n < 0 ? n : 0));
    return n;
}

static inline void put_all(void)
{
    for (uint32_t i = source.count; i-- > 0;)
        put(i, 0, guest_pages(&source, i));
}

static inline void finish(void)
{
    done(rmig_image_finish(image, &err));
    rmig_image_free(image);
    image = NULL;
}

static inline void save(void)
{
    create();
    put_all();
    finish();
}

static inline int open_image(const struct rmig_image_opts *opts)
{
    return rmig_image_open(&image, ch, opts, &err);
}

static inline void get(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_run run = {block, 0, first * PAGE, count * PAGE};

    done(rmig_image_get(image, &run, &err));
}

/* Block by block by name: the orders differ. */
static inline void assert_same_ram(void)
{
    for (uint32_t i = 0; i < source.count; i++)
        for (uint32_t k = 0; k < dest.count; k++)
            if (strcmp(source.blocks[i].name, dest.blocks[k].name) == 0)
                ck_assert_msg(memcmp(source.blocks[i].host, dest.blocks[k].host,
                                     source.blocks[i].len_bytes) == 0,
                              "block %s differs", source.blocks[i].name);
}

static inline void load(const struct rmig_image_opts *opts)
{
    done(open_image(opts));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    for (uint32_t i = 0; i < dest.count; i++)
        get(i, 0, guest_pages(&dest, i));
    assert_same_ram();
}

/* A test case with the fixture; tests ends with NULL. */
static inline void add(Suite *s, const char *name, const TTest *const *tests)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(s, tc);
}

#endif
