/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_wire.c -- libFuzzer target: any bytes into every decoder of the control protocol. */
#include "tests/fuzz/rdma_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rdma_script_wire(data, size);
    return 0;
}
