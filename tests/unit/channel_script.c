/* SPDX-License-Identifier: BSD-3-Clause */
/* channel_script.c -- a channel whose every answer the test decides. */
#include "tests/unit/channel_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct script *script_of(struct rmig_channel *ch)
{
    return (struct script *)ch;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The interruptions that both directions share. 0 = go on. */
static ssize_t interruption(struct script *s)
{
    s->ntransfers++;
    if (s->intr_every && s->ntransfers % s->intr_every == 0)
        return -EINTR;
    if (s->again_every && s->ntransfers % s->again_every == 0)
        return -EAGAIN;
    return 0;
}

/* How far a call may go before the fault. Returns false: the fault is due, with *rc_p. */
static bool before_fault(const struct script_fault *fault, uint64_t done, size_t *max_p,
                         ssize_t *rc_p, struct rmig_err *err)
{
    if (fault->code == 0)
        return true;
    if (done < fault->at_bytes) {
        *max_p = smaller(*max_p, fault->at_bytes - done);
        return true;
    }
    *rc_p = fault->code == SCRIPT_ZERO ? 0 : fault->code;
    if (fault->code < 0 && fault->msg)
        rmig_err_set(err, fault->code, "%s", fault->msg);
    return false;
}

static ssize_t script_readv(struct rmig_channel *ch, const struct iovec *iov, int niov,
                            struct rmig_err *err)
{
    struct script *s = script_of(ch);
    size_t max = s->read_max ? s->read_max : SIZE_MAX;
    ssize_t rc = interruption(s), done = 0;

    s->nreadv++;
    if (s->on_read)
        s->on_read(s, s->opaque);
    if (rc < 0 || !before_fault(&s->read_fault, s->read_bytes, &max, &rc, err))
        return rc;
    for (int i = 0; i < niov && max; i++) {
        size_t n = smaller(smaller(iov[i].iov_len, max), s->input_bytes - s->read_bytes);

        if (n)
            memcpy(iov[i].iov_base, s->input + s->read_bytes, n);
        s->read_bytes += n;
        max -= n;
        done += (ssize_t)n;
    }
    return done;
}

static void keep_output(struct script *s, const void *p, size_t n)
{
    if (s->output_room - s->output_bytes < n) {
        s->output_room = (s->output_bytes + n) * 2;
        s->output = realloc(s->output, s->output_room);
        if (!s->output)
            abort();
    }
    memcpy(s->output + s->output_bytes, p, n);
    s->output_bytes += n;
}

static ssize_t script_writev(struct rmig_channel *ch, const struct iovec *iov, int niov,
                             struct rmig_err *err)
{
    struct script *s = script_of(ch);
    size_t max = s->write_max ? s->write_max : SIZE_MAX;
    struct script_call *call = &s->calls[s->nwritev++ % SCRIPT_CALLS_MAX];
    ssize_t rc = interruption(s), done = 0;

    *call = (struct script_call){.niov = niov};
    for (int i = 0; i < niov; i++)
        call->len_bytes += iov[i].iov_len;
    if (rc < 0 || !before_fault(&s->write_fault, s->output_bytes, &max, &rc, err))
        return rc;
    for (int i = 0; i < niov && max; i++) {
        size_t n = smaller(iov[i].iov_len, max);

        if (n)
            keep_output(s, iov[i].iov_base, n);
        max -= n;
        done += (ssize_t)n;
    }
    return done;
}

static int answer(int code, const char *msg, struct rmig_err *err)
{
    return code < 0 ? rmig_err_set(err, code, "%s", msg) : code;
}

static int script_close(struct rmig_channel *ch, struct rmig_err *err)
{
    script_of(ch)->closed = true;
    return answer(script_of(ch)->close_code, "scripted close", err);
}

static int script_shutdown(struct rmig_channel *ch, enum rmig_shut how, struct rmig_err *err)
{
    struct script *s = script_of(ch);

    (void)how;
    s->nshutdown++;
    if (s->on_shutdown)
        s->on_shutdown(s, s->opaque);
    return answer(s->shutdown_code, "scripted shutdown", err);
}

static int script_set_blocking(struct rmig_channel *ch, bool blocking, struct rmig_err *err)
{
    (void)err;
    script_of(ch)->blocking = blocking;
    return 0;
}

static int script_get_fd(struct rmig_channel *ch)
{
    (void)ch;
    return 12345;
}

static int script_wait(struct rmig_channel *ch, enum rmig_shut direction, struct rmig_err *err)
{
    (void)direction;
    script_of(ch)->nwait++;
    return answer(script_of(ch)->wait_code, "scripted wait", err);
}

static int64_t script_seek(struct rmig_channel *ch, int64_t offset_bytes, int whence,
                           struct rmig_err *err)
{
    struct script *s = script_of(ch);

    if (s->positional_code < 0)
        return answer(s->positional_code, "scripted seek", err);
    s->position = whence == SEEK_CUR ? s->position + offset_bytes : offset_bytes;
    return s->position;
}

static ssize_t positional(struct script *s, size_t len_bytes, struct rmig_err *err)
{
    if (s->positional_code < 0)
        return answer(s->positional_code, "scripted position", err);
    return (ssize_t)(s->positional_max ? smaller(len_bytes, s->positional_max) : len_bytes);
}

static ssize_t script_pread(struct rmig_channel *ch, void *buf, size_t len_bytes,
                            uint64_t offset_bytes, struct rmig_err *err)
{
    (void)offset_bytes;
    memset(buf, 0, len_bytes);
    return positional(script_of(ch), len_bytes, err);
}

static ssize_t script_pwrite(struct rmig_channel *ch, const void *buf, size_t len_bytes,
                             uint64_t offset_bytes, struct rmig_err *err)
{
    (void)buf, (void)offset_bytes;
    return positional(script_of(ch), len_bytes, err);
}

struct script *script_new(const void *input, size_t input_bytes)
{
    struct script *s = calloc(1, sizeof(*s));

    if (!s)
        abort();
    s->ops = (struct rmig_channel_ops){
        .name = "script",
        .readv = script_readv,
        .writev = script_writev,
        .close = script_close,
        .shutdown = script_shutdown,
        .set_blocking = script_set_blocking,
        .get_fd = script_get_fd,
        .seek = script_seek,
        .pread = script_pread,
        .pwrite = script_pwrite,
        .wait = script_wait,
    };
    s->base.ops = &s->ops;
    s->base.flags = RMIG_CHANNEL_READABLE | RMIG_CHANNEL_WRITABLE | RMIG_CHANNEL_SEEKABLE;
    s->input = input;
    s->input_bytes = input_bytes;
    s->blocking = -1;
    return s;
}

void script_free(struct script *s)
{
    if (!s)
        return;
    free(s->output);
    free(s);
}
