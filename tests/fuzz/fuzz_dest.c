/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_dest.c -- libFuzzer target: any bytes as a source that our destination serves. */
#include "tests/fuzz/rdma_script.h"

/* The control buffers of a connection are one allocation: malloc_limit_mb=16 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rdma_script_dest(data, size);
    return 0;
}
