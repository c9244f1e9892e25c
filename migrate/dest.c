/* SPDX-License-Identifier: BSD-3-Clause */
/* dest.c -- the destination of a move: accept, load, and run the guest only on the source's word. */
#include <rmig/migrate.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/overflow.h"
#include "migrate/link.h"
#include "migrate/move.h"
#include "migrate/switchover.h"

struct rmig_dest {
    struct rmig_move move; /* first */
    struct rmig_dest_opts opts;
    struct rmig_uri uri;
    struct rmig_link link;
    bool listed;    /* the block list is right: from here on RAM may be written */
    bool announced; /* the section that tells of answers came */
    bool answers;   /* the source waits for them */
    const struct section *section;
};

/* A device section on its way to the hypervisor's thread. */
struct section {
    const char *name;
    uint32_t instance_id, version;
    const void *data;
    size_t len_bytes;
};

static int call_load_device(void *arg, struct rmig_err *err)
{
    struct rmig_dest *d = arg;
    const struct section *s = d->section;

    return d->move.ops.load_device(d->move.vm, s->name, s->instance_id, s->version, s->data,
                                   s->len_bytes, err);
}

static int on_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                      const void *data, size_t len_bytes, struct rmig_err *err)
{
    const struct section section = {name, instance_id, version, data, len_bytes};
    struct rmig_dest *d = opaque;
    struct rmig_err why = RMIG_ERR_INIT;
    int rc;

    if (!d->announced) {
        if (strcmp(name, RMIG_SWITCHOVER_SECTION) != 0)
            return rmig_err_set(err, -EPROTO, "the first device section is %.64s, not %s: the stream "
                                "is none of a source of this library", name,
                                RMIG_SWITCHOVER_SECTION);
        d->announced = true;
        return rmig_switchover_take(&d->link, version, data, len_bytes, &d->answers, err);
    }
    rmig_move_lock_status(&d->move)->device_state_bytes += len_bytes;
    rmig_move_unlock_status(&d->move);
    d->section = &section;
    rc = rmig_move_call(&d->move, call_load_device, d, &why);
    d->section = NULL;
    if (rc < 0)
        return rmig_err_set(err, rc, "device %.64s: %.160s", name,
                            why.msg[0] ? why.msg : strerror(-rc));
    return 0;
}

static void on_window(void *opaque, const struct rmig_ram_stats *stats)
{
    struct rmig_dest *d = opaque;
    struct rmig_move_status *status = rmig_move_lock_status(&d->move);

    status->zero_bytes = stats->zero_pages * RMIG_PAGE_BYTES;
    status->sent_bytes = stats->normal_pages * RMIG_PAGE_BYTES;
    rmig_move_unlock_status(&d->move);
    if (!d->listed) /* the first section is the list */
        rmig_switchover_say_listed(&d->link, d->opts.flags & RMIG_DEST_RAM_IS_ZERO);
    d->listed = true;
}

static int on_ram_placed(void *opaque, struct rmig_err *err)
{
    struct rmig_dest *d = opaque;

    (void)err;
    rmig_move_enter(&d->move, RMIG_MOVE_SWITCHOVER);
    return 0;
}

/* Everything that makes the guest whole here. */
static int load(struct rmig_dest *d, struct rmig_err *err)
{
    const struct rmig_load_opts opts = {
        .max_section_bytes = d->opts.max_section_bytes,
        .cancel = d->move.cancel,
        .progress = on_window,
        .progress_opaque = d,
        .section = on_section,
        .section_opaque = d,
        .ram_placed = on_ram_placed,
        .ram_placed_opaque = d,
    };
    struct rmig_load *load = NULL;
    int rc = rmig_load_new(&load, d->link.in, d->move.blocks, d->move.nblocks, &opts, err);

    if (rc < 0)
        return rc;
    rc = rmig_load_run(load, err);
    rmig_load_free(load);
    if (rc == 0 && !d->announced)
        rc = rmig_err_set(err, -EPROTO, "the stream has no device section %s: it is none of a source "
                          "of this library", RMIG_SWITCHOVER_SECTION);
    if (rc == 0)
        rc = rmig_link_revoke(&d->link, err);
    return rc;
}

static int accept_one(struct rmig_dest *d, uint64_t deadline_ns, struct rmig_err *err)
{
    struct rmig_move_status *status;
    int rc = rmig_link_accept(&d->link, deadline_ns, err);

    if (rc < 0)
        return rc;
    status = rmig_move_lock_status(&d->move);
    status->transport = d->link.name;
    status->setup_ns = rmig_now_ns() - d->move.began_ns;
    rmig_move_unlock_status(&d->move);
    rmig_move_enter(&d->move, RMIG_MOVE_ROUNDS);
    return 0;
}

/* Is it this side that fails, and will again with the next source? */
static bool is_ours(int code)
{
    return code == -ECANCELED || code == -ENOMEM || code == -EMFILE || code == -ENFILE ||
           code == -ENODEV;
}

/* RDMA cannot be had here, as is seen only when a source asks for it, or for all RAM to be pinned. That one comes
 * again, by tcp. */
static bool goes_on_by_tcp(struct rmig_dest *d, int code)
{
    return code != -ECANCELED && rmig_link_leave_transport(&d->link);
}

/* Until one source has put all of its guest here. Strangers that put nothing are sent away. */
static int take_guest(struct rmig_dest *d, struct rmig_err *err)
{
    uint64_t deadline_ns = d->opts.accept_timeout_ms ? rmig_deadline_ns(d->opts.accept_timeout_ms)
                                                     : RMIG_NEVER_NS;

    for (;;) {
        struct rmig_err why = RMIG_ERR_INIT;
        bool connected;
        int rc;

        rmig_move_enter(&d->move, RMIG_MOVE_CONNECTING);
        rc = accept_one(d, deadline_ns, &why);
        connected = rc == 0;
        if (rc == 0)
            rc = load(d, &why);
        if (rc == 0)
            return 0;
        if (connected)
            rmig_switchover_refuse(&d->link, &why);
        if (d->listed || (is_ours(rc) && !goes_on_by_tcp(d, rc)) || !rmig_link_listens(&d->link) ||
            (!connected && rmig_now_ns() >= deadline_ns))
            return rmig_err_set(err, rc, "%s", why.msg);
        rmig_log(RMIG_LOG_WARNING, "destination: a connection came to nothing: %s", why.msg);
        d->announced = false;
        if (connected) { /* it may have written to RAM */
            d->opts.flags &= ~RMIG_DEST_RAM_IS_ZERO;
            d->link.params.flags &= ~RMIG_TRANSPORT_RAM_IS_ZERO;
        }
        (void)rmig_link_drop(&d->link, NULL);
    }
}

/* From the go-ahead on the guest may run here, and only here. */
static int run_guest(struct rmig_dest *d, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = rmig_switchover_await_go(&d->link, d->answers, &why);

    if (rc == 0)
        rc = rmig_move_commit(&d->move, &why);
    if (rc == 0)
        rc = rmig_move_resume(&d->move, &why);
    if (rc < 0) {
        rmig_switchover_refuse(&d->link, &why);
        return rmig_err_set(err, rc, "%s", why.msg);
    }
    rmig_switchover_say_started(&d->link, d->answers);
    return 0;
}

static int work(struct rmig_move *move, struct rmig_err *err)
{
    struct rmig_dest *d = (struct rmig_dest *)move;
    int rc = take_guest(d, err);

    if (rc == 0)
        rc = run_guest(d, err);
    rmig_move_lock_status(move)->peak_pinned_bytes = rmig_link_peak_pinned_bytes(&d->link);
    rmig_move_unlock_status(move);
    rmig_link_close(&d->link);
    rmig_move_enter(move, rc < 0 ? RMIG_MOVE_FAILED : RMIG_MOVE_DONE);
    return rc;
}

static uint64_t transport_flags(uint64_t flags)
{
    return (flags & RMIG_DEST_RAM_IS_ZERO ? RMIG_TRANSPORT_RAM_IS_ZERO : 0) |
           (flags & RMIG_DEST_ON_DEMAND ? RMIG_TRANSPORT_ON_DEMAND : 0);
}

/* --- public ----------------------------------------------------------------------------------- */

static int listen_for_source(struct rmig_dest *d, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    uint64_t budget_bytes = d->opts.pin_budget_bytes;
    int rc;

    /* All RAM fits in it: it is none, and a source may have all of it pinned. */
    if (budget_bytes >= d->move.status.total_ram_bytes)
        budget_bytes = 0;
    d->link = (struct rmig_link){
        .uri = &d->uri,
        .total_ram_bytes = d->move.status.total_ram_bytes,
        .channel_opts = {.cancel = d->move.cancel,
                         .idle_timeout_ms = d->opts.idle_timeout_ms,
                         .dead_peer_ms = d->opts.dead_peer_ms},
        .params = {.struct_size = sizeof(d->link.params),
                   .host = d->uri.host,
                   .port = d->uri.port,
                   .device = d->opts.device,
                   .device_port = d->opts.device_port,
                   .gid_index = d->opts.use_gid_index ? d->opts.gid_index : -1,
                   .idle_timeout_ms = d->opts.idle_timeout_ms,
                   .dead_peer_ms = d->opts.dead_peer_ms,
                   .pin_budget_bytes = budget_bytes,
                   .flags = transport_flags(d->opts.flags),
                   .cancel = d->move.cancel},
    };
    rc = rmig_link_listen(&d->link, d->opts.tcp_fallback, &why, err);
    if (why.code < 0) {
        rmig_log(RMIG_LOG_INFO, "destination: TCP only: %s", why.msg);
        snprintf(d->move.status.fallback_reason, sizeof(d->move.status.fallback_reason), "%s",
                 why.msg);
    }
    return rc;
}

int rmig_dest_new(struct rmig_dest **dest_p, const char *uri, const struct rmig_vm_ops *ops,
                  void *vm, const struct rmig_dest_opts *opts, struct rmig_err *err)
{
    struct rmig_dest *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return rmig_err_set(err, -ENOMEM, "destination: out of memory");
    if (opts)
        memcpy(&d->opts, opts, rmig_min_u64(opts->struct_size, sizeof(d->opts)));
    d->move.work = work;
    d->move.progress = d->opts.progress;
    d->move.progress_opaque = d->opts.progress_opaque;
    rc = rmig_move_init(&d->move, ops, vm, false, err);
    if (rc == 0)
        rc = rmig_uri_parse(uri, &d->uri, err);
    if (rc == 0)
        rc = listen_for_source(d, err);
    if (rc < 0) {
        rmig_dest_free(d);
        return rc;
    }
    *dest_p = d;
    return 0;
}

uint16_t rmig_dest_port(const struct rmig_dest *dest)
{
    return dest->link.port;
}

int rmig_dest_run(struct rmig_dest *dest, struct rmig_err *err)
{
    return rmig_move_run(&dest->move, err);
}

int rmig_dest_fd(const struct rmig_dest *dest)
{
    return dest->move.event_fd;
}

int rmig_dest_step(struct rmig_dest *dest, struct rmig_err *err)
{
    return rmig_move_step(&dest->move, err);
}

int rmig_dest_cancel(struct rmig_dest *dest)
{
    return rmig_move_cancel(&dest->move);
}

void rmig_dest_status(const struct rmig_dest *dest, struct rmig_move_status *status_p)
{
    rmig_move_status(&dest->move, status_p);
}

void rmig_dest_free(struct rmig_dest *dest)
{
    if (!dest)
        return;
    rmig_move_release(&dest->move);
    rmig_link_close(&dest->link);
    free(dest);
}
