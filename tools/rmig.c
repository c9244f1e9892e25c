/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig.c -- a peer for migration streams: receives, stores, sends and inspects them. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <rmig/rmig.h>

#include "tools/rmig_cmd.h"
#include "tools/standard.h"

static struct rmig_cancel *stop; /* for the signal handler */

static void on_signal(int signo)
{
    (void)signo;
    rmig_cancel_trigger(stop);
}

static void print_log(void *opaque, enum rmig_log_level level, const char *message)
{
    (void)opaque, (void)level;
    fprintf(stderr, "rmig: %s\n", message);
}

static bool catch_signals(void)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    if (rmig_cancel_new(&stop, &err) < 0) {
        fprintf(stderr, "rmig: %s\n", err.msg);
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

static const struct {
    const char *name;
    enum cmd_exit (*run)(int argc, char **argv, struct rmig_cancel *cancel);
    const char *text;
} commands[] = {
    {"receive", cmd_receive, "take a guest from a source and store it as a stream in a file"},
    {"send", cmd_send, "replay a stored stream to a destination"},
    {"relay", cmd_relay, "pass a guest on from a source to a destination, live"},
    {"inspect", cmd_inspect, "say what a stored stream holds, and where it goes wrong"},
};

static void usage(FILE *to)
{
    fprintf(to, "Usage: rmig COMMAND [OPTION...]\n"
                "A peer for the migration streams of QEMU and rmig.\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].text);
    fprintf(to, "\nrmig COMMAND --help tells of its options, rmig(1) of everything.\n");
}

static enum cmd_exit run(int argc, char **argv)
{
    enum cmd_exit status;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (!catch_signals())
            return CMD_CONNECT;
        rmig_log_set(print_log, NULL, RMIG_LOG_WARNING);
        status = commands[i].run(argc - 1, argv + 1, stop);
        rmig_cancel_free(stop);
        return status;
    }
    fprintf(stderr, "rmig: '%s' is not a command; rmig --help names them\n", argv[1]);
    return CMD_USAGE;
}

int main(int argc, char **argv)
{
    if (!standard_hold())
        return CMD_USAGE;
    if (argc < 2) {
        usage(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0) {
        usage(stdout);
        return CMD_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("rmig %s\n", rmig_version());
        return CMD_OK;
    }
    return run(argc, argv);
}
