/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_run.h -- a run of rmig, watched: what it says, how it ends, what it took; and a case. */
#ifndef TESTS_INTEROP_HOSTILE_RUN_H
#define TESTS_INTEROP_HOSTILE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/interop/hostile.h"

struct rmig {
    pid_t pid; /* 0 = ended */
    int fd;    /* of all that it says */
    char text[32768];
    size_t len;
    int status; /* as waitpid() has it */
    long peak_kib;
    uint64_t ended_ns;
};

/* Starts it, found by PATH. Returns false, with a message, if it cannot be started. */
bool rmig_start(struct rmig *rmig, const char *const argv[]);
/* Takes what it has said, and its end. Never waits. */
void rmig_poll(struct rmig *rmig);
/* Kills it if it has not ended. */
void rmig_end(struct rmig *rmig);

/* A case against a command of rmig; where what is needed for it is. */
struct hostile_task {
    const struct hostile_case *hostile;
    enum hostile_role role;
    char name[64];
};

struct hostile_place {
    const char *address;
    char stored[64], output[64]; /* a stream to send; where none may be left */
};

/* Plays it and prints its line. Returns: did rmig do all that it has to? */
bool hostile_play(const struct hostile_task *task, const struct hostile_place *place);

#endif
