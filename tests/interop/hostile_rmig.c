/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_rmig.c -- starts rmig with little to spare, listens to it, and takes its end. */
#include "tests/interop/hostile_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Most that may be allocated, and mapped as guest RAM, at once: what is not touched counts too. */
#define FILE_MOST_BYTES ((rlim_t)96 << 20)
#define ASAN_OPTIONS \
    "max_allocation_size_mb=32:detect_stack_use_after_return=1:quarantine_size_mb=8:"              \
    "thread_local_quarantine_size_kb=64"

static void become(int fd, const char *const argv[])
{
    struct rlimit most = {FILE_MOST_BYTES, FILE_MOST_BYTES};
    const char *given = getenv("ASAN_OPTIONS");
    char options[1024];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_FSIZE, &most);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    snprintf(options, sizeof(options), "%s:%s", given ? given : "", ASAN_OPTIONS);
    setenv("ASAN_OPTIONS", options, 1);
    setenv("UBSAN_OPTIONS", "print_stacktrace=1", 1);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

bool rmig_start(struct rmig *rmig, const char *const argv[])
{
    int fds[2];

    *rmig = (struct rmig){.fd = -1};
    if (pipe2(fds, O_CLOEXEC) < 0) {
        perror("pipe");
        return false;
    }
    fflush(stdout);
    rmig->pid = fork();
    if (rmig->pid == 0)
        become(fds[1], argv);
    close(fds[1]);
    rmig->fd = fds[0];
    fcntl(rmig->fd, F_SETFL, O_NONBLOCK);
    if (rmig->pid > 0)
        return true;
    perror("fork");
    rmig->pid = 0;
    return false;
}

static void listen_to(struct rmig *rmig)
{
    ssize_t n;

    while (rmig->len < sizeof(rmig->text) - 1 &&
           (n = read(rmig->fd, rmig->text + rmig->len, sizeof(rmig->text) - 1 - rmig->len)) > 0)
        rmig->len += (size_t)n;
    rmig->text[rmig->len] = '\0';
}

void rmig_poll(struct rmig *rmig)
{
    struct rusage usage;

    listen_to(rmig);
    if (rmig->pid == 0 || wait4(rmig->pid, &rmig->status, WNOHANG, &usage) != rmig->pid)
        return;
    rmig->ended_ns = now_ns();
    rmig->pid = 0;
    rmig->peak_kib = usage.ru_maxrss;
    listen_to(rmig);
}

void rmig_end(struct rmig *rmig)
{
    if (rmig->pid) {
        kill(rmig->pid, SIGKILL);
        waitpid(rmig->pid, &rmig->status, 0);
        rmig->pid = 0;
        listen_to(rmig);
    }
    if (rmig->fd >= 0)
        close(rmig->fd);
    rmig->fd = -1;
}
