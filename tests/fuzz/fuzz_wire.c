/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_wire.c -- libFuzzer target: any bytes into every decoder of the control protocol. */
#include "tests/fuzz/rdma_script.h"
#include "tests/fuzz/target.h"

FUZZ_TARGET(fuzz_wire)
{
    rdma_script_wire(data, size);
    return 0;
}
