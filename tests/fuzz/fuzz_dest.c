/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_dest.c -- libFuzzer target: any bytes as a source that our destination serves. */
#include "tests/fuzz/rdma_script.h"
#include "tests/fuzz/target.h"

/* The control buffers of a connection are one allocation: malloc_limit_mb=16 */
FUZZ_TARGET(fuzz_dest)
{
    rdma_script_dest(data, size);
    return 0;
}
