/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_script.h -- a channel whose every answer the test decides: short transfers,
 * interruptions, would-block, an error or the end at a byte. It outlives its stream, so that what
 * happened can be looked at.
 */
#ifndef TESTS_UNIT_CHANNEL_SCRIPT_H
#define TESTS_UNIT_CHANNEL_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/channel.h>

/** An error at a byte: once that many bytes have moved, the next call answers code. */
struct script_fault {
    uint64_t at_bytes;
    int code;        /* 0: none; SCRIPT_ZERO: the call answers 0 */
    const char *msg; /* NULL: no message */
};
#define SCRIPT_ZERO 1

/** What a writev was given. */
struct script_call {
    int niov;
    size_t len_bytes;
};
#define SCRIPT_CALLS_MAX 4096

struct script {
    struct rmig_channel base;    /* first */
    struct rmig_channel_ops ops; /* the test may take operations away */

    const uint8_t *input; /* what reading gives; its end is the end of the stream */
    size_t input_bytes, read_bytes;
    size_t read_max; /* most bytes a call gives; 0 = all */
    struct script_fault read_fault;

    uint8_t *output; /* what was written */
    size_t output_bytes, output_room;
    size_t write_max;
    struct script_fault write_fault;

    unsigned again_every, intr_every; /* each n-th readv or writev would block, is interrupted */
    unsigned nreadv, nwritev, nwait, nshutdown, ntransfers;
    struct script_call calls[SCRIPT_CALLS_MAX]; /* of writev */
    int wait_code;                              /* what wait answers */
    int shutdown_code, close_code;              /* and these, with a message if negative */
    int blocking;                               /* what set_blocking set; -1: not called */
    bool closed;
    int64_t position;
    size_t positional_max; /* most bytes pread and pwrite move; 0 = all */
    int positional_code;   /* negative: what they answer */

    /* Called inside each readv before it answers, and inside shutdown. */
    void (*on_read)(struct script *s, void *opaque);
    void (*on_shutdown)(struct script *s, void *opaque);
    void *opaque;
};

/** A two-way, seekable script. input is borrowed. Returns: never NULL. */
struct script *script_new(const void *input, size_t input_bytes);

/** After the channel is closed, or instead. */
void script_free(struct script *s);

#endif
