/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes_channel.h -- bytes in memory as a channel, with positions or as a pipe has them. */
#ifndef TESTS_FUZZ_BYTES_CHANNEL_H
#define TESTS_FUZZ_BYTES_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rmig/channel.h>

#define BYTES_PAGE 4096u

/* What it does next may be set between two calls on the channel. */
struct bytes_channel {
    struct rmig_channel base;
    const uint8_t *data;
    size_t size, pos;
    size_t step;      /* most that one read gives; 0: no limit */
    unsigned nsteps;  /* so many reads give no more, then all do; 0: step is for good */
    unsigned again;   /* so many reads answer -EAGAIN first */
    unsigned signals; /* and so many -EINTR before */
    size_t fail_at;   /* reads stop before this byte, and fail there with -ECONNRESET; SIZE_MAX */
    int wait_code;    /* what a wait answers: 0 or -errno */
    /* of each page of BYTES_PAGE, is it data, else a hole; NULL: nobody knows */
    const uint8_t *is_data;

    uint64_t given;   /* bytes, ever */
    unsigned agained; /* -EAGAIN, ever */
    int failed;       /* the last end or failure that was answered; the end is -EIO */
    bool on_heap;
};

/* step_bytes: most that one read gives; 0: no limit. Ownership: data stays the caller's. */
struct rmig_channel *bytes_channel(const uint8_t *data, size_t size, int seekable,
                                   size_t step_bytes);

/* The same in memory of the caller's, which close leaves alone. */
void bytes_channel_init(struct bytes_channel *b, const uint8_t *data, size_t size, int seekable);

#endif
