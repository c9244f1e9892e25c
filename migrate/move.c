/* SPDX-License-Identifier: BSD-3-Clause */
/* move.c -- state, cancel, and the two ways of being driven. */
#include "migrate/move.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/overflow.h"

/* --- life cycle ------------------------------------------------------------------------------- */

static int check_ops(const struct rmig_vm_ops *ops, bool is_source, struct rmig_err *err)
{
    const struct {
        const char *name;
        bool missing;
    } needed[] = {
        {"list_blocks", !ops->list_blocks},
        {"resume", !ops->resume},
        {"dirty_start", is_source && !ops->dirty_start},
        {"dirty_sync", is_source && !ops->dirty_sync},
        {"dirty_stop", is_source && !ops->dirty_stop},
        {"pause", is_source && !ops->pause},
        {"save_devices", is_source && !ops->save_devices},
        {"load_device", !is_source && !ops->load_device},
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (needed[i].missing)
            return rmig_err_set(err, -EINVAL, "struct rmig_vm_ops: a %s needs the op %s",
                                is_source ? "source" : "destination", needed[i].name);
    return 0;
}

static int take_ops(struct rmig_move *move, const struct rmig_vm_ops *ops, bool is_source,
                    struct rmig_err *err)
{
    if (ops->struct_size < offsetof(struct rmig_vm_ops, throttle))
        return rmig_err_set(err, -EINVAL, "struct rmig_vm_ops: struct_size is %u, at least %zu is "
                            "needed", ops->struct_size, offsetof(struct rmig_vm_ops, throttle));
    memcpy(&move->ops, ops, rmig_min_u64(ops->struct_size, sizeof(move->ops)));
    return check_ops(&move->ops, is_source, err);
}

int rmig_move_init(struct rmig_move *move, const struct rmig_vm_ops *ops, void *vm, bool is_source,
                   struct rmig_err *err)
{
    int rc;

    move->vm = vm;
    move->event_fd = -1;
    pthread_mutex_init(&move->lock, NULL);
    pthread_cond_init(&move->answered, NULL);
    rc = take_ops(move, ops, is_source, err);
    if (rc < 0)
        return rc;
    move->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (move->event_fd < 0)
        return rmig_err_set(err, -errno, "no descriptor to poll: %s", strerror(errno));
    rc = rmig_cancel_new(&move->cancel, err);
    if (rc < 0)
        return rc;
    rc = move->ops.list_blocks(vm, &move->blocks, &move->nblocks, err);
    if (rc < 0)
        return rmig_err_set(err, rc, "the op list_blocks failed with error %d", -rc);
    for (uint32_t i = 0; i < move->nblocks; i++)
        move->status.total_ram_bytes += move->blocks[i].len_bytes;
    return 0;
}

static void wait_end(struct rmig_move *move)
{
    struct pollfd fd = {move->event_fd, POLLIN, 0};

    if (move->threaded)
        (void)rmig_move_cancel(move); /* once the go-ahead is given, its answer is waited for */
    while (move->threaded && rmig_move_step(move, NULL) == 1)
        (void)poll(&fd, 1, -1);
}

void rmig_move_release(struct rmig_move *move)
{
    wait_end(move);
    rmig_cancel_free(move->cancel);
    if (move->event_fd >= 0)
        close(move->event_fd);
    pthread_cond_destroy(&move->answered);
    pthread_mutex_destroy(&move->lock);
}

/* --- being driven ----------------------------------------------------------------------------- */

static void wake(struct rmig_move *move)
{
    (void)eventfd_write(move->event_fd, 1); /* fails only where it is readable already */
}

static int begin(struct rmig_move *move, struct rmig_err *err)
{
    bool begun;

    pthread_mutex_lock(&move->lock);
    begun = move->begun;
    move->begun = true;
    pthread_mutex_unlock(&move->lock);
    if (begun)
        return rmig_err_set(err, -EINVAL, "a source or destination moves one guest, once");
    move->began_ns = rmig_now_ns();
    return 0;
}

int rmig_move_run(struct rmig_move *move, struct rmig_err *err)
{
    int rc = begin(move, err);

    return rc < 0 ? rc : move->work(move, err);
}

static void *thread_main(void *arg)
{
    struct rmig_move *move = arg;
    struct rmig_err err = RMIG_ERR_INIT;
    int rc = move->work(move, &err);

    pthread_mutex_lock(&move->lock);
    move->rc = rc;
    move->err = err;
    move->ended = true;
    wake(move);
    pthread_mutex_unlock(&move->lock);
    return NULL;
}

static int begin_thread(struct rmig_move *move, struct rmig_err *err)
{
    int rc = begin(move, err);

    if (rc < 0)
        return rc;
    move->threaded = true;
    rc = pthread_create(&move->thread, NULL, thread_main, move);
    if (rc == 0)
        return 1;
    move->threaded = false;
    return rmig_err_set(err, -rc, "no thread for the move: %s", strerror(rc));
}

/* What waits is done without the lock: it may take its time, or ask for the status. */
static void answer(struct rmig_move *move)
{
    struct rmig_move_request *request;
    struct rmig_move_status status;
    bool news;

    pthread_mutex_lock(&move->lock);
    request = move->request;
    news = move->news;
    move->news = false;
    status = move->status;
    pthread_mutex_unlock(&move->lock);
    if (news)
        move->progress(move->progress_opaque, &status);
    if (!request)
        return;
    request->rc = request->fn(request->arg, request->err);
    pthread_mutex_lock(&move->lock);
    move->request = NULL;
    request->answered = true;
    pthread_cond_signal(&move->answered);
    pthread_mutex_unlock(&move->lock);
}

int rmig_move_step(struct rmig_move *move, struct rmig_err *err)
{
    eventfd_t count;
    bool ended;

    if (!move->threaded)
        return begin_thread(move, err);
    (void)eventfd_read(move->event_fd, &count);
    answer(move);
    pthread_mutex_lock(&move->lock);
    ended = move->ended && !move->news;
    pthread_mutex_unlock(&move->lock);
    if (!ended)
        return 1;
    pthread_join(move->thread, NULL);
    move->threaded = false;
    return move->rc < 0 ? rmig_err_set(err, move->rc, "%s", move->err.msg) : 0;
}

int rmig_move_call(struct rmig_move *move, rmig_move_fn fn, void *arg, struct rmig_err *err)
{
    struct rmig_move_request request = {.fn = fn, .arg = arg, .err = err};

    if (!move->threaded)
        return fn(arg, err);
    pthread_mutex_lock(&move->lock);
    move->request = &request;
    wake(move);
    while (!request.answered)
        pthread_cond_wait(&move->answered, &move->lock);
    pthread_mutex_unlock(&move->lock);
    return request.rc;
}

int rmig_move_cancel(struct rmig_move *move)
{
    int rc = 0;

    pthread_mutex_lock(&move->lock);
    if (move->committed)
        rc = -EALREADY;
    else
        rmig_cancel_trigger(move->cancel);
    pthread_mutex_unlock(&move->lock);
    return rc;
}

int rmig_move_commit(struct rmig_move *move, struct rmig_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&move->lock);
    if (rmig_cancel_triggered(move->cancel))
        rc = rmig_err_set(err, -ECANCELED, "cancelled");
    else
        move->committed = true;
    pthread_mutex_unlock(&move->lock);
    if (rc == 0)
        rmig_move_enter(move, RMIG_MOVE_COMMITTED);
    return rc;
}

/* --- state and figures ------------------------------------------------------------------------ */

void rmig_move_status(const struct rmig_move *move, struct rmig_move_status *status_p)
{
    struct rmig_move *m = (struct rmig_move *)move; /* for its lock */

    pthread_mutex_lock(&m->lock);
    *status_p = m->status;
    pthread_mutex_unlock(&m->lock);
}

struct rmig_move_status *rmig_move_lock_status(struct rmig_move *move)
{
    pthread_mutex_lock(&move->lock);
    return &move->status;
}

/* Unlocks. */
static void tell(struct rmig_move *move, bool now)
{
    struct rmig_move_status status;
    uint64_t now_ns = rmig_now_ns();

    if (!move->settled)
        move->status.elapsed_ns = now_ns - move->began_ns;
    move->settled = move->status.state >= RMIG_MOVE_DONE;
    now = now || now_ns - move->reported_ns >= RMIG_PROGRESS_MS * RMIG_NS_PER_MS;
    now = now && move->progress;
    if (now)
        move->reported_ns = now_ns;
    if (now && move->threaded) {
        move->news = true;
        wake(move);
        now = false;
    }
    status = move->status;
    pthread_mutex_unlock(&move->lock);
    if (now)
        move->progress(move->progress_opaque, &status);
}

void rmig_move_unlock_status(struct rmig_move *move)
{
    tell(move, false);
}

void rmig_move_enter(struct rmig_move *move, enum rmig_move_state state)
{
    pthread_mutex_lock(&move->lock);
    move->status.state = state;
    tell(move, true);
}

static int call_resume(void *arg, struct rmig_err *err)
{
    struct rmig_move *move = arg;

    return move->ops.resume(move->vm, err);
}

int rmig_move_resume(struct rmig_move *move, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    int rc = rmig_move_call(move, call_resume, move, &why);

    if (rc < 0)
        return rmig_err_set(err, rc, "the guest was not resumed: %s",
                            why.msg[0] ? why.msg : strerror(-rc));
    return 0;
}
