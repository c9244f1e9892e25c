/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_store.c -- writes and reads the file that holds a guest. */
#include "tools/rmig_store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe may wait for something slow, but not for ever. */
#define PIPE_TIMEOUT_MS 60000

#define IMAGE_STEP_BYTES ((uint64_t)16 << 20)

int store_open(struct store *store, const char *path, struct rmig_cancel *cancel, struct rmig_err *err)
{
    *store = (struct store){0};
    return path ? output_open(&store->output, path, cancel, err) : output_open_standard(&store->output, err);
}

static int open_stream(struct store *store, struct rmig_cancel *cancel, struct rmig_err *err)
{
    const struct rmig_channel_opts opts = {.cancel = cancel, .label = store->output.path};
    struct rmig_channel *ch = NULL;
    int fd = fcntl(store->output.fd, F_DUPFD_CLOEXEC, 0);
    int rc;

    if (fd < 0)
        return rmig_err_set(err, -errno, "%.180s: %s", store->output.path, strerror(errno));
    rc = rmig_channel_from_fd(fd, &opts, &ch, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = rmig_out_new(ch, &store->out, err);
    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    return rc;
}

static int put_ram(struct store *store, const struct guest_ram *ram, struct rmig_cancel *cancel,
                   struct rmig_err *err)
{
    const struct rmig_save_opts opts = {.machine = ram->machine[0] ? ram->machine : NULL,
                                        .configuration = ram->configuration,
                                        .cancel = cancel};
    int rc = rmig_save_new(&store->save, store->out, ram->blocks, ram->nblocks, &opts, err);

    if (rc == 0)
        rc = rmig_save_setup(store->save, err);
    if (rc == 0)
        rc = rmig_save_complete(store->save, err);
    return rc == 0 ? rmig_out_flush(store->out) : rc;
}

int store_put_ram(struct store *store, const struct guest_ram *ram, bool sync,
                  struct rmig_cancel *cancel, struct rmig_err *err)
{
    int rc = open_stream(store, cancel, err);

    if (rc == 0)
        rc = put_ram(store, ram, cancel, err);
    if (rc == 0 && sync)
        rc = output_sync(&store->output, err);
    if (rc < 0)
        rmig_err_prefix(err, "storing the RAM");
    return rc;
}

int store_put_tail(struct store *store, const struct guest_ram *ram, struct rmig_err *err)
{
    int rc = rmig_save_tail(store->save, ram->tail, ram->tail_bytes, err);

    if (rc < 0)
        rmig_err_prefix(err, "storing the device state");
    return rc;
}

struct rmig_ram_stats store_stats(const struct store *store)
{
    return *rmig_save_stats(store->save);
}

int store_publish(struct store *store, bool sync, struct rmig_err *err)
{
    struct rmig_out *out = store->out;
    int rc;

    store->out = NULL;
    rc = rmig_out_close(out, err);
    if (rc == 0)
        rc = output_publish(&store->output, sync, err);
    if (rc == 0)
        output_settle(&store->output);
    return rc;
}

void store_close(struct store *store)
{
    rmig_save_free(store->save);
    (void)rmig_out_close(store->out, NULL); /* whole ones have been closed before */
    if (store->output.path)
        output_close(&store->output);
    *store = (struct store){0};
}

/* --- the RAM by itself ------------------------------------------------------------------------ */

static int put_image(int fd, const struct rmig_block *block, uint64_t at, uint64_t end, struct rmig_err *err)
{
    while (at < end) {
        ssize_t n = pwrite(fd, (const uint8_t *)block->host + at, end - at, (off_t)at);

        if (n < 0)
            return rmig_err_set(err, -errno, "RAM image: %s", strerror(errno));
        at += (uint64_t)n;
    }
    return 0;
}

/* An extent of data, without the pages that are zero. */
static int put_pages(int fd, const struct rmig_block *block, uint64_t at, uint64_t end,
                     struct rmig_cancel *cancel, struct rmig_err *err)
{
    int rc = 0;

    while (rc == 0 && at < end) {
        uint64_t stop = at;

        while (stop < end && stop - at < IMAGE_STEP_BYTES && !guest_ram_page_is_zero(block, stop))
            stop += RMIG_PAGE_BYTES;
        rc = put_image(fd, block, at, stop, err);
        for (at = stop; at < end && at - stop < IMAGE_STEP_BYTES && guest_ram_page_is_zero(block, at);)
            at += RMIG_PAGE_BYTES;
        if (rc == 0 && rmig_cancel_triggered(cancel))
            rc = rmig_err_set(err, -ECANCELED, "RAM image: cancelled");
    }
    return rc;
}

int store_image(int fd, const struct rmig_block *block, struct rmig_cancel *cancel, struct rmig_err *err)
{
    int rc = 0;

    if (ftruncate(fd, (off_t)block->len_bytes) < 0)
        return rmig_err_set(err, -errno, "RAM image: %s", strerror(errno));
    for (uint64_t at = 0, end; rc == 0 && at < block->len_bytes; at = end) {
        bool hole;

        end = guest_ram_extent_end(block, at, &hole);
        if (!hole)
            rc = put_pages(fd, block, at, end, cancel, err);
    }
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A named pipe that nobody has opened for writing yet reads as ended. */
static int await_writer(int fd, const char *path, struct rmig_cancel *cancel, struct rmig_err *err)
{
    struct pollfd polls[] = {{.fd = fd, .events = POLLIN},
                             {.fd = rmig_cancel_fd(cancel), .events = POLLIN}};
    struct stat st;
    int n;

    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
        return 0;
    do
        n = poll(polls, 2, PIPE_TIMEOUT_MS);
    while (n < 0 && errno == EINTR && !rmig_cancel_triggered(cancel));
    if (rmig_cancel_triggered(cancel))
        return rmig_err_set(err, -ECANCELED, "%.180s: cancelled", path);
    if (n < 0)
        return rmig_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    if (n == 0)
        return rmig_err_set(err, -ETIMEDOUT, "%.180s: nobody has written to it for %d s", path,
                            PIPE_TIMEOUT_MS / 1000);
    return 0;
}

int store_open_channel(const char *path, struct rmig_cancel *cancel, struct rmig_channel **ch_p,
                       struct rmig_err *err)
{
    const struct rmig_channel_opts opts = {.cancel = cancel,
                                           .idle_timeout_ms = PIPE_TIMEOUT_MS};
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                      : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int rc;

    if (fd < 0)
        return rmig_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    rc = standard ? 0 : await_writer(fd, path, cancel, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = rmig_channel_from_fd(fd, &opts, ch_p, err);
    if (rc < 0) {
        close(fd);
        *err = (struct rmig_err)RMIG_ERR_INIT; /* it speaks of the descriptor */
        return rmig_err_set(err, rc, "%.180s: %s", path, strerror(-rc));
    }
    return 0;
}

int store_open_stream(const char *path, struct rmig_cancel *cancel, struct rmig_in **in_p, struct rmig_err *err)
{
    struct rmig_channel *ch = NULL;
    int rc = store_open_channel(path, cancel, &ch, err);

    if (rc < 0)
        return rc;
    rc = rmig_in_new(ch, in_p, err);
    if (rc < 0)
        (void)rmig_channel_close(ch, NULL);
    return rc;
}

int store_load(struct rmig_in *in, const char *path, struct guest_ram *ram, uint64_t max_ram_bytes,
               struct rmig_cancel *cancel, struct rmig_err *err)
{
    const struct rmig_load_opts opts = {.cancel = cancel,
                                        .tail = guest_ram_take_tail,
                                        .tail_opaque = ram,
                                        .layout = guest_ram_make,
                                        .layout_opaque = ram,
                                        .max_ram_bytes = max_ram_bytes};
    struct rmig_load *load = NULL;
    int rc = rmig_load_new(&load, in, NULL, 0, &opts, err);

    if (rc == 0)
        rc = rmig_load_run(load, err);
    if (rc < 0)
        rmig_err_prefix(err, "%.120s", path);
    rmig_load_free(load);
    (void)rmig_in_close(in, NULL);
    return rc;
}
