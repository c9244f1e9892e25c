/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_image.c -- RAM images: pages at places of their own, in any order, by threads and drivers. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "hooks/image.h"
#include "tests/unit/image_fixture.h"
#include "tests/unit/suites.h"

static uint64_t allocated(void)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* --- written and read ------------------------------------------------------------------------- */

START_TEST(image__whole_ram_there_and_back)
{
    const struct rmig_layout *layout;

    save();
    load(NULL);
    layout = rmig_image_layout(image);
    ck_assert_uint_eq(layout->nblocks, 3);
    ck_assert_str_eq(layout->machine, "");
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_str_eq(layout->blocks[i].name, source.blocks[i].name);
        ck_assert_uint_eq(layout->blocks[i].len_bytes, source.blocks[i].len_bytes);
        ck_assert_uint_eq(layout->blocks[i].page_bytes, source.blocks[i].page_bytes);
        ck_assert_uint_eq(layout->blocks[i].fd_offset_bytes % RMIG_IMAGE_ALIGN_BYTES, 0);
        ck_assert_int_eq(layout->blocks[i].fd, -1);
    }
}
END_TEST

/* rmig-format(7), byte by byte. */
START_TEST(image__bytes_are_as_documented)
{
    static const uint8_t header[64 + 26] = {
        'R', 'M', 'I', 'G', '-', 'R', 'A', 'M', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0x10, 0, 0, 0, 0, 1,
        0, 0, 0, 26, 0xd4, 0x70, 0xb1, 0x4e, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0x20, 0x30, 16,
        [64] = 1, 'm', 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0x20, 0, 0};
    static const uint8_t end[16] = {'R', 'M', 'I', 'G', '-', 'E', 'N', 'D', 0, 0, 0, 0, 0, 0x20, 0x30, 16};
    uint8_t bytes[64 + 26];

    guest_release(&source);
    guest_add(&source, "m", 3 * PAGE, true);
    guest_fill(&source, 0, 1, 1, 1);
    save();
    ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    ck_assert_mem_eq(bytes, header, sizeof(bytes));
    ck_assert_int_eq(pread(fd, bytes, 16, (2 << 20) + 3 * PAGE), 16);
    ck_assert_mem_eq(bytes, end, sizeof(end));
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), (2 << 20) + 3 * PAGE + 16);
    ck_assert_int_eq(pread(fd, bytes, 16, (2 << 20) + PAGE), 16);
    ck_assert_mem_eq(bytes, guest_page(&source, 0, 1), 16);
}
END_TEST

/* A block can be mapped where the layout says. */
START_TEST(image__block_is_at_its_place_in_the_file)
{
    const struct rmig_block *block;
    void *map;

    save();
    done(open_image(NULL));
    block = &rmig_image_layout(image)->blocks[1];
    map = mmap(NULL, block->len_bytes, PROT_READ, MAP_SHARED, fd, (off_t)block->fd_offset_bytes);
    ck_assert_ptr_ne(map, MAP_FAILED);
    ck_assert_mem_eq(map, source.blocks[1].host, block->len_bytes);
    munmap(map, block->len_bytes);
}
END_TEST

START_TEST(image__pages_in_any_order_any_number_of_times)
{
    unsigned seed = 7;

    create();
    for (int i = 0; i < 3000; i++) {
        uint64_t page, kind = (unsigned)i % 5;

        seed = seed * 1103515245 + 12345;
        page = seed / 65536 % BLOCK_PAGES;
        if (kind == 0)
            memset(guest_page(&source, 0, page), 0, PAGE);
        else if (kind == 1)
            guest_fill(&source, 0, page, 1, seed);
        put(0, page, kind == 4 && page < BLOCK_PAGES - 9 ? 9 : 1);
    }
    put(0, 300, 300); /* what the dice left out, backwards */
    put(0, 0, 300);
    put(2, 0, 3);
    put(1, 0, BLOCK_PAGES);
    finish();
    done(open_image(NULL));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    for (uint64_t page = BLOCK_PAGES; page-- > 0;)
        get(2, page, 1);
    get(0, 0, 3);
    get(1, 0, BLOCK_PAGES);
    assert_same_ram();
}
END_TEST

/* The file has what the guest has, and what became zero is given back. */
START_TEST(image__zero_is_a_hole)
{
    uint64_t empty;

    guest_release(&source);
    guest_init(&source, 2, BLOCK_PAGES * PAGE);
    create();
    empty = allocated();
    ck_assert_int_eq(put(0, 0, BLOCK_PAGES), 0);
    ck_assert_uint_eq(allocated(), empty);
    guest_fill(&source, 0, 10, 20, 3);
    ck_assert_int_eq(put(0, 0, BLOCK_PAGES), 20 * PAGE);
    ck_assert_uint_eq(allocated(), empty + 20 * PAGE);
    memset(guest_page(&source, 0, 15), 0, 10 * PAGE);
    ck_assert_int_eq(put(0, 0, BLOCK_PAGES), 10 * PAGE);
    ck_assert_uint_eq(allocated(), empty + 10 * PAGE);
    /* as somebody says who knows */
    ck_assert_int_eq(rmig_image_put(image, &(struct rmig_run){0, RMIG_RUN_ZERO, 0, 12 * PAGE}, &err), 0);
    ck_assert_uint_eq(allocated(), empty + 8 * PAGE);
}
END_TEST

START_TEST(image__holes_become_zero_in_memory)
{
    save();
    for (uint32_t i = 0; i < dest.count; i++)
        memset(dest.blocks[i].host, 0x5a, dest.blocks[i].len_bytes);
    load(NULL);
}
END_TEST

/* ... but are passed over where the memory reads zero, as it is told. */
START_TEST(image__holes_are_passed_over_in_fresh_memory)
{
    const struct rmig_image_opts opts = {.ram_is_zero = true};
    uint8_t *page;

    memset(guest_page(&source, 0, 500), 0, PAGE);
    save();
    load(&opts);
    page = guest_page(&dest, 2, 500);
    *page = 1;
    get(2, 500, 1);
    ck_assert_uint_eq(*page, 1);
}
END_TEST

START_TEST(image__old_content_of_the_file_does_not_show)
{
    static uint8_t junk[1 << 20];

    memset(junk, 0xee, sizeof(junk));
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), (off_t)i << 20), (ssize_t)sizeof(junk));
    save();
    load(NULL);
}
END_TEST

/* A file system may have no holes. */
START_TEST(image__without_holes_there_are_zeros)
{
    static struct rmig_channel_ops ops;
    static uint8_t junk[1 << 20];

    ops = *ch->ops;
    ops.zero_range = NULL;
    ch->ops = &ops;
    memset(junk, 0xee, sizeof(junk));
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), (off_t)i << 20), (ssize_t)sizeof(junk));
    create();
    put_all();
    memset(guest_page(&source, 0, 0), 0, 100 * PAGE);
    put(0, 0, 100);
    finish();
    load(NULL);
}
END_TEST

START_TEST(image__behind_an_offset_of_the_file)
{
    char path[64], text[128];
    struct rmig_uri uri;
    char first[4] = "";

    snprintf(path, sizeof(path), "/tmp/rmig-check-XXXXXX");
    close(fd);
    fd = mkstemp(path);
    ck_assert_int_eq(write(fd, "mine", 4), 4);
    rmig_channel_close(ch, NULL);
    snprintf(text, sizeof(text), "file:%s,offset=1M", path);
    done(rmig_uri_parse(text, &uri, &err));
    done(rmig_channel_open(&uri, RMIG_OPEN_WRITE, NULL, &ch, &err));
    save();
    rmig_channel_close(ch, NULL);
    done(rmig_channel_open(&uri, RMIG_OPEN_READ, NULL, &ch, &err));
    load(NULL);
    ck_assert_uint_eq((uint64_t)lseek(fd, 0, SEEK_END), (1u << 20) + rmig_image_bytes(image));
    ck_assert_int_eq(pread(fd, first, 4, 0), 4);
    ck_assert_mem_eq(first, "mine", 4);
    unlink(path);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS 4u

static int thread_rc[THREADS];
static bool reading;

/* Every fourth page of the large blocks, forwards or backwards. */
static void *worker(void *opaque)
{
    const unsigned me = *(unsigned *)opaque;

    for (unsigned k = me; k < 2 * BLOCK_PAGES && thread_rc[me] == 0; k += THREADS) {
        const unsigned page = me % 2 ? 2 * BLOCK_PAGES - THREADS + 2 * me - k : k;
        const struct rmig_run run = {page / BLOCK_PAGES + (reading ? 1 : 0), 0,
                                     (uint64_t)page % BLOCK_PAGES * PAGE, PAGE};
        ssize_t n = reading ? rmig_image_get(image, &run, NULL) : rmig_image_put(image, &run, NULL);

        thread_rc[me] = n < 0 ? (int)n : 0;
    }
    return NULL;
}

static void all_threads(bool read)
{
    static unsigned numbers[THREADS];
    pthread_t threads[THREADS];

    reading = read;
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        thread_rc[i] = 0;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, worker, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(thread_rc[i], 0);
    }
}

START_TEST(image__by_several_threads)
{
    create();
    put(2, 0, 3);
    all_threads(false);
    finish();
    done(open_image(NULL));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    get(0, 0, 3);
    all_threads(true);
    assert_same_ram();
}
END_TEST

/* --- with the drivers ------------------------------------------------------------------------- */

static void save_with_rounds(struct messages *m)
{
    struct rmig_out *out = messages_out(m);
    struct rmig_save *driver = NULL;

    create();
    done(rmig_out_attach_image(out, image, &err));
    done(rmig_save_new(&driver, out, source.blocks, source.count, NULL, &err));
    done(rmig_save_setup(driver, &err));
    done(rmig_save_round(driver, &err));
    guest_fill(&source, 0, 5, 100, 99); /* the guest goes on */
    memset(guest_page(&source, 1, 7), 0, 50 * PAGE);
    ck_assert_int_eq(rmig_save_mark_dirty(driver, 0, 5 * PAGE, 100 * PAGE), 0);
    ck_assert_int_eq(rmig_save_mark_dirty(driver, 1, 7 * PAGE, 50 * PAGE), 0);
    done(rmig_save_round(driver, &err));
    guest_fill(&source, 1, 20, 3, 98);
    ck_assert_int_eq(rmig_save_mark_dirty(driver, 1, 20 * PAGE, 3 * PAGE), 0);
    done(rmig_save_complete(driver, &err));
    ck_assert_uint_eq(rmig_save_stats(driver)->normal_pages, 0);
    done(rmig_save_section(driver, "cpu", 0, 1, "state", 5, &err));
    done(rmig_save_end(driver, &err));
    /* what went to the file is counted once */
    ck_assert_uint_gt(rmig_out_transferred_bytes(out), rmig_save_stats(driver)->hook_pages * PAGE);
    rmig_save_free(driver);
    rmig_out_close(out, NULL);
    finish();
}

static int load_stream(const uint8_t *bytes, size_t len)
{
    struct rmig_buffer *buffer = NULL;
    struct rmig_channel *c = NULL;
    struct rmig_in *in = NULL;
    struct rmig_load *driver = NULL;
    int rc;

    done(rmig_buffer_new_from(bytes, len, &buffer, &err));
    done(rmig_channel_from_buffer(buffer, RMIG_OPEN_READ, &c, &err));
    done(rmig_in_new(c, &in, &err));
    if (image)
        done(rmig_in_attach_image(in, image, &err));
    done(rmig_load_new(&driver, in, dest.blocks, dest.count, NULL, &err));
    rc = rmig_load_run(driver, &err);
    rmig_load_free(driver);
    rmig_in_close(in, NULL);
    return rc;
}

/* Live: rounds, then the rest. The stream has devices, the file has pages, each once. */
START_TEST(image__by_the_drivers_while_the_guest_runs)
{
    struct messages m;

    messages_init(&m);
    save_with_rounds(&m);
    ck_assert_uint_lt(m.len, 2000);
    done(open_image(NULL));
    done(load_stream(m.bytes, m.len)); /* all of it in one buffer, as a file has it */
    assert_same_ram();
    messages_release(&m);
}
END_TEST

START_TEST(image__its_stream_does_not_load_without_it)
{
    struct messages m;

    messages_init(&m);
    save_with_rounds(&m);
    refused(load_stream(m.bytes, m.len), -EINVAL, "RAM image");
    messages_release(&m);
}
END_TEST

/* That pages are missing must not look like success. */
START_TEST(image__of_a_save_that_did_not_end_is_not_finished)
{
    struct rmig_cancel *cancel = NULL;
    struct rmig_save_opts opts = {0};
    struct rmig_save *driver = NULL;
    struct rmig_out *out;
    struct messages m;

    messages_init(&m);
    out = messages_out(&m);
    done(rmig_cancel_new(&cancel, &err));
    opts.cancel = cancel;
    create();
    done(rmig_out_attach_image(out, image, &err));
    done(rmig_save_new(&driver, out, source.blocks, source.count, &opts, &err));
    done(rmig_save_setup(driver, &err));
    refused(rmig_image_finish(image, &err), -EINVAL, "has not put all of its pages");
    done(rmig_save_round(driver, &err));
    refused(rmig_image_finish(image, &err), -EINVAL, "has not put all of its pages");
    rmig_cancel_trigger(cancel);
    refused(rmig_save_complete(driver, &err), -ECANCELED, "cancelled");
    refused(rmig_image_finish(image, &err), -EINVAL, "has not put all of its pages");
    rmig_save_free(driver);
    rmig_out_close(out, NULL);
    rmig_cancel_free(cancel);
    messages_release(&m);
}
END_TEST

START_TEST(image__attach_wrong_way_or_for_other_blocks)
{
    struct messages m;
    struct rmig_out *out;
    struct rmig_in *in;
    struct rmig_save *driver = NULL;

    messages_init(&m);
    out = messages_out(&m);
    in = messages_in(&m);
    create();
    refused(rmig_in_attach_image(in, image, &err), -EINVAL, "one that is read");
    done(rmig_out_attach_image(out, image, &err));
    done(rmig_save_new(&driver, out, source.blocks, 2, NULL, &err));
    refused(rmig_save_setup(driver, &err), -EINVAL, "made for other blocks");
    rmig_save_free(driver);
    rmig_out_close(out, NULL);
    rmig_image_free(image);
    image = NULL;
    save();
    out = messages_out(&m);
    done(open_image(NULL));
    refused(rmig_out_attach_image(out, image, &err), -EINVAL, "one that is written");
    rmig_out_close(out, NULL);
    rmig_in_close(in, NULL);
    messages_release(&m);
}
END_TEST

Suite *hooks_image_suite(void)
{
    const TTest *const image_tests[] = {
        image__whole_ram_there_and_back, image__bytes_are_as_documented,
        image__block_is_at_its_place_in_the_file,
        image__pages_in_any_order_any_number_of_times, image__zero_is_a_hole,
        image__holes_become_zero_in_memory, image__holes_are_passed_over_in_fresh_memory,
        image__old_content_of_the_file_does_not_show, image__without_holes_there_are_zeros,
        image__behind_an_offset_of_the_file, image__by_several_threads,
        image__by_the_drivers_while_the_guest_runs, image__its_stream_does_not_load_without_it,
        image__of_a_save_that_did_not_end_is_not_finished,
        image__attach_wrong_way_or_for_other_blocks, NULL};
    Suite *s = suite_create("hooks/image");

    add(s, "image", image_tests);
    return s;
}
