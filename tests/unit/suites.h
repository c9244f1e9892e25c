/* SPDX-License-Identifier: BSD-3-Clause */
/* suites.h -- the suites of the unit tests, a file each, and what runs those of a folder as one program. */
#ifndef TESTS_UNIT_SUITES_H
#define TESTS_UNIT_SUITES_H

#include <check.h>
#include <stdlib.h>

typedef Suite *(*suite_fn)(void);

Suite *common_bitmap_suite(void);
Suite *common_blocks_suite(void);
Suite *common_err_suite(void);
Suite *common_wait_suite(void);

Suite *stream_buffer_suite(void);
Suite *stream_channel_suite(void);
Suite *stream_compress_suite(void);
Suite *stream_exec_suite(void);
Suite *stream_format_suite(void);
Suite *stream_in_suite(void);
Suite *stream_object_suite(void);
Suite *stream_out_suite(void);
Suite *stream_rate_suite(void);
Suite *stream_socket_suite(void);
Suite *stream_threads_suite(void);
Suite *stream_uri_suite(void);

Suite *hooks_dirty_suite(void);
Suite *hooks_dirty_map_suite(void);
Suite *hooks_guard_suite(void);
Suite *hooks_image_suite(void);
Suite *hooks_image_refuse_suite(void);
Suite *hooks_layout_suite(void);
Suite *hooks_load_suite(void);
Suite *hooks_move_suite(void);
Suite *hooks_mutate_suite(void);
Suite *hooks_pace_suite(void);
Suite *hooks_populate_suite(void);
Suite *hooks_refuse_suite(void);
Suite *hooks_return_suite(void);
Suite *hooks_save_suite(void);
Suite *hooks_scan_suite(void);
Suite *hooks_tail_suite(void);
Suite *hooks_transport_suite(void);
Suite *hooks_zero_suite(void);

Suite *rdma_accept_suite(void);
Suite *rdma_batch_suite(void);
Suite *rdma_budget_suite(void);
Suite *rdma_channel_suite(void);
Suite *rdma_chunk_suite(void);
Suite *rdma_conn_suite(void);
Suite *rdma_ctrl_suite(void);
Suite *rdma_dest_suite(void);
Suite *rdma_lanes_suite(void);
Suite *rdma_move_suite(void);
Suite *rdma_pins_suite(void);
Suite *rdma_plugin_suite(void);
Suite *rdma_pump_suite(void);
Suite *rdma_source_suite(void);
Suite *rdma_wire_suite(void);

Suite *faults_channels_suite(void);
Suite *faults_drivers_suite(void);
Suite *faults_exec_suite(void);
Suite *faults_image_suite(void);
Suite *faults_kvm_suite(void);
Suite *faults_sites_suite(void);
Suite *faults_sockets_suite(void);
Suite *faults_trackers_suite(void);

Suite *tools_store_suite(void);
Suite *tools_vmdesc_suite(void);
Suite *tools_walk_suite(void);

/* Runs the suites, a list that ends with NULL, as the environment says: CK_RUN_SUITE and CK_RUN_CASE pick
 * from them. Returns: the exit status. */
static inline int run_suites(const suite_fn *suites)
{
    SRunner *runner = srunner_create((*suites)());
    int failed;

    while (*++suites)
        srunner_add_suite(runner, (*suites)());
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
