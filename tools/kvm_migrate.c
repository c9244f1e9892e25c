/* kvm_migrate.c -- the ops of a KVM machine, and moves that a main loop drives. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_migrate.h"

#include <errno.h>

#include "tools/kvm_state.h"

/* --- what the library asks of the machine ------------------------------------------------------- */

static int list_blocks(void *vm, const struct rmig_block **blocks_p, uint32_t *nblocks_p,
                       struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    (void)err;
    *blocks_p = &migrate->machine->ram;
    *nblocks_p = 1;
    return 0;
}

static void dirty_stop(void *vm)
{
    struct kvm_migrate *migrate = vm;

    rmig_dirty_free(migrate->dirty);
    migrate->dirty = NULL;
}

static int dirty_start(void *vm, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;
    const struct rmig_block *ram = &migrate->machine->ram;
    const struct rmig_dirty_kvm_slot slot = {.len_bytes = ram->len_bytes};
    const struct rmig_dirty_kvm_params params = {.struct_size = sizeof(params),
                                                 .vm_fd = migrate->machine->vm_fd,
                                                 .slots = &slot,
                                                 .nslots = 1};
    int rc = rmig_dirty_kvm_log_open(&params, ram, 1, &migrate->dirty, err);

    if (rc == 0)
        rc = rmig_dirty_start(migrate->dirty, err);
    if (rc < 0)
        dirty_stop(vm); /* which is asked for after a start only */
    return rc;
}

static int dirty_sync(void *vm, rmig_dirty_fn fn, void *opaque, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    return rmig_dirty_sync(migrate->dirty, fn, opaque, err);
}

static int pause_machine(void *vm, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    return kvm_machine_pause(migrate->machine, err);
}

static int resume_machine(void *vm, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;
    int rc = migrate->dest ? kvm_state_check(migrate->machine, err) : 0;

    if (rc < 0 || migrate->machine->user_paused)
        return rc;
    return kvm_machine_resume(migrate->machine, err);
}

static int save_devices(void *vm, struct rmig_save *save, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    return kvm_state_save(migrate->machine, save, err);
}

static int load_device(void *vm, const char *name, uint32_t instance_id, uint32_t version,
                       const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    return kvm_state_load(migrate->machine, name, instance_id, version, data, len_bytes, err);
}

static int throttle(void *vm, uint32_t percent, struct rmig_err *err)
{
    struct kvm_migrate *migrate = vm;

    (void)err;
    atomic_store(&migrate->machine->throttle_percent, percent);
    return 0;
}

static const struct rmig_vm_ops ops = {
    .struct_size = sizeof(ops),
    .list_blocks = list_blocks,
    .dirty_start = dirty_start,
    .dirty_sync = dirty_sync,
    .dirty_stop = dirty_stop,
    .pause = pause_machine,
    .resume = resume_machine,
    .save_devices = save_devices,
    .load_device = load_device,
    .throttle = throttle,
};

/* --- moves ------------------------------------------------------------------------------------ */

static struct rmig_move_status status_of(const struct kvm_migrate *migrate)
{
    struct rmig_move_status status = {.state = RMIG_MOVE_NEW};

    if (migrate->source)
        rmig_source_status(migrate->source, &status);
    else if (migrate->dest)
        rmig_dest_status(migrate->dest, &status);
    return status;
}

bool kvm_migrate_may_run(const struct kvm_migrate *migrate)
{
    enum rmig_move_state state = status_of(migrate).state;

    if (migrate->source)
        return state < RMIG_MOVE_SWITCHOVER || state == RMIG_MOVE_FAILED;
    return !migrate->dest || state == RMIG_MOVE_DONE;
}

int kvm_migrate_step(struct kvm_migrate *migrate)
{
    int rc = migrate->source ? rmig_source_step(migrate->source, &migrate->err)
                             : rmig_dest_step(migrate->dest, &migrate->err);

    migrate->going = rc == 1;
    return rc;
}

/* The first step starts it. */
static int begin(struct kvm_migrate *migrate, struct rmig_err *err)
{
    int rc;

    migrate->err = (struct rmig_err)RMIG_ERR_INIT;
    rc = kvm_migrate_step(migrate);
    return rc < 0 ? rmig_err_set(err, rc, "%s", migrate->err.msg) : 0;
}

int kvm_migrate_incoming(struct kvm_migrate *migrate, const char *uri, struct rmig_err *err)
{
    const struct rmig_dest_opts opts = {
        .struct_size = sizeof(opts),
        .tcp_fallback = true,
        .flags = RMIG_DEST_RAM_IS_ZERO, /* only what boots a guest writes to it before */
    };
    int rc = rmig_dest_new(&migrate->dest, uri, &ops, migrate, &opts, err);

    return rc < 0 ? rc : begin(migrate, err);
}

int kvm_migrate_begin(struct kvm_migrate *migrate, const char *uri,
                      const struct rmig_source_opts *opts, struct rmig_err *err)
{
    struct rmig_source *source;
    int rc;

    if (migrate->going)
        return rmig_err_set(err, -EBUSY, "a move is going on");
    if (!kvm_migrate_may_run(migrate))
        return rmig_err_set(err, -EINVAL, "the guest is not here");
    rc = rmig_source_new(&source, uri, &ops, migrate, opts, err);
    if (rc < 0)
        return rc;
    rmig_source_free(migrate->source);
    migrate->source = source;
    return begin(migrate, err);
}

int kvm_migrate_fd(const struct kvm_migrate *migrate)
{
    if (!migrate->going)
        return -1;
    return migrate->source ? rmig_source_fd(migrate->source) : rmig_dest_fd(migrate->dest);
}

int kvm_migrate_cancel(struct kvm_migrate *migrate)
{
    if (!migrate->going)
        return -EINVAL;
    return migrate->source ? rmig_source_cancel(migrate->source) : rmig_dest_cancel(migrate->dest);
}

int kvm_migrate_reclaim(struct kvm_migrate *migrate, struct rmig_err *err)
{
    if (!migrate->source)
        return rmig_err_set(err, -EINVAL, "no move from here is in doubt");
    return rmig_source_reclaim(migrate->source, err);
}

json_t *kvm_migrate_status(const struct kvm_migrate *migrate)
{
    static const char *const states[] = {"none",       "connecting", "rounds", "switchover",
                                         "committed",  "done",       "failed", "in-doubt"};
    const struct rmig_move_status s = status_of(migrate);

    return json_pack("{s:s, s:s?, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}",
                     "state", states[s.state], "transport", s.transport, "round", (int)s.round,
                     "throttle_percent", (int)s.throttle_percent, "remaining_bytes",
                     (json_int_t)s.remaining_bytes, "sent_bytes", (json_int_t)s.sent_bytes,
                     "zero_bytes", (json_int_t)s.zero_bytes, "dirty_rate_bytes_per_s",
                     (json_int_t)s.dirty_rate_bytes_per_s, "throughput_bytes_per_s",
                     (json_int_t)s.throughput_bytes_per_s, "setup_ns", (json_int_t)s.setup_ns,
                     "elapsed_ns", (json_int_t)s.elapsed_ns, "expected_downtime_ns",
                     (json_int_t)s.expected_downtime_ns, "downtime_ns", (json_int_t)s.downtime_ns,
                     "fallback_reason", s.fallback_reason, "error", migrate->err.msg);
}

void kvm_migrate_free(struct kvm_migrate *migrate)
{
    rmig_source_free(migrate->source);
    rmig_dest_free(migrate->dest);
}
