/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_example.c -- prints the stream of rmig-wire(7)'s example, for check-wire-page.sh. */
#include <rmig/rmig.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 3

static uint8_t ram[PAGES][RMIG_PAGE_BYTES] __attribute__((aligned(RMIG_PAGE_BYTES)));

/* There has to be one for the hook mark. */
static int before_iterate(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    (void)opaque;
    (void)flag;
    (void)err;
    return 0;
}

/* Takes the first page, and leaves the others to the stream. */
static int save_page(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *err)
{
    (void)opaque;
    (void)sent_bytes_p;
    (void)err;
    return run->offset_bytes == 0 ? RMIG_PUT_DELAYED : RMIG_PUT_NOT_SUPPORTED;
}

static int write_stream(struct rmig_out *out, struct rmig_err *err)
{
    static const struct rmig_hooks hooks = {.before_iterate = before_iterate,
                                            .save_page = save_page};
    const struct rmig_block block = {.name = "mem",
                                     .host = ram,
                                     .len_bytes = sizeof(ram),
                                     .page_bytes = RMIG_PAGE_BYTES,
                                     .fd = -1};
    struct rmig_save *save = NULL;
    int rc = rmig_out_attach_hooks(out, &hooks, NULL, err);

    if (rc == 0)
        rc = rmig_save_new(&save, out, &block, 1, NULL, err);
    if (rc == 0)
        rc = rmig_save_setup(save, err);
    if (rc == 0)
        rc = rmig_save_complete(save, err);
    if (rc == 0)
        rc = rmig_save_section(save, "cpu", 0, 1, "hi", 2, err);
    if (rc == 0)
        rc = rmig_save_end(save, err);
    rmig_save_free(save);
    return rc;
}

/* In hexadecimal; a byte that repeats for longer than any word has zeros is BYTE*TIMES. */
static void print(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        for (n = 1; i + n < len && bytes[i + n] == bytes[i];)
            n++;
        if (n > 16) {
            printf("%02x*%zu", bytes[i], n);
        } else {
            printf("%02x", bytes[i]);
            n = 1;
        }
    }
}

/* The stream without its description, which is text. */
static int print_stream(struct rmig_out *out)
{
    static const char description[] = "{\"page_size\":";
    struct rmig_buffer *buffer = rmig_out_buffer(out);
    size_t len = buffer ? rmig_buffer_length(buffer) : 0;
    uint8_t *bytes = malloc(len + 1), *text;

    if (!bytes || rmig_buffer_read(buffer, 0, len, bytes) != len) {
        free(bytes);
        return -EIO;
    }
    text = memmem(bytes, len, description, sizeof(description) - 1);
    if (text) {
        printf("example\tstream\t");
        print(bytes, (size_t)(text - bytes) - 5); /* its type and length */
        printf("\n");
    }
    free(bytes);
    return text ? 0 : -EIO;
}

int main(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_buffer *buffer;
    struct rmig_channel *channel;
    struct rmig_out *out = NULL;
    int rc = rmig_buffer_new(0, &buffer, &err);

    memset(ram[0], 'A', sizeof(ram[0]));
    memset(ram[2], 'Z', sizeof(ram[2]));
    if (rc == 0)
        rc = rmig_channel_from_buffer(buffer, RMIG_OPEN_WRITE, &channel, &err);
    if (rc == 0)
        rc = rmig_out_new(channel, &out, &err);
    if (rc == 0)
        rc = write_stream(out, &err);
    if (rc == 0)
        rc = print_stream(out);
    if (rc < 0)
        fprintf(stderr, "wire_example: %s\n", err.code ? err.msg : "no stream came out");
    return rmig_out_close(out, NULL) < 0 || rc < 0;
}
