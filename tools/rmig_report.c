/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_report.c -- prints a line on a terminal, a summary and JSON. */
#include "tools/rmig_report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench_units.h"

#define SHOW_NS (100 * BENCH_NS_PER_MS)
#define JSON_VERSION 1

void report_init(struct report *report, const char *command, const struct cmd_common *common)
{
    *report = (struct report){.command = command,
                              .common = common,
                              .bar = isatty(STDERR_FILENO) != 0,
                              .phase = "RAM"};
}

void report_listening(const struct report *report, const char *uri, uint16_t port)
{
    if (port)
        fprintf(stderr, "rmig %s: listening at %s, port %u\n", report->command, uri, port);
    else
        fprintf(stderr, "rmig %s: waiting at %s\n", report->command, uri);
}

void report_note(const struct report *report, const char *text)
{
    fprintf(stderr, "rmig %s: %s\n", report->command, text);
}

void report_begin(struct report *report)
{
    report->began_ns = report->shown_ns = bench_now_ns();
}

static void clear_line(struct report *report)
{
    if (report->dirty_line)
        fputs("\r\033[K", stderr);
    report->dirty_line = false;
}

void report_phase(struct report *report, const char *phase)
{
    report->phase = phase;
    if (!report->bar)
        return;
    fprintf(stderr, "\r%s ...\033[K", phase);
    report->dirty_line = true;
}

static uint64_t pages(const struct rmig_ram_stats *stats)
{
    return stats->normal_pages + stats->hook_pages + stats->zero_pages;
}

void report_progress(void *opaque, const struct rmig_ram_stats *stats)
{
    struct report *r = opaque;
    uint64_t now = bench_now_ns();
    char total[32], left[32];

    if (!r->bar || now - r->shown_ns < SHOW_NS)
        return;
    fprintf(stderr, "\r%s  round %llu, section %llu  %.2f GB/s of %s", r->phase,
            (unsigned long long)stats->rounds + 1, (unsigned long long)stats->windows,
            bench_rate((pages(stats) - r->shown_pages) * RMIG_PAGE_BYTES, now - r->shown_ns) / 1e9,
            bench_format_size(total, sizeof(total), stats->total_ram_bytes));
    if (stats->remaining_pages)
        fprintf(stderr, ", %s left",
                bench_format_size(left, sizeof(left), stats->remaining_pages * RMIG_PAGE_BYTES));
    fputs("\033[K", stderr);
    r->dirty_line = true;
    r->shown_ns = now;
    r->shown_pages = pages(stats);
}

/* --- the end ---------------------------------------------------------------------------------- */

static json_t *blocks(const struct guest_ram *ram)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < ram->nblocks; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "name", ram->blocks[i].name,
                                              "len_bytes", (json_int_t)ram->blocks[i].len_bytes));
    return list;
}

static json_t *object(const struct report *r, const struct guest_ram *ram,
                      const struct rmig_err *err, uint64_t total_ns)
{
    const struct rmig_ram_stats *stats = r->out.total_ram_bytes ? &r->out : &r->in;
    json_t *json = json_pack("{s:i, s:s, s:b, s:I}", "version", JSON_VERSION, "command", r->command,
                             "ok", ram != NULL, "total_ns", (json_int_t)total_ns);

    if (!ram) {
        json_object_set_new(json, "error", json_string(err->msg));
        json_object_set_new(json, "errno", json_string(strerrorname_np(-err->code)));
        return json;
    }
    json_object_set_new(json, "machine", json_string(ram->machine));
    json_object_set_new(json, "blocks", blocks(ram));
    json_object_set_new(json, "ram_bytes", json_integer((json_int_t)stats->total_ram_bytes));
    json_object_set_new(json, "zero_pages", json_integer((json_int_t)stats->zero_pages));
    json_object_set_new(json, "tail_bytes", json_integer((json_int_t)ram->tail_bytes));
    json_object_set_new(json, "bytes_on_wire", json_integer((json_int_t)r->wire_bytes));
    json_object_set_new(json, "peak_pinned_bytes", json_integer((json_int_t)r->peak_pinned_bytes));
    return json;
}

static void summary(const struct report *r, const struct guest_ram *ram, uint64_t total_ns)
{
    const struct rmig_ram_stats *stats = r->out.total_ram_bytes ? &r->out : &r->in;
    /* A receiver over RDMA sees it in what it stored. */
    uint64_t zero_pages = r->in.zero_pages > r->out.zero_pages ? r->in.zero_pages : r->out.zero_pages;
    double zero = 100.0 * (double)(zero_pages * RMIG_PAGE_BYTES) / (double)stats->total_ram_bytes;
    char size[32], time[32], share[32] = "";

    if (zero_pages)
        snprintf(share, sizeof(share), ", %.1f %% of it zero", zero < 100 ? zero : 100);
    fprintf(r->to_stderr ? stderr : stdout, "%s: %u RAM blocks, %s%s; %zu bytes of device state; %s\n",
           ram->machine[0] ? ram->machine : "guest", ram->nblocks,
           bench_format_size(size, sizeof(size), stats->total_ram_bytes), share, ram->tail_bytes,
           bench_format_ns(time, sizeof(time), total_ns));
}

void report_over(struct report *report)
{
    report->over_ns = bench_now_ns();
    clear_line(report);
}

void report_end(struct report *report, enum cmd_exit status, const struct guest_ram *ram, const struct rmig_err *err)
{
    uint64_t over_ns = report->over_ns ? report->over_ns : bench_now_ns();
    uint64_t total_ns = report->began_ns ? over_ns - report->began_ns : 0;

    if (status != CMD_OK)
        (void)cmd_fail(report->command, status, err);
    if (status != CMD_USAGE && report->common->json)
        (void)cmd_write_json(report->command, report->common,
                             object(report, status == CMD_OK ? ram : NULL, err, total_ns));
    if (status == CMD_OK && !(report->common->json && !report->common->json_file[0]))
        summary(report, ram, total_ns);
}
