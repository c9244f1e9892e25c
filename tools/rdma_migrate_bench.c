/* rdma_migrate_bench.c -- moves memory as a live migration does, and measures it. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <rmig/rmig.h>

#include "tools/bench_client.h"
#include "tools/bench_device.h"
#include "tools/bench_params.h"
#include "tools/bench_server.h"
#include "tools/standard.h"

static struct rmig_cancel *stop; /* for the signal handler */

static void on_signal(int signo)
{
    (void)signo;
    rmig_cancel_trigger(stop);
}

/* In each process by itself: the descriptor of a token made before a fork would be shared. */
static bool catch_signals(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    if (rmig_cancel_new(&stop, &err) < 0) {
        fprintf(stderr, "rdma_migrate_bench: %s\n", err.msg);
        return false;
    }
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL); /* once: a second one ends the program the hard way */
    sigaction(SIGTERM, &sa, NULL);
    if (signal(SIGHUP, SIG_IGN) != SIG_IGN) /* as nohup has it */
        sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    return true;
}

/*
 * Where both ends are here, RDMA needs the address of a device. Without one TCP does with any, and
 * RDMA finds out by itself why it cannot be had.
 */
static void loopback_address(const struct bench_params *params, char *buf, size_t len)
{
    if (params->host[0])
        snprintf(buf, len, "%s", params->host);
    else if (params->transport == BENCH_TCP || bench_device_address(params, buf, len, NULL) < 0)
        snprintf(buf, len, "127.0.0.1");
}

/* The destination of --loopback: dies with the client's control connection. */
static enum bench_exit loopback_server(const struct bench_params *params, const char *address,
                                       int port_fd)
{
    struct bench_params server = *params;

    server.once = true;
    if (!catch_signals())
        return BENCH_CONNECT;
    return bench_server(&server, address, "0", port_fd, stop);
}

/* It ends by itself with the control connection; where there was none it has to be told. */
static void end_server(pid_t pid, enum bench_exit status)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    pid_t ended = 0;

    for (int i = 0; i < 600 && ended == 0; i++) {
        if (i == 0 &&
            (status == BENCH_USAGE || status == BENCH_CONNECT || rmig_cancel_triggered(stop)))
            kill(pid, SIGTERM);
        ended = waitpid(pid, NULL, WNOHANG);
        if (ended == 0)
            nanosleep(&nap, NULL);
    }
    if (ended == 0) {
        kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
}

/* Two processes, parted before either has pinned or mapped anything. */
static enum bench_exit loopback(const struct bench_params *params)
{
    enum bench_exit status = BENCH_CONNECT;
    char address[256], port[6];
    uint16_t number = 0;
    int fds[2];
    pid_t pid;

    loopback_address(params, address, sizeof(address));
    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        int code = errno;

        fprintf(stderr, "rdma_migrate_bench: --loopback: %s\n", strerror(code));
        return bench_client_none(params, BENCH_CONNECT, strerror(code));
    }
    if (pid == 0) {
        close(fds[0]);
        _exit(loopback_server(params, address, fds[1]));
    }
    close(fds[1]);
    if (catch_signals() && read(fds[0], &number, sizeof(number)) == sizeof(number)) {
        snprintf(port, sizeof(port), "%u", number);
        status = bench_client(params, address, port, stop);
    } else {
        status = bench_client_none(params, status, "--loopback: the destination did not come to listen, and says why");
    }
    close(fds[0]);
    end_server(pid, status);
    return status;
}

int main(int argc, char **argv)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct bench_params params;
    enum bench_exit status;

    if (!standard_hold())
        return BENCH_USAGE;
    bench_params_parse(&params, argc, argv);
    /* with --loopback the client does: a device that is open does not go along with a fork */
    if (!params.loopback && bench_device_check(&params, &err) < 0) {
        fprintf(stderr, "rdma_migrate_bench: %s\n", err.msg);
        return params.host[0] ? bench_client_none(&params, BENCH_NO_DEVICE, err.msg) : BENCH_NO_DEVICE;
    }
    if (params.loopback)
        status = loopback(&params);
    else if (!catch_signals())
        status = BENCH_CONNECT;
    else if (params.host[0])
        status = bench_client(&params, params.host, params.port, stop);
    else
        status = bench_server(&params, params.bind, params.port, -1, stop);
    rmig_cancel_free(stop);
    return status;
}
