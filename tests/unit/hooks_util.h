/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_util.h -- what the tests of hooks/ share: guests, a channel of messages, a fake transport.
 */
#ifndef TESTS_HOOKS_UTIL_H
#define TESTS_HOOKS_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <check.h>
#include <rmig/rmig.h>

#include "tests/unit/slack.h"

/* Run a suite as make check wants it. Returns: the exit status. */
int run_suite(Suite *s);

/* --- guests: blocks over sparse memfds -------------------------------------------------------- */

struct guest {
    struct rmig_block *blocks;
    uint32_t count;
};

/* NAME_OF n: "block-n"; a name that begins so may be replaced after. All pages are holes. */
void guest_init(struct guest *g, uint32_t count, uint64_t len_bytes);
/* A block of its own length, with a copy of name; backing anonymous: private memory, fd -1. */
void guest_add(struct guest *g, const char *name, uint64_t len_bytes, bool anonymous);
/* The memory of another guest's block once more, at another address. */
void guest_add_view(struct guest *g, const struct rmig_block *block);
void guest_release(struct guest *g);

/* Write a pattern that depends on seed into pages [first, first + count) of a block. */
void guest_fill(struct guest *g, uint32_t block, uint64_t first, uint64_t count, uint32_t seed);
/* A mix in all blocks: pages of data, pages written with zero, holes. */
void guest_fill_mixed(struct guest *g, uint32_t seed);
uint8_t *guest_page(const struct guest *g, uint32_t block, uint64_t page);
uint64_t guest_pages(const struct guest *g, uint32_t block);
/* Same content? Names the first difference by ck_abort. Looks into holes by the file only. */
void guest_assert_equal(const struct guest *a, const struct guest *b);
/* Pages that the backing file of a block holds. */
uint64_t guest_allocated_pages(const struct guest *g, uint32_t block);

/* --- a channel that keeps messages: one writev is one; a readv never crosses the end of one ----
 */

struct messages {
    uint8_t *bytes;
    size_t len, room;
    size_t *ends; /* where each message ends */
    size_t count, ends_room;
    size_t fail_after; /* a write that would pass this many bytes fails; SIZE_MAX: none does */
    /* Bytes written straight out of [watch, watch + watch_len). */
    const uint8_t *watch;
    size_t watch_len, watched;
};

void messages_init(struct messages *m);
void messages_release(struct messages *m);
void messages_append(struct messages *m, const void *bytes, size_t len);
/* Streams over it; m outlives them. A reader starts at the first byte. */
struct rmig_out *messages_out(struct messages *m);
struct rmig_in *messages_in(struct messages *m);

/* --- a fake transport: takes runs by a rule, and places them when the other side loads the mark -
 */

enum fake_event_kind { FAKE_SET_BLOCKS, FAKE_BEFORE, FAKE_SAVE, FAKE_AFTER, FAKE_LOAD, FAKE_REG };

struct fake_event {
    enum fake_event_kind kind;
    enum rmig_hook_flag flag;
    struct rmig_run run;
    char name[256];
};

struct fake_write {
    struct rmig_run run;
    uint8_t *bytes; /* NULL: zero */
    uint32_t window;
};

struct fake {
    struct guest *source, *dest;
    struct messages *messages; /* what before_iterate looks for the mark in */
    /* Rule for save_page; NULL: DELAYED for all. */
    int (*answer)(struct fake *f, const struct rmig_run *run, uint64_t *sent_bytes_p);
    int fail_at; /* the n-th call of any hook fails with -EREMOTEIO; -1: none */
    struct rmig_hooks hooks;
    struct fake_event *events;
    size_t nevents, events_room;
    struct fake_write *writes;
    size_t nwrites, writes_room;
    uint32_t window, loaded; /* windows ended at the source, loaded at the destination */
    struct rmig_run *open;   /* runs taken in the window that is open */
    size_t nopen, open_room;
};

void fake_init(struct fake *f, struct guest *source, struct guest *dest, struct messages *m);
void fake_release(struct fake *f);
size_t fake_count(const struct fake *f, enum fake_event_kind kind);

/* --- whole moves ------------------------------------------------------------------------------ */

/* Save all of g in one pass into m; aborts the test on error. sections: device sections to add. */
void save_all(struct messages *m, const struct guest *g, const struct rmig_hooks *hooks,
              void *opaque, uint32_t sections);
/* Load; returns what rmig_load_run did. */
int load_all(struct messages *m, const struct guest *g, const struct rmig_load_opts *opts,
             const struct rmig_hooks *hooks, void *opaque, struct rmig_err *err);

#endif
