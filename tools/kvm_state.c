/* kvm_state.c -- gets and sets what KVM keeps of a machine. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define STATE_VERSION 1u
#define MSRS_MAX 512u
#define MSR_TSC 0x10u
#define NCHIPS 3u
/* Clocks of two hosts that are further apart are not set; the guest's stands still meanwhile. */
#define PAUSE_MAX_NS 3600000000000ll

struct clock_state {
    uint64_t guest_ns;    /* the guest's paravirtual clock */
    uint64_t realtime_ns; /* the host's, at the same moment */
    uint64_t tsc_khz;     /* 0: the host does not say */
    uint64_t user_paused; /* the guest stands still where it goes, too */
};

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    uint32_t xsave[1024]; /* struct kvm_xsave, whose length is open */
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    uint32_t nmsrs;
    uint32_t reserved;
    struct kvm_msr_entry msrs[MSRS_MAX];
};

/* Room for one register: struct kvm_msrs, whose length is open. */
union one_msr {
    struct kvm_msrs head;
    uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* One ioctl by its name, of the machine or of a vCPU. */
#define ASK(fd, request, arg)                                                              \
    (rc == 0 && ioctl(fd, request, arg) < 0                                                \
         ? (rc = rmig_err_set(err, -errno, #request ": %s", strerror(errno)))              \
         : rc)

static uint64_t realtime_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- clock ------------------------------------------------------------------------------------ */

static int save_clock(struct kvm_machine *m, void *data, struct rmig_err *err)
{
    struct clock_state *state = data;
    struct kvm_clock_data clock = {0};
    int rc = 0, khz = ioctl(m->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

    ASK(m->vm_fd, KVM_GET_CLOCK, &clock);
    state->guest_ns = clock.clock;
    state->realtime_ns = realtime_ns();
    state->tsc_khz = khz > 0 ? (uint64_t)khz : 0;
    state->user_paused = m->user_paused;
    return rc;
}

/* The guest's time goes on while it is moved. */
static int load_clock(struct kvm_machine *m, const void *data, struct rmig_err *err)
{
    const struct clock_state *state = data;
    struct kvm_clock_data clock = {0};
    int64_t moved_ns = (int64_t)(realtime_ns() - state->realtime_ns);
    int rc = 0;

    if (moved_ns < 0 || moved_ns > PAUSE_MAX_NS)
        moved_ns = 0;
    clock.clock = state->guest_ns + (uint64_t)moved_ns;
    m->tsc_ticks = (uint64_t)((__uint128_t)(uint64_t)moved_ns * state->tsc_khz / 1000000u);
    m->user_paused = state->user_paused;
    return ASK(m->vm_fd, KVM_SET_CLOCK, &clock);
}

/* --- vCPUs ------------------------------------------------------------------------------------ */

/* The kernel lists registers that a guest of this kind may not have: they are left out. */
static int get_msrs(struct kvm_machine *m, struct kvm_vcpu *vcpu, struct vcpu_state *state,
                    struct rmig_err *err)
{
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
    int rc = list ? 0 : rmig_err_set(err, -ENOMEM, "out of memory");

    if (rc == 0)
        list->nmsrs = MSRS_MAX;
    ASK(m->kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
    for (uint32_t i = 0; rc == 0 && i < list->nmsrs; i++) {
        union one_msr one = {.head.nmsrs = 1};

        one.head.entries[0].index = list->indices[i];
        if (ioctl(vcpu->fd, KVM_GET_MSRS, &one) == 1)
            state->msrs[state->nmsrs++] = one.head.entries[0];
    }
    free(list);
    return rc;
}

static int set_msrs(struct kvm_machine *m, struct kvm_vcpu *vcpu, const struct vcpu_state *state,
                    struct rmig_err *err)
{
    for (uint32_t i = 0; i < state->nmsrs; i++) {
        union one_msr one = {.head.nmsrs = 1};
        struct kvm_msr_entry *msr = one.head.entries;

        *msr = state->msrs[i];
        if (msr->index == MSR_TSC)
            msr->data += m->tsc_ticks;
        if (ioctl(vcpu->fd, KVM_SET_MSRS, &one) != 1 && state->msrs[i].data != 0)
            return rmig_err_set(err, -ENOTSUP, "vCPU %u: this host cannot set MSR 0x%x to 0x%llx",
                                vcpu->index, msr->index, (unsigned long long)msr->data);
    }
    return 0;
}

static int save_vcpu(struct kvm_machine *m, unsigned index, struct vcpu_state *state,
                     struct rmig_err *err)
{
    struct kvm_vcpu *vcpu = &m->vcpus[index];
    int rc = 0;

    memset(state, 0, sizeof(*state));
    ASK(vcpu->fd, KVM_GET_MP_STATE, &state->mp_state); /* first: it lets the APIC settle */
    ASK(vcpu->fd, KVM_GET_REGS, &state->regs);
    ASK(vcpu->fd, KVM_GET_SREGS, &state->sregs);
    ASK(vcpu->fd, KVM_GET_XSAVE, state->xsave);
    ASK(vcpu->fd, KVM_GET_XCRS, &state->xcrs);
    ASK(vcpu->fd, KVM_GET_DEBUGREGS, &state->debugregs);
    ASK(vcpu->fd, KVM_GET_LAPIC, &state->lapic);
    ASK(vcpu->fd, KVM_GET_VCPU_EVENTS, &state->events);
    return rc < 0 ? rc : get_msrs(m, vcpu, state, err);
}

static int load_vcpu(struct kvm_machine *m, unsigned index, const void *data, size_t len_bytes,
                     struct rmig_err *err)
{
    struct vcpu_state *state = calloc(1, sizeof(*state));
    struct kvm_vcpu *vcpu = &m->vcpus[index];
    int rc = state ? 0 : rmig_err_set(err, -ENOMEM, "out of memory");

    if (rc == 0) {
        memcpy(state, data, len_bytes);
        if (state->nmsrs > MSRS_MAX)
            rc = rmig_err_set(err, -EPROTO, "%u MSRs, at most %u are possible", state->nmsrs,
                              MSRS_MAX);
    }
    ASK(vcpu->fd, KVM_SET_SREGS, &state->sregs);
    ASK(vcpu->fd, KVM_SET_REGS, &state->regs);
    ASK(vcpu->fd, KVM_SET_XCRS, &state->xcrs);
    ASK(vcpu->fd, KVM_SET_XSAVE, state->xsave);
    ASK(vcpu->fd, KVM_SET_DEBUGREGS, &state->debugregs);
    ASK(vcpu->fd, KVM_SET_LAPIC, &state->lapic);
    if (rc == 0)
        rc = set_msrs(m, vcpu, state, err);
    ASK(vcpu->fd, KVM_SET_VCPU_EVENTS, &state->events);
    ASK(vcpu->fd, KVM_SET_MP_STATE, &state->mp_state);
    free(state);
    return rc;
}

/* --- chips ------------------------------------------------------------------------------------ */

static int save_irqchip(struct kvm_machine *m, void *data, struct rmig_err *err)
{
    struct kvm_irqchip *chips = data;
    int rc = 0;

    for (uint32_t i = 0; i < NCHIPS; i++) {
        chips[i] = (struct kvm_irqchip){.chip_id = i};
        ASK(m->vm_fd, KVM_GET_IRQCHIP, &chips[i]);
    }
    return rc;
}

static int load_irqchip(struct kvm_machine *m, const void *data, struct rmig_err *err)
{
    struct kvm_irqchip chips[NCHIPS];
    int rc = 0;

    memcpy(chips, data, sizeof(chips));
    for (uint32_t i = 0; rc == 0 && i < NCHIPS; i++) {
        if (chips[i].chip_id != i)
            return rmig_err_set(err, -EPROTO, "irqchip %u where %u is next", chips[i].chip_id, i);
        ASK(m->vm_fd, KVM_SET_IRQCHIP, &chips[i]);
    }
    return rc;
}

static int save_pit(struct kvm_machine *m, void *data, struct rmig_err *err)
{
    int rc = 0;

    return ASK(m->vm_fd, KVM_GET_PIT2, data);
}

static int load_pit(struct kvm_machine *m, const void *data, struct rmig_err *err)
{
    struct kvm_pit_state2 state;
    int rc = 0;

    memcpy(&state, data, sizeof(state));
    return ASK(m->vm_fd, KVM_SET_PIT2, &state);
}

static int save_serial(struct kvm_machine *m, void *data, struct rmig_err *err)
{
    (void)err;
    kvm_serial_save(&m->serial, data);
    return 0;
}

static int load_serial(struct kvm_machine *m, const void *data, struct rmig_err *err)
{
    return kvm_serial_load(&m->serial, data) ? 0 : rmig_err_set(err, -EPROTO, "more than a FIFO holds");
}

/* --- all -------------------------------------------------------------------------------------- */

/* In the order of loading: the clock says how long the move took, the line comes last. */
static const struct device {
    const char *name;
    size_t bytes;
    int (*save)(struct kvm_machine *m, void *data, struct rmig_err *err);
    int (*load)(struct kvm_machine *m, const void *data, struct rmig_err *err);
} devices[] = {
    {"clock", sizeof(struct clock_state), save_clock, load_clock},
    {"irqchip", NCHIPS * sizeof(struct kvm_irqchip), save_irqchip, load_irqchip},
    {"pit", sizeof(struct kvm_pit_state2), save_pit, load_pit},
    {"serial", sizeof(struct kvm_serial_regs), save_serial, load_serial},
};
#define NDEVICES (sizeof(devices) / sizeof(devices[0]))

int kvm_state_save(struct kvm_machine *m, struct rmig_save *save, struct rmig_err *err)
{
    struct vcpu_state *state = calloc(1, sizeof(*state));
    int rc = state ? 0 : rmig_err_set(err, -ENOMEM, "out of memory");

    for (size_t i = 0; rc == 0 && i < NDEVICES; i++) {
        memset(state, 0, sizeof(*state)); /* the largest of all */
        rc = devices[i].save(m, state, err);
        if (rc == 0)
            rc = rmig_save_section(save, devices[i].name, 0, STATE_VERSION, state, devices[i].bytes,
                                   err);
    }
    for (unsigned i = 0; rc == 0 && i < m->nvcpus; i++) {
        rc = save_vcpu(m, i, state, err);
        if (rc == 0)
            rc = rmig_save_section(save, "vcpu", i, STATE_VERSION, state, sizeof(*state), err);
    }
    free(state);
    return rc;
}

int kvm_state_load(struct kvm_machine *m, const char *name, uint32_t instance_id, uint32_t version,
                   const void *data, size_t len_bytes, struct rmig_err *err)
{
    bool vcpu = !strcmp(name, "vcpu");
    size_t i = 0, wanted = sizeof(struct vcpu_state);

    while (!vcpu && i < NDEVICES && strcmp(name, devices[i].name) != 0)
        i++;
    if (!vcpu && i < NDEVICES)
        wanted = devices[i].bytes;
    if ((!vcpu && i == NDEVICES) || instance_id >= (vcpu ? m->nvcpus : 1))
        return rmig_err_set(err, -EPROTO, "%.32s %u: this machine has none (it has %u vCPUs)", name,
                            instance_id, m->nvcpus);
    if (version != STATE_VERSION || len_bytes != wanted)
        return rmig_err_set(err, -EPROTO, "%.32s: version %u of %zu bytes, only %u of %zu is known",
                            name, version, len_bytes, STATE_VERSION, wanted);
    m->loaded |= 1u << (vcpu ? NDEVICES + instance_id : i);
    return vcpu ? load_vcpu(m, instance_id, data, len_bytes, err) : devices[i].load(m, data, err);
}

int kvm_state_check(const struct kvm_machine *m, struct rmig_err *err)
{
    for (size_t i = 0; i < NDEVICES + m->nvcpus; i++)
        if (!(m->loaded & 1u << i))
            return rmig_err_set(err, -EPROTO, "the state of %s is missing",
                                i < NDEVICES ? devices[i].name : "a vCPU");
    return 0;
}
