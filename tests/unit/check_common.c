/* SPDX-License-Identifier: BSD-3-Clause */
/* check_common.c -- the unit tests of common/ as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        common_bitmap_suite,
        common_blocks_suite,
        common_err_suite,
        common_wait_suite,
        NULL,
    };

    return run_suites(suites);
}
