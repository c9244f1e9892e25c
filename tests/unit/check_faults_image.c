/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_image.c -- RAM images, written and read, with each call in them failing. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <rmig/image.h>

#include "tests/unit/fault_scene.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define PAGES 8u

static const struct rmig_image_opts image_opts = {.sync = true};
static struct guest source, dest;
static char path[64], text[96];

static void setup(void)
{
    memset(&source, 0, sizeof(source));
    memset(&dest, 0, sizeof(dest));
    guest_init(&source, 1, PAGES * RMIG_PAGE_BYTES);
    guest_add(&source, "private", PAGES * RMIG_PAGE_BYTES, true);
    guest_add(&dest, "private", PAGES * RMIG_PAGE_BYTES, true);
    guest_add(&dest, source.blocks[0].name, PAGES * RMIG_PAGE_BYTES, false);
}

/* Behind an offset, and in memory that is not zero where the image has holes. */
static void prepare(void)
{
    int fd;

    snprintf(path, sizeof(path), "/tmp/rmig-faults-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "mine", 4), 4);
    close(fd);
    snprintf(text, sizeof(text), "file:%s,offset=8K", path);
    for (uint32_t i = 0; i < 2; i++) {
        guest_fill(&source, i, 0, PAGES, i + 1);
        memset(guest_page(&source, i, 2), 0, 2 * RMIG_PAGE_BYTES);
        memset(dest.blocks[i].host, 0x77, dest.blocks[i].len_bytes);
    }
}

static void clean(void)
{
    unlink(path);
}

static int open_channel(enum rmig_channel_mode mode, struct rmig_channel **ch_p,
                        struct rmig_err *err)
{
    struct rmig_uri uri;
    int rc = rmig_uri_parse(text, &uri, err);

    return rc < 0 ? rc : rmig_channel_open(&uri, mode, NULL, ch_p, err);
}

/* The first error counts. */
static int close_channel(struct rmig_channel *ch, int rc, struct rmig_err *err)
{
    int close_rc = rmig_channel_close(ch, rc < 0 ? NULL : err);

    return rc < 0 ? rc : close_rc;
}

static int put(struct rmig_image *image, uint32_t block, uint64_t first, uint64_t count,
               struct rmig_err *err)
{
    const struct rmig_run run = {block, 0, first * RMIG_PAGE_BYTES, count * RMIG_PAGE_BYTES};
    ssize_t n = rmig_image_put(image, &run, err);

    return n < 0 ? (int)n : 0;
}

static int write_image(struct rmig_image *image, struct rmig_err *err)
{
    int rc = put(image, 0, 0, PAGES, err);

    if (rc == 0)
        rc = put(image, 1, 0, PAGES, err);
    memset(guest_page(&source, 0, 5), 0, RMIG_PAGE_BYTES); /* it becomes zero */
    if (rc == 0)
        rc = put(image, 0, 4, 3, err);
    if (rc == 0)
        return rmig_image_finish(image, err);
    /* what lacks a page is never said to be complete */
    ck_assert_int_eq(rmig_image_finish(image, NULL), rc);
    return rc;
}

static int play_save(struct rmig_err *err)
{
    struct rmig_image *image;
    struct rmig_channel *ch;
    int rc = open_channel(RMIG_OPEN_WRITE, &ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_image_create(&image, ch, source.blocks, 2, &image_opts, err);
    if (rc == 0) {
        rc = write_image(image, err);
        rmig_image_free(image);
    }
    return close_channel(ch, rc, err);
}

static int read_image(struct rmig_image *image, struct rmig_err *err)
{
    int rc = rmig_image_use(image, dest.blocks, 2, err);

    for (uint32_t i = 0; rc == 0 && i < 2; i++) {
        const struct rmig_run run = {i, 0, 0, PAGES * RMIG_PAGE_BYTES};

        rc = rmig_image_get(image, &run, err);
        if (rc == 0)
            ck_assert_mem_eq(dest.blocks[i].host, source.blocks[1 - i].host,
                             PAGES * RMIG_PAGE_BYTES);
    }
    return rc;
}

static int play_load(struct rmig_err *err)
{
    struct rmig_image *image;
    struct rmig_channel *ch;
    int rc = open_channel(RMIG_OPEN_READ, &ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_image_open(&image, ch, NULL, err);
    if (rc == 0) {
        rc = read_image(image, err);
        rmig_image_free(image);
    }
    return close_channel(ch, rc, err);
}

static int play(struct rmig_err *err)
{
    int rc = play_save(err);

    return rc < 0 ? rc : play_load(err);
}

START_TEST(image__each_call_fails)
{
    static const struct fault_scene scene = {.name = "image",
                                             .says = "image|file:|block",
                                             .prepare = prepare,
                                             .play = play,
                                             .clean = clean};

    fault_scene_play(&scene);
}
END_TEST

Suite *faults_image_suite(void)
{
    const TTest *const image[] = {image__each_call_fails, NULL};
    Suite *suite = suite_create("faults/image");

    fault_scene_suite_add(suite, "image", image, setup);
    return suite;
}
