/* SPDX-License-Identifier: BSD-3-Clause */
/* load_tail.c -- collects what follows the ram section of another hypervisor's stream. */
#include "hooks/load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/overflow.h"
#include "hooks/tail.h"

#define DEFAULT_TAIL_BYTES (256u << 20)

struct tail {
    uint8_t *data;
    uint64_t len, room;
};

static int make_room(struct tail *tail, uint64_t nbytes, uint64_t most, struct rmig_err *err)
{
    uint8_t *data;
    uint64_t room = rmig_max_u64(tail->room, RMIG_STREAM_BUFFER_BYTES);

    if (nbytes > most - tail->len)
        return rmig_err_set(err, -EPROTO, "tail: more than %llu bytes after the ram section",
                            (unsigned long long)most);
    while (room - tail->len < nbytes)
        room *= 2;
    if (room == tail->room)
        return 0;
    data = realloc(tail->data, room);
    if (!data)
        return rmig_err_set(err, -ENOMEM, "tail: out of memory for %llu bytes",
                            (unsigned long long)room);
    tail->data = data;
    tail->room = room;
    return 0;
}

/* Take what there is: waits for one byte, and takes what came with it. */
static int take(struct rmig_load *load, struct tail *tail, uint64_t most, struct rmig_err *err)
{
    uint8_t first;
    size_t n;
    int rc = rmig_load_check_cancel(load, err);

    if (rc == 0)
        rc = rmig_load_get_u8(load, "the tail", &first, err);
    if (rc == 0 && tail->len == 0)
        rc = rmig_tail_check_first(first, err);
    if (rc < 0)
        return rc;
    n = rmig_in_buffered_bytes(load->in);
    rc = make_room(tail, 1 + n, most, err);
    if (rc < 0)
        return rc;
    tail->data[tail->len] = first;
    rc = rmig_load_get_bytes(load, "the tail", tail->data + tail->len + 1, n, err);
    tail->len += 1 + n;
    return rc;
}

/* Who bounds RAM does not expect more than that of devices. */
static uint64_t most_bytes(const struct rmig_load_opts *opts)
{
    if (opts->max_tail_bytes)
        return opts->max_tail_bytes;
    return opts->max_ram_bytes ? rmig_min_u64(opts->max_ram_bytes, DEFAULT_TAIL_BYTES)
                               : DEFAULT_TAIL_BYTES;
}

/* A source that waited to be told, and has hung up meanwhile, has given the move up: its guest runs on. */
static int check_source(const struct rmig_load *load, struct rmig_err *err)
{
    struct pollfd fd = {.events = POLLRDHUP};
    int n;

    if (!load->back)
        return 0;
    fd.fd = rmig_in_fd(load->in);
    do
        n = poll(&fd, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return rmig_err_set(err, -errno, "tail: poll: %s", strerror(errno));
    if (n == 0)
        return 0;
    return rmig_err_set(err, -ECONNRESET, "the source has hung up without waiting to be told of success");
}

/* A footer and the end of the sections. */
static bool ends_without_description(const struct tail *tail)
{
    return tail->len >= 6 && tail->data[tail->len - 6] == RMIG_SECTION_FOOTER &&
           tail->data[tail->len - 1] == RMIG_SECTION_EOF;
}

int rmig_load_tail(struct rmig_load *load, struct rmig_err *err)
{
    uint64_t most = most_bytes(&load->opts);
    struct rmig_tail_scan scan = {0};
    struct tail tail = {0};
    int rc;

    do
        rc = take(load, &tail, most, err);
    while (rc == 0 && !rmig_tail_complete(&scan, tail.data, tail.len));
    if (rc < 0 && rc != -ECANCELED && ends_without_description(&tail))
        rmig_err_prefix(err, "the description of the devices, by which their end is known, has not come: if the source "
                        "was not cut off, set its machine property suppress-vmdesc=off");
    if (rc == 0)
        rc = check_source(load, err);
    if (rc == 0) {
        rc = load->opts.tail(load->opts.tail_opaque, tail.data, tail.len, err);
        if (rc < 0)
            rmig_err_set(err, rc, "tail: refused with error %d", -rc);
    }
    free(tail.data);
    return rc < 0 ? rc : 0;
}
