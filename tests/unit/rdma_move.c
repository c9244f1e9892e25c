/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_move.c -- runs both ends of a move in one process. */
#include "tests/unit/rdma_move.h"

#include <errno.h>

#include "common/clock.h"
#include "hooks/holes.h"

static uint8_t section_bytes[MOVE_SECTION_BYTES];

static void no_log(void *opaque, enum rmig_log_level level, const char *message)
{
    (void)opaque;
    (void)level;
    (void)message;
}

static const struct rmig_transport_ops *plugin;
static pthread_once_t plugin_once = PTHREAD_ONCE_INIT;

static void init_plugin(void)
{
    static const struct rmig_host host = {
        .abi = RMIG_TRANSPORT_ABI,
        .struct_size = sizeof(host),
        .log = no_log,
        .log_threshold = RMIG_LOG_DEBUG,
        .zero_range = rmig_zero_range, /* as the loader of plugins has it */
    };

    plugin = rmig_transport_init(&host);
}

const struct rmig_transport_ops *move_ops(void)
{
    ck_assert_int_eq(pthread_once(&plugin_once, init_plugin), 0);
    ck_assert_ptr_nonnull(plugin);
    return plugin;
}

void move_init(struct move *m, uint32_t nblocks, const uint64_t *len_bytes)
{
    memset(m, 0, sizeof(*m));
    m->source_params = fixture_params();
    m->dest_params = fixture_params();
    ram_init(&m->from, nblocks, len_bytes);
    ram_init(&m->to, nblocks, len_bytes);
    for (uint32_t i = 0; i < nblocks; i++) {
        ram_fill(&m->from, i, 0, len_bytes[i], 1);
        memset(m->to.blocks[i].host, 0xee, len_bytes[i]);
    }
    for (size_t i = 0; i < sizeof(section_bytes); i++)
        section_bytes[i] = (uint8_t)(i * 7);
    ck_assert_int_eq(rmig_cancel_new(&m->source_cancel, NULL), 0);
    ck_assert_int_eq(rmig_cancel_new(&m->dest_cancel, NULL), 0);
    m->source_params.cancel_fd = rmig_cancel_fd(m->source_cancel);
    m->dest_params.cancel_fd = rmig_cancel_fd(m->dest_cancel);
}

void move_release(struct move *m)
{
    ram_release(&m->from);
    ram_release(&m->to);
    rmig_cancel_free(m->source_cancel);
    rmig_cancel_free(m->dest_cancel);
}

/* --- source ----------------------------------------------------------------------------------- */

static int save_all(struct move *m, struct rmig_err *err)
{
    int rc = rmig_save_setup(m->save, err);

    for (unsigned round = 0; rc == 0 && round < m->nrounds; round++) {
        rc = rmig_save_round(m->save, err);
        if (rc == 0 && m->touch)
            m->touch(m, round);
    }
    if (rc == 0)
        rc = rmig_save_complete(m->save, err);
    if (rc == 0 && m->before_end)
        m->before_end(m);
    if (rc == 0)
        rc = rmig_save_section(m->save, "device", 0, 3, section_bytes, sizeof(section_bytes), err);
    if (rc == 0)
        rc = rmig_save_end(m->save, err);
    m->saved = *rmig_save_stats(m->save);
    return rc;
}

static int source_side(struct move *m, const struct rmig_transport_ops *ops,
                       struct rmig_transport_conn *conn, struct rmig_err *err)
{
    struct rmig_save_opts opts = { .cancel = m->source_cancel };
    struct rmig_out *out = NULL;
    int rc = rmig_out_new(ops->channel(conn), &out, err);

    if (rc < 0)
        return rc;
    rc = rmig_out_attach_hooks(out, ops->hooks(conn), conn, err);
    if (rc == 0)
        rc = rmig_save_new(&m->save, out, m->from.blocks, m->from.nblocks, &opts, err);
    if (rc == 0)
        rc = save_all(m, err);
    if (rc == 0)
        rc = rmig_out_flush(out);
    if (rc < 0)
        rmig_out_error(out, err);
    rmig_save_free(m->save);
    m->save = NULL;
    if (rc == 0)
        rc = ops->finish(conn, err);
    (void)rmig_out_close(out, NULL);
    return rc;
}

static int run_source(void *arg, struct rmig_err *err)
{
    const struct rmig_transport_ops *ops = move_ops();
    struct rmig_transport_conn *conn = NULL;
    struct move *m = arg;
    char port[8];
    int rc;

    fabric_set_thread_side(FABRIC_ACTIVE);
    snprintf(port, sizeof(port), "%u", m->port);
    m->source_params.port = port;
    rc = ops->connect(&m->source_params, &conn, err);
    if (rc < 0) {
        rmig_cancel_trigger(m->dest_cancel); /* whoever manages the move does so */
        return rc;
    }
    if (m->connected)
        m->connected(m);
    rc = source_side(m, ops, conn, err);
    m->source_stats.struct_size = sizeof(m->source_stats);
    ck_assert_int_eq(ops->stats(conn, &m->source_stats), 0);
    ops->close(conn);
    return rc;
}

static int source_main(void *arg, struct rmig_err *err)
{
    struct move *m = arg;
    int rc = run_source(m, err);

    atomic_store(&m->source_done, true);
    return rc;
}

/* --- destination ------------------------------------------------------------------------------ */

static int on_section(void *opaque, const char *name, uint32_t instance_id, uint32_t version,
                      const void *data, size_t len_bytes, struct rmig_err *err)
{
    struct move *m = opaque;

    if (m->received)
        m->received(m);
    if (m->refuse_section)
        return rmig_err_set(err, -EBADMSG, "section %s is not wanted", name);
    m->section_came = !strcmp(name, "device") && instance_id == 0 && version == 3 &&
                      len_bytes == sizeof(section_bytes) &&
                      !memcmp(data, section_bytes, sizeof(section_bytes));
    return m->section_came ? 0 : rmig_err_set(err, -EBADMSG, "section %s is not as it was", name);
}

static int dest_side(struct move *m, const struct rmig_transport_ops *ops,
                     struct rmig_transport_conn *conn, struct rmig_err *err)
{
    struct rmig_load_opts opts = { .cancel = m->dest_cancel, .section = on_section,
                                   .section_opaque = m };
    struct rmig_load *load = NULL;
    struct rmig_in *in = NULL;
    int rc = rmig_in_new(ops->channel(conn), &in, err);

    if (rc < 0)
        return rc;
    rc = rmig_in_attach_hooks(in, ops->hooks(conn), conn, err);
    if (rc == 0)
        rc = rmig_load_new(&load, in, m->to.blocks, m->to.nblocks, &opts, err);
    if (rc == 0)
        rc = rmig_load_run(load, err);
    if (load)
        m->loaded = *rmig_load_stats(load);
    rmig_load_free(load);
    if (rc == 0)
        rc = ops->finish(conn, err);
    (void)rmig_in_close(in, NULL);
    return rc;
}

static int run_dest(void *arg, struct rmig_err *err)
{
    const struct rmig_transport_ops *ops = move_ops();
    struct rmig_transport_conn *conn = NULL;
    struct move *m = arg;
    int rc;

    fabric_set_thread_side(FABRIC_PASSIVE);
    rc = ops->accept(m->listener, 2000 + (int)slack_ms(), &m->dest_params, &conn, err);
    ops->listener_close(m->listener);
    if (rc < 0)
        return rc;
    rc = dest_side(m, ops, conn, err);
    m->dest_stats.struct_size = sizeof(m->dest_stats);
    ck_assert_int_eq(ops->stats(conn, &m->dest_stats), 0);
    ops->close(conn);
    return rc;
}

static int dest_main(void *arg, struct rmig_err *err)
{
    struct move *m = arg;
    int rc = run_dest(m, err);

    atomic_store(&m->dest_done, true);
    return rc;
}

/* --- both ------------------------------------------------------------------------------------- */

static void ended(const struct task *task, struct rmig_err *err_p)
{
    *err_p = task->err;
    if (task->rc < 0 && err_p->code == 0) {
        err_p->code = task->rc;
        ck_abort_msg("an end answered %d without a word", task->rc);
    }
    ck_assert_int_eq(err_p->code, task->rc < 0 ? task->rc : 0);
}

void move_run(struct move *m)
{
    int limit_ms = m->limit_ms ? m->limit_ms : 10000;
    struct task source, dest;
    int rc;

    fabric_set_thread_side(FABRIC_PASSIVE);
    rc = move_ops()->listen(&m->dest_params, &m->listener, &m->port, &m->dest_err);
    fabric_set_thread_side(FABRIC_ANY);
    if (rc < 0) {
        rmig_err_set(&m->source_err, -ENOTCONN, "not begun");
        return;
    }
    task_start(&dest, dest_main, m);
    task_start(&source, source_main, m);
    task_join(&source, limit_ms);
    task_join(&dest, limit_ms);
    ended(&source, &m->source_err);
    ended(&dest, &m->dest_err);
    m->source_ended_ns = source.ended_ns;
    m->dest_ended_ns = dest.ended_ns;
}

static void nothing_left(void)
{
    for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
        assert_nothing_left((enum fabric_side)side);
}

void move_was_good(const struct move *m)
{
    ck_assert_msg(m->source_err.code == 0, "source: %s", m->source_err.msg);
    ck_assert_msg(m->dest_err.code == 0, "destination: %s", m->dest_err.msg);
    ck_assert(m->section_came);
    ck_assert(ram_equal(&m->from, &m->to));
    nothing_left();
}

void move_failed_cleanly(const struct move *m)
{
    ck_assert_msg(m->source_err.code || m->dest_err.code, "both ends report success");
    /* The destination never runs a guest that the source thinks it has lost. */
    ck_assert_msg(m->dest_err.code || m->section_came, "success without the device's state");
    if (!m->dest_err.code)
        ck_assert(ram_equal(&m->from, &m->to));
    nothing_left();
}
