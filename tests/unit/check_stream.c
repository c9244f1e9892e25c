/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream.c -- the unit tests of stream/ as one program. */
#include "tests/unit/suites.h"

int main(void)
{
    static const suite_fn suites[] = {
        stream_buffer_suite,
        stream_channel_suite,
        stream_compress_suite,
        stream_exec_suite,
        stream_format_suite,
        stream_in_suite,
        stream_object_suite,
        stream_out_suite,
        stream_rate_suite,
        stream_socket_suite,
        stream_threads_suite,
        stream_uri_suite,
        NULL,
    };

    return run_suites(suites);
}
