/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * switchover.h -- the last words of a move: "I hold everything", "go ahead", "it runs".
 *
 *   source                                        destination
 *   block list
 *                               <- LISTED         it is mine, and (LISTED_ZERO) empty
 *   RAM ... device section "rmig.move": will it answer?
 *   ... devices, end of sections, description
 *                               <- PREPARED       everything is loaded, RAM is out of reach
 *   GO ->                                         from here on only it may run the guest
 *                               <- STARTED        it runs
 *                               <- REFUSED why    instead of either: it does not, and never will
 *
 * Over a socket the answers are messages of the way back. Over a transport, whose stream goes one
 * way, the destination's asking for more bytes is the answer, and an error that it reports is the
 * refusal. A file has GO in it, and nobody answers.
 */
#ifndef MIGRATE_SWITCHOVER_H
#define MIGRATE_SWITCHOVER_H

#include <stdbool.h>
#include <rmig/save_load.h>

#include "migrate/link.h"

#define RMIG_SWITCHOVER_SECTION "rmig.move"
#define RMIG_SWITCHOVER_VERSION 1u
/** One byte of section data. */
#define RMIG_SWITCHOVER_ANSWERS 1u

/** On the stream, behind the description. */
#define RMIG_SWITCHOVER_GO 0x524d474fu /* "RMGO" */

/** On the way back: a big-endian u32. */
enum rmig_switchover_answer {
    RMIG_SWITCHOVER_LISTED = 1, /* not over a transport, which compares the lists itself */
    RMIG_SWITCHOVER_PREPARED = 2,
    RMIG_SWITCHOVER_STARTED = 3,
    RMIG_SWITCHOVER_REFUSED = 4, /* a counted string follows: why */
    RMIG_SWITCHOVER_LISTED_ZERO = 5 /* LISTED, and all RAM here reads zero */
};

/** Can the destination answer over this link? */
bool rmig_switchover_answers(const struct rmig_link *link);

/**
 * Source: wait for LISTED. *ram_is_zero_p: all RAM there reads zero, it says. Returns: 0; -EREMOTEIO it
 * refused; the stream's error.
 */
int rmig_switchover_await_listed(struct rmig_link *link, bool *ram_is_zero_p, struct rmig_err *err);

/** Source: the section, before all others. Returns: 0; the stream's error. */
int rmig_switchover_put(const struct rmig_link *link, struct rmig_save *save, struct rmig_err *err);

/**
 * Source: wait for PREPARED. Returns: 0; -EREMOTEIO it refused, with its reason; the stream's error.
 * Whatever the failure: the destination has no go-ahead, and never runs the guest.
 */
int rmig_switchover_await_prepared(struct rmig_link *link, struct rmig_err *err);

/** Source: put GO. Returns: 0; the stream's error, after which nobody knows whether it arrived. */
int rmig_switchover_put_go(struct rmig_link *link, struct rmig_err *err);

/** Source: wait for STARTED. Returns: 0; -EREMOTEIO it does not run there; else nobody knows. */
int rmig_switchover_await_started(struct rmig_link *link, struct rmig_err *err);

/**
 * Source, after a failure of the stream: did the destination say why? It replaces err then. Waits
 * 100 ms at most.
 */
void rmig_switchover_ask_why(struct rmig_link *link, struct rmig_err *err);

/** Destination: say LISTED. Best effort: what is wrong with the link will show. */
void rmig_switchover_say_listed(struct rmig_link *link, bool ram_is_zero);

/** Destination: what the section says. Returns: 0; -EPROTO. */
int rmig_switchover_take(const struct rmig_link *link, uint32_t version, const uint8_t *data,
                         size_t len_bytes, bool *answers_p, struct rmig_err *err);

/** Destination: say PREPARED, wait for GO. Returns: 0; -EPROTO; the stream's error. */
int rmig_switchover_await_go(struct rmig_link *link, bool answers, struct rmig_err *err);

/** Destination: say STARTED, hang up. Best effort: the guest runs already. */
void rmig_switchover_say_started(struct rmig_link *link, bool answers);

/** Destination: say REFUSED. Best effort. */
void rmig_switchover_refuse(struct rmig_link *link, const struct rmig_err *why);

#endif
