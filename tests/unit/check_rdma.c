/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma.c -- the unit tests of rdma/'s bytes, chunks and pages as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        rdma_batch_suite,
        rdma_pins_suite,
        rdma_wire_suite,
#ifdef TEST_VERBS
        rdma_budget_suite,
        rdma_chunk_suite,
        rdma_dest_suite,
        rdma_lanes_suite,
        rdma_move_suite,
        rdma_source_suite,
#endif
        NULL,
    };

    return run_suites(suites);
}
