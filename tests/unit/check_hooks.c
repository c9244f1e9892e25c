/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks.c -- the unit tests of hooks/ as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        hooks_dirty_suite,
        hooks_dirty_map_suite,
        hooks_guard_suite,
        hooks_image_suite,
        hooks_image_refuse_suite,
        hooks_layout_suite,
        hooks_load_suite,
        hooks_move_suite,
        hooks_mutate_suite,
        hooks_pace_suite,
        hooks_populate_suite,
        hooks_refuse_suite,
        hooks_return_suite,
        hooks_save_suite,
        hooks_scan_suite,
        hooks_tail_suite,
        hooks_transport_suite,
        hooks_zero_suite,
        NULL,
    };

    return run_suites(suites);
}
