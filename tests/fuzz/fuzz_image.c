/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_image.c -- libFuzzer target: any bytes as a RAM image, as they are or with sum and end made
 * right; what is taken is what rmig-format(7) allows, and memory gets what the file has. */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "common/bytes.h"
#include "hooks/image.h"
#include "tests/fuzz/bytes_channel.h"
#include "tests/fuzz/target.h"

/* The largest table that there may be is one allocation: malloc_limit_mb=5; max_len=4096 */

#define PAGE RMIG_PAGE_BYTES
#define FILE_BYTES ((5u << 20) / 4)
#define RAM_BYTES (1u << 20)
#define BLOCKS_MAX (RAM_BYTES / PAGE)
#define NAMES_MAX (FILE_BYTES / PAGE + 1)
#define PIECES_MAX 16u

/* How the bytes are taken. */
#define HOW_BUILT 1u    /* not as a file, but to make one of */
#define HOW_HOLES 2u    /* the file tells its holes */
#define HOW_ZERO 4u     /* the memory is zero */
#define HOW_LIMIT 8u    /* RAM_BYTES are allowed, else 64 GiB */
#define HOW_TOTALS 16u  /* the figures of the header are made right */
#define HOW_CUT 32u     /* the file lacks its last byte */
#define HOW_REVERSE 64u /* the blocks are given in the other order */

static uint8_t file[FILE_BYTES], is_data[FILE_BYTES / PAGE];
static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static size_t file_bytes;

/* Content of the file, and runs to be got: two bytes each. */
static const uint8_t *pieces;
static unsigned npieces;

/* --- the model: what rmig-format(7) says -------------------------------------------------------
 */

static struct row {
    char name[256];
    uint64_t len_bytes, page_bytes, place;
} rows[BLOCKS_MAX];
static const uint8_t *names[NAMES_MAX]; /* of all rows: a length and so many bytes */
static uint64_t nrows, total_bytes, end_bytes;

/* A row of the table. Returns: where the next one is; NULL: it is none. */
static const uint8_t *parse_row(const uint8_t *at, const uint8_t *table_end, struct row *row)
{
    if (at == table_end || table_end - at < 1 + *at + 24 || *at == 0)
        return NULL;
    for (unsigned i = 1; i <= *at; i++)
        if (at[i] < 0x20 || at[i] > 0x7e)
            return NULL;
    memcpy(row->name, at + 1, *at);
    row->name[*at] = '\0';
    at += 1 + *at;
    row->len_bytes = rmig_load_be64(at);
    row->page_bytes = rmig_load_be64(at + 8);
    row->place = rmig_load_be64(at + 16);
    return at + 24;
}

/* All rows, each behind the last; those that rows has room for are kept. */
static bool parse_table(uint32_t n, uint32_t table_bytes, uint64_t limit)
{
    const uint8_t *at = file + 64, *table_end = at + table_bytes;

    total_bytes = nrows = 0;
    end_bytes = 64 + (uint64_t)table_bytes;
    for (uint32_t i = 0; i < n; i++) {
        struct row extra, *row = i < BLOCKS_MAX ? &rows[i] : &extra;

        if (i < NAMES_MAX)
            names[i] = at;
        at = parse_row(at, table_end, row);
        if (!at ||
            (row->page_bytes != PAGE && row->page_bytes != 2 << 20 && row->page_bytes != 1 << 30) ||
            row->len_bytes == 0 || row->len_bytes % row->page_bytes || row->place % PAGE ||
            row->place < end_bytes || row->place > limit || row->len_bytes > limit - row->place)
            return false;
        end_bytes = row->place + row->len_bytes;
        total_bytes += row->len_bytes;
        nrows++;
    }
    end_bytes += 16;
    return at == table_end;
}

static uint32_t sum_of(uint32_t table_bytes)
{
    uint8_t header[64];

    memcpy(header, file, 64);
    memset(header + 28, 0, 4);
    return (uint32_t)crc32(crc32(crc32(0, NULL, 0), header, 64), file + 64, table_bytes);
}

/* Of an image that is in the file, so that it has no more rows than there are names. */
static bool names_differ(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (memcmp(names[i], names[k], 1u + *names[i]) == 0)
                return false;
    return true;
}

/* Is it an image that is complete, and of no more RAM than max? */
static bool is_image(uint64_t max)
{
    static const uint8_t zeroes[16],
        begin[] = {'R', 'M', 'I', 'G', '-', 'R', 'A', 'M', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 16, 0};
    uint32_t n, table_bytes;
    uint64_t image_bytes;

    if (file_bytes < 64 || memcmp(file, begin, sizeof(begin)) != 0 ||
        memcmp(file + 48, zeroes, 16) != 0)
        return false;
    n = rmig_load_be32(file + 20);
    table_bytes = rmig_load_be32(file + 24);
    image_bytes = rmig_load_be64(file + 40);
    if (n < 1 || n > 16383 || table_bytes > file_bytes - 64 || image_bytes > file_bytes)
        return false;
    return sum_of(table_bytes) == rmig_load_be32(file + 28) &&
           parse_table(n, table_bytes, image_bytes) && total_bytes <= max &&
           total_bytes == rmig_load_be64(file + 32) && end_bytes == image_bytes &&
           memcmp(file + image_bytes - 16, "RMIG-END", 8) == 0 &&
           rmig_load_be64(file + image_bytes - 8) == image_bytes && names_differ(n);
}

/* --- the file --------------------------------------------------------------------------------- */

static void set_data(uint64_t begin, uint64_t end)
{
    for (uint64_t page = begin / PAGE; page * PAGE < end; page++)
        is_data[page] = 1;
}

/* Header and table, content where the pieces have it, and an end; all that is a sum of these. */
static void build(const uint8_t *bytes, size_t n, unsigned how)
{
    uint32_t table_bytes;
    uint64_t image_bytes;

    n = n < sizeof(file) / 2 ? n : sizeof(file) / 2;
    memcpy(file, bytes, n);
    table_bytes = rmig_load_be32(file + 24);
    if (how & HOW_TOTALS && n >= 64) {
        table_bytes = (uint32_t)(n - 64);
        rmig_store_be32(file + 24, table_bytes);
        if (parse_table(rmig_load_be32(file + 20), table_bytes, INT64_MAX)) {
            rmig_store_be64(file + 32, total_bytes);
            rmig_store_be64(file + 40, end_bytes);
        }
    }
    image_bytes = rmig_load_be64(file + 40);
    for (unsigned i = 0; i < npieces; i++)
        if (pieces[2 * i] * PAGE >= n) {
            memset(file + pieces[2 * i] * PAGE, pieces[2 * i + 1], PAGE);
            set_data(pieces[2 * i] * PAGE, pieces[2 * i] * PAGE + 1);
        }
    file_bytes = image_bytes < sizeof(file) ? image_bytes : sizeof(file);
    if (table_bytes > 2 * n && file_bytes > 2 * n)
        file_bytes = 2 * n; /* a table that is not there: to read its zeroes would take long */
    if (image_bytes >= 64 && image_bytes <= sizeof(file)) {
        memcpy(file + image_bytes - 16, "RMIG-END", 8);
        rmig_store_be64(file + image_bytes - 8, image_bytes);
        set_data(image_bytes - 16, image_bytes);
    }
    if (table_bytes <= sizeof(file) - 64)
        rmig_store_be32(file + 28, sum_of(table_bytes));
    set_data(0, n > 64 ? n : 64);
}

static void clear(size_t n)
{
    memset(file, 0, n > 64 ? n : 64);
    for (size_t page = 0; page < sizeof(is_data); page++)
        if (is_data[page])
            memset(file + page * PAGE, 0, PAGE);
    memset(is_data, 0, sizeof(is_data));
}

/* --- memory ----------------------------------------------------------------------------------- */

static struct rmig_block blocks[BLOCKS_MAX + 1];
static uint8_t is_got[BLOCKS_MAX]; /* of each page of all blocks */

/* The row that a block is of. */
static uint32_t row_of(uint32_t block, unsigned how)
{
    return how & HOW_REVERSE ? (uint32_t)nrows - 1 - block : block;
}

/* The last one ends where ram does. */
static void make_blocks(unsigned how)
{
    uint8_t *host = ram + sizeof(ram) - total_bytes;

    memset(host, how & HOW_ZERO ? 0 : 0xee, total_bytes);
    memset(is_got, 0, sizeof(is_got));
    for (uint32_t i = 0; i < nrows; i++) {
        const struct row *row = &rows[row_of(i, how)];

        blocks[i] = (struct rmig_block){.name = row->name,
                                        .host = host,
                                        .len_bytes = row->len_bytes,
                                        .page_bytes = PAGE,
                                        .fd = -1};
        host += row->len_bytes;
    }
}

/* What the library wants of names that a guest has. */
static void get(struct rmig_image *image, const struct rmig_run *run)
{
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = rmig_image_get(image, run, &err);
    const struct rmig_block *block = &blocks[run->block_index];
    bool fine = run->block_index < nrows && run->len_bytes && run->offset_bytes % PAGE == 0 &&
                run->len_bytes % PAGE == 0 && run->offset_bytes <= block->len_bytes &&
                run->len_bytes <= block->len_bytes - run->offset_bytes;
    size_t page;

    need(rc == err.code && rc == (fine ? 0 : -EINVAL), "a run");
    if (!fine)
        return;
    page = (size_t)((uint8_t *)block->host - ram + run->offset_bytes) / PAGE;
    memset(is_got + page, 1, run->len_bytes / PAGE);
}

/* Every page is what the file has, or was not touched. */
static void check_ram(unsigned how)
{
    static uint8_t untouched[PAGE];

    memset(untouched, how & HOW_ZERO ? 0 : 0xee, sizeof(untouched));
    for (uint32_t i = 0; i < nrows; i++)
        for (uint64_t at = 0; at < blocks[i].len_bytes; at += PAGE) {
            const uint8_t *page = (const uint8_t *)blocks[i].host + at;
            const uint8_t *in_file = file + rows[row_of(i, how)].place + at;

            need(memcmp(page, is_got[(page - ram) / PAGE] ? in_file : untouched, PAGE) == 0,
                 "a page");
        }
}

static void check_layout(const struct rmig_image *image)
{
    const struct rmig_layout *layout = rmig_image_layout(image);

    need(rmig_image_bytes(image) == end_bytes && layout && layout->nblocks == nrows, "a layout");
    need(layout->machine[0] == '\0', "a machine");
    for (uint32_t i = 0; i < nrows && i < BLOCKS_MAX; i++) {
        const struct rmig_block *b = &layout->blocks[i];

        need(strcmp(b->name, rows[i].name) == 0 && b->len_bytes == rows[i].len_bytes &&
                 b->fd_offset_bytes == rows[i].place && !b->host && b->fd == -1,
             "a block");
    }
}

/* Other blocks are refused, and so is a run before there are any. */
static void refuse(struct rmig_image *image)
{
    const struct rmig_run run = {0, 0, 0, PAGE};
    int rc;

    need(rmig_image_get(image, &run, NULL) == -EINVAL, "a run without memory");
    rc = rmig_image_use(image, blocks, (uint32_t)nrows - 1, NULL);
    need(rc == (nrows == 1 ? -EINVAL : -EPROTO), "a block less");
    blocks[nrows - 1].len_bytes += PAGE;
    rc = rmig_image_use(image, blocks, (uint32_t)nrows, NULL);
    need(rc == -EPROTO, "a block that is longer");
    blocks[nrows - 1].len_bytes -= PAGE;
}

static void use(struct rmig_image *image, unsigned how)
{
    make_blocks(how);
    refuse(image);
    need(rmig_image_use(image, blocks, (uint32_t)nrows, NULL) == 0, "memory for the blocks");
    for (unsigned i = 0; i < npieces; i++) {
        const uint8_t *piece = pieces + 2 * i;
        const uint64_t npages = piece[1] >> 3 & 7;
        const struct rmig_run run = {piece[0] % ((uint32_t)nrows + 1), 0,
                                     (piece[1] & 7) * PAGE + (piece[1] == 0xff),
                                     npages * PAGE - (npages && piece[0] & 0x40)};

        get(image, &run);
    }
    check_ram(how);
    for (uint32_t i = 0; i < nrows; i++)
        get(image, &(struct rmig_run){i, 0, 0, blocks[i].len_bytes});
    check_ram(how);
}

/* How, how many pieces, these; then the bytes. */
FUZZ_TARGET(fuzz_image)
{
    struct program p = {data, data + size};
    const unsigned how = program_u8(&p);
    const struct rmig_image_opts opts = {.max_ram_bytes = how & HOW_LIMIT ? RAM_BYTES : 0,
                                         .ram_is_zero = how & HOW_ZERO};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_image *image = NULL;
    struct bytes_channel ch;
    size_t n;
    int rc;

    npieces = program_u8(&p) % (PIECES_MAX + 1);
    if ((size_t)(p.end - p.at) < 2 * npieces)
        return 0;
    pieces = p.at;
    p.at += 2 * npieces;
    n = file_bytes = (size_t)(p.end - p.at) < sizeof(file) ? (size_t)(p.end - p.at) : sizeof(file);
    if (how & HOW_BUILT)
        build(p.at, n, how);
    else
        memcpy(file, p.at, n), set_data(0, n);
    file_bytes -= how & HOW_CUT && file_bytes ? 1 : 0;
    bytes_channel_init(&ch, file, file_bytes, 1);
    ch.is_data = how & HOW_HOLES ? is_data : NULL;
    rc = rmig_image_open(&image, &ch.base, &opts, &err);
    need(rc == err.code && (rc == 0) == (image != NULL), "the result");
    need(rc == 0 || rc == -EPROTO || rc == -ENOTSUP || rc == -E2BIG, "an error that is promised");
    need((rc == 0) == is_image(opts.max_ram_bytes ? opts.max_ram_bytes : 64ull << 30), "an image");
    if (rc == 0) {
        check_layout(image);
        if (total_bytes <= RAM_BYTES)
            use(image, how);
        rmig_image_free(image);
    }
    clear(n);
    return 0;
}
