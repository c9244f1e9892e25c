/* SPDX-License-Identifier: BSD-3-Clause */
/* pins.c -- places of chunks under a pin budget, handed on in the order in which they were filled. */
#include "rdma/pins.h"

#include <errno.h>
#include <stdlib.h>

#include "common/overflow.h"
#include "rdma/chunk.h"

static uint64_t all_chunks(const struct rmig_blocks *table)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < table->count; i++)
        n += rmig_chunk_count(table->items[i].len_bytes);
    return n;
}

static bool allocate(struct rmig_rdma_pins *pins)
{
    pins->places = calloc(pins->nplaces, sizeof(*pins->places));
    pins->uses = calloc(pins->table->count, sizeof(*pins->uses));
    if (!pins->places || !pins->uses)
        return false;
    for (uint32_t i = 0; i < pins->table->count; i++) {
        pins->uses[i] = calloc(rmig_chunk_count(pins->table->items[i].len_bytes),
                               sizeof(*pins->uses[i]));
        if (!pins->uses[i])
            return false;
    }
    return true;
}

int rmig_rdma_pins_init(struct rmig_rdma_pins *pins, const struct rmig_blocks *table,
                        uint64_t budget_bytes, struct rmig_err *err)
{
    uint64_t nchunks = all_chunks(table);
    uint64_t nplaces = rmig_max_u64(budget_bytes >> RMIG_WIRE_CHUNK_SHIFT, 1);

    if (budget_bytes == 0 || nplaces >= nchunks)
        return 0;
    if (nplaces > UINT32_MAX)
        return 0; /* 4 PiB: no machine has as much */
    pins->table = table;
    pins->nplaces = (uint32_t)nplaces;
    if (allocate(pins))
        return 0;
    rmig_rdma_pins_release(pins);
    return rmig_err_set(err, -ENOMEM, "pin budget: out of memory for %llu chunks",
                        (unsigned long long)nchunks);
}

void rmig_rdma_pins_release(struct rmig_rdma_pins *pins)
{
    for (uint32_t i = 0; pins->uses && i < pins->table->count; i++)
        free(pins->uses[i]);
    free(pins->uses);
    free(pins->places);
    *pins = (struct rmig_rdma_pins){ .nplaces = 0 };
}

static void fill(struct rmig_rdma_pins *pins, uint32_t place, const struct rmig_rdma_pin *pin)
{
    pins->places[place] = *pin;
    rmig_rdma_pins_use(pins, pin->block_index, pin->chunk)->place = place + 1;
}

int rmig_rdma_pins_place(struct rmig_rdma_pins *pins, const struct rmig_rdma_pin *pin,
                         bool (*may_go)(void *arg, const struct rmig_rdma_pin *pin), void *arg,
                         struct rmig_rdma_pin *gone_p)
{
    if (pins->ntaken < pins->nplaces) {
        fill(pins, pins->ntaken++, pin);
        return 0;
    }
    for (uint32_t i = 0; i < pins->nplaces; i++) {
        uint32_t place = pins->hand;
        struct rmig_rdma_pin had = pins->places[place];

        pins->hand = (pins->hand + 1) % pins->nplaces;
        if (!may_go(arg, &had))
            continue;
        rmig_rdma_pins_use(pins, had.block_index, had.chunk)->place = 0;
        fill(pins, place, pin);
        *gone_p = had;
        return 1;
    }
    return -EAGAIN;
}
