/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_source.c -- libFuzzer target: any bytes as what a destination answers our source. */
#include "tests/fuzz/rdma_script.h"
#include "tests/fuzz/target.h"

/* The control buffers of a connection are one allocation: malloc_limit_mb=16 */
FUZZ_TARGET(fuzz_source)
{
    rdma_script_source(data, size);
    return 0;
}
