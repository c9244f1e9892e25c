/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_image.c -- RAM images: pages at places of their own, in any order, whole or refused. */
#include <rmig/image.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "hooks/image.h"
#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

#define PAGE RMIG_PAGE_BYTES
#define BLOCK_PAGES 600u /* 2.3 MiB: more than the alignment */

static struct rmig_err err;
static struct guest source, dest;
static struct rmig_channel *ch;
static struct rmig_image *image;
static int fd;

static struct rmig_channel *channel(int of)
{
    struct rmig_channel *c = NULL;

    if (rmig_channel_from_fd(dup(of), NULL, &c, &err) < 0)
        ck_abort_msg("%s", err.msg);
    return c;
}

static void setup(void)
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

static void teardown(void)
{
    rmig_image_free(image);
    rmig_channel_close(ch, NULL);
    close(fd);
    guest_release(&source);
    guest_release(&dest);
}

static void done(int rc)
{
    if (rc < 0)
        ck_abort_msg("%s", err.msg);
}

static void refused(int rc, int code, const char *word)
{
    ck_assert_msg(rc == code, "%d, not %d: %s", rc, code, err.msg);
    ck_assert_int_eq(err.code, code);
    ck_assert_msg(strstr(err.msg, word) != NULL, "\"%s\" does not tell of \"%s\"", err.msg, word);
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void create(void)
{
    done(rmig_image_create(&image, ch, source.blocks, source.count, &err));
}

static ssize_t put(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_run run = {block, 0, first * PAGE, count * PAGE};
    ssize_t n = rmig_image_put(image, &run, &err);

    done((int)(n < 0 ? n : 0));
    return n;
}

static void put_all(void)
{
    for (uint32_t i = source.count; i-- > 0;)
        put(i, 0, guest_pages(&source, i));
}

static void finish(void)
{
    done(rmig_image_finish(image, true, &err));
    rmig_image_free(image);
    image = NULL;
}

static void save(void)
{
    create();
    put_all();
    finish();
}

static int open_image(const struct rmig_image_opts *opts)
{
    return rmig_image_open(&image, ch, opts, &err);
}

static void get(uint32_t block, uint64_t first, uint64_t count)
{
    const struct rmig_run run = {block, 0, first * PAGE, count * PAGE};

    done(rmig_image_get(image, &run, &err));
}

/* Block by block by name: the orders differ. */
static void assert_same_ram(void)
{
    for (uint32_t i = 0; i < source.count; i++)
        for (uint32_t k = 0; k < dest.count; k++)
            if (strcmp(source.blocks[i].name, dest.blocks[k].name) == 0)
                ck_assert_msg(memcmp(source.blocks[i].host, dest.blocks[k].host,
                                     source.blocks[i].len_bytes) == 0,
                              "block %s differs", source.blocks[i].name);
}

static void load(const struct rmig_image_opts *opts)
{
    done(open_image(opts));
    done(rmig_image_use(image, dest.blocks, dest.count, &err));
    for (uint32_t i = 0; i < dest.count; i++)
        get(i, 0, guest_pages(&dest, i));
    assert_same_ram();
}

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
    finish();
    out = messages_out(&m);
    done(open_image(NULL));
    refused(rmig_out_attach_image(out, image, &err), -EINVAL, "one that is written");
    rmig_out_close(out, NULL);
    rmig_in_close(in, NULL);
    messages_release(&m);
}
END_TEST

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
        ck_assert_int_lt(open_image(NULL), 0);
        ck_assert_int_ne(err.code, 0);
        err = (struct rmig_err)RMIG_ERR_INIT;
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
    refused(open_image(NULL), -EIO, "0 of 64 bytes");
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

START_TEST(refuse__a_block_that_is_listed_twice)
{
    const struct row rows[2] = {{"private", 3 * PAGE, PAGE}, {"private", 3 * PAGE, 4 * PAGE}};

    by_hand(rows, 2, 6 * PAGE, 7 * PAGE + RMIG_IMAGE_END_BYTES);
    done(open_image(NULL));
    refused(rmig_image_use(image, dest.blocks, 2, &err), -EPROTO, "private is there twice");
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
    done(rmig_image_finish(image, false, &err));
    refused((int)rmig_image_put(image, &run, &err), -EINVAL, "finished");
    refused(rmig_image_finish(image, false, &err), -EINVAL, "already");
    rmig_image_free(image);
    image = NULL;
    done(open_image(NULL));
    refused((int)rmig_image_put(image, &run, &err), -EINVAL, "one that is read");
    refused(rmig_image_finish(image, false, &err), -EINVAL, "one that is read");
    rmig_image_free(NULL);
}
END_TEST

START_TEST(refuse__channels_without_positions)
{
    struct rmig_channel *null = NULL;

    done(rmig_channel_null(&null, &err));
    refused(rmig_image_create(&image, null, source.blocks, 3, &err), -ENOTSUP, "null is none");
    refused(rmig_image_open(&image, null, NULL, &err), -ENOTSUP, "null is none");
    rmig_channel_close(null, NULL);
}
END_TEST

START_TEST(create__what_cannot_be)
{
    struct rmig_block huge[2] = {source.blocks[0], source.blocks[1]};

    refused(rmig_image_create(&image, ch, source.blocks, 0, &err), -EINVAL, "block");
    huge[0].len_bytes = huge[1].len_bytes = 1ull << 62;
    huge[1].host = huge[0].host = (void *)(uintptr_t)PAGE;
    huge[0].fd = huge[1].fd = -1;
    ck_assert_int_lt(rmig_image_create(&image, ch, huge, 2, &err), 0);
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

static int failing_zero_range(struct rmig_channel *c, uint64_t len, uint64_t at, struct rmig_err *e)
{
    return fail_code ? rmig_err_set(e, fail_code, "told to fail")
                     : real_ops.zero_range(c, len, at, e);
}

static void let_fail(struct rmig_channel_ops *ops)
{
    real_ops = *ops = *ch->ops;
    ops->pwrite = failing_pwrite;
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
    refused(rmig_image_finish(image, false, &err), -ENOSPC, "a page could not be put");
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
    refused(rmig_image_finish(image, false, &err), -EIO, "a page could not be put");
}
END_TEST

START_TEST(failure__of_the_frame)
{
    static struct rmig_channel_ops ops;

    let_fail(&ops);
    fail_code = -ENOSPC;
    refused(rmig_image_create(&image, ch, source.blocks, 3, &err), -ENOSPC, "told to fail");
    ck_assert_ptr_null(image);
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

static void add(Suite *s, const char *name, const TTest *const *tests)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(s, tc);
}

Suite *hooks_image_suite(void)
{
    const TTest *const image_tests[] = {
        image__whole_ram_there_and_back, image__block_is_at_its_place_in_the_file,
        image__pages_in_any_order_any_number_of_times, image__zero_is_a_hole,
        image__holes_become_zero_in_memory, image__holes_are_passed_over_in_fresh_memory,
        image__old_content_of_the_file_does_not_show, image__without_holes_there_are_zeros,
        image__behind_an_offset_of_the_file, image__by_several_threads,
        image__by_the_drivers_while_the_guest_runs, image__its_stream_does_not_load_without_it,
        image__attach_wrong_way_or_for_other_blocks, NULL};
    const TTest *const refuse[] = {
        refuse__what_was_never_finished, refuse__what_was_cut_off,
        refuse__each_flipped_bit_of_header_and_table, refuse__places_and_lengths,
        refuse__header_fields, refuse__bytes_behind_the_table, refuse__more_ram_than_allowed,
        refuse__memory_that_does_not_fit, refuse__a_block_that_is_listed_twice,
        refuse__calls_of_the_other_direction_and_order, refuse__channels_without_positions,
        create__what_cannot_be, NULL};
    const TTest *const failure[] = {
        failure__short_writes_and_interruptions_lose_nothing,
        failure__of_a_page_is_told_and_the_image_stays_unfinished, failure__of_a_hole_is_one_too,
        failure__of_the_frame, failure__page_cut_off_names_both_figures, cancel__ends_a_put, NULL};
    Suite *s = suite_create("hooks/image");

    add(s, "image", image_tests);
    add(s, "refuse", refuse);
    add(s, "failure", failure);
    return s;
}
