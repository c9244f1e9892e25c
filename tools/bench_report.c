/* bench_report.c -- writes the results as a table and as JSON. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_report.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/rmig.h>

#include "tools/bench_hash.h"
#include "tools/bench_units.h"

json_int_t bench_json_integer(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

static const char *used_name(const struct bench_result *r)
{
    return bench_transport_name(r->rdma ? BENCH_RDMA : BENCH_TCP);
}

static double cpu_s_per_gib(const struct bench_result *r)
{
    double seconds = r->source_cpu.user_s + r->source_cpu.system_s + r->destination_cpu.user_s +
                     r->destination_cpu.system_s;

    return r->ram_bytes ? seconds * (double)BENCH_GIB / (double)r->ram_bytes : 0;
}

static uint64_t peak_pinned_bytes(const struct bench_result *r)
{
    return r->source_pinned_bytes > r->destination_pinned_bytes ? r->source_pinned_bytes
                                                                : r->destination_pinned_bytes;
}

/* Moves the members of part into object. Either may be NULL: no memory. */
static int merge(json_t *object, json_t *part)
{
    int rc = object && part ? json_object_update(object, part) : -1;

    json_decref(part);
    return rc;
}

static json_t *json_how(const struct bench_params *p, const struct bench_result *r)
{
    return json_pack(
        "{s:s, s:i, s:s, s:i, s:i, s:s, s:s, s:s?, s:I, s:s, s:s?, s:b, s:b, s:I, s:i, s:I}", "format",
        "rdma_migrate_bench", "format_version", BENCH_FORMAT_VERSION, "version", rmig_version(),
        "run", (int)r->run, "exit_status", (int)r->status, "transport", used_name(r),
        "transport_requested", bench_transport_name(r->requested), "fallback_reason",
        r->fallback.code ? r->fallback.msg : NULL, "fallback_ns",
        bench_json_integer(r->fallback_ns), "host", p->host, "device",
        p->device[0] ? p->device : NULL, "pin_all", p->pin_all, "odp", p->odp,
        "pin_budget_bytes",
        bench_json_integer(p->pin_budget_bytes), "queue_pairs", (int)p->nqueue_pairs,
        "max_bandwidth_bytes_per_s", bench_json_integer(p->max_bandwidth_bytes_per_s));
}

static json_t *json_figures(const struct bench_params *p, const struct bench_result *r)
{
    return json_pack(
        "{s:I, s:i, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}",
        "ram_bytes", bench_json_integer(r->ram_bytes), "blocks", (int)r->nblocks, "setup_ns",
        bench_json_integer(r->setup_ns), "total_ns", bench_json_integer(r->total_ns), "downtime_ns",
        bench_json_integer(r->downtime_ns), "downtime_limit_ns",
        bench_json_integer(p->downtime_limit_ns), "converged", r->converged, "rounds",
        bench_json_integer(r->rounds), "bytes_on_wire", bench_json_integer(r->bytes_on_wire),
        "normal_pages", bench_json_integer(r->normal_pages), "hook_pages",
        bench_json_integer(r->hook_pages), "zero_pages", bench_json_integer(r->zero_pages),
        "hole_pages", bench_json_integer(r->hole_pages), "unsaid_pages",
        bench_json_integer(r->unsaid_pages), "goodput_bytes_per_s",
        bench_rate(r->ram_bytes, r->total_ns), "cpu_s_per_gib", cpu_s_per_gib(r));
}

static json_t *json_cost(const struct bench_result *r)
{
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "user_cpu_s",
        r->source_cpu.user_s + r->destination_cpu.user_s, "system_cpu_s",
        r->source_cpu.system_s + r->destination_cpu.system_s, "source_user_cpu_s",
        r->source_cpu.user_s, "source_system_cpu_s", r->source_cpu.system_s,
        "destination_user_cpu_s", r->destination_cpu.user_s, "destination_system_cpu_s",
        r->destination_cpu.system_s, "guest_user_cpu_s", r->guest_cpu.user_s, "guest_system_cpu_s",
        r->guest_cpu.system_s, "peak_pinned_bytes", bench_json_integer(peak_pinned_bytes(r)),
        "source_peak_pinned_bytes", bench_json_integer(r->source_pinned_bytes),
        "destination_peak_pinned_bytes", bench_json_integer(r->destination_pinned_bytes));
}

static json_t *json_dirty(const struct bench_params *p, const struct bench_result *r)
{
    if (!r->tracker)
        return json_null();
    return json_pack("{s:s, s:I, s:f, s:I, s:I}", "tracker", r->tracker, "rate_bytes_per_s",
                     bench_json_integer(p->dirty_rate_bytes_per_s), "achieved_bytes_per_s",
                     bench_rate(r->guest_written_pages * RMIG_PAGE_BYTES, r->guest_ns),
                     "written_pages", bench_json_integer(r->guest_written_pages), "synced_pages",
                     bench_json_integer(r->synced_pages));
}

static json_t *json_outcome(const struct bench_params *p, const struct bench_result *r)
{
    json_t *verification =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:I}", "algorithm", "XXH3-128", "unit_bytes",
                  BENCH_HASH_UNIT_BYTES, "units", bench_json_integer(r->hash_units),
                  "different_units", bench_json_integer(r->different_units), "stamped_pages",
                  bench_json_integer(r->destination_stamps.stamped_pages), "torn_pages",
                  bench_json_integer(r->destination_stamps.torn_pages));

    return json_pack("{s:b, s:o, s:o, s:o, s:s?}", "verified", r->verified, "verification", verification,
                     "source_whole", r->given_up ? json_boolean(r->source_whole) : json_null(), "dirty",
                     json_dirty(p, r), "error", r->err.code ? r->err.msg : NULL);
}

json_t *bench_report_object(const struct bench_params *params, const struct bench_result *result)
{
    json_t *object = json_how(params, result);

    if (merge(object, json_figures(params, result)) < 0 || merge(object, json_cost(result)) < 0 ||
        merge(object, json_outcome(params, result)) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int bench_report_json(FILE *to, const struct bench_params *params,
                      const struct bench_result *result, struct rmig_err *err)
{
    json_t *object = bench_report_object(params, result);
    int rc = 0;

    if (!object)
        rc = rmig_err_set(err, -ENOMEM, "--json: out of memory");
    else if (json_dumpf(object, to, JSON_COMPACT | JSON_REAL_PRECISION(12)) < 0 ||
             fputc('\n', to) == EOF || fflush(to) == EOF)
        rc = rmig_err_set(err, -EIO, "--json: %.128s: %s",
                          params->json_file[0] ? params->json_file : "standard output", strerror(errno));
    json_decref(object);
    return rc;
}

static void table_row(FILE *to, bool gbits, const struct bench_result *r)
{
    double rate = bench_rate(r->ram_bytes, r->total_ns);
    char setup[24], total[24], downtime[24], pinned[24], rates[32];

    if (gbits)
        snprintf(rates, sizeof(rates), "%8.3f", rate * 8 / 1e9);
    else
        snprintf(rates, sizeof(rates), "%7.3f %8.3f", rate / 1e9, rate * 8 / 1e9);
    fprintf(to, "%-9s %11s %11s %11s %6llu %s %9.3f %11s  %s\n", used_name(r),
            bench_format_ns(setup, sizeof(setup), r->setup_ns),
            bench_format_ns(total, sizeof(total), r->total_ns),
            bench_format_ns(downtime, sizeof(downtime), r->downtime_ns),
            (unsigned long long)r->rounds, rates, cpu_s_per_gib(r),
            bench_format_size(pinned, sizeof(pinned), peak_pinned_bytes(r)),
            r->verified                 ? "yes"
            : r->status == BENCH_VERIFY ? "DIFFERENT"
                                        : "no");
}

/* A guest that writes less than it was asked to makes the move look easier than it is. It writes in
 * portions, so that in a move of a few of them the rate says nothing. */
#define GUEST_JUDGED_NS 100000000u

static void guest_line(FILE *to, const struct bench_params *params, const struct bench_result *r)
{
    double rate = bench_rate(r->guest_written_pages * RMIG_PAGE_BYTES, r->guest_ns);
    double asked = (double)params->dirty_rate_bytes_per_s;
    double unit = params->gbits ? 1e9 / 8 : 1e6;
    const char *name = params->gbits ? "Gbit/s" : "MB/s";
    int digits = params->gbits ? 3 : 1;

    fprintf(to, "run %u: guest wrote at %.*f %s, tracked by %s", r->run, digits, rate / unit, name,
            r->tracker);
    if (rate < asked * 0.9 && r->guest_ns >= GUEST_JUDGED_NS)
        fprintf(to, ", less than the %.*f %s of --dirty-rate", digits, asked / unit, name);
    fputc('\n', to);
}

void bench_report_table(FILE *to, const struct bench_params *params,
                        const struct bench_result *results, uint32_t count)
{
    uint32_t moved = 0;

    for (uint32_t i = 0; i < count; i++)
        moved += results[i].total_ns > 0;
    if (moved == 0)
        return;
    fprintf(to, "%-9s %11s %11s %11s %6s %s %9s %11s  %s\n", "transport", "setup", "total",
            "downtime", "rounds", params->gbits ? "  Gbit/s" : "   GB/s   Gbit/s", "CPU s/GiB",
            "pinned", "verified");
    for (uint32_t i = 0; i < count; i++)
        if (results[i].total_ns > 0)
            table_row(to, params->gbits, &results[i]);
    for (uint32_t i = 0; i < count; i++) {
        const struct bench_result *r = &results[i];

        if (r->fallback.code)
            fprintf(to, "run %u: TCP instead of RDMA: %s\n", r->run, r->fallback.msg);
        if (r->tracker)
            guest_line(to, params, r);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Of the runs that one transport was asked for and did; 0 where there are none. */
static uint64_t median_ns(const struct bench_result *results, uint32_t count,
                          enum bench_transport transport, uint64_t *scratch)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++)
        if (results[i].requested == transport && results[i].verified)
            scratch[n++] = results[i].total_ns;
    if (n == 0)
        return 0;
    qsort(scratch, n, sizeof(*scratch), by_value);
    return n % 2 ? scratch[n / 2] : (scratch[n / 2 - 1] + scratch[n / 2]) / 2;
}

double bench_report_goodput(const struct bench_params *params, const struct bench_result *results,
                            uint32_t count)
{
    uint64_t *scratch = calloc(count ? count : 1, sizeof(*scratch));
    uint64_t ns = scratch ? median_ns(results, count,
                                      params->compare ? BENCH_RDMA : params->transport, scratch)
                          : 0;

    free(scratch);
    return count ? bench_rate(results[0].ram_bytes, ns) : 0;
}

void bench_report_ratio(FILE *to, const struct bench_result *results, uint32_t count)
{
    uint64_t *scratch = calloc(count, sizeof(*scratch));
    uint64_t rdma = 0, tcp = 0;

    if (scratch) {
        rdma = median_ns(results, count, BENCH_RDMA, scratch);
        tcp = median_ns(results, count, BENCH_TCP, scratch);
    }
    free(scratch);
    if (rdma && tcp)
        fprintf(to, "RDMA moves at %.2f times the rate of TCP (medians)\n",
                (double)tcp / (double)rdma);
}
