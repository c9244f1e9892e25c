/* bench_verify.c -- compares the memories of both ends by their hashes, and the guest's stamps. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tools/bench_hash.h"
#include "tools/bench_move.h"
#include "tools/bench_proto.h"
#include "tools/bench_units.h"

#define IDLE_MS 30000
/* Slower than any memory: the other end hashes this many bytes a millisecond at least. */
#define HASH_BYTES_PER_MS 100000u
/* So long it may take a guest to write once more after a move that was given up. */
#define RUN_ON_NS (5 * BENCH_NS_PER_S)

static int patience_ms(const struct bench_source *s)
{
    uint64_t ms = (unsigned)bench_patience_ms(s->params, IDLE_MS) + s->ram->total_bytes / HASH_BYTES_PER_MS;

    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static int compare_hashes(const struct bench_source *s, const XXH128_hash_t *hashes,
                          struct bench_result *r, struct rmig_err *err)
{
    uint64_t done = 0;
    int rc = 0;

    r->hash_units = bench_hash_count(s->ram->blocks, s->ram->nblocks);
    while (rc == 0 && done < r->hash_units) {
        json_t *msg = NULL;
        uint64_t count = 0;

        rc = bench_ctl_expect(s->ctl, "hashes", patience_ms(s), &msg, err);
        if (rc == 0)
            rc = bench_hashes_compare(msg, hashes, done, r->hash_units, &count, &r->different_units,
                                      err);
        done += count;
        json_decref(msg);
    }
    return rc;
}

static int take_stamps(const struct bench_source *s, struct bench_result *r, struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_expect(s->ctl, "stamps", patience_ms(s), &msg, err);

    if (rc == 0)
        rc = bench_stamps_decode(msg, &r->destination_stamps, err);
    json_decref(msg);
    return rc;
}

static bool same(const struct bench_stamps *a, const struct bench_stamps *b)
{
    return a->stamped_pages == b->stamped_pages && a->torn_pages == b->torn_pages &&
           a->newest_sequence == b->newest_sequence && a->sum_sequences == b->sum_sequences;
}

static void judge(const struct bench_source *s, struct bench_result *r)
{
    const struct bench_stamps *theirs = &r->destination_stamps;

    if (s->guest)
        bench_guest_expect(s->guest, &r->source_stamps);
    r->verified = r->different_units == 0 && same(&r->source_stamps, theirs);
    if (r->verified)
        return;
    r->status = BENCH_VERIFY;
    if (r->different_units)
        rmig_err_set(&r->err, -EBADMSG,
                     "verification failed: %llu of %llu units of 2 MiB differ, %llu pages are torn",
                     (unsigned long long)r->different_units, (unsigned long long)r->hash_units,
                     (unsigned long long)theirs->torn_pages);
    else
        rmig_err_set(&r->err, -EBADMSG,
                     "verification failed: the guest wrote %llu pages, the newest number %llu; the "
                     "memories have %llu and %llu, and %llu torn",
                     (unsigned long long)r->source_stamps.stamped_pages,
                     (unsigned long long)r->source_stamps.newest_sequence,
                     (unsigned long long)theirs->stamped_pages,
                     (unsigned long long)theirs->newest_sequence,
                     (unsigned long long)theirs->torn_pages);
}

int bench_verify(const struct bench_source *source, struct bench_result *result,
                 struct rmig_err *err)
{
    XXH128_hash_t *hashes = NULL;
    int rc = bench_hash_ram(source->ram, source->ctl->stop, &hashes, err);

    if (rc == 0)
        rc = compare_hashes(source, hashes, result, err);
    free(hashes);
    if (rc == 0)
        rc = take_stamps(source, result, err);
    if (rc < 0)
        return rc;
    judge(source, result);
    return bench_ctl_send(
        source->ctl, json_pack("{s:s, s:b}", "op", "verdict", "verified", result->verified), err);
}

static bool runs_on(struct bench_guest *guest)
{
    const struct timespec moment = {.tv_nsec = BENCH_NS_PER_MS};
    uint64_t before = bench_guest_written_pages(guest), end_ns = bench_now_ns() + RUN_ON_NS;

    if (bench_guest_start(guest, NULL) < 0)
        return false;
    while (bench_guest_written_pages(guest) == before && bench_now_ns() < end_ns)
        nanosleep(&moment, NULL);
    bench_guest_stop(guest);
    return bench_guest_written_pages(guest) > before;
}

void bench_verify_source(const struct bench_source *source, struct bench_result *result)
{
    bool ran_on = runs_on(source->guest);
    struct bench_stamps wanted, found;

    bench_guest_expect(source->guest, &wanted);
    bench_stamps_read(source->ram, source->token, &found);
    result->source_stamps = found;
    result->given_up = true;
    result->source_whole = ran_on && same(&wanted, &found);
    if (result->source_whole)
        return;
    result->status = BENCH_VERIFY;
    result->err = (struct rmig_err)RMIG_ERR_INIT;
    rmig_err_set(&result->err, -EBADMSG,
                 "verification failed: the move was given up, and the guest %s; of %llu pages that it wrote "
                 "%llu are there, %llu torn",
                 ran_on ? "ran on" : "does not run on", (unsigned long long)wanted.stamped_pages,
                 (unsigned long long)found.stamped_pages, (unsigned long long)found.torn_pages);
}
