/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_script.h -- any bytes as the doings of a peer: one thread, no clock, the same in every run.
 *
 * The real side runs over the fabric; whenever it has nothing to do the script does its next step.
 * At the script's end the peer hangs up. What must hold whatever the peer does is checked here, and
 * ends the process if it does not.
 */
#ifndef TESTS_FUZZ_RDMA_SCRIPT_H
#define TESTS_FUZZ_RDMA_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

/* The script is a source; our destination serves it. */
void rdma_script_dest(const uint8_t *data, size_t size);

/* The script spoils the answers of a destination; our source moves memory to it. */
void rdma_script_source(const uint8_t *data, size_t size);

/* Decodes the bytes as each message, each record and private data. */
void rdma_script_wire(const uint8_t *data, size_t size);

#endif
