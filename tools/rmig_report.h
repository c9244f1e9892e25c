/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_report.h -- what a move says of itself: while it runs, at its end, and as JSON. */
#ifndef TOOLS_RMIG_REPORT_H
#define TOOLS_RMIG_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/rmig_cmd.h"
#include "tools/rmig_ram.h"

struct report {
    const char *command;
    const struct cmd_common *common;
    bool bar;        /* standard error is a terminal */
    bool to_stderr;  /* standard output is for something else */
    bool dirty_line;
    uint64_t began_ns, over_ns, shown_ns, shown_pages;
    const char *phase;
    struct rmig_ram_stats in, out; /* of the side that there is */
    uint64_t wire_bytes, peak_pinned_bytes;
};

/** Requires: command and common outlive it. */
void report_init(struct report *report, const char *command, const struct cmd_common *common);

/** Say where it listens: the port that was chosen, for URIs that left it open. */
void report_listening(const struct report *report, const char *uri, uint16_t port);

/** From here on time counts. */
void report_begin(struct report *report);

/** Say something, on a line of its own. */
void report_note(const struct report *report, const char *text);

/** What is being done now, in a word. */
void report_phase(struct report *report, const char *phase);

/** A driver's progress callback; opaque is the report. */
void report_progress(void *opaque, const struct rmig_ram_stats *stats);

/** Up to here time counts; no progress is shown any more. */
void report_over(struct report *report);

/**
 * What the command ends with: the last line, or an error, and the JSON object, of which bad usage has none. Whoever
 * reads it may take any time: first let the peers go. ram: of a move that succeeded; err: why another did not.
 */
void report_end(struct report *report, enum cmd_exit status, const struct guest_ram *ram, const struct rmig_err *err);

#endif
