/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_scene.h -- plays a scene of the library's calls once for each call in it and each way it
 * can fail. */
#ifndef TESTS_UNIT_FAULT_SCENE_H
#define TESTS_UNIT_FAULT_SCENE_H

#include <check.h>
#include <stdbool.h>
#include <rmig/rmig.h>

#include "tests/unit/fault_calls.h"

/*
 * A scene. It plays everything, up to the release of all it made, also where a call failed: only
 * that is then not done which needs what has failed. Wrong bytes it does not answer for, but aborts
 * on.
 */
struct fault_scene {
    const char *name;
    const char *says; /* words by | apart: an error's message has one of them */
    void (*prepare)(void);
    /* Returns: 0; the first error, with its message. */
    int (*play)(struct rmig_err *err);
    void (*clean)(void); /* what prepare made */
    bool clock_jumps;
    bool foreign_fds; /* libc keeps descriptors of its own meanwhile, as its look-ups do */
};

/* Plays it without a fault, then with each; aborts where one does not end as it must. */
void fault_scene_play(const struct fault_scene *scene);
/* Only with the faults of one call. */
void fault_scene_play_call(const struct fault_scene *scene, enum fault_call call);

/* Adds tests that play one scene each, a list that ends with NULL, with what prepares their
 * process. */
void fault_scene_suite_add(Suite *suite, const char *name, const TTest *const *tests, SFun setup);

/* RMIG_FAULT_STEP: every how many faults one is made; 1, all of them, if it is not set. */
unsigned fault_step(void);

/* How a failing call ends where it does not simply end in its own error number: fault_rules.c. */
#define FAULT_SURVIVED 0 /* the scene succeeds all the same */
#define FAULT_EITHER 1   /* it succeeds, or fails with any error */
#define FAULT_CANNOT 2   /* it cannot fail, and is left alone */
/* Returns: one of these, or the error that the scene has to end in. */
int fault_outcome(const struct fault_scene *scene, const struct fault_site *site, int code);

#endif
