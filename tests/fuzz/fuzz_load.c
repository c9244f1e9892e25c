/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_load.c -- libFuzzer target: any bytes as a migration stream, in every mode. */
#include "tests/fuzz/fuzz_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned mode = 0; mode < FUZZ_MODES; mode++) {
        struct rmig_err err = RMIG_ERR_INIT;

        fuzz_load_bytes(data, size, mode, &err);
    }
    return 0;
}
