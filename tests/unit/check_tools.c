/* SPDX-License-Identifier: BSD-3-Clause */
/* check_tools.c -- the unit tests of tools/ as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        tools_store_suite,
        tools_vmdesc_suite,
        tools_walk_suite,
        NULL,
    };

    return run_suites(suites);
}
