/* SPDX-License-Identifier: BSD-3-Clause */
/* plugin.c -- the transport's ops table and the life of a connection; no protocol. */
#include <rmig/transport.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/log.h"
#include "common/overflow.h"
#include "rdma/channel.h"
#include "rdma/conn.h"
#include "rdma/dest.h"
#include "rdma/source.h"
#include "rdma/verbs.h"

struct rmig_transport_conn {
    struct rmig_rdma_conn conn;
    struct rmig_rdma_channel channel;
    bool finished; /* in order; else the peer is told at close that it was not */
    bool revoked;  /* destination: guest RAM was given up */
    struct rmig_transport_stats stats; /* taken when the connection was torn down */
    struct rmig_rdma_source source; /* one of the two is in use, by conn.is_source */
    struct rmig_rdma_dest dest;
};

struct rmig_transport_listener {
    struct rmig_rdma_listener *rdma;
};

static rmig_zero_range_fn zero_range;

/* --- hooks ------------------------------------------------------------------------------------ */

/* 0, or -ENOTCONN once the queue pairs are gone: a hook that came too late would post to none. */
static int check_connected(const struct rmig_transport_conn *t, struct rmig_err *err)
{
    return t->conn.torn_down ? rmig_err_set(err, -ENOTCONN, "peer %s: the RDMA connection is over",
                                            t->conn.pump.peer)
                             : 0;
}

static int set_blocks(void *opaque, const struct rmig_block *blocks, uint32_t nblocks,
                      struct rmig_err *err)
{
    struct rmig_transport_conn *t = opaque;
    int rc = check_connected(t, err);

    if (rc < 0)
        return rc;
    return t->conn.is_source ? rmig_rdma_source_set_blocks(&t->source, blocks, nblocks, err)
                             : rmig_rdma_dest_set_blocks(&t->dest, blocks, nblocks, err);
}

static int before_iterate(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct rmig_transport_conn *t = opaque;
    int rc = check_connected(t, err);

    return rc < 0 ? rc : rmig_rdma_source_before(&t->source, flag, err);
}

static int save_page(void *opaque, const struct rmig_run *run, uint64_t *sent_bytes_p,
                     struct rmig_err *err)
{
    struct rmig_transport_conn *t = opaque;
    int rc = check_connected(t, err);

    (void)sent_bytes_p; /* everything is delayed; the figures are in the statistics */
    return rc < 0 ? rc : rmig_rdma_source_save(&t->source, run, err);
}

static int after_iterate(void *opaque, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct rmig_transport_conn *t = opaque;
    int rc = check_connected(t, err);

    return rc < 0 ? rc : rmig_rdma_source_after(&t->source, flag, err);
}

static int load(void *opaque, enum rmig_hook_flag flag, const char *block_name,
                struct rmig_err *err)
{
    struct rmig_transport_conn *t = opaque;
    size_t unread = rmig_rdma_channel_unread_bytes(&t->channel);
    int rc = check_connected(t, err);

    if (rc < 0)
        return rc;
    if (t->revoked)
        return rmig_err_set(err, -EPROTO, "peer %s: a hook mark after all RAM was loaded",
                            t->conn.pump.peer);
    if (flag == RMIG_HOOK_BLOCK_REG)
        return rmig_rdma_dest_list_block(&t->dest, block_name, err);
    if (unread)
        return rmig_err_set(err, -EPROTO, "%zu bytes behind the hook mark in one message", unread);
    return rmig_rdma_dest_serve(&t->dest, err);
}

static const struct rmig_hooks source_hooks = {
    .set_blocks = set_blocks,
    .before_iterate = before_iterate,
    .save_page = save_page,
    .after_iterate = after_iterate,
};

static const struct rmig_hooks dest_hooks = {
    .set_blocks = set_blocks,
    .load = load,
};

/* --- connection ------------------------------------------------------------------------------- */

/*
 * Does RLIMIT_MEMLOCK hold for this process? A capability exempts from it, but one that was given by
 * a user namespace does not; so ask the kernel, which judges locked and registered memory alike: a
 * page more than the limit, none of it ever touched, is locked or is not. What cannot be asked is
 * left to the registration.
 */
static bool limit_holds(rlim_t limit_bytes)
{
    size_t len_bytes = (size_t)limit_bytes + RMIG_PAGE_BYTES;
    void *probe = mmap(NULL, len_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                       0);
    bool holds;

    if (probe == MAP_FAILED)
        return false;
    holds = mlock2(probe, len_bytes, MLOCK_ONFAULT) < 0 && (errno == ENOMEM || errno == EPERM);
    munmap(probe, len_bytes);
    return holds;
}

/* RAM must be pinned: refuse at once what RLIMIT_MEMLOCK would refuse half way. */
static int check_memlock(uint64_t total_ram_bytes, struct rmig_err *err)
{
    uint64_t needed;
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    if (!rmig_add_u64(total_ram_bytes, RMIG_CTRL_PINNED_BYTES, &needed))
        needed = UINT64_MAX;
    if (needed <= limit.rlim_cur || !limit_holds(limit.rlim_cur))
        return 0;
    return rmig_err_set(err, -ENOMEM,
                        "RDMA must pin %.1f MiB but RLIMIT_MEMLOCK is %.1f MiB; raise it with "
                        "`ulimit -l unlimited`, or give the process CAP_IPC_LOCK",
                        (double)needed / (1 << 20), (double)limit.rlim_cur / (1 << 20));
}

static int plugin_probe(const struct rmig_transport_params *params, uint64_t total_ram_bytes,
                        struct rmig_err *err)
{
    int rc = rmig_rdma_verbs_count_devices(err);

    if (rc >= 0 && params->device) {
        struct sockaddr_storage addr;

        rc = rmig_rdma_verbs_device_address(params->device,
                                            params->device_port ? params->device_port : 1,
                                            params->gid_index, &addr, err);
    }
    if (rc < 0)
        return rc;
    /* On demand nothing is locked, if the device can; which one it will be is not known yet. */
    return params->flags & RMIG_TRANSPORT_ON_DEMAND ? 0 : check_memlock(total_ram_bytes, err);
}

static void attach(struct rmig_transport_conn *t)
{
    rmig_rdma_channel_init(&t->channel, &t->conn);
    if (t->conn.is_source)
        rmig_rdma_source_init(&t->source, &t->conn);
    else
        rmig_rdma_dest_init(&t->dest, &t->conn, zero_range);
}

static struct rmig_transport_conn *new_conn(struct rmig_err *err)
{
    struct rmig_transport_conn *t = calloc(1, sizeof(*t));

    if (!t)
        rmig_err_set(err, -ENOMEM, "RDMA connection: out of memory");
    return t;
}

static int plugin_connect(const struct rmig_transport_params *params,
                          struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    struct rmig_transport_conn *t = new_conn(err);
    int rc = t ? rmig_rdma_conn_connect(&t->conn, params, err) : -ENOMEM;

    if (rc < 0) {
        free(t);
        return rc;
    }
    attach(t);
    *conn_p = t;
    return 0;
}

static int plugin_listen(const struct rmig_transport_params *params,
                         struct rmig_transport_listener **listener_p, uint16_t *port_p,
                         struct rmig_err *err)
{
    struct rmig_transport_listener *l = calloc(1, sizeof(*l));
    int rc = l ? rmig_rdma_listener_open(params, &l->rdma, port_p, err)
               : rmig_err_set(err, -ENOMEM, "RDMA listener: out of memory");

    if (rc < 0) {
        free(l);
        return rc;
    }
    *listener_p = l;
    return 0;
}

static int plugin_accept(struct rmig_transport_listener *listener, int timeout_ms,
                         const struct rmig_transport_params *params,
                         struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    struct rmig_transport_conn *t = new_conn(err);
    int rc = t ? rmig_rdma_conn_accept(&t->conn, listener->rdma, timeout_ms, params, err) : -ENOMEM;

    if (rc < 0) {
        free(t);
        return rc;
    }
    attach(t);
    *conn_p = t;
    return 0;
}

static void plugin_listener_close(struct rmig_transport_listener *listener)
{
    if (listener)
        rmig_rdma_listener_close(listener->rdma);
    free(listener);
}

static int plugin_listener_fd(struct rmig_transport_listener *listener)
{
    return rmig_rdma_listener_fd(listener->rdma);
}

static struct rmig_channel *plugin_channel(struct rmig_transport_conn *t)
{
    return &t->channel.base;
}

static const struct rmig_hooks *plugin_hooks(struct rmig_transport_conn *t)
{
    return t->conn.is_source ? &source_hooks : &dest_hooks;
}

static void fill_stats(const struct rmig_transport_conn *t, struct rmig_transport_stats *stats)
{
    const struct rmig_rdma_chunks *chunks =
        t->conn.is_source ? &t->source.local : &t->dest.chunks;
    uint64_t control = t->conn.ctrl.memory ? RMIG_CTRL_PINNED_BYTES : 0;

    stats->write_wrs = t->source.write_wrs;
    stats->write_bytes = t->source.write_bytes;
    stats->doorbells = t->source.doorbells;
    stats->wire_bytes = t->source.write_bytes + t->conn.ctrl.bytes_sent;
    stats->completions = t->conn.pump.completions;
    stats->control_messages = t->conn.ctrl.messages_sent;
    stats->registrations = chunks->registrations;
    stats->pinned_bytes = chunks->pinned_bytes + control;
    stats->peak_pinned_bytes = chunks->peak_pinned_bytes + control;
    stats->zero_bytes = t->source.zero_bytes + t->dest.zero_bytes;
}

static int plugin_stats(struct rmig_transport_conn *t, struct rmig_transport_stats *stats)
{
    struct rmig_transport_stats now = t->stats;
    uint32_t size = rmig_min_u64(stats->struct_size, sizeof(now));

    if (!t->conn.torn_down)
        fill_stats(t, &now);
    now.struct_size = stats->struct_size;
    memcpy(stats, &now, size);
    return 0;
}

/* No queue pair, then no region: nothing of the guest's RAM can be reached any more. */
static void tear_down(struct rmig_transport_conn *t, bool failed)
{
    if (!t->conn.torn_down)
        fill_stats(t, &t->stats);
    t->stats.pinned_bytes = 0;
    rmig_rdma_conn_tear_down(&t->conn, failed);
    rmig_rdma_source_release(&t->source);
    rmig_rdma_dest_release(&t->dest);
}

static int plugin_finish(struct rmig_transport_conn *t, struct rmig_err *err)
{
    if (t->conn.torn_down)
        return 0;
    if (t->conn.is_source) {
        int rc = rmig_rdma_conn_wait_disconnect(&t->conn, err);

        if (rc < 0)
            return rc;
    } else {
        rmig_rdma_conn_end_as_dest(&t->conn);
    }
    t->finished = true;
    tear_down(t, false);
    return 0;
}

/* Deregistering takes the keys back: a late write of the peer's is refused by the device. */
static int plugin_revoke(struct rmig_transport_conn *t, struct rmig_err *err)
{
    int rc = check_connected(t, err);

    if (rc < 0)
        return rc;
    if (t->conn.is_source)
        return rmig_err_set(err, -EINVAL, "a source gives nothing up: it granted no access");
    rc = rmig_rdma_dest_revoke(&t->dest, err);
    if (rc < 0)
        return rmig_err_prefix(err, "guest RAM cannot be taken back from the peer");
    t->revoked = true;
    return 0;
}

static void plugin_close(struct rmig_transport_conn *t)
{
    if (!t)
        return;
    tear_down(t, !t->finished);
    rmig_rdma_conn_release(&t->conn);
    free(t);
}

static bool plugin_peer_ram_is_zero(const struct rmig_transport_conn *t)
{
    return t->conn.is_source && t->conn.ram_is_zero;
}

static const struct rmig_transport_ops ops = {
    .abi = RMIG_TRANSPORT_ABI,
    .struct_size = sizeof(ops),
    .name = "rdma",
    .probe = plugin_probe,
    .connect = plugin_connect,
    .listen = plugin_listen,
    .accept = plugin_accept,
    .listener_close = plugin_listener_close,
    .channel = plugin_channel,
    .hooks = plugin_hooks,
    .finish = plugin_finish,
    .stats = plugin_stats,
    .close = plugin_close,
    .listener_fd = plugin_listener_fd,
    .revoke = plugin_revoke,
    .peer_ram_is_zero = plugin_peer_ram_is_zero,
};

const struct rmig_transport_ops *rmig_transport_init(const struct rmig_host *host)
{
    if (!host || host->abi != RMIG_TRANSPORT_ABI || host->struct_size < sizeof(*host))
        return NULL;
    rmig_log_set(host->log, host->log_opaque, host->log_threshold);
    zero_range = host->zero_range;
    return &ops;
}
