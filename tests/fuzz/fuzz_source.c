/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_source.c -- libFuzzer target: any bytes as what a destination answers our source. */
#include "tests/fuzz/rdma_script.h"

/* The control buffers of a connection are one allocation: malloc_limit_mb=16 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rdma_script_source(data, size);
    return 0;
}
