/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma.c -- the unit tests of rdma/ as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        rdma_batch_suite,
        rdma_wire_suite,
#ifdef TEST_VERBS
        rdma_accept_suite,
        rdma_channel_suite,
        rdma_chunk_suite,
        rdma_conn_suite,
        rdma_ctrl_suite,
        rdma_dest_suite,
        rdma_lanes_suite,
        rdma_move_suite,
        rdma_plugin_suite,
        rdma_pump_suite,
        rdma_source_suite,
#endif
        NULL,
    };

    return run_suites(suites);
}
