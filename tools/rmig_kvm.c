/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_kvm.c -- a small hypervisor whose guests can be migrated: its options and its main loop. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "config.h"
#include "tools/bench_units.h"
#include "tools/kvm_boot.h"
#include "tools/kvm_control.h"
#include "tools/kvm_machine.h"
#include "tools/kvm_migrate.h"

enum { EXIT_USAGE = 2, EXIT_NO_KVM = 3, EXIT_CONNECT = 4, EXIT_MOVE = 5 };
#define FULL_MS 10
#define LINUX_COMMAND_LINE "console=ttyS0 reboot=k panic=-1 acpi=off pci=off"

enum key { KEY_KERNEL = 0x100, KEY_INITRD, KEY_APPEND, KEY_PAYLOAD, KEY_INCOMING, KEY_CONTROL, KEY_PAUSED };

static const struct argp_option options[] = {
    {"kernel", KEY_KERNEL, "FILE", 0, "Boot a Linux bzImage", 0},
    {"initrd", KEY_INITRD, "FILE", 0, "Its initial file system", 0},
    {"append", KEY_APPEND, "TEXT", 0, "Its command line, or a payload's", 0},
    {"payload", KEY_PAYLOAD, "FILE", 0, "Run a flat binary instead", 0},
    {"incoming", KEY_INCOMING, "URI", 0, "Wait for a guest: rdma:, tcp:, unix:, fd:, file:, exec:", 0},
    {"memory", 'm', "SIZE", 0, "Guest RAM (default 128M; 16M to 3G)", 0},
    {"smp", 's', "N", 0, "vCPUs (default 1; 4 at most)", 0},
    {"control", KEY_CONTROL, "PATH", 0, "Listen at a unix socket for commands, a JSON object a line", 0},
    {"paused", KEY_PAUSED, NULL, 0, "Do not start the guest", 0},
    {0},
};

struct params {
    const char *kernel, *initrd, *append, *payload, *incoming, *control;
    uint64_t ram_bytes, nvcpus;
    bool paused;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct params *p = state->input;

    switch (key) {
    case KEY_KERNEL: p->kernel = arg; break;
    case KEY_INITRD: p->initrd = arg; break;
    case KEY_APPEND: p->append = arg; break;
    case KEY_PAYLOAD: p->payload = arg; break;
    case KEY_INCOMING: p->incoming = arg; break;
    case KEY_CONTROL: p->control = arg; break;
    case KEY_PAUSED: p->paused = true; break;
    case 'm':
        if (!bench_parse_size(arg, &p->ram_bytes) || p->ram_bytes % (2u << 20) ||
            p->ram_bytes < KVM_RAM_MIN_BYTES || p->ram_bytes > KVM_RAM_MAX_BYTES)
            argp_failure(state, EXIT_USAGE, 0, "--memory: '%s' is not a size from 16M to 3G, a "
                         "multiple of 2M", arg);
        break;
    case 's':
        if (!bench_parse_u64(arg, 1, KVM_VCPUS_MAX, &p->nvcpus))
            argp_failure(state, EXIT_USAGE, 0, "--smp: '%s' is not a number from 1 to %u", arg,
                         KVM_VCPUS_MAX);
        break;
    case ARGP_KEY_ARG:
        argp_failure(state, EXIT_USAGE, 0, "'%s' is not an option", arg);
        break;
    case ARGP_KEY_END:
        if (!!p->kernel + !!p->payload + !!p->incoming != 1)
            argp_failure(state, EXIT_USAGE, 0,
                         "one of --kernel, --payload and --incoming is needed, and no more");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* --- commands ----------------------------------------------------------------------------------- */

struct hypervisor {
    struct kvm_machine machine;
    struct kvm_migrate migrate;
    struct kvm_control control;
    bool quit;
};

static json_t *said(int rc, const struct rmig_err *err)
{
    if (rc >= 0)
        return json_pack("{s:b}", "ok", 1);
    return json_pack("{s:b, s:s}", "ok", 0, "error", err->msg[0] ? err->msg : strerror(-rc));
}

static json_t *do_status(struct hypervisor *h)
{
    return json_pack("{s:b, s:b, s:b, s:o}", "ok", 1, "running", kvm_machine_running(&h->machine),
                     "here", kvm_migrate_may_run(&h->migrate), "migration",
                     kvm_migrate_status(&h->migrate));
}

static int do_migrate(struct hypervisor *h, json_t *args, struct rmig_err *err)
{
    struct rmig_source_opts opts = {.struct_size = sizeof(opts)};
    json_int_t limit = 0, deadline = 0, bandwidth = 0, queue_pairs = 0;
    int converge = 0, fallback = 0, pin_all = 0;
    const char *uri = NULL;
    json_error_t wrong;

    if (json_unpack_ex(args, &wrong, JSON_STRICT,
                       "{s:s, s:s, s?I, s?I, s?I, s?I, s?b, s?b, s?b}", "command", &uri, "uri", &uri,
                       "downtime_limit_ms", &limit, "deadline_ms", &deadline,
                       "max_bandwidth_bytes_per_s", &bandwidth, "queue_pairs", &queue_pairs,
                       "auto_converge", &converge, "tcp_fallback", &fallback, "pin_all",
                       &pin_all) < 0)
        return rmig_err_set(err, -EINVAL, "migrate: %s", wrong.text);
    if (limit < 0 || deadline < 0 || bandwidth < 0 || queue_pairs < 0 || limit > INT32_MAX ||
        deadline > INT32_MAX || queue_pairs > INT32_MAX)
        return rmig_err_set(err, -EINVAL, "migrate: a figure that is too large or below 0");
    opts.downtime_limit_ms = (uint32_t)limit;
    opts.deadline_ms = (uint32_t)deadline;
    opts.max_bandwidth_bytes_per_s = (uint64_t)bandwidth;
    opts.nqueue_pairs = (uint32_t)queue_pairs;
    opts.auto_converge = converge;
    opts.tcp_fallback = fallback;
    opts.pin_all = pin_all;
    return kvm_migrate_begin(&h->migrate, uri, &opts, err);
}

static int set_running(struct kvm_machine *m, bool run, struct rmig_err *err)
{
    int rc = run ? kvm_machine_resume(m, err) : kvm_machine_pause(m, err);

    if (rc == 0)
        m->user_paused = !run;
    return rc;
}

static json_t *command(void *opaque, const char *name, json_t *args)
{
    struct hypervisor *h = opaque;
    struct rmig_err err = RMIG_ERR_INIT;
    bool moving = kvm_migrate_fd(&h->migrate) >= 0;
    int rc;

    if (!strcmp(name, "status"))
        return do_status(h);
    if (!strcmp(name, "migrate"))
        rc = do_migrate(h, args, &err);
    else if (!strcmp(name, "cancel"))
        rc = kvm_migrate_cancel(&h->migrate);
    else if (!strcmp(name, "reclaim"))
        rc = kvm_migrate_reclaim(&h->migrate, &err);
    else if (!strcmp(name, "quit"))
        rc = 0, h->quit = true;
    else if (strcmp(name, "pause") != 0 && strcmp(name, "resume") != 0)
        rc = rmig_err_set(&err, -EINVAL, "%.32s is not a command: status, migrate, cancel, reclaim, "
                          "pause, resume, quit", name);
    else if (moving || !kvm_migrate_may_run(&h->migrate))
        rc = rmig_err_set(&err, -EBUSY, "the guest is moving, or is not here");
    else
        rc = set_running(&h->machine, *name == 'r', &err);
    return said(rc, &err);
}

/* --- the main loop ------------------------------------------------------------------------------ */

/* Returns: false when no more will come. */
static bool from_stdin(struct kvm_serial *serial, size_t room)
{
    uint8_t bytes[KVM_SERIAL_FIFO_BYTES];
    ssize_t n = read(STDIN_FILENO, bytes, room);

    if (n > 0)
        kvm_serial_receive(serial, bytes, (size_t)n);
    return n > 0;
}

static void move_ended(struct hypervisor *h)
{
    fprintf(stderr, "rmig-kvm: %s: %s\n", h->migrate.source ? "migrate" : "incoming",
            h->migrate.err.msg);
    if (!h->migrate.source) /* what came is no guest */
        kvm_machine_end(&h->machine, EXIT_MOVE);
}

static void loop(struct hypervisor *h, int signal_fd)
{
    enum { OVER = KVM_CLIENTS_MAX + 1, SIGNAL, INPUT, MOVE, NFDS };
    struct kvm_serial *serial = &h->machine.serial;
    bool input = true;

    while (!h->quit) {
        struct pollfd fds[NFDS];
        size_t room = kvm_serial_room(serial);

        kvm_control_poll(&h->control, fds);
        fds[OVER] = (struct pollfd){h->machine.over_fd, POLLIN, 0};
        fds[SIGNAL] = (struct pollfd){signal_fd, POLLIN, 0};
        fds[INPUT] = (struct pollfd){input && room ? STDIN_FILENO : -1, POLLIN, 0};
        fds[MOVE] = (struct pollfd){kvm_migrate_fd(&h->migrate), POLLIN, 0};
        /* that there is room again nobody tells */
        if (poll(fds, NFDS, room ? -1 : FULL_MS) < 0 && errno != EINTR)
            return;
        if (fds[MOVE].revents && kvm_migrate_step(&h->migrate) < 0)
            move_ended(h);
        kvm_control_serve(&h->control, fds);
        if (fds[INPUT].revents)
            input = from_stdin(serial, room);
        if (fds[OVER].revents || fds[SIGNAL].revents)
            return;
    }
}

/* Signals that end the program, as a descriptor; none of the vCPUs' threads gets them. */
static int block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Puts the guest where it starts from. Returns: what the program ends with; 0 goes on. */
static int set_up(struct hypervisor *h, const struct params *p, struct rmig_err *err)
{
    int rc = kvm_machine_new(&h->machine, p->ram_bytes, (unsigned)p->nvcpus, err);

    if (rc < 0)
        return EXIT_NO_KVM;
    kvm_serial_init(&h->machine.serial, h->machine.vm_fd, STDOUT_FILENO);
    if (p->kernel)
        rc = kvm_boot_linux(&h->machine, p->kernel, p->initrd,
                            p->append ? p->append : LINUX_COMMAND_LINE, err);
    else if (p->payload)
        rc = kvm_boot_payload(&h->machine, p->payload, p->append ? p->append : "", err);
    if (rc < 0)
        return EXIT_USAGE;
    if (p->control && kvm_control_open(&h->control, p->control, err) < 0)
        return EXIT_CONNECT;
    if (kvm_machine_start(&h->machine, err) < 0)
        return EXIT_NO_KVM;
    if (p->incoming && kvm_migrate_incoming(&h->migrate, p->incoming, err) < 0)
        return EXIT_CONNECT;
    h->machine.user_paused = p->paused;
    if (!p->incoming && !p->paused)
        (void)kvm_machine_resume(&h->machine, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {options, parse, NULL,
                              "A small hypervisor under KVM whose guests can be migrated while they "
                              "run.\vExit status: that of the guest (0 unless it wrote to port "
                              "0xf4), 2 usage, 3 no KVM, 4 cannot listen, 5 the move failed.",
                              NULL, NULL, NULL};
    struct hypervisor *h = calloc(1, sizeof(*h));
    struct params p = {.ram_bytes = 128u << 20, .nvcpus = 1};
    struct rmig_err err = RMIG_ERR_INIT;
    int signal_fd, status;

    argp_program_version = "rmig-kvm " PACKAGE_VERSION;
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &p);
    if (!h)
        return EXIT_NO_KVM;
    h->control = (struct kvm_control){.command = command, .opaque = h};
    h->migrate = (struct kvm_migrate){.machine = &h->machine};
    signal_fd = block_signals();
    status = set_up(h, &p, &err);
    if (status == 0) {
        loop(h, signal_fd);
        status = h->machine.status;
    } else {
        fprintf(stderr, "rmig-kvm: %s\n", err.msg);
    }
    kvm_migrate_free(&h->migrate);
    kvm_machine_free(&h->machine);
    kvm_control_close(&h->control);
    free(h);
    return status;
}
