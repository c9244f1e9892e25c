/* bench_stream.c -- writes what happens as it happens, for programs. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_stream.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/rmig.h>

#include "tools/bench_report.h"
#include "tools/bench_units.h"

/* NULL: no memory. It is gone afterwards. */
static void put(struct bench_stream *stream, json_t *object)
{
    if (!object)
        rmig_err_set(&stream->err, -ENOMEM, "--json-stream: out of memory");
    else if (json_dumpf(object, stream->to, JSON_COMPACT | JSON_REAL_PRECISION(12)) < 0 ||
             fputc('\n', stream->to) == EOF || fflush(stream->to) == EOF)
        rmig_err_set(&stream->err, -EIO, "--json-stream: cannot write: %s", strerror(errno));
    json_decref(object);
}

static bool is_on(const struct bench_stream *stream)
{
    return stream->to && stream->err.code == 0;
}

static json_t *transports(const struct bench_params *p)
{
    return p->compare ? json_pack("[s, s]", bench_transport_name(BENCH_RDMA),
                                  bench_transport_name(BENCH_TCP))
                      : json_pack("[s]", bench_transport_name(p->transport));
}

void bench_stream_start(struct bench_stream *stream, const struct bench_params *params,
                        const char *host, const char *port, uint64_t ram_bytes, uint32_t nblocks,
                        uint32_t nruns)
{
    uint64_t number = 0;

    (void)bench_parse_u64(port, 0, UINT16_MAX, &number); /* it was connected to */
    if (is_on(stream))
        put(stream,
            json_pack("{s:s, s:s, s:i, s:s, s:s, s:i, s:o, s:i, s:I, s:i, s:I, s:I}", "event",
                      "start", "format", "rdma_migrate_bench_stream", "format_version",
                      BENCH_STREAM_FORMAT_VERSION, "version", rmig_version(), "host", host, "port",
                      (int)number, "transports", transports(params), "runs", (int)nruns, "ram_bytes",
                      bench_json_integer(ram_bytes), "blocks", (int)nblocks,
                      "dirty_rate_bytes_per_s", bench_json_integer(params->dirty_rate_bytes_per_s),
                      "interval_ns", bench_json_integer(params->interval_ns)));
}

void bench_stream_interval(struct bench_stream *stream, const struct bench_interval *interval,
                           const struct rmig_move_status *status)
{
    if (is_on(stream))
        put(stream,
            json_pack("{s:s, s:i, s:s?, s:i, s:I, s:I, s:I, s:f, s:I, s:I}", "event", "interval",
                      "run", (int)interval->run, "transport", status->transport, "round",
                      (int)status->round, "elapsed_ns", bench_json_integer(interval->elapsed_ns),
                      "interval_ns", bench_json_integer(interval->interval_ns), "moved_bytes",
                      bench_json_integer(interval->moved_bytes), "bytes_per_s",
                      bench_rate(interval->moved_bytes, interval->interval_ns), "remaining_bytes",
                      bench_json_integer(status->remaining_bytes), "dirty_rate_bytes_per_s",
                      bench_json_integer(status->dirty_rate_bytes_per_s)));
}

void bench_stream_run(struct bench_stream *stream, const struct bench_params *params,
                      const struct bench_result *result)
{
    if (is_on(stream))
        put(stream,
            json_pack("{s:s, s:o}", "event", "run", "result", bench_report_object(params, result)));
}

void bench_stream_final(struct bench_stream *stream, const struct bench_params *params,
                        const struct bench_result *results, uint32_t count, enum bench_exit status,
                        const struct rmig_err *why)
{
    double goodput = bench_report_goodput(params, results, count);
    uint32_t verified = 0;

    if (!is_on(stream))
        return;
    for (uint32_t i = 0; i < count; i++)
        verified += results[i].verified;
    put(stream, json_pack("{s:s, s:i, s:i, s:i, s:o, s:s?}", "event", "final", "exit_status",
                          (int)status, "runs", (int)count, "verified_runs", (int)verified,
                          "goodput_bytes_per_s", goodput > 0 ? json_real(goodput) : json_null(),
                          "error", why->code ? why->msg : NULL));
}
