/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_receive.c -- a destination that keeps the guest in a file instead of running it. */
#include "tools/rmig_cmd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_units.h"
#include "tools/rmig_ram.h"
#include "tools/rmig_report.h"
#include "tools/rmig_store.h"
#include "tools/standard.h"

struct receive {
    struct cmd_common common;
    const char *uri;
    const char *file;  /* the stream */
    const char *image; /* NULL: none */
    bool sync;
    bool published;
    struct link link;
    struct guest_ram ram;
    struct store store;
    struct output image_output;
    struct report report;
};

/* --- options ---------------------------------------------------------------------------------- */

enum key { KEY_RAM_IMAGE = 0x200, KEY_SYNC };

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Where the stream is stored; appears when it is whole", 1},
    {"ram-image", KEY_RAM_IMAGE, "FILE", 0, "Store the largest RAM block by itself too, sparse", 1},
    {"sync", KEY_SYNC, NULL, 0, "Let the source go only when its RAM is on disk", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct receive *r = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->common;
        break;
    case 'o':
        r->file = arg;
        break;
    case KEY_RAM_IMAGE:
        r->image = arg;
        break;
    case KEY_SYNC:
        r->sync = true;
        break;
    case ARGP_KEY_ARG:
        if (r->uri)
            argp_failure(state, CMD_USAGE, 0, "'%s': one URI is enough", arg);
        r->uri = arg;
        break;
    case ARGP_KEY_END:
        if (!r->uri)
            argp_failure(state, CMD_USAGE, 0, "no URI to listen at; rdma::PORT or tcp::PORT, say");
        if (!r->file)
            argp_failure(state, CMD_USAGE, 0, "no --output=FILE to store the stream in");
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
    .args_doc = "URI --output=FILE",
    .doc = "Take a guest from a source and store it as a migration stream.\v"
           "URI: rdma:HOST:PORT, tcp:HOST:PORT, unix:PATH to listen at; exec:COMMAND, fd:N, "
           "file:PATH to read.",
    .children = children,
};

/* --- the move --------------------------------------------------------------------------------- */

static int layout(void *opaque, const struct rmig_layout *layout, const struct rmig_block **blocks_p,
                  struct rmig_err *err)
{
    struct receive *r = opaque;
    int rc = link_only_one(&r->link, err);

    return rc < 0 ? rc : guest_ram_make(&r->ram, layout, blocks_p, err);
}

static int put_image(struct receive *r, struct rmig_err *err)
{
    int rc = store_image(r->image_output.fd, guest_ram_main_block(&r->ram), r->common.link.cancel, err);

    if (rc < 0)
        rmig_err_prefix(err, "--ram-image=%.120s", r->image);
    else
        rc = r->sync ? output_sync(&r->image_output, err) : output_flush(&r->image_output, err);
    return rc;
}

/* The source waits for us here, where it can be made to: what fails now fails its migration. */
static int ram_placed(void *opaque, struct rmig_err *err)
{
    struct receive *r = opaque;
    int rc;

    report_phase(&r->report, "storing");
    rc = store_put_ram(&r->store, &r->ram, r->sync, r->common.link.cancel, err);
    if (rc == 0 && r->image)
        rc = put_image(r, err);
    report_phase(&r->report, "devices");
    return rc;
}

static int publish(struct receive *r, struct rmig_err *err)
{
    int rc = r->image ? output_publish(&r->image_output, r->sync, err) : 0;

    if (rc < 0)
        return rc;
    rc = store_publish(&r->store, r->sync, err);
    if (rc < 0 && r->image)
        output_withdraw(&r->image_output);
    output_settle(&r->image_output);
    r->published = rc == 0;
    return rc;
}

/*
 * The last thing before a source that asks for it is told of success: so the files come first. Nobody is told at the
 * other end of a command's pipe: there the command has to end well before.
 */
static int tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct receive *r = opaque;
    int rc = guest_ram_take_tail(&r->ram, data, len_bytes, err);

    if (rc == 0)
        rc = store_put_tail(&r->store, &r->ram, err);
    if (rc < 0)
        return rc;
    r->report.out = store_stats(&r->store);
    return link_can_answer(&r->link) ? publish(r, err) : 0;
}

static int load(struct receive *r, struct rmig_err *err)
{
    const struct rmig_load_opts opts = {
        .cancel = r->common.link.cancel,
        .progress = report_progress,
        .progress_opaque = &r->report,
        .tail = tail,
        .tail_opaque = r,
        .layout = layout,
        .layout_opaque = r,
        .max_ram_bytes = r->common.max_ram_bytes,
        .ram_placed = ram_placed,
        .ram_placed_opaque = r,
    };
    struct rmig_load *driver = NULL;
    int rc = rmig_load_new(&driver, r->link.in, NULL, 0, &opts, err);

    if (rc == 0)
        rc = rmig_load_run(driver, err);
    if (rc == 0)
        r->report.in = *rmig_load_stats(driver);
    rmig_load_free(driver);
    r->report.wire_bytes = link_wire_bytes(&r->link);
    r->report.peak_pinned_bytes = link_peak_pinned_bytes(&r->link);
    return rc;
}

static enum cmd_exit move(struct receive *r, struct rmig_err *err)
{
    int rc = link_accept(&r->link, err);

    if (rc < 0)
        return rc == -ECANCELED ? CMD_TRANSFER : CMD_CONNECT;
    report_note(&r->report, "the source is there");
    report_begin(&r->report);
    rc = load(r, err);
    if (rc == 0)
        rc = link_finish(&r->link, err);
    if (rc == 0 && !r->published)
        rc = publish(r, err);
    else if (rc < 0 && r->published)
        rmig_err_prefix(err, "%.60s has the guest whole, and the source may not know: let it run at one side only",
                        r->file);
    report_over(&r->report);
    return rc < 0 ? CMD_TRANSFER : CMD_OK;
}

static int check_image(const char *path, struct rmig_err *err)
{
    struct stat st;

    if (!path || stat(path, &st) < 0 || S_ISDIR(st.st_mode) ||
        (S_ISREG(st.st_mode) && !standard_is(STDOUT_FILENO, &st)))
        return 0;
    return rmig_err_set(err, -EINVAL, "--ram-image=%.120s: it has holes where the RAM is zero, so it must be a regular "
                        "file of its own", path);
}

static enum cmd_exit prepare(struct receive *r, struct rmig_err *err)
{
    const char *path = cmd_path(r->file);
    const struct stream_place place = {"--output", path, STDOUT_FILENO};
    struct rmig_uri uri;
    const struct named_file files[] = {{"URI", cmd_uri_file(r->uri, &uri), false},
                                       {"--output", path, true},
                                       {"--ram-image", r->image, true}};
    uint16_t port = 0;
    int rc = cmd_check_files(&r->common, files, 3, err);

    if (rc == 0)
        rc = cmd_check_rdma(&r->common.link, (const char *const[]){r->uri, NULL}, err);
    if (rc == 0)
        rc = check_image(r->image, err);
    if (rc == 0)
        rc = cmd_check_place(&r->common, &place, &r->report.to_stderr, err);
    if (rc == 0)
        rc = store_open(&r->store, path, r->common.link.cancel, err);
    if (rc == 0 && r->image)
        rc = output_open(&r->image_output, r->image, r->common.link.cancel, err);
    if (rc == 0 && r->sync)
        rc = output_can_sync(&r->store.output, err);
    if (rc == 0 && r->sync && r->image)
        rc = output_can_sync(&r->image_output, err);
    if (rc < 0)
        return CMD_USAGE;
    rc = link_init(&r->link, r->uri, &r->common.link, err);
    if (rc == 0)
        rc = link_listen(&r->link, &port, err);
    if (rc < 0)
        return cmd_link_status(&r->link, rc);
    report_listening(&r->report, r->uri, port);
    return CMD_OK;
}

enum cmd_exit cmd_receive(int argc, char **argv, struct rmig_cancel *cancel)
{
    struct receive r = {.image_output = {.fd = -1}, .store = {.output = {.fd = -1}}};
    struct rmig_err err = RMIG_ERR_INIT;
    enum cmd_exit status;

    cmd_common_init(&r.common, cancel);
    argp_err_exit_status = CMD_USAGE;
    argv[0] = (char[]){"rmig receive"};
    argp_parse(&argp, argc, argv, 0, NULL, &r);
    report_init(&r.report, "receive", &r.common);
    guest_ram_init(&r.ram);
    status = prepare(&r, &err);
    if (status == CMD_OK)
        status = move(&r, &err);
    link_close(&r.link);
    store_close(&r.store);
    output_close(&r.image_output);
    report_end(&r.report, status, &r.ram, &err);
    guest_ram_release(&r.ram);
    return status;
}
