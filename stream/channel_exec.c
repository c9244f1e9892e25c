/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_exec.c -- a shell command at the other end of a pipe. */
#include "stream/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/wait.h"
#include "stream/fdio.h"

/* A child that exits is noticed this much later at most. */
#define REAP_SLICE_MS 5
/* How long a child has between SIGTERM and SIGKILL. */
#define TERM_GRACE_MS 50
/* How long one that was killed has until it is gone: it may have much memory. */
#define KILL_GRACE_MS 2000
/* The exit status by which a shell reports a command that a signal ended. */
#define SHELL_SIGNAL_BASE 128

extern char **environ;

struct exec_channel {
    struct rmig_channel base;
    struct rmig_fdio io;
    pid_t child; /* leads a process group of its own */
    bool ended;  /* reading: the child closed its end before we did */
};

static struct exec_channel *exec_of(struct rmig_channel *ch)
{
    return (struct exec_channel *)ch;
}

static ssize_t exec_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                          struct rmig_err *err)
{
    ssize_t n = rmig_fdio_readv(&exec_of(ch)->io, iov, niov, err);

    if (n == 0)
        exec_of(ch)->ended = true;
    return n;
}

static ssize_t exec_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                           struct rmig_err *err)
{
    return rmig_fdio_writev(&exec_of(ch)->io, iov, niov, err);
}

static int exec_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    (void)err;
    atomic_store(&exec_of(ch)->io.blocking, blocking);
    return 0;
}

static int exec_get_fd(struct rmig_channel *ch)
{
    return exec_of(ch)->io.fd;
}

static int exec_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    return rmig_fdio_wait(&exec_of(ch)->io, direction, err);
}

/* Waits for the child's exit, leaving it to be reaped. 0; -ETIMEDOUT, -ECANCELED, -errno. */
static int wait_for_exit(pid_t child, int cancel_fd, uint64_t deadline_ns)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        int rc = waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);

        if (rc < 0 && errno != EINTR)
            return -errno;
        if (info.si_pid == child)
            return 0;
        if (rmig_poll_ms(deadline_ns) == 0)
            return -ETIMEDOUT;
        rc = rmig_wait_fd(-1, 0, cancel_fd, rmig_deadline_ns(REAP_SLICE_MS));
        if (rc != -ETIMEDOUT)
            return rc;
    }
}

/* Ends the child and what it started. Not reaped yet, the child still holds the group's number. Of another
 * user or in another group by now, it may live on: 0; -ETIMEDOUT it does, and must not be waited for. */
static int kill_group(pid_t child)
{
    uint64_t deadline_ns;
    int rc;

    kill(-child, SIGTERM);
    wait_for_exit(child, -1, rmig_deadline_ns(TERM_GRACE_MS));
    kill(-child, SIGKILL);
    deadline_ns = rmig_deadline_ns(KILL_GRACE_MS);
    do
        rc = wait_for_exit(child, -1, deadline_ns);
    while (rc < 0 && rc != -ECHILD && rmig_poll_ms(deadline_ns) > 0);
    return rc < 0 && rc != -ECHILD ? -ETIMEDOUT : 0;
}

/* Words a bad exit. That a reader who stopped early took the pipe away is no fault of the child. */
static int check_status(const struct exec_channel *c, int status, struct rmig_err *err)
{
    bool by_pipe = (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE) ||
                   (WIFEXITED(status) && WEXITSTATUS(status) == SHELL_SIGNAL_BASE + SIGPIPE);

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (by_pipe && (c->base.flags & RMIG_CHANNEL_READABLE) && !c->ended)
        return 0;
    if (WIFSIGNALED(status))
        return rmig_err_set(err, -ECHILD, "%s: ended by signal %d (%s)", c->io.label,
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
    return rmig_err_set(err, -ECHILD, "%s: exit status %d", c->io.label, WEXITSTATUS(status));
}

/* Reaps the child. Returns: 0, its status by status_p; -errno. */
static int reap(pid_t child, int *status_p)
{
    while (waitpid(child, status_p, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int exec_close(struct rmig_channel *ch, struct rmig_err *err)
{
    struct exec_channel *c = exec_of(ch);
    struct rmig_err close_err = RMIG_ERR_INIT;
    int close_rc = rmig_fdio_close(&c->io, &close_err);
    int status = 0, killed = 0, reaped = 0;
    int rc = wait_for_exit(c->child, rmig_cancel_fd(c->io.cancel),
                           rmig_deadline_ns(c->io.idle_timeout_ms));

    /* One that somebody else reaped has given its number up: another group may have it now. */
    if (rc < 0 && rc != -ECHILD)
        killed = kill_group(c->child);
    if (killed == 0)
        reaped = reap(c->child, &status);
    if (rc == 0)
        rc = reaped;
    if (rc == 0)
        rc = check_status(c, status, err);
    else if (rc == -ETIMEDOUT)
        rmig_err_set(err, rc, "%s: did not exit within %u ms and %s", c->io.label,
                     c->io.idle_timeout_ms, killed < 0 ? "could not be killed" : "was killed");
    else
        rmig_err_set(err, rc, "%s: %s", c->io.label,
                     rc != -ECANCELED ? "its exit status is lost"
                     : killed < 0     ? "cancelled, and could not be killed"
                                      : "cancelled and killed");
    if (rc == 0 && close_rc < 0)
        rc = rmig_err_set(err, close_rc, "%s", close_err.msg);
    free(c);
    return rc;
}

static const struct rmig_channel_ops exec_ops = {
    .name = "exec",
    .readv = exec_readv,
    .writev = exec_writev,
    .close = exec_close,
    .set_blocking = exec_set_blocking,
    .get_fd = exec_get_fd,
    .wait = exec_wait,
};

/* Starts /bin/sh with its standard input (WRITE) or output (READ) at child_fd. 0 or -errno. */
static int spawn_shell(const char *command, enum rmig_channel_mode mode, int child_fd,
                       pid_t *child_p)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc = 0;

    if (posix_spawn_file_actions_init(&actions))
        return -ENOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&actions);
        return -ENOMEM;
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    rc |= posix_spawn_file_actions_adddup2(&actions, child_fd,
                                           mode == RMIG_OPEN_READ ? STDOUT_FILENO : STDIN_FILENO);
    if (mode == RMIG_OPEN_READ)
        rc |= posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    rc |= posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    rc = rc ? -ENOMEM : -posix_spawn(child_p, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* A pipe whose ends are both above the standard descriptors, so that dup2 cannot hit one of them.
 */
static int make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        int moved;

        if (ends[i] > STDERR_FILENO)
            continue;
        moved = fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0) {
            int e = errno;

            close(ends[0]);
            close(ends[1]);
            return -e;
        }
        close(ends[i]);
        ends[i] = moved;
    }
    return 0;
}

int rmig_endpoint_exec(const char *command, enum rmig_channel_mode mode,
                       const struct rmig_channel_opts *opts, struct rmig_channel **ch_p,
                       struct rmig_err *err)
{
    struct exec_channel *c = calloc(1, sizeof(*c));
    int ours = mode == RMIG_OPEN_READ ? 0 : 1;
    int ends[2];
    int rc;

    if (!c)
        return rmig_err_set(err, -ENOMEM, "exec: out of memory");
    snprintf(c->io.label, sizeof(c->io.label), "exec \"%s\"", command);
    rc = make_pipe(ends);
    if (rc < 0) {
        rmig_err_set(err, rc, "%s: pipe: %s", c->io.label, strerror(-rc));
        goto err_channel;
    }
    rc = rmig_fdio_init(&c->io, ends[ours], S_IFIFO, opts, err);
    if (rc < 0)
        goto err_pipe;
    rc = spawn_shell(command, mode, ends[!ours], &c->child);
    if (rc < 0) {
        rmig_err_set(err, rc, "%s: cannot start a shell: %s", c->io.label, strerror(-rc));
        goto err_pipe;
    }
    close(ends[!ours]);
    c->base.ops = &exec_ops;
    c->base.label = c->io.label;
    c->base.flags = mode == RMIG_OPEN_READ ? RMIG_CHANNEL_READABLE
                                           : RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_BULK;
    *ch_p = &c->base;
    return 0;

err_pipe:
    close(ends[0]);
    close(ends[1]);
err_channel:
    free(c);
    return rc;
}
