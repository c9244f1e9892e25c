/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_image_refuse.c -- RAM images that are damaged or not whole, calls that cannot be, what fails. */
#include "hooks/image.h"
#include "tests/unit/image_fixture.h"
#include "tests/unit/suites.h"

/* --- refused ---------------------------------------------------------------------------------- */

START_TEST(refuse__what_was_never_finished)
{
    create();
    put_all();
    rmig_image_free(image);
    image = NULL;
    refused(open_image(NULL), -EPROTO, "never finished");
    /* not even over one that was */
    save();
    create();
    rmig_image_free(image);
    image = NULL;
    refused(open_image(NULL), -EPROTO, "never finished");
}
END_TEST

START_TEST(refuse__what_was_cut_off)
{
    off_t whole;

    save();
    whole = lseek(fd, 0, SEEK_END);
    for (off_t len = whole - 1; len >= 0; len = len > 4096 ? len / 2 : len - 7) {
        ck_assert_int_eq(ftruncate(fd, len), 0);
        refused(open_image(NULL), -EPROTO, len < 64 ? "of 64 bytes at 0" : "");
        ck_assert_ptr_null(image);
    }
    save();
    ck_assert_int_eq(ftruncate(fd, whole - 1), 0);
    refused(open_image(NULL), -EPROTO, "cut off before byte");
    ck_assert_int_eq(ftruncate(fd, whole), 0);
    refused(open_image(NULL), -EPROTO, "its end is not at byte");
}
END_TEST

START_TEST(refuse__each_flipped_bit_of_header_and_table)
{
    uint32_t table_bytes;
    uint8_t byte;

    save();
    done(open_image(NULL));
    table_bytes = image->header.table_bytes;
    rmig_image_free(image);
    image = NULL;
    for (off_t at = 0; at < (off_t)(RMIG_IMAGE_HEADER_BYTES + table_bytes); at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped;

            ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
            flipped = (uint8_t)(byte ^ 1 << bit);
            ck_assert_int_eq(pwrite(fd, &flipped, 1, at), 1);
            ck_assert_msg(open_image(NULL) < 0, "byte %lld, bit %d", (long long)at, bit);
            ck_assert_ptr_null(image);
            ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
            err = (struct rmig_err)RMIG_ERR_INIT;
        }
    }
    done(open_image(NULL));
}
END_TEST

/* Writes a header and a table by hand, with a sum that is right. */
static void put_by_hand(struct rmig_image_header *h, const uint8_t *table)
{
    uint8_t header[RMIG_IMAGE_HEADER_BYTES], end[RMIG_IMAGE_END_BYTES];

    rmig_image_header_encode(header, h, table);
    rmig_image_end_encode(end, h->image_bytes);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, header, sizeof(header), 0), (ssize_t)sizeof(header));
    ck_assert_int_eq(pwrite(fd, table, h->table_bytes, sizeof(header)), (ssize_t)h->table_bytes);
    if (h->image_bytes < 1ull << 40)
        ck_assert_int_eq(pwrite(fd, end, sizeof(end), (off_t)(h->image_bytes - sizeof(end))),
                         (ssize_t)sizeof(end));
}

struct row {
    const char *name;
    uint64_t len_bytes, at;
};

static void by_hand(const struct row *rows, uint32_t n, uint64_t ram_bytes, uint64_t image_bytes)
{
    uint8_t table[4 * RMIG_IMAGE_ROW_MAX];
    struct rmig_image_header h = {
        .complete = true, .nblocks = n, .ram_bytes = ram_bytes, .image_bytes = image_bytes};

    for (uint32_t i = 0; i < n; i++)
        h.table_bytes += (uint32_t)rmig_image_row_encode(
            table + h.table_bytes,
            &(struct rmig_block){
                .name = rows[i].name, .len_bytes = rows[i].len_bytes, .page_bytes = PAGE},
            rows[i].at);
    put_by_hand(&h, table);
}

START_TEST(refuse__places_and_lengths)
{
    struct row rows[2] = {{"a", 2 * PAGE, 4 * PAGE}, {"b", PAGE, 6 * PAGE}};
    const uint64_t end = 7 * PAGE + RMIG_IMAGE_END_BYTES;

    by_hand(rows, 2, 3 * PAGE, end);
    done(open_image(NULL)); /* other places than ours are fine */
    rmig_image_free(image);
    image = NULL;
    by_hand(rows, 2, 4 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "12288 bytes of RAM up to byte 28672");
    by_hand(rows, 2, 3 * PAGE, end + PAGE);
    refused(open_image(NULL), -EPROTO, "its end at");
    rows[1].at = 5 * PAGE; /* inside a */
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "block b of 4096 bytes at 20480");
    rows[1].at = 6 * PAGE + 1;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "at 24577");
    rows[1].at = 7 * PAGE;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "block b");
    rows[1].at = UINT64_MAX - PAGE + 1;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "block b");
    rows[1].at = 0;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "block b");
    rows[1].at = 6 * PAGE;
    rows[1].len_bytes = PAGE + 1;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "length 4097");
    rows[1].len_bytes = 0;
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "length 0");
    rows[1].len_bytes = PAGE;
    rows[1].name = "a";
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "block a is there twice");
    rows[1].name = "b\n";
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "byte 0x0a in a block's name");
    rows[1].name = "";
    by_hand(rows, 2, 3 * PAGE, end);
    refused(open_image(NULL), -EPROTO, "name of 0 bytes");
}
END_TEST

START_TEST(refuse__header_fields)
{
    static const uint8_t table[8] = {1, 'a', 0};
    struct rmig_image_header h = {
        .complete = true, .nblocks = 1, .table_bytes = 8, .image_bytes = 1 << 20};

    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "ends inside a row");
    h.table_bytes = 0;
    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "ends inside a row");
    h.nblocks = 0;
    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "0 blocks");
    h.nblocks = RMIG_BLOCKS_MAX + 1;
    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "16384 blocks");
    h.nblocks = 1;
    h.image_bytes = 1ull << 63;
    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "no file is that large");
    ck_assert_int_eq(pwrite(fd, "\xff\xff\xff\xff", 4, 24), 4);
    refused(open_image(NULL), -EPROTO, "a block table of 4294967295 bytes");
    ck_assert_int_eq(pwrite(fd, "\0\0\x20\0", 4, 16), 4);
    refused(open_image(NULL), -ENOTSUP, "pages of 8192 bytes");
    ck_assert_int_eq(pwrite(fd, "\0\0\0\x02", 4, 8), 4);
    refused(open_image(NULL), -ENOTSUP, "version 2");
    ck_assert_int_eq(pwrite(fd, "QEVM", 4, 0), 4);
    refused(open_image(NULL), -EPROTO, "begins with 0x5145564d");
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    refused(open_image(NULL), -EPROTO, "0 of 64 bytes");
}
END_TEST

START_TEST(refuse__bytes_behind_the_table)
{
    uint8_t table[RMIG_IMAGE_ROW_MAX + 1] = {0};
    const struct rmig_block block = {.name = "a", .len_bytes = PAGE, .page_bytes = PAGE};
    struct rmig_image_header h = {.complete = true,
                                  .nblocks = 1,
                                  .ram_bytes = PAGE,
                                  .image_bytes = 2 * PAGE + RMIG_IMAGE_END_BYTES};

    h.table_bytes = 1 + (uint32_t)rmig_image_row_encode(table, &block, PAGE);
    put_by_hand(&h, table);
    refused(open_image(NULL), -EPROTO, "1 bytes follow the last row");
}
END_TEST

START_TEST(refuse__more_ram_than_allowed)
{
    const struct rmig_image_opts opts = {.max_ram_bytes = 2 * BLOCK_PAGES * PAGE};

    save();
    refused(open_image(&opts), -E2BIG, "at most 4915200 are allowed");
}
END_TEST

START_TEST(refuse__memory_that_does_not_fit)
{
    struct rmig_block blocks[3];

    save();
    done(open_image(NULL));
    memcpy(blocks, dest.blocks, sizeof(blocks));
    refused(rmig_image_use(image, blocks, 2, &err), -EPROTO, "3 blocks, 2 are here");
    blocks[0].name = "other";
    refused(rmig_image_use(image, blocks, 3, &err), -EPROTO, "block private does not exist here");
    blocks[0].name = "private";
    blocks[0].len_bytes = PAGE;
    refused(rmig_image_use(image, blocks, 3, &err), -EPROTO, "block private has 12288 bytes, 4096");
    blocks[0].len_bytes = 0;
    refused(rmig_image_use(image, blocks, 3, &err), -EINVAL, "private");
    refused(rmig_image_get(image, &(struct rmig_run){0, 0, 0, PAGE}, &err), -EINVAL, "no memory");
    done(rmig_image_use(image, dest.blocks, 3, &err));
    refused(rmig_image_use(image, dest.blocks, 3, &err), -EINVAL, "some before");
    refused(rmig_image_get(image, &(struct rmig_run){0, 0, 0, 4 * PAGE}, &err), -EINVAL, "length 16384");
    refused(rmig_image_get(image, &(struct rmig_run){3, 0, 0, PAGE}, &err), -EINVAL, "block 3");
    refused(rmig_image_get(image, &(struct rmig_run){0, 0, 1, PAGE}, &err), -EINVAL, "offset 1");
}
END_TEST

START_TEST(refuse__page_sizes_that_none_has)
{
    static const uint64_t sizes[] = {0, 1, 8192, 12345, 2 << 20, 1 << 30, UINT64_MAX};
    uint8_t table[RMIG_IMAGE_ROW_MAX];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct rmig_block block = {
            .name = "a", .len_bytes = 3 * PAGE, .page_bytes = sizes[i]};
        struct rmig_image_header h = {.complete = true,
                                      .nblocks = 1,
                                      .ram_bytes = 3 * PAGE,
                                      .image_bytes = 4 * PAGE + RMIG_IMAGE_END_BYTES};

        h.table_bytes = (uint32_t)rmig_image_row_encode(table, &block, PAGE);
        put_by_hand(&h, table);
        refused(open_image(NULL), -EPROTO,
                sizes[i] == 2 << 20 || sizes[i] == 1 << 30 ? "not a positive multiple"
                                                           : "4 KiB, 2 MiB and 1 GiB");
    }
}
END_TEST

START_TEST(refuse__calls_of_the_other_direction_and_order)
{
    const struct rmig_run run = {0, 0, 0, PAGE};

    create();
    ck_assert_ptr_null(rmig_image_layout(image));
    refused(rmig_image_use(image, dest.blocks, 3, &err), -EINVAL, "one that is written");
    refused(rmig_image_get(image, &run, &err), -EINVAL, "no memory");
    refused((int)rmig_image_put(image, &(struct rmig_run){0, 0, 0, 1}, &err), -EINVAL, "length 1");
    refused((int)rmig_image_put(image, &(struct rmig_run){9, 0, 0, PAGE}, &err), -EINVAL, "block 9");
    done(rmig_image_finish(image, &err));
    refused((int)rmig_image_put(image, &run, &err), -EINVAL, "finished");
    refused(rmig_image_finish(image, &err), -EINVAL, "already");
    rmig_image_free(image);
    image = NULL;
    done(open_image(NULL));
    refused((int)rmig_image_put(image, &run, &err), -EINVAL, "one that is read");
    refused(rmig_image_finish(image, &err), -EINVAL, "one that is read");
    rmig_image_free(NULL);
}
END_TEST

START_TEST(refuse__channels_without_positions)
{
    struct rmig_channel *null = NULL;

    done(rmig_channel_null(&null, &err));
    refused(rmig_image_create(&image, null, source.blocks, 3, NULL, &err), -ENOTSUP, "null is none");
    refused(rmig_image_open(&image, null, NULL, &err), -ENOTSUP, "null is none");
    rmig_channel_close(null, NULL);
}
END_TEST

START_TEST(create__what_cannot_be)
{
    struct rmig_block huge[2] = {source.blocks[0], source.blocks[1]};

    refused(rmig_image_create(&image, ch, source.blocks, 0, NULL, &err), -EINVAL, "block");
    huge[0].len_bytes = huge[1].len_bytes = 1ull << 62;
    huge[1].host = huge[0].host = (void *)(uintptr_t)PAGE;
    huge[0].fd = huge[1].fd = -1;
    refused(rmig_image_create(&image, ch, huge, 2, NULL, &err), -EFBIG, "with block block-1 no file is");
    ck_assert_ptr_null(image);
}
END_TEST

/* --- what fails on the way -------------------------------------------------------------------- */

static int fail_code; /* what the next pwrite answers; 0: it works */
static struct rmig_channel_ops real_ops;

static ssize_t failing_pwrite(struct rmig_channel *c, const void *buf, size_t len, uint64_t at,
                              struct rmig_err *e)
{
    if (fail_code == -EINTR) {
        fail_code = 0;
        return -EINTR;
    }
    return fail_code ? rmig_err_set(e, fail_code, "told to fail")
                     : real_ops.pwrite(c, buf, (len + 1) / 2, at, e); /* and short */
}

static uint64_t fail_at; /* up to where pread works */

static ssize_t failing_pread(struct rmig_channel *c, void *buf, size_t len, uint64_t at,
                             struct rmig_err *e)
{
    return at >= fail_at ? rmig_err_set(e, -EIO, "told to fail") : real_ops.pread(c, buf, len, at, e);
}

static int failing_zero_range(struct rmig_channel *c, uint64_t len, uint64_t at, struct rmig_err *e)
{
    return fail_code ? rmig_err_set(e, fail_code, "told to fail")
                     : real_ops.zero_range(c, len, at, e);
}

static void let_fail(struct rmig_channel_ops *ops)
{
    real_ops = *ops = *ch->ops;
    ops->pwrite = failing_pwrite;
    ops->pread = failing_pread;
    fail_at = UINT64_MAX;
    ops->zero_range = failing_zero_range;
    ch->ops = ops;
    fail_code = 0;
}

START_TEST(failure__short_writes_and_interruptions_lose_nothing)
{
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    create();
    fail_code = -EINTR;
    put_all();
    finish();
    load(NULL);
}
END_TEST

START_TEST(failure__of_a_page_is_told_and_the_image_stays_unfinished)
{
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    create();
    guest_fill(&source, 0, 40, 2, 1);
    fail_code = -ENOSPC;
    refused((int)rmig_image_put(image, &(struct rmig_run){0, 0, 40 * PAGE, 2 * PAGE}, &err), -ENOSPC,
            "block block-0, offset 0x28000: RAM image: wrote 0 of 8192 bytes");
    fail_code = 0;
    put_all();
    refused(rmig_image_finish(image, &err), -ENOSPC, "a page could not be put");
    rmig_image_free(image);
    image = NULL;
    refused(open_image(NULL), -EPROTO, "never finished");
}
END_TEST

START_TEST(failure__of_a_hole_is_one_too)
{
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    create();
    put_all();
    guest_fill(&source, 0, 40, 2, 1);
    put(0, 40, 2);
    fail_code = -EIO;
    memset(guest_page(&source, 0, 40), 0, 2 * PAGE);
    refused((int)rmig_image_put(image, &(struct rmig_run){0, 0, 40 * PAGE, 2 * PAGE}, &err), -EIO,
            "told to fail");
    fail_code = 0;
    refused(rmig_image_finish(image, &err), -EIO, "a page could not be put");
}
END_TEST

START_TEST(failure__of_the_frame)
{
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    fail_code = -ENOSPC;
    refused(rmig_image_create(&image, ch, source.blocks, 3, NULL, &err), -ENOSPC, "told to fail");
    ck_assert_ptr_null(image);
}
END_TEST

/* A disk that cannot be read is no image that was cut off. */
START_TEST(failure__of_a_read_is_told_as_it_is)
{
    static const uint64_t parts[] = {0, RMIG_IMAGE_HEADER_BYTES, RMIG_IMAGE_ALIGN_BYTES};
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    save();
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        fail_at = parts[i];
        refused(open_image(NULL), -EIO, "told to fail");
        ck_assert_ptr_null(image);
    }
}
END_TEST

START_TEST(failure__page_cut_off_names_both_figures)
{
    save();
    done(open_image(NULL));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    guest_fill(&source, 0, 0, 1, 1);
    /* behind our back, with data at the end so that it is no hole */
    ck_assert_int_eq(ftruncate(fd, RMIG_IMAGE_ALIGN_BYTES), 0);
    ck_assert_int_eq(pwrite(fd, "x", 1, RMIG_IMAGE_ALIGN_BYTES), 1);
    refused(rmig_image_get(image, &(struct rmig_run){2, 0, 0, 2 * PAGE}, &err), -EIO,
            "read 1 of 4096 bytes");
    /* without data at the end it looks like a hole */
    ck_assert_int_eq(ftruncate(fd, RMIG_IMAGE_ALIGN_BYTES / 2), 0);
    refused(rmig_image_get(image, &(struct rmig_run){2, 0, 0, 2 * PAGE}, &err), -EIO,
            "read 0 of 8192 bytes");
}
END_TEST

static int64_t seek_answer; /* added to what the file says; INT64_MIN: the beginning */

static int64_t lying_seek(struct rmig_channel *c, int64_t offset, int whence, struct rmig_err *e)
{
    int64_t at = real_ops.seek(c, offset, whence, e);

    return seek_answer == INT64_MIN ? 0 : at < 0 ? at : at + seek_answer;
}

/* What a file system says of its holes is a hint: at worst all is read. */
START_TEST(holes__wrong_answers_are_not_believed)
{
    static const int64_t answers[] = {INT64_MIN, -PAGE, -1, 1, INT64_MAX / 2};
    static struct rmig_channel_ops ops;

    save();
    real_ops = ops = *ch->ops;
    ops.seek = lying_seek;
    ch->ops = &ops;
    done(open_image(NULL));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        seek_answer = answers[i];
        for (uint32_t k = 0; k < dest.count; k++)
            memset(dest.blocks[k].host, 0x33, dest.blocks[k].len_bytes);
        for (uint32_t k = 0; k < dest.count && seek_answer != 1; k++)
            get(k, 0, guest_pages(&dest, k));
        if (seek_answer != 1) /* that one says of data that it is none: it is believed */
            assert_same_ram();
    }
}
END_TEST

/* Also where there is nothing to move. */
START_TEST(cancel__ends_every_call)
{
    struct rmig_image_opts opts = {.cancel = NULL};
    const struct rmig_run run = {0, 0, 0, PAGE};

    memset(guest_page(&source, 0, 0), 0, PAGE);
    done(rmig_cancel_new(&opts.cancel, &err));
    save();
    done(rmig_image_create(&image, ch, source.blocks, source.count, &opts, &err));
    rmig_cancel_trigger(opts.cancel);
    refused((int)rmig_image_put(image, &run, &err), -ECANCELED, "cancelled");
    refused(rmig_image_finish(image, &err), -ECANCELED, "could not be put");
    rmig_image_free(image);
    image = NULL;
    refused(rmig_image_create(&image, ch, source.blocks, source.count, &opts, &err), -ECANCELED,
            "cancelled");
    refused(open_image(&opts), -ECANCELED, "cancelled");
    save();
    rmig_cancel_free(opts.cancel);
    done(rmig_cancel_new(&opts.cancel, &err));
    for (int zero = 0; zero < 2; zero++) {
        opts.ram_is_zero = zero;
        done(open_image(&opts));
        done(rmig_image_use(image, dest.blocks, dest.count, &err));
        rmig_cancel_trigger(opts.cancel);
        refused(rmig_image_get(image, &(struct rmig_run){2, 0, 0, PAGE}, &err), -ECANCELED,
                "cancelled");
        rmig_image_free(image);
        image = NULL;
        rmig_cancel_free(opts.cancel);
        done(rmig_cancel_new(&opts.cancel, &err));
    }
    rmig_cancel_free(opts.cancel);
}
END_TEST

START_TEST(cancel__ends_a_put)
{
    struct rmig_channel_opts opts = {.cancel = NULL};

    done(rmig_cancel_new(&opts.cancel, &err));
    rmig_channel_close(ch, NULL);
    done(rmig_channel_from_fd(dup(fd), &opts, &ch, &err));
    create();
    rmig_cancel_trigger(opts.cancel);
    guest_fill(&source, 0, 0, 1, 1);
    refused((int)rmig_image_put(image, &(struct rmig_run){0, 0, 0, PAGE}, &err), -ECANCELED,
            "cancelled");
    rmig_image_free(image);
    image = NULL;
    rmig_channel_close(ch, NULL);
    rmig_cancel_free(opts.cancel);
    ch = channel(fd);
}
END_TEST

Suite *hooks_image_refuse_suite(void)
{
    const TTest *const refuse[] = {
        refuse__what_was_never_finished, refuse__what_was_cut_off,
        refuse__each_flipped_bit_of_header_and_table, refuse__places_and_lengths,
        refuse__header_fields, refuse__bytes_behind_the_table, refuse__more_ram_than_allowed,
        refuse__memory_that_does_not_fit, refuse__page_sizes_that_none_has,
        refuse__calls_of_the_other_direction_and_order, refuse__channels_without_positions,
        create__what_cannot_be, NULL};
    const TTest *const failure[] = {
        failure__short_writes_and_interruptions_lose_nothing,
        failure__of_a_page_is_told_and_the_image_stays_unfinished, failure__of_a_hole_is_one_too,
        failure__of_the_frame, failure__of_a_read_is_told_as_it_is,
        failure__page_cut_off_names_both_figures,
        holes__wrong_answers_are_not_believed, cancel__ends_a_put, cancel__ends_every_call, NULL};
    Suite *s = suite_create("hooks/image_refuse");

    add(s, "refuse", refuse);
    add(s, "failure", failure);
    return s;
}
