/* SPDX-License-Identifier: BSD-3-Clause */
/* seed_load.c -- writes the seeds of fuzz_load into a directory: streams of our own save driver. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz_guest.h"

static int write_seed(const char *dir, unsigned n)
{
    char path[4096];
    uint8_t *bytes;
    size_t len = fuzz_seed(n, &bytes), done = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/stream-%u", dir, n);
    f = fopen(path, "wb");
    if (f) {
        done = fwrite(bytes, 1, len, f);
        if (fclose(f) != 0)
            done = 0;
    }
    free(bytes);
    if (done != len)
        perror(path);
    return done == len ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seed_load DIRECTORY\n");
        return EXIT_FAILURE;
    }
    for (unsigned n = 0; n < FUZZ_SEEDS; n++)
        if (write_seed(argv[1], n) < 0)
            return EXIT_FAILURE;
    return EXIT_SUCCESS;
}
