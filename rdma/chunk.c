/* SPDX-License-Identifier: BSD-3-Clause */
/* chunk.c -- registers and finds the memory regions that cover guest RAM. */
#include "rdma/chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/overflow.h"

int rmig_rdma_chunks_init(struct rmig_rdma_chunks *chunks, struct rmig_rdma_verbs *verbs,
                          const struct rmig_blocks *table, unsigned access,
                          uint64_t budget_bytes, struct rmig_err *err)
{
    *chunks = (struct rmig_rdma_chunks){ .verbs = verbs, .table = table, .access = access,
                                         .budget_bytes = budget_bytes };
    chunks->region_of = calloc(table->count, sizeof(*chunks->region_of));
    if (!chunks->region_of)
        return rmig_err_set(err, -ENOMEM, "chunk table: out of memory");
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t n = rmig_chunk_count(table->items[i].len_bytes);

        chunks->region_of[i] = calloc(n, sizeof(**chunks->region_of));
        if (!chunks->region_of[i]) {
            rmig_rdma_chunks_release(chunks);
            return rmig_err_set(err, -ENOMEM, "chunk table: out of memory for %llu chunks",
                                (unsigned long long)n);
        }
    }
    return 0;
}

void rmig_rdma_chunks_release(struct rmig_rdma_chunks *chunks)
{
    struct rmig_err err = RMIG_ERR_INIT;

    if (rmig_rdma_chunks_deregister_all(chunks, &err) < 0)
        rmig_log(RMIG_LOG_WARNING, "RDMA: %u memory regions stay registered: %s", chunks->nregions,
                 err.msg);
    free(chunks->regions);
    for (uint32_t i = 0; chunks->region_of && i < chunks->table->count; i++)
        free(chunks->region_of[i]);
    free(chunks->region_of);
    chunks->regions = NULL;
    chunks->region_of = NULL;
    chunks->nregions = 0;
    chunks->capacity = 0;
    chunks->pinned_bytes = 0;
}

static uint64_t pinned_bytes(const struct rmig_rdma_chunks *chunks,
                             const struct rmig_rdma_region *region)
{
    return chunks->access & RMIG_RDMA_ON_DEMAND ? 0 : region->len_bytes;
}

static int grow(struct rmig_rdma_chunks *chunks, struct rmig_err *err)
{
    uint32_t capacity = chunks->capacity ? chunks->capacity * 2 : 64;
    struct rmig_rdma_region *regions;

    if (chunks->nregions < chunks->capacity)
        return 0;
    regions = realloc(chunks->regions, (size_t)capacity * sizeof(*regions));
    if (!regions)
        return rmig_err_set(err, -ENOMEM, "memory regions: out of memory for %u", capacity);
    chunks->regions = regions;
    chunks->capacity = capacity;
    return 0;
}

/* 1: the range is exactly one region; 0: it is free; -EEXIST. */
static int look_up_range(const struct rmig_rdma_chunks *chunks, uint32_t block_index,
                         uint64_t first, uint64_t count, struct rmig_err *err)
{
    const struct rmig_rdma_region *region = rmig_rdma_chunks_find(chunks, block_index, first);

    if (region && first + count <= region->first_chunk + region->nchunks)
        return 1;
    for (uint64_t c = first; c < first + count; c++)
        if (chunks->region_of[block_index][c])
            return rmig_err_set(err, -EEXIST,
                                "RAM block %.64s: chunks %llu to %llu are partly registered already",
                                chunks->table->items[block_index].name, (unsigned long long)first,
                                (unsigned long long)(first + count - 1));
    return 0;
}

/* All chunks of a region point to it: index + 1, or 0 for none. */
static void point_to(struct rmig_rdma_chunks *chunks, uint32_t index, uint32_t value)
{
    const struct rmig_rdma_region *region = &chunks->regions[index];

    for (uint64_t c = 0; c < region->nchunks; c++)
        chunks->region_of[region->block_index][region->first_chunk + c] = value;
}

int rmig_rdma_chunks_register(struct rmig_rdma_chunks *chunks, uint32_t block_index,
                              uint64_t first, uint64_t count,
                              const struct rmig_rdma_region **region_p, struct rmig_err *err)
{
    const struct rmig_block *block = &chunks->table->items[block_index];
    uint64_t start_bytes = first << RMIG_WIRE_CHUNK_SHIFT;
    uint64_t len_bytes = rmig_min_u64(count << RMIG_WIRE_CHUNK_SHIFT,
                                      block->len_bytes - start_bytes);
    struct rmig_rdma_region *region;
    int rc = look_up_range(chunks, block_index, first, count, err);

    if (rc < 0)
        return rc;
    if (rc > 0) {
        *region_p = rmig_rdma_chunks_find(chunks, block_index, first);
        return 0;
    }
    if (chunks->budget_bytes && len_bytes > chunks->budget_bytes - chunks->pinned_bytes)
        return rmig_err_set(err, -EDQUOT,
                            "RAM block %.64s: pinning %llu MiB more would exceed the pin budget of "
                            "%llu MiB; raise it (--pin-budget)", block->name,
                            (unsigned long long)(len_bytes >> 20),
                            (unsigned long long)(chunks->budget_bytes >> 20));
    rc = grow(chunks, err);
    if (rc < 0)
        return rc;
    region = &chunks->regions[chunks->nregions];
    *region = (struct rmig_rdma_region){ .block_index = block_index, .first_chunk = first,
                                         .nchunks = count, .len_bytes = len_bytes };
    rc = rmig_rdma_verbs_reg_mr(chunks->verbs, (uint8_t *)block->host + start_bytes, len_bytes,
                                chunks->access, &region->mr, err);
    if (rc < 0)
        return rc;
    chunks->nregions++;
    chunks->registrations++;
    point_to(chunks, chunks->nregions - 1, chunks->nregions);
    chunks->pinned_bytes += pinned_bytes(chunks, region);
    chunks->peak_pinned_bytes = rmig_max_u64(chunks->peak_pinned_bytes, chunks->pinned_bytes);
    *region_p = region;
    return 0;
}

/* The last region takes the place of the one that goes. */
static int drop(struct rmig_rdma_chunks *chunks, uint32_t index, struct rmig_err *err)
{
    struct rmig_rdma_region *region = &chunks->regions[index];
    uint32_t last = chunks->nregions - 1;
    int rc = rmig_rdma_verbs_dereg_mr(&region->mr, err);

    if (rc < 0)
        return rmig_err_prefix(err, "RAM block %.64s, chunks from %llu on",
                               chunks->table->items[region->block_index].name,
                               (unsigned long long)region->first_chunk);
    chunks->pinned_bytes -= pinned_bytes(chunks, region);
    point_to(chunks, index, 0);
    chunks->nregions = last;
    if (index == last)
        return 0;
    *region = chunks->regions[last];
    point_to(chunks, index, index + 1);
    return 0;
}

int rmig_rdma_chunks_deregister_all(struct rmig_rdma_chunks *chunks, struct rmig_err *err)
{
    struct rmig_err first = RMIG_ERR_INIT;

    for (uint32_t i = chunks->nregions; i-- > 0;)
        (void)drop(chunks, i, first.code ? NULL : &first);
    return first.code ? rmig_err_set(err, first.code, "%s", first.msg) : 0;
}

int rmig_rdma_chunks_deregister(struct rmig_rdma_chunks *chunks, uint32_t block_index,
                                uint64_t first, uint64_t count, struct rmig_err *err)
{
    const struct rmig_rdma_region *found = rmig_rdma_chunks_find(chunks, block_index, first);

    if (!found || found->first_chunk != first || found->nchunks != count)
        return rmig_err_set(err, -ENOENT, "RAM block %.64s: chunks %llu to %llu are no region",
                            chunks->table->items[block_index].name, (unsigned long long)first,
                            (unsigned long long)(first + count - 1));
    return drop(chunks, (uint32_t)(found - chunks->regions), err);
}
