/* kvm_machine.c -- makes the machine, runs its vCPUs, parks them. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR1
#define PAUSE_MS 2000
#define THROTTLE_PERIOD_NS 20000000ll
#define CPUID_ENTRIES 256u
#define TSS_ADDRESS 0xfffbd000u
#define RESET_PORT 0x64u
#define RESET_CONTROL_PORT 0xcf9u

/* --- making it -------------------------------------------------------------------------------- */

static int failed(struct rmig_err *err, const char *what)
{
    int code = errno;

    return rmig_err_set(err, -code, "%s: %s", what, strerror(code));
}

static int open_kvm(struct kvm_machine *m, struct rmig_err *err)
{
    m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (m->kvm_fd < 0)
        return rmig_err_set(err, -errno, "/dev/kvm: %s; this needs a host with KVM (modprobe kvm_intel "
                            "or kvm_amd) and the right to use it", strerror(errno));
    m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
    if (m->vm_fd < 0)
        return failed(err, "KVM_CREATE_VM");
    m->run_bytes = (size_t)ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    return 0;
}

static int make_memory(struct kvm_machine *m, uint64_t ram_bytes, struct rmig_err *err)
{
    struct kvm_userspace_memory_region region = {.memory_size = ram_bytes};
    int fd = memfd_create("guest-ram", MFD_CLOEXEC);

    m->ram = (struct rmig_block){.name = "ram", .len_bytes = ram_bytes,
                                 .page_bytes = RMIG_PAGE_BYTES, .fd = fd};
    if (fd < 0 || ftruncate(fd, (off_t)ram_bytes) < 0)
        return failed(err, "guest RAM");
    m->ram.host = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m->ram.host == MAP_FAILED) {
        m->ram.host = NULL;
        return failed(err, "guest RAM");
    }
    region.userspace_addr = (uintptr_t)m->ram.host;
    if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return failed(err, "KVM_SET_USER_MEMORY_REGION");
    return 0;
}

static int make_chips(struct kvm_machine *m, struct rmig_err *err)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    if (ioctl(m->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
        return failed(err, "KVM_SET_TSS_ADDR");
    if (ioctl(m->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return failed(err, "KVM_CREATE_IRQCHIP");
    if (ioctl(m->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
        return failed(err, "KVM_CREATE_PIT2");
    return 0;
}

/* What the host's KVM can show, with each vCPU's own APIC number in it. */
static int set_cpuid(struct kvm_machine *m, struct kvm_vcpu *vcpu, struct rmig_err *err)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    int rc = 0;

    if (!cpuid)
        return rmig_err_set(err, -ENOMEM, "out of memory");
    cpuid->nent = CPUID_ENTRIES;
    if (ioctl(m->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
        rc = failed(err, "KVM_GET_SUPPORTED_CPUID");
    for (unsigned i = 0; rc == 0 && i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

        if (e->function == 1)
            e->ebx = (e->ebx & 0xffff) | m->nvcpus << 16 | vcpu->index << 24;
        else if (e->function == 0xb || e->function == 0x1f)
            e->edx = vcpu->index;
    }
    if (rc == 0 && ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
        rc = failed(err, "KVM_SET_CPUID2");
    free(cpuid);
    return rc;
}

static int make_vcpu(struct kvm_machine *m, unsigned index, struct rmig_err *err)
{
    struct kvm_vcpu *vcpu = &m->vcpus[index];

    vcpu->machine = m;
    vcpu->index = index;
    vcpu->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, index);
    if (vcpu->fd < 0)
        return failed(err, "KVM_CREATE_VCPU");
    vcpu->run = mmap(NULL, m->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (vcpu->run == MAP_FAILED) {
        vcpu->run = NULL;
        return failed(err, "vCPU");
    }
    return set_cpuid(m, vcpu, err);
}

int kvm_machine_new(struct kvm_machine *m, uint64_t ram_bytes, unsigned nvcpus,
                    struct rmig_err *err)
{
    int rc;

    *m = (struct kvm_machine){.kvm_fd = -1, .vm_fd = -1, .ram.fd = -1, .nvcpus = nvcpus};
    for (unsigned i = 0; i < KVM_VCPUS_MAX; i++)
        m->vcpus[i].fd = -1;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->over_fd = eventfd(0, EFD_CLOEXEC);
    rc = m->over_fd < 0 ? failed(err, "eventfd") : open_kvm(m, err);
    if (rc == 0)
        rc = make_chips(m, err);
    if (rc == 0)
        rc = make_memory(m, ram_bytes, err);
    for (unsigned i = 0; rc == 0 && i < nvcpus; i++)
        rc = make_vcpu(m, i, err);
    return rc;
}

/* --- a vCPU ----------------------------------------------------------------------------------- */

static void on_kick(int signo)
{
    (void)signo; /* that it comes is what ends KVM_RUN */
}

static void port_io(struct kvm_machine *m, struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    bool out = run->io.direction == KVM_EXIT_IO_OUT;

    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        uint16_t port = run->io.port;

        if (kvm_serial_owns(port))
            kvm_serial_io(&m->serial, port, out, data);
        else if (!out)
            memset(data, 0xff, run->io.size); /* nobody is there */
        else if (port == KVM_EXIT_PORT)
            kvm_machine_end(m, *data);
        else if ((port == RESET_PORT && *data == 0xfe) || (port == RESET_CONTROL_PORT && *data & 4))
            kvm_machine_end(m, 0);
    }
}

static void handle_exit(struct kvm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        port_io(vcpu->machine, run);
        return;
    case KVM_EXIT_MMIO:
        if (!run->mmio.is_write)
            memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
        return;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return;
    case KVM_EXIT_SHUTDOWN:
    case KVM_EXIT_SYSTEM_EVENT:
        kvm_machine_end(vcpu->machine, 0);
        return;
    default:
        fprintf(stderr, "rmig-kvm: vCPU %u: KVM exit %u cannot be handled\n", vcpu->index,
                run->exit_reason);
        kvm_machine_end(vcpu->machine, 1);
    }
}

/* Into the guest until something happens. Returns: true it exited with something to do, now done. */
static bool run_once(struct kvm_vcpu *vcpu)
{
    if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
        handle_exit(vcpu);
        return true;
    }
    if (errno != EINTR && errno != EAGAIN) {
        fprintf(stderr, "rmig-kvm: vCPU %u: KVM_RUN: %s\n", vcpu->index, strerror(errno));
        kvm_machine_end(vcpu->machine, 1);
    }
    return false;
}

/* KVM ends an exit's I/O when it is called again, and a string of bytes takes an exit for each part. */
static void complete_io(struct kvm_vcpu *vcpu)
{
    do
        vcpu->run->immediate_exit = 1;
    while (run_once(vcpu));
}

/* Wait until the machine runs. Returns: false when it is over. */
static bool parked(struct kvm_vcpu *vcpu)
{
    struct kvm_machine *m = vcpu->machine;
    bool over;

    pthread_mutex_lock(&m->lock);
    if (!m->running && !m->over) {
        pthread_mutex_unlock(&m->lock);
        complete_io(vcpu);
        pthread_mutex_lock(&m->lock);
        m->nparked++;
        pthread_cond_broadcast(&m->changed);
        while (!m->running && !m->over)
            pthread_cond_wait(&m->changed, &m->lock);
        m->nparked--;
    }
    vcpu->run->immediate_exit = 0;
    over = m->over;
    pthread_mutex_unlock(&m->lock);
    return !over;
}

/* The kick comes at the end of each period's share; the rest of it is slept away. */
static void throttle(struct kvm_vcpu *vcpu, timer_t timer, unsigned *armed_percent)
{
    unsigned percent = atomic_load(&vcpu->machine->throttle_percent);
    long run_ns = (long)(THROTTLE_PERIOD_NS * (100 - percent) / 100);
    struct itimerspec kick = {.it_value.tv_nsec = run_ns};

    if (percent == 0 && *armed_percent == 0)
        return;
    if (percent > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)THROTTLE_PERIOD_NS - run_ns}, NULL);
    else
        kick.it_value.tv_nsec = 0;
    timer_settime(timer, 0, &kick, NULL);
    *armed_percent = percent;
}

static void *vcpu_main(void *arg)
{
    struct kvm_vcpu *vcpu = arg;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL};
    unsigned armed_percent = 0;
    timer_t timer;

    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) {
        kvm_machine_end(vcpu->machine, 1);
        return NULL;
    }
    while (parked(vcpu)) {
        throttle(vcpu, timer, &armed_percent);
        (void)run_once(vcpu);
    }
    timer_delete(timer);
    return NULL;
}

int kvm_machine_start(struct kvm_machine *m, struct rmig_err *err)
{
    struct sigaction sa = {.sa_handler = on_kick};
    int rc = 0;

    sigaction(KICK_SIGNAL, &sa, NULL); /* without SA_RESTART */
    for (unsigned i = 0; rc == 0 && i < m->nvcpus; i++) {
        rc = pthread_create(&m->vcpus[i].thread, NULL, vcpu_main, &m->vcpus[i]);
        m->vcpus[i].has_thread = rc == 0;
    }
    return rc ? rmig_err_set(err, -rc, "no thread for a vCPU: %s", strerror(rc)) : 0;
}

/* --- running and not -------------------------------------------------------------------------- */

/* Requires: the lock. */
static void kick_all(struct kvm_machine *m)
{
    for (unsigned i = 0; i < m->nvcpus; i++) {
        if (!m->vcpus[i].has_thread || pthread_equal(m->vcpus[i].thread, pthread_self()))
            continue;
        m->vcpus[i].run->immediate_exit = 1; /* also where it is not yet inside */
        pthread_kill(m->vcpus[i].thread, KICK_SIGNAL);
    }
}

int kvm_machine_pause(struct kvm_machine *m, struct rmig_err *err)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PAUSE_MS / 1000;
    pthread_mutex_lock(&m->lock);
    m->running = false;
    kick_all(m);
    while (m->nparked < m->nvcpus && !m->over && rc == 0)
        rc = pthread_cond_timedwait(&m->changed, &m->lock, &until);
    if (m->over)
        rc = rmig_err_set(err, -ESHUTDOWN, "the guest has ended");
    else if (rc)
        rc = rmig_err_set(err, -ETIMEDOUT, "%u of %u vCPUs did not leave the guest within %d ms",
                          m->nvcpus - m->nparked, m->nvcpus, PAUSE_MS);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

int kvm_machine_resume(struct kvm_machine *m, struct rmig_err *err)
{
    bool over;

    pthread_mutex_lock(&m->lock);
    over = m->over;
    m->running = !over;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return over ? rmig_err_set(err, -ESHUTDOWN, "the guest has ended") : 0;
}

bool kvm_machine_running(struct kvm_machine *m)
{
    bool running;

    pthread_mutex_lock(&m->lock);
    running = m->running && !m->over;
    pthread_mutex_unlock(&m->lock);
    return running;
}

void kvm_machine_end(struct kvm_machine *m, int status)
{
    pthread_mutex_lock(&m->lock);
    if (!m->over)
        m->status = status;
    m->over = true;
    kick_all(m);
    pthread_cond_broadcast(&m->changed);
    (void)eventfd_write(m->over_fd, 1);
    pthread_mutex_unlock(&m->lock);
}

void kvm_machine_free(struct kvm_machine *m)
{
    kvm_machine_end(m, 0);
    for (unsigned i = 0; i < m->nvcpus; i++) {
        struct kvm_vcpu *vcpu = &m->vcpus[i];

        if (vcpu->has_thread)
            pthread_join(vcpu->thread, NULL);
        if (vcpu->run)
            munmap(vcpu->run, m->run_bytes);
        if (vcpu->fd >= 0)
            close(vcpu->fd);
    }
    if (m->ram.host)
        munmap(m->ram.host, m->ram.len_bytes);
    for (int *fds[] = {&m->ram.fd, &m->vm_fd, &m->kvm_fd, &m->over_fd}, i = 0; i < 4; i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
}
