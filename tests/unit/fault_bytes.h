/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_bytes.h -- what scenes put in streams, and get out again: something of every kind. */
#ifndef TESTS_UNIT_FAULT_BYTES_H
#define TESTS_UNIT_FAULT_BYTES_H

#include <rmig/rmig.h>

/* What of it a scene wants, besides what goes over any channel. */
#define BYTES_POSITIONS 1u  /* put and get at offsets, seek, tell */
#define BYTES_COMPRESSED 2u /* deflated blocks */

/* Once, before the rest. */
void bytes_init(void);
/* Puts all of it over the channel and closes that, whatever comes. A stream that fails does so for
 * good, and writes no more. Returns: 0; the first error. */
int bytes_put(struct rmig_channel *ch, unsigned what, struct rmig_err *err);
/* Gets it all, and closes the channel. What is got is what was put, else it aborts. */
int bytes_get(struct rmig_channel *ch, unsigned what, struct rmig_err *err);

/* The parts: a stream that is made and closed elsewhere. */
int bytes_put_to(struct rmig_out *out, unsigned what, struct rmig_err *err);
int bytes_get_from(struct rmig_in *in, unsigned what, struct rmig_err *err);
/* Aborts if a stream that has failed can be got to do anything more. Returns: its error. */
int bytes_stays_failed_out(struct rmig_out *out, struct rmig_err *err);
int bytes_stays_failed_in(struct rmig_in *in, struct rmig_err *err);

#endif
