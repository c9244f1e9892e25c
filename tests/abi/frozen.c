/* SPDX-License-Identifier: BSD-3-Clause */
/* frozen.c -- a plugin as it was built when ABI 1 began; takes every run and counts its bytes. */
#include "tests/abi/frozen_v1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct frozen_conn {
    int cancel_fd;
    uint64_t bytes;
    uint64_t passes;
};

struct frozen_listener {
    int cancel_fd;
};

const struct frozen_ops *rmig_transport_init(const struct frozen_host *host);

static int set_blocks(void *opaque, const struct frozen_block *blocks, uint32_t nblocks,
                      struct frozen_err *err)
{
    (void)opaque;
    (void)err;
    return nblocks > 0 && blocks[nblocks - 1].len_bytes > 0 ? 0 : -EINVAL;
}

static int before_iterate(void *opaque, int flag, struct frozen_err *err)
{
    (void)opaque;
    (void)flag;
    (void)err;
    return 0;
}

static int save_page(void *opaque, const struct frozen_run *run, uint64_t *sent_bytes_p,
                     struct frozen_err *err)
{
    struct frozen_conn *conn = opaque;

    (void)err;
    conn->bytes += run->len_bytes;
    *sent_bytes_p = run->len_bytes;
    return 2;
}

static int after_iterate(void *opaque, int flag, struct frozen_err *err)
{
    struct frozen_conn *conn = opaque;

    (void)flag;
    (void)err;
    conn->passes++;
    return 0;
}

static int load(void *opaque, int flag, const char *block_name, struct frozen_err *err)
{
    (void)opaque;
    (void)flag;
    (void)block_name;
    (void)err;
    return 0;
}

static int new_conn(const struct frozen_params *params, struct frozen_conn **conn_p)
{
    struct frozen_conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        return -ENOMEM;
    conn->cancel_fd = params->cancel_fd;
    *conn_p = conn;
    return 0;
}

static int do_connect(const struct frozen_params *params, struct frozen_conn **conn_p,
                      struct frozen_err *err)
{
    (void)err;
    return new_conn(params, conn_p);
}

static int do_listen(const struct frozen_params *params, struct frozen_listener **listener_p,
                     uint16_t *port_p, struct frozen_err *err)
{
    struct frozen_listener *l = calloc(1, sizeof(*l));

    (void)err;
    if (!l)
        return -ENOMEM;
    l->cancel_fd = params->cancel_fd;
    *listener_p = l;
    *port_p = 4321;
    return 0;
}

static int do_accept(struct frozen_listener *listener, int timeout_ms,
                     const struct frozen_params *params, struct frozen_conn **conn_p,
                     struct frozen_err *err)
{
    (void)listener;
    (void)timeout_ms;
    (void)err;
    return new_conn(params, conn_p);
}

static void listener_close(struct frozen_listener *listener)
{
    free(listener);
}

static struct rmig_channel *channel(struct frozen_conn *conn)
{
    (void)conn;
    return NULL;
}

static const struct frozen_hooks *hooks(struct frozen_conn *conn)
{
    static const struct frozen_hooks table = {set_blocks, before_iterate, save_page, after_iterate,
                                              load};

    (void)conn;
    return &table;
}

/* wire_bytes: what save_page took; doorbells: passes; completions: the cancel fd, for the test. */
static int stats(struct frozen_conn *conn, struct frozen_stats *s)
{
    struct frozen_stats full = {.wire_bytes = conn->bytes,
                                .doorbells = conn->passes,
                                .completions = (uint64_t)conn->cancel_fd};
    uint32_t size = s->struct_size < sizeof(full) ? s->struct_size : (uint32_t)sizeof(full);

    full.struct_size = s->struct_size;
    memcpy(s, &full, size);
    return 0;
}

static void close_conn(struct frozen_conn *conn)
{
    free(conn);
}

const struct frozen_ops *rmig_transport_init(const struct frozen_host *host)
{
    static const struct frozen_ops ops = {
        .abi = 1,
        .struct_size = sizeof(ops),
        .name = "frozen",
        .connect = do_connect,
        .listen = do_listen,
        .accept = do_accept,
        .listener_close = listener_close,
        .channel = channel,
        .hooks = hooks,
        .stats = stats,
        .close = close_conn,
    };

    if (host->abi != 1 || host->struct_size < sizeof(*host))
        return NULL;
    host->log(host->log_opaque, 2, "frozen: hello");
    return &ops;
}
