/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_send.c -- a source that has its guest from a file instead of running it. */
#include "tools/rmig_cmd.h"

#include <errno.h>
#include <stdio.h>

#include "tools/rmig_ram.h"
#include "tools/rmig_report.h"
#include "tools/rmig_store.h"

struct send {
    struct cmd_common common;
    const char *file;
    const char *uri;
    struct link link;
    struct guest_ram ram;
    struct report report;
};

/* --- options ---------------------------------------------------------------------------------- */

enum key { KEY_PIN_ALL = 0x200 };

static const struct argp_option options[] = {
    {"pin-all", KEY_PIN_ALL, NULL, 0, "Register all RAM at set-up instead of on demand", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct send *s = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &s->common;
        break;
    case KEY_PIN_ALL:
        s->common.link.pin_all = true;
        break;
    case ARGP_KEY_ARG:
        if (s->uri)
            argp_failure(state, CMD_USAGE, 0, "'%s': FILE and URI are enough", arg);
        if (s->file)
            s->uri = arg;
        else
            s->file = arg;
        break;
    case ARGP_KEY_END:
        if (!s->uri)
            argp_failure(state, CMD_USAGE, 0, "FILE and URI are needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_child children[] = {{&cmd_common_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "FILE URI",
    .doc = "Replay a stored migration stream to a destination.\v"
           "URI: rdma:HOST:PORT, tcp:HOST:PORT, unix:PATH to connect to; exec:COMMAND, fd:N, "
           "file:PATH to write.",
    .children = children,
};

/* --- the move --------------------------------------------------------------------------------- */

/* *given_p: may the destination have the guest if this fails? */
static int save(struct send *s, bool *given_p, struct rmig_err *err)
{
    const struct rmig_save_opts opts = {
        .machine = s->ram.machine[0] ? s->ram.machine : NULL,
        .configuration = s->ram.configuration,
        .window_ms = link_window_ms(&s->link),
        .acknowledge = true,
        .cancel = s->common.link.cancel,
        .progress = report_progress,
        .progress_opaque = &s->report,
    };
    struct rmig_save *driver = NULL;
    int rc = rmig_save_new(&driver, s->link.out, s->ram.blocks, s->ram.nblocks, &opts, err);

    if (rc == 0)
        rc = rmig_save_setup(driver, err);
    if (rc == 0)
        rc = rmig_save_complete(driver, err);
    if (rc == 0)
        report_phase(&s->report, "devices");
    if (rc == 0)
        rc = rmig_save_tail(driver, s->ram.tail, s->ram.tail_bytes, err);
    if (rc == 0)
        s->report.out = *rmig_save_stats(driver);
    s->report.wire_bytes = link_wire_bytes(&s->link);
    s->report.peak_pinned_bytes = link_peak_pinned_bytes(&s->link);
    *given_p = driver && rmig_save_handed_over(driver);
    rmig_save_free(driver);
    return rc;
}

static enum cmd_exit move(struct send *s, struct rmig_err *err)
{
    bool given;
    int rc;

    report_note(&s->report, "the destination is there");
    rc = save(s, &given, err);
    if (rc == 0)
        rc = link_finish(&s->link, err);
    if (rc < 0 && rc != -ECANCELED)
        link_explain(&s->link, err);
    if (rc < 0 && given && !link_peer_has_failed(&s->link, rc))
        rmig_err_prefix(err, "the destination may have taken the guest: end it before the guest runs elsewhere");
    else if (rc < 0 && rc != -ECANCELED)
        rmig_err_prefix(err, "the destination has not taken the guest, and may say why");
    report_over(&s->report);
    return rc < 0 ? CMD_TRANSFER : CMD_OK;
}

/* A destination that waits is of no use any more once it was connected to in vain. */
static int check_budget(const struct send *s, struct rmig_err *err)
{
    uint64_t budget_bytes = s->common.link.pin_budget_bytes, ram_bytes = 0;

    for (uint32_t i = 0; i < s->ram.nblocks; i++)
        ram_bytes += s->ram.blocks[i].len_bytes;
    if (!s->common.link.pin_all || budget_bytes == 0 || budget_bytes >= ram_bytes)
        return 0;
    return rmig_err_set(err, -EINVAL, "--pin-all: the guest has %.1f MiB of RAM, --pin-budget allows %.1f MiB",
                        (double)ram_bytes / (1 << 20), (double)budget_bytes / (1 << 20));
}

/* The file first: a destination is of no use without it. */
static enum cmd_exit prepare(struct send *s, struct rmig_err *err)
{
    struct rmig_in *stored;
    struct rmig_uri uri;
    const struct stream_place place = cmd_uri_place(s->uri, &uri);
    const struct named_file files[] = {{"FILE", cmd_path(s->file), false},
                                       {"URI", place.path, true}};
    int rc = cmd_check_files(&s->common, files, 2, err);

    if (rc == 0)
        rc = cmd_check_place(&s->common, &place, &s->report.to_stderr, err);
    if (rc == 0)
        rc = cmd_check_rdma(&s->common.link, (const char *const[]){s->uri, NULL}, err);
    if (rc == 0)
        rc = store_open_stream(s->file, s->common.link.cancel, &stored, err);
    if (rc < 0)
        return CMD_USAGE;
    rc = store_load(stored, s->file, &s->ram, s->common.max_ram_bytes, s->common.link.cancel, err);
    if (rc < 0)
        return CMD_TRANSFER;
    if (check_budget(s, err) < 0)
        return CMD_USAGE;
    rc = link_init(&s->link, s->uri, &s->common.link, err);
    report_begin(&s->report);
    if (rc == 0)
        rc = link_connect(&s->link, err);
    return rc < 0 ? cmd_link_status(&s->link, rc) : CMD_OK;
}

enum cmd_exit cmd_send(int argc, char **argv, struct rmig_cancel *cancel)
{
    struct send s = {0};
    struct rmig_err err = RMIG_ERR_INIT;
    enum cmd_exit status;

    cmd_common_init(&s.common, cancel);
    argp_err_exit_status = CMD_USAGE;
    argv[0] = (char[]){"rmig send"};
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    report_init(&s.report, "send", &s.common);
    guest_ram_init(&s.ram);
    status = prepare(&s, &err);
    if (status == CMD_OK)
        status = move(&s, &err);
    link_close(&s.link);
    report_end(&s.report, status, &s.ram, &err);
    guest_ram_release(&s.ram);
    return status;
}
