/* bench_proto.c -- encodes and decodes the bodies of the control messages. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_proto.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_ctl.h"
#include "tools/bench_hash.h"
#include "tools/bench_params.h"
#include "tools/bench_units.h"

/* JSON integers are signed: a 64-bit figure that may be anything goes in two halves. */
static json_t *halves(uint64_t value)
{
    return json_pack("[I, I]", (json_int_t)(value >> 32), (json_int_t)(value & UINT32_MAX));
}

static int get_halves(const json_t *msg, const char *key, uint64_t *value_p, struct rmig_err *err)
{
    const json_t *item = json_object_get(msg, key);
    json_int_t high = json_integer_value(json_array_get(item, 0));
    json_int_t low = json_integer_value(json_array_get(item, 1));

    if (json_array_size(item) != 2 || high < 0 || low < 0 || high > UINT32_MAX || low > UINT32_MAX)
        return rmig_err_set(err, -EPROTO, "peer: '%s' is missing or not two halves of a number",
                            key);
    *value_p = (uint64_t)high << 32 | (uint64_t)low;
    return 0;
}

static int get_bool(const json_t *msg, const char *key, bool *value_p, struct rmig_err *err)
{
    const json_t *item = json_object_get(msg, key);

    if (!json_is_boolean(item))
        return rmig_err_set(err, -EPROTO, "peer: '%s' is missing or neither true nor false", key);
    *value_p = json_is_true(item);
    return 0;
}

static int get_seconds(const json_t *msg, const char *key, double *value_p, struct rmig_err *err)
{
    const json_t *item = json_object_get(msg, key);
    double value = json_number_value(item);

    if (!json_is_number(item) || !isfinite(value) || value < 0)
        return rmig_err_set(err, -EPROTO, "peer: '%s' is missing or not a number of seconds", key);
    *value_p = value;
    return 0;
}

json_t *bench_prepare_encode(const struct rmig_block *blocks, uint32_t nblocks, uint64_t token,
                             bool shared, bool prealloc)
{
    json_t *lens = json_array();

    for (uint32_t i = 0; lens && i < nblocks; i++)
        if (json_array_append_new(lens, json_integer((json_int_t)blocks[i].len_bytes)) < 0) {
            json_decref(lens);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:o, s:b, s:b}", "op", "prepare", "blocks", lens, "token",
                     halves(token), "shared", shared, "prealloc", prealloc);
}

int bench_prepare_decode(const json_t *msg, struct bench_prepare *prepare_p, struct rmig_err *err)
{
    const json_t *lens = json_object_get(msg, "blocks");
    struct bench_prepare p = {0};
    int rc = get_halves(msg, "token", &p.token, err);
    size_t count = json_array_size(lens);

    if (rc < 0)
        return rc;
    if (count == 0 || count > RMIG_BLOCKS_MAX)
        return rmig_err_set(err, -EPROTO, "peer: %zu RAM blocks, not 1 to %u", count,
                            RMIG_BLOCKS_MAX);
    p.shared = json_is_true(json_object_get(msg, "shared"));
    p.prealloc = json_is_true(json_object_get(msg, "prealloc"));
    p.nblocks = (uint32_t)count;
    p.lens_bytes = calloc(count, sizeof(*p.lens_bytes));
    if (!p.lens_bytes)
        return rmig_err_set(err, -ENOMEM, "out of memory for %zu RAM blocks", count);
    for (size_t i = 0; i < count; i++) {
        json_int_t len = json_integer_value(json_array_get(lens, i));

        if (len <= 0 || len % RMIG_PAGE_BYTES ||
            __builtin_add_overflow(p.total_bytes, (uint64_t)len, &p.total_bytes)) {
            free(p.lens_bytes);
            return rmig_err_set(err, -EPROTO, "peer: the length of RAM block %zu is none", i);
        }
        p.lens_bytes[i] = (uint64_t)len;
    }
    *prepare_p = p;
    return 0;
}

json_t *bench_run_encode(const struct bench_run *run)
{
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:b, s:I, s:I}", "op", "run", "transport",
                     bench_transport_name(run->transport), "pin_all", run->pin_all, "queue_pairs",
                     (json_int_t)run->nqueue_pairs, "pin_budget_bytes",
                     (json_int_t)run->pin_budget_bytes, "odp", run->odp, "dead_peer_ms",
                     (json_int_t)run->dead_peer_ms, "idle_timeout_ms",
                     (json_int_t)run->idle_timeout_ms);
}

static bool transport_of(const char *name, enum bench_transport *transport_p)
{
    static const enum bench_transport all[] = {BENCH_AUTO, BENCH_RDMA, BENCH_TCP};

    for (size_t i = 0; name && i < sizeof(all) / sizeof(all[0]); i++) {
        *transport_p = all[i];
        if (!strcmp(name, bench_transport_name(all[i])))
            return true;
    }
    return false;
}

int bench_run_decode(const json_t *msg, struct bench_run *run_p, struct rmig_err *err)
{
    const char *name = json_string_value(json_object_get(msg, "transport"));
    enum bench_transport transport = BENCH_AUTO;
    uint64_t nqueue_pairs = 0, pin_budget_bytes = 0, dead_peer_ms = 0, idle_timeout_ms = 0;
    bool pin_all = false, odp = false;
    int rc = get_bool(msg, "pin_all", &pin_all, err);

    if (rc == 0)
        rc = get_bool(msg, "odp", &odp, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "queue_pairs", 1, BENCH_QUEUE_PAIRS_MAX, &nqueue_pairs, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "pin_budget_bytes", 0, INT64_MAX, &pin_budget_bytes, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "dead_peer_ms", 0, BENCH_SECONDS_MAX * 1000u, &dead_peer_ms, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "idle_timeout_ms", 0, BENCH_SECONDS_MAX * 1000u, &idle_timeout_ms,
                           err);
    if (rc == 0 && !transport_of(name, &transport))
        rc = rmig_err_set(err, -EPROTO,
                          "peer: asks for a transport that is none of auto, rdma, tcp");
    if (rc < 0)
        return rc;
    *run_p = (struct bench_run){.transport = transport,
                                .pin_all = pin_all,
                                .nqueue_pairs = (uint32_t)nqueue_pairs,
                                .pin_budget_bytes = pin_budget_bytes,
                                .odp = odp,
                                .dead_peer_ms = (uint32_t)dead_peer_ms,
                                .idle_timeout_ms = (uint32_t)idle_timeout_ms};
    return 0;
}

json_t *bench_loaded_encode(const struct bench_loaded *loaded)
{
    return json_pack("{s:s, s:f, s:f, s:I}", "op", "loaded", "user_cpu_s", loaded->user_cpu_s,
                     "system_cpu_s", loaded->system_cpu_s, "peak_pinned_bytes",
                     (json_int_t)loaded->peak_pinned_bytes);
}

int bench_loaded_decode(const json_t *msg, struct bench_loaded *loaded_p, struct rmig_err *err)
{
    struct bench_loaded l = {0};
    int rc = get_seconds(msg, "user_cpu_s", &l.user_cpu_s, err);

    if (rc == 0)
        rc = get_seconds(msg, "system_cpu_s", &l.system_cpu_s, err);
    if (rc == 0)
        rc = bench_msg_u64(msg, "peak_pinned_bytes", 0, INT64_MAX, &l.peak_pinned_bytes, err);
    if (rc == 0)
        *loaded_p = l;
    return rc;
}

json_t *bench_hashes_encode(const XXH128_hash_t *hashes, uint64_t first, uint64_t count)
{
    json_t *list = json_array();

    for (uint64_t i = 0; list && i < count; i++) {
        char text[BENCH_HASH_TEXT_BYTES];

        if (json_array_append_new(list, json_string(bench_hash_text(text, hashes[first + i]))) <
            0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:s, s:I, s:o}", "op", "hashes", "first", (json_int_t)first, "xxh3_128",
                     list);
}

int bench_hashes_compare(const json_t *msg, const XXH128_hash_t *expected, uint64_t first,
                         uint64_t total, uint64_t *count_p, uint64_t *different_p,
                         struct rmig_err *err)
{
    const json_t *list = json_object_get(msg, "xxh3_128");
    uint64_t begins = 0, different = 0;
    size_t count = json_array_size(list);
    int rc = bench_msg_u64(msg, "first", first, first, &begins, err);

    if (rc < 0)
        return rc;
    if (count == 0 || count > BENCH_HASHES_PER_MSG || count > total - first)
        return rmig_err_set(err, -EPROTO, "peer: %zu hashes from number %llu on of %llu", count,
                            (unsigned long long)first, (unsigned long long)total);
    for (size_t i = 0; i < count; i++) {
        const char *theirs = json_string_value(json_array_get(list, i));
        char ours[BENCH_HASH_TEXT_BYTES];

        if (!theirs || strcmp(theirs, bench_hash_text(ours, expected[first + i])))
            different++;
    }
    *count_p = count;
    *different_p += different;
    return 0;
}

json_t *bench_stamps_encode(const struct bench_stamps *stamps)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "op", "stamps", "stamped_pages",
                     halves(stamps->stamped_pages), "torn_pages", halves(stamps->torn_pages),
                     "newest_sequence", halves(stamps->newest_sequence), "sum_sequences",
                     halves(stamps->sum_sequences));
}

int bench_stamps_decode(const json_t *msg, struct bench_stamps *stamps_p, struct rmig_err *err)
{
    struct bench_stamps s = {0};
    int rc = get_halves(msg, "stamped_pages", &s.stamped_pages, err);

    if (rc == 0)
        rc = get_halves(msg, "torn_pages", &s.torn_pages, err);
    if (rc == 0)
        rc = get_halves(msg, "newest_sequence", &s.newest_sequence, err);
    if (rc == 0)
        rc = get_halves(msg, "sum_sequences", &s.sum_sequences, err);
    if (rc == 0)
        *stamps_p = s;
    return rc;
}
