/* SPDX-License-Identifier: BSD-3-Clause */
/* rate.c -- what an output stream has moved, and the limit of what it may put. */
#include "stream/out.h"

#include "common/clock.h"

uint64_t rmig_out_transferred_bytes(struct rmig_out *out)
{
    rmig_out_flush(out);
    return out->written_bytes + out->credited_bytes;
}

uint64_t rmig_out_transferred_fast_bytes(const struct rmig_out *out)
{
    if (rmig_sticky_code(&out->error) < 0)
        return out->written_bytes + out->credited_bytes;
    return rmig_stream_out_put_bytes(out) + out->credited_bytes;
}

void rmig_out_credit_transferred(struct rmig_out *out, uint64_t nbytes)
{
    out->credited_bytes += nbytes;
}

void rmig_out_credit_rate(struct rmig_out *out, uint64_t nbytes)
{
    out->rate_credit_bytes += nbytes;
    out->rate_credited_bytes += nbytes;
}

/* All that counts against the limit, ever. */
static uint64_t rated_bytes(const struct rmig_out *out)
{
    return rmig_stream_out_put_bytes(out) + out->rate_credited_bytes;
}

static uint64_t per_s(uint64_t bytes_per_window)
{
    return bytes_per_window * (1000 / RMIG_RATE_WINDOW_MS);
}

void rmig_out_set_rate_limit(struct rmig_out *out, uint64_t bytes_per_window)
{
    if (out->rate_limit_bytes == 0) {
        rmig_bucket_reset(&out->bucket, rated_bytes(out));
    } else if (bytes_per_window > 0 && bytes_per_window != out->rate_limit_bytes) {
        (void)rmig_out_rate_wait_ns(out); /* what was put so far was put at the old rate */
        rmig_bucket_rerate(&out->bucket, per_s(out->rate_limit_bytes), per_s(bytes_per_window),
                           rmig_now_ns());
    }
    out->rate_limit_bytes = bytes_per_window;
}

uint64_t rmig_out_rate_limit(const struct rmig_out *out)
{
    return out->rate_limit_bytes;
}

void rmig_out_reset_rate_window(struct rmig_out *out)
{
    out->rate_start_bytes = rmig_stream_out_put_bytes(out);
    out->rate_credit_bytes = 0;
}

bool rmig_out_rate_reached(const struct rmig_out *out)
{
    uint64_t used = rmig_stream_out_put_bytes(out) - out->rate_start_bytes + out->rate_credit_bytes;

    if (rmig_sticky_code(&out->error) < 0)
        return true;
    return out->rate_limit_bytes && used > out->rate_limit_bytes;
}

uint64_t rmig_out_rate_wait_ns(struct rmig_out *out)
{
    if (out->rate_limit_bytes == 0 || rmig_sticky_code(&out->error) < 0)
        return 0;
    return rmig_bucket_wait_ns(&out->bucket, per_s(out->rate_limit_bytes), rated_bytes(out),
                               rmig_now_ns());
}
