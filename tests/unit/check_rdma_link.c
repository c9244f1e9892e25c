/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_link.c -- the unit tests of rdma/'s connections and control messages as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        rdma_accept_suite,
        rdma_channel_suite,
        rdma_conn_suite,
        rdma_ctrl_suite,
        rdma_plugin_suite,
        rdma_pump_suite,
        NULL,
    };

    return run_suites(suites);
}
