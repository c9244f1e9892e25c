/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_relay.c -- between a source and a destination: what comes in goes out while it comes. */
#include "tools/rmig_cmd.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/bench_units.h"
#include "tools/rmig_changes.h"
#include "tools/rmig_ram.h"
#include "tools/rmig_report.h"

/*
 * How far a source may be ahead, so that what is left for the last pass, the guest stopped, stays
 * small. One that sends its pages in the stream goes on while we send, until a pass takes this long.
 * One that writes to memory by itself is let write for so long, then it waits for a whole pass: were
 * a page to change and change back while it is sent, its hash would not tell.
 */
#define AHEAD_NS (200 * BENCH_NS_PER_MS)

/* A destination that hears nothing gives up: an empty round at the latest after this. */
#define SILENCE_NS BENCH_NS_PER_S

#define NAP_NS (20 * BENCH_NS_PER_MS)

/* Where the thread that sends stands. */
enum stage {
    STAGE_NONE,  /* no thread */
    STAGE_IDLE,  /* nothing to send yet */
    STAGE_PASS,  /* in a pass */
    STAGE_ENDED  /* after the last pass, or failed: to be joined */
};

struct relay {
    struct cmd_common common;
    const char *in_uri, *out_uri;
    struct link_opts out_opts;
    struct link in, out;
    struct guest_ram ram;
    struct changes changes; /* of an incoming side that writes by itself */
    struct rmig_save *save;
    struct report report;
    pthread_t sender;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    enum stage stage;
    uint64_t pass_ns;  /* when the pass began */
    uint64_t idle_ns;  /* when the last one that had something to send ended */
    uint64_t scan_ns;  /* what the last look for changes took */
    uint64_t sections; /* to be sent by the next pass */
    bool news;         /* the pass under way, or the last one, had something to send */
    bool taken;        /* the destination has said that it has all of it */
    bool refused;      /* it has not, once the guest was stopped */
    bool doubt;        /* nor has it said that it failed */
    bool placed;       /* the guest is stopped, all of its RAM has come */
    struct rmig_err out_err;
};

/* --- options ---------------------------------------------------------------------------------- */

enum key { KEY_PIN_ALL = 0x200 };

static const struct argp_option options[] = {
    {"pin-all", KEY_PIN_ALL, NULL, 0, "Towards the destination: register all RAM at set-up", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct relay *r = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->common;
        break;
    case KEY_PIN_ALL:
        r->out_opts.pin_all = true;
        break;
    case ARGP_KEY_ARG:
        if (r->out_uri)
            argp_failure(state, CMD_USAGE, 0, "'%s': two URIs are enough", arg);
        if (r->in_uri)
            r->out_uri = arg;
        else
            r->in_uri = arg;
        break;
    case ARGP_KEY_END:
        if (!r->out_uri)
            argp_failure(state, CMD_USAGE, 0, "IN-URI and OUT-URI are needed");
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
    .args_doc = "IN-URI OUT-URI",
    .doc = "Take a guest from a source and pass it on to a destination, live.\v"
           "IN-URI: rdma:HOST:PORT, tcp:HOST:PORT, unix:PATH to listen at; exec:COMMAND, fd:N, "
           "file:PATH to read. OUT-URI: the same to connect to or to write.",
    .children = children,
};

/* --- the thread that sends -------------------------------------------------------------------- */

static void nap(struct relay *r)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)NAP_NS;
    if (until.tv_nsec >= (long)BENCH_NS_PER_S) {
        until.tv_nsec -= (long)BENCH_NS_PER_S;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&r->changed, &r->lock, &until);
}

/* Until there is something to send, or it has been silent for long. Returns: is it time for the last
 * pass? */
static bool wait_for_work(struct relay *r)
{
    uint64_t until = bench_now_ns() + SILENCE_NS;
    bool last;

    pthread_mutex_lock(&r->lock);
    r->stage = STAGE_IDLE;
    if (r->news)
        r->idle_ns = bench_now_ns();
    pthread_cond_broadcast(&r->changed);
    while (!r->placed && r->sections == 0 && bench_now_ns() < until &&
           !rmig_cancel_triggered(r->common.link.cancel))
        nap(r);
    last = r->placed;
    r->news = last || r->sections > 0;
    r->sections = 0;
    r->stage = STAGE_PASS;
    r->pass_ns = bench_now_ns();
    pthread_mutex_unlock(&r->lock);
    return last;
}

static int look_for_changes(struct relay *r, struct rmig_err *err)
{
    uint64_t began = bench_now_ns();
    int rc;

    if (!r->changes.hashes)
        return 0; /* the load driver tells */
    rc = changes_mark(&r->changes, r->save, r->common.link.cancel, err);
    pthread_mutex_lock(&r->lock);
    r->scan_ns = bench_now_ns() - began;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int send_passes(struct relay *r, struct rmig_err *err)
{
    bool last;
    int rc;

    do {
        last = wait_for_work(r);
        rc = r->news ? look_for_changes(r, err) : 0;
        if (rc == 0)
            rc = last ? rmig_save_complete(r->save, err) : rmig_save_round(r->save, err);
    } while (rc == 0 && !last);
    return rc;
}

static void *sender(void *arg)
{
    struct relay *r = arg;
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = send_passes(r, &err);

    pthread_mutex_lock(&r->lock);
    if (rc < 0) {
        r->out_err = err;
        rmig_cancel_trigger(r->common.link.cancel); /* wakes the side that receives */
    }
    r->stage = STAGE_ENDED;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int start_sender(struct relay *r, struct rmig_err *err)
{
    int rc;

    r->stage = STAGE_IDLE;
    rc = pthread_create(&r->sender, NULL, sender, r);
    if (rc == 0)
        return 0;
    r->stage = STAGE_NONE;
    return rmig_err_set(err, -rc, "relay: no thread to be had: %s", strerror(rc));
}

/* Once it is joined the answer stays the same. */
static int join_sender(struct relay *r, struct rmig_err *err)
{
    if (r->stage != STAGE_NONE)
        pthread_join(r->sender, NULL);
    r->stage = STAGE_NONE;
    if (r->out_err.code == 0)
        return 0;
    return rmig_err_set(err, r->out_err.code, "%.100s: %s", r->out_uri, r->out_err.msg);
}

/* --- the side that receives ------------------------------------------------------------------- */

static int layout(void *opaque, const struct rmig_layout *layout, const struct rmig_block **blocks_p,
                  struct rmig_err *err)
{
    struct relay *r = opaque;
    struct rmig_save_opts opts = {
        .window_ms = link_window_ms(&r->out),
        .acknowledge = true,
        .cancel = r->common.link.cancel,
        .progress = report_progress,
        .progress_opaque = &r->report,
    };
    int rc = link_only_one(&r->in, err);

    if (rc == 0)
        rc = guest_ram_make(&r->ram, layout, blocks_p, err);
    if (rc == 0 && r->in.conn)
        rc = changes_init(&r->changes, &r->ram, err);
    if (r->ram.machine[0])
        opts.machine = r->ram.machine;
    opts.configuration = r->ram.configuration;
    if (rc == 0)
        rc = rmig_save_new(&r->save, r->out.out, r->ram.blocks, r->ram.nblocks, &opts, err);
    if (rc < 0)
        return rc;
    rc = rmig_save_setup(r->save, err);
    return rc == 0 ? start_sender(r, err) : rmig_err_prefix(err, "%.100s", r->out_uri);
}

static void wrote(void *opaque, uint32_t block_index, uint64_t offset_bytes, uint64_t len_bytes)
{
    struct relay *r = opaque;
    int rc = rmig_save_mark_dirty(r->save, block_index, offset_bytes, len_bytes);

    assert(rc == 0); /* both drivers have the same blocks */
    (void)rc;
}

static uint64_t ahead_ns(const struct relay *r)
{
    return 2 * r->scan_ns > AHEAD_NS ? 2 * r->scan_ns : AHEAD_NS;
}

/* Must the source wait before it sends another section? Requires: the lock. */
static bool hold(const struct relay *r)
{
    if (r->stage == STAGE_ENDED || rmig_cancel_triggered(r->common.link.cancel))
        return false;
    if (r->changes.hashes)
        return r->sections > 0 || r->stage == STAGE_PASS;
    return r->stage == STAGE_PASS && bench_now_ns() - r->pass_ns > AHEAD_NS;
}

static void section_came(void *opaque, const struct rmig_ram_stats *stats)
{
    struct relay *r = opaque;

    r->report.in = *stats;
    pthread_mutex_lock(&r->lock);
    if (!r->changes.hashes || bench_now_ns() - r->idle_ns > ahead_ns(r))
        r->sections++;
    pthread_cond_broadcast(&r->changed);
    while (hold(r))
        nap(r);
    pthread_mutex_unlock(&r->lock);
}

/* The source is kept waiting, where it can be, until its RAM is at the destination. */
static int ram_placed(void *opaque, struct rmig_err *err)
{
    struct relay *r = opaque;

    pthread_mutex_lock(&r->lock);
    r->placed = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return join_sender(r, err);
}

static int tail(void *opaque, const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct relay *r = opaque;
    int rc;

    report_phase(&r->report, "devices");
    r->ram.tail_bytes = len_bytes;
    rc = rmig_save_tail(r->save, data, len_bytes, err);
    r->report.out = *rmig_save_stats(r->save);
    /* it said so of all that had not come yet, too */
    r->report.out.zero_pages = r->changes.hashes ? changes_zero_pages(&r->changes)
                                                 : r->report.in.zero_pages;
    r->report.wire_bytes = link_wire_bytes(&r->out);
    r->report.peak_pinned_bytes = link_peak_pinned_bytes(&r->in) + link_peak_pinned_bytes(&r->out);
    if (rc == 0)
        rc = link_finish(&r->out, err);
    r->taken = rc == 0;
    r->refused = rc < 0;
    r->doubt = rc < 0 && rmig_save_handed_over(r->save) && !link_peer_has_failed(&r->out, rc);
    return rc == 0 ? 0 : rmig_err_prefix(err, "%.60s", r->out_uri);
}

/* --- the move --------------------------------------------------------------------------------- */

/*
 * A source that waits for an answer runs its guest on once it is let go; while a destination that is silent may still
 * take it, it is not: until it hangs up by itself, or we are told to end.
 */
static void hold_source(struct relay *r, const struct rmig_err *why)
{
    struct pollfd polls[] = {{.fd = rmig_in_fd(r->in.in), .events = POLLRDHUP},
                             {.fd = rmig_cancel_fd(r->common.link.cancel), .events = POLLIN}};
    char text[RMIG_ERR_MSG_BYTES + 160];
    struct stat st;

    if (fstat(polls[0].fd, &st) < 0 || !S_ISSOCK(st.st_mode) || poll(polls, 2, 0) != 0)
        return;
    snprintf(text, sizeof(text), "%s; the source is kept waiting: end the destination, then this program, and the guest "
             "runs on at the source; or end the source", why->msg);
    report_note(&r->report, text);
    while (poll(polls, 2, -1) < 0 && errno == EINTR && !rmig_cancel_triggered(r->common.link.cancel))
        continue;
}

/* Of two sides that failed the one that did so first has the reason; the other was cancelled. A command that was
 * written to says by its end why it failed. */
static int find_reason(struct relay *r, struct rmig_err *err)
{
    struct rmig_err out_err = RMIG_ERR_INIT;

    if (r->stage != STAGE_NONE)
        rmig_cancel_trigger(r->common.link.cancel);
    (void)join_sender(r, &out_err);
    if (out_err.code < 0 && err->code == -ECANCELED)
        *err = out_err;
    if (err->code == -ECANCELED || ((out_err.code == 0 || out_err.code == -ECANCELED) && !r->refused))
        return err->code;
    rmig_save_free(r->save); /* it reads what the command is to end with */
    r->save = NULL;
    link_explain(&r->out, err);
    return err->code;
}

static int pass_on(struct relay *r, struct rmig_err *err)
{
    const struct rmig_load_opts opts = {
        .cancel = r->common.link.cancel,
        .progress = section_came,
        .progress_opaque = r,
        .tail = tail,
        .tail_opaque = r,
        .layout = layout,
        .layout_opaque = r,
        .max_ram_bytes = r->common.max_ram_bytes,
        .wrote = wrote,
        .wrote_opaque = r,
        .ram_placed = ram_placed,
        .ram_placed_opaque = r,
    };
    struct rmig_load *load = NULL;
    int rc = rmig_load_new(&load, r->in.in, NULL, 0, &opts, err);

    if (rc == 0)
        rc = rmig_load_run(load, err);
    rmig_load_free(load);
    if (rc < 0)
        rc = find_reason(r, err);
    if (rc == -ETIMEDOUT && r->doubt)
        hold_source(r, err);
    if (rc == 0)
        rc = link_finish(&r->in, err);
    if (rc < 0 && r->taken)
        rmig_err_prefix(err, "the destination has taken the guest, and the source does not know: do not let it run "
                        "there");
    else if (rc < 0 && r->doubt)
        rmig_err_prefix(err, "the destination may have taken the guest: end it before the guest runs on at the source, "
                        "which one with return-path has it do by itself");
    else if (rc < 0 && rc != -ECANCELED && r->placed)
        rmig_err_prefix(err, "the destination has not taken the guest, and may say why; the source has it, "
                        "there cont has it run on");
    return rc;
}

static enum cmd_exit move(struct relay *r, struct rmig_err *err)
{
    int rc = link_accept(&r->in, err);

    if (rc < 0)
        return rc == -ECANCELED ? CMD_TRANSFER : CMD_CONNECT;
    rc = r->out.out ? 0 : link_connect(&r->out, err);
    if (rc < 0)
        return cmd_link_status(&r->out, rc);
    report_note(&r->report, "source and destination are there");
    report_begin(&r->report);
    rc = pass_on(r, err);
    report_over(&r->report);
    return rc < 0 ? CMD_TRANSFER : CMD_OK;
}

static enum cmd_exit prepare(struct relay *r, struct rmig_err *err)
{
    struct rmig_uri in, out;
    const struct stream_place place = cmd_uri_place(r->out_uri, &out);
    const struct named_file files[] = {{"IN-URI", cmd_uri_file(r->in_uri, &in), false},
                                       {"OUT-URI", place.path, true}};
    uint16_t port = 0;
    int rc = cmd_check_files(&r->common, files, 2, err);

    if (rc == 0)
        rc = cmd_check_place(&r->common, &place, &r->report.to_stderr, err);
    if (rc == 0)
        rc = cmd_check_rdma(&r->common.link, (const char *const[]){r->in_uri, r->out_uri, NULL}, err);
    if (rc == 0 && r->out_opts.pin_all)
        rc = cmd_check_rdma(&r->out_opts, (const char *const[]){r->out_uri, NULL}, err);
    if (rc < 0)
        return CMD_USAGE;
    rc = link_init(&r->out, r->out_uri, &r->out_opts, err);
    if (rc == 0 && r->out.uri.kind == RMIG_URI_FILE)
        rc = link_connect(&r->out, err); /* a source is not to find out that it cannot be written */
    if (rc < 0)
        return cmd_link_status(&r->out, rc);
    rc = link_init(&r->in, r->in_uri, &r->common.link, err);
    if (rc == 0)
        rc = link_listen(&r->in, &port, err);
    if (rc < 0)
        return cmd_link_status(&r->in, rc);
    report_listening(&r->report, r->in_uri, port);
    return CMD_OK;
}

static void init_lock(struct relay *r)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
}

enum cmd_exit cmd_relay(int argc, char **argv, struct rmig_cancel *cancel)
{
    struct relay r = {.stage = STAGE_NONE};
    struct rmig_err err = RMIG_ERR_INIT;
    bool pin_all;
    enum cmd_exit status;

    cmd_common_init(&r.common, cancel);
    argp_err_exit_status = CMD_USAGE;
    argv[0] = (char[]){"rmig relay"};
    argp_parse(&argp, argc, argv, 0, NULL, &r);
    pin_all = r.out_opts.pin_all;
    r.out_opts = r.common.link;
    r.out_opts.pin_all = pin_all;
    report_init(&r.report, "relay", &r.common);
    guest_ram_init(&r.ram);
    init_lock(&r);
    status = prepare(&r, &err);
    if (status == CMD_OK)
        status = move(&r, &err);
    rmig_save_free(r.save);
    link_close(&r.out);
    link_close(&r.in);
    report_end(&r.report, status, &r.ram, &err);
    changes_release(&r.changes);
    guest_ram_release(&r.ram);
    pthread_cond_destroy(&r.changed);
    pthread_mutex_destroy(&r.lock);
    return status;
}
