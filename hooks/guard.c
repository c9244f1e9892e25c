/* SPDX-License-Identifier: BSD-3-Clause */
/* guard.c -- attaches hooks to a stream and guards every call of one. */
#include "hooks/guard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "hooks/once.h"
#include "stream/format.h"
#include "stream/stream_internal.h"

enum guard_state { GUARD_IDLE, GUARD_PASS, GUARD_FAILED };

/* One attachment; it hangs on the stream and goes with it. */
struct rmig_guard {
    const struct rmig_hooks *hooks;
    void *opaque;
    bool aside; /* in: the stream goes on right behind a mark */
    struct rmig_blocks blocks; /* a view of the caller's; items is NULL until set_blocks */
    enum guard_state state;
    enum rmig_hook_flag flag; /* of the pass that is open */
    struct rmig_once *once;   /* NULL but in debug builds */
    uint64_t quiet_bytes;     /* what the stream had when the pass began, and credits since */
};

#ifdef NDEBUG
static const bool debug_build = false;
#else
static const bool debug_build = true;
#endif

/* --- attach and detach ----------------------------------------------------------------------- */

static int guard_new(const struct rmig_hooks *hooks, void *opaque, struct rmig_guard **g_p,
                     struct rmig_err *err)
{
    struct rmig_guard *g = calloc(1, sizeof(*g));

    if (!g)
        return rmig_err_set(err, -ENOMEM, "attach hooks: out of memory");
    g->hooks = hooks;
    g->opaque = opaque;
    *g_p = g;
    return 0;
}

static void guard_free(struct rmig_guard *g)
{
    if (!g)
        return;
    rmig_once_free(g->once);
    free(g);
}

int rmig_out_attach_hooks(struct rmig_out *out, const struct rmig_hooks *hooks, void *opaque,
                          struct rmig_err *err)
{
    struct rmig_guard *g = NULL;
    int rc;

    if (rmig_stream_out_guard(out))
        return rmig_err_set(err, -EBUSY, "attach hooks: the outgoing stream has a set already");
    rc = guard_new(hooks, opaque, &g, err);
    if (rc < 0)
        return rc;
    rmig_stream_out_set_guard(out, g, guard_free);
    return 0;
}

int rmig_in_attach_hooks(struct rmig_in *in, const struct rmig_hooks *hooks, void *opaque,
                         struct rmig_err *err)
{
    return rmig_hook_in_attach(in, hooks, opaque, false, err);
}

int rmig_hook_in_attach(struct rmig_in *in, const struct rmig_hooks *hooks, void *opaque,
                        bool aside, struct rmig_err *err)
{
    struct rmig_guard *g = NULL;
    int rc;

    if (rmig_stream_in_guard(in))
        return rmig_err_set(err, -EBUSY, "attach hooks: the incoming stream has a set already");
    rc = guard_new(hooks, opaque, &g, err);
    if (rc < 0)
        return rc;
    g->aside = aside;
    rmig_stream_in_set_guard(in, g, guard_free);
    return 0;
}

void rmig_out_detach_hooks(struct rmig_out *out)
{
    struct rmig_guard *g = rmig_stream_out_guard(out);

    /* Where the stream has failed the pass has no other end. */
    assert(!g || g->state != GUARD_PASS || rmig_out_error(out, NULL) < 0);
    rmig_stream_out_set_guard(out, NULL, NULL);
    guard_free(g);
}

void rmig_in_detach_hooks(struct rmig_in *in)
{
    struct rmig_guard *g = rmig_stream_in_guard(in);

    rmig_stream_in_set_guard(in, NULL, NULL);
    guard_free(g);
}

bool rmig_hook_attached(const struct rmig_out *out)
{
    return rmig_stream_out_guard(out) != NULL;
}

/* --- block table ----------------------------------------------------------------------------- */

static int set_blocks(struct rmig_guard *g, const struct rmig_blocks *blocks, struct rmig_err *err)
{
    int rc;

    if (g->blocks.items)
        return rmig_err_set(err, -EBUSY, "hooks: they have a block table already");
    /* The table is the driver's, who may be gone before the stream is; the items stay. */
    g->blocks = *blocks;
    g->blocks.by_name = NULL;
    if (!g->hooks->set_blocks)
        return 0;
    rc = g->hooks->set_blocks(g->opaque, blocks->items, blocks->count, err);
    if (rc < 0 && err->code == 0)
        rmig_err_set(err, rc, "hook set_blocks: failed with error %d", -rc);
    return rc < 0 ? rc : 0;
}

int rmig_hook_out_set_blocks(struct rmig_out *out, const struct rmig_blocks *blocks,
                             struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_guard *g = rmig_stream_out_guard(out);
    int rc = g ? set_blocks(g, blocks, &e) : 0;

    if (rc < 0) {
        rmig_out_set_error(out, rc, "%s", e.msg);
        return rmig_err_set(err, rc, "%s", e.msg);
    }
    if (g && debug_build)
        g->once = rmig_once_new(&g->blocks);
    return 0;
}

int rmig_hook_in_set_blocks(struct rmig_in *in, const struct rmig_blocks *blocks,
                            struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_guard *g = rmig_stream_in_guard(in);
    int rc = g ? set_blocks(g, blocks, &e) : 0;

    if (rc < 0) {
        rmig_in_set_error(in, rc, "%s", e.msg);
        return rmig_err_set(err, rc, "%s", e.msg);
    }
    return 0;
}

/* --- source ---------------------------------------------------------------------------------- */

/* The stream's error from here on; the pass is over. A hook that gave no message gets one. */
static int fail(struct rmig_out *out, struct rmig_guard *g, int code, const char *hook,
                const struct rmig_err *e, struct rmig_err *err)
{
    g->state = GUARD_FAILED;
    if (e->code < 0) {
        rmig_out_set_error(out, code, "%s", e->msg);
        return rmig_err_set(err, code, "%s", e->msg);
    }
    rmig_out_set_error(out, code, "hook %s: failed with error %d", hook, -code);
    return rmig_err_set(err, code, "hook %s: failed with error %d", hook, -code);
}

static int check_begin(const struct rmig_guard *g, enum rmig_hook_flag flag, struct rmig_err *e)
{
    if (g->state != GUARD_IDLE)
        return rmig_err_set(e, -EINVAL, "hook before_iterate: a pass is open or has failed");
    if (!g->blocks.items)
        return rmig_err_set(e, -EINVAL, "hook before_iterate: no block table was set");
    if (flag != RMIG_HOOK_SETUP && flag != RMIG_HOOK_ROUND && flag != RMIG_HOOK_FINISH)
        return rmig_err_set(e, -EINVAL, "hook before_iterate: flag %d is not for a pass",
                            (int)flag);
    return 0;
}

int rmig_hook_before_iterate(struct rmig_out *out, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_guard *g = rmig_stream_out_guard(out);
    int rc = rmig_out_error(out, err);

    if (rc < 0 || !g)
        return rc;
    rc = check_begin(g, flag, &e);
    if (rc < 0)
        return fail(out, g, rc, "before_iterate", &e, err);
    if (g->hooks->before_iterate) {
        rmig_out_put_be64(out, RMIG_RAM_HOOK);
        if (rmig_out_flush(out) < 0)
            return rmig_out_error(out, err);
        rc = g->hooks->before_iterate(g->opaque, flag, &e);
        if (rc < 0)
            return fail(out, g, rc, "before_iterate", &e, err);
    }
    g->state = GUARD_PASS;
    g->flag = flag;
    g->quiet_bytes = rmig_out_transferred_fast_bytes(out);
    rmig_once_restart(g->once);
    return 0;
}

static int check_run(const struct rmig_guard *g, const struct rmig_run *run, struct rmig_err *e)
{
    uint8_t *ptr;
    int rc;

    if (g->state != GUARD_PASS || g->flag == RMIG_HOOK_SETUP)
        return rmig_err_set(e, -EINVAL, "hook save_page: no pass over pages is open");
    rc = rmig_blocks_range(&g->blocks, run->block_index, run->offset_bytes, run->len_bytes, &ptr);
    if (rc < 0 || run->offset_bytes % RMIG_PAGE_BYTES || run->len_bytes % RMIG_PAGE_BYTES)
        return rmig_err_set(e, -EINVAL,
                            "hook save_page: block %u, offset %llu, length %llu are not whole "
                            "pages of a block",
                            run->block_index, (unsigned long long)run->offset_bytes,
                            (unsigned long long)run->len_bytes);
    if (!rmig_once_note(g->once, run))
        return rmig_err_set(e, -EINVAL,
                            "hook save_page: block %u, offset %llu, length %llu: a page was put "
                            "before in this pass",
                            run->block_index, (unsigned long long)run->offset_bytes,
                            (unsigned long long)run->len_bytes);
    return 0;
}

int rmig_hook_save_page(struct rmig_out *out, const struct rmig_run *run, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_guard *g = rmig_stream_out_guard(out);
    uint64_t sent_bytes = 0;
    int rc = rmig_out_error(out, err);

    if (rc < 0)
        return rc;
    if (!g || !g->hooks->save_page)
        return RMIG_PUT_NOT_SUPPORTED;
    rc = check_run(g, run, &e);
    if (rc == 0)
        rc = g->hooks->save_page(g->opaque, run, &sent_bytes, &e);
    if (rc > RMIG_PUT_SENT)
        rc = rmig_err_set(&e, -EINVAL, "hook save_page: answered %d, which means nothing", rc);
    if (rc < 0)
        return fail(out, g, rc, "save_page", &e, err);
    if (rc != RMIG_PUT_NOT_SUPPORTED)
        rmig_out_credit_rate(out, run->flags & RMIG_RUN_ZERO ? 0 : run->len_bytes);
    if (rc == RMIG_PUT_SENT && sent_bytes > 0) {
        rmig_out_credit_transferred(out, sent_bytes);
        g->quiet_bytes += sent_bytes;
    }
    return rc;
}

int rmig_hook_after_iterate(struct rmig_out *out, enum rmig_hook_flag flag, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    struct rmig_guard *g = rmig_stream_out_guard(out);
    int rc = rmig_out_error(out, err);

    if (rc < 0 || !g)
        return rc;
    if (g->state != GUARD_PASS || g->flag != flag) {
        rmig_err_set(&e, -EINVAL, "hook after_iterate: no pass with flag %d is open", (int)flag);
        return fail(out, g, -EINVAL, "after_iterate", &e, err);
    }
    assert(rmig_out_transferred_fast_bytes(out) == g->quiet_bytes);
    if (g->hooks->after_iterate)
        rc = g->hooks->after_iterate(g->opaque, flag, &e);
    if (rc < 0)
        return fail(out, g, rc, "after_iterate", &e, err);
    g->state = GUARD_IDLE;
    return 0;
}

/* --- destination ----------------------------------------------------------------------------- */

static int load(struct rmig_in *in, const struct rmig_guard *g, enum rmig_hook_flag flag,
                const char *name, struct rmig_err *e)
{
    int rc;

    if (!g || !g->hooks->load) {
        if (flag != RMIG_HOOK_HOOK)
            return 0;
        return rmig_err_set(e, -EINVAL,
                            "hook mark in the stream, but nothing is attached at this end: the pages "
                            "come by RDMA, so receive with it too, or are in a RAM image");
    }
    if (flag == RMIG_HOOK_HOOK && !g->aside && rmig_in_buffered_bytes(in) > 0)
        return rmig_err_set(e, -EPROTO,
                            "hook mark: %zu bytes follow it in its message, 0 are allowed",
                            rmig_in_buffered_bytes(in));
    rc = g->hooks->load(g->opaque, flag, name, e);
    if (rc < 0 && e->code == 0)
        rmig_err_set(e, rc, "hook load: failed with error %d", -rc);
    return rc < 0 ? rc : 0;
}

int rmig_hook_load(struct rmig_in *in, enum rmig_hook_flag flag, const char *name,
                   struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc = rmig_in_error(in, err);

    if (rc < 0)
        return rc;
    rc = load(in, rmig_stream_in_guard(in), flag, name, &e);
    if (rc < 0) {
        rmig_in_set_error(in, rc, "%s", e.msg);
        return rmig_err_set(err, rc, "%s", e.msg);
    }
    return 0;
}
