/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_load.c -- libFuzzer target: any bytes as a migration stream, in every mode. */
#include "tests/fuzz/fuzz_guest.h"
#include "tests/fuzz/target.h"

/* A device section is the largest allocation, of FUZZ_SECTION_BYTES: malloc_limit_mb=1 */
FUZZ_TARGET(fuzz_load)
{
    for (unsigned mode = 0; mode < FUZZ_MODES; mode++) {
        struct rmig_err err = RMIG_ERR_INIT;

        fuzz_load_bytes(data, size, mode, &err);
    }
    return 0;
}
