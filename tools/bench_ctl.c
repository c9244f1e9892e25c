/* bench_ctl.c -- the control connection: lines of JSON with bounds and deadlines. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_ctl.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <rmig/rmig.h>

#include "tools/bench_units.h"

#define MAGIC "rdma_migrate_bench"
#define SEND_MS 10000

/* Text of a peer is printed: nothing but plain characters of it. */
static void clean_text(char *to, size_t len, const char *from)
{
    size_t i;

    for (i = 0; from[i] && i + 1 < len; i++)
        to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
    to[i] = '\0';
}

/* An IPv4 address that a dual-stack socket wrapped. */
static void plain_ipv4(char *address)
{
    if (!strncmp(address, "::ffff:", 7) && strchr(address, '.'))
        memmove(address, address + 7, strlen(address + 7) + 1);
}

static int name_ends(struct bench_ctl *ctl, struct rmig_err *err)
{
    struct sockaddr_storage local, peer;
    socklen_t local_len = sizeof(local), peer_len = sizeof(peer);
    char host[64], port[8];

    if (getsockname(ctl->fd, (struct sockaddr *)&local, &local_len) < 0 ||
        getpeername(ctl->fd, (struct sockaddr *)&peer, &peer_len) < 0)
        return rmig_err_set(err, -errno, "control connection: %s", strerror(errno));
    if (getnameinfo((struct sockaddr *)&local, local_len, ctl->local, sizeof(ctl->local), NULL, 0,
                    NI_NUMERICHOST) ||
        getnameinfo((struct sockaddr *)&peer, peer_len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return rmig_err_set(err, -EIO, "control connection: an address that cannot be written");
    plain_ipv4(ctl->local);
    plain_ipv4(host);
    snprintf(ctl->peer, sizeof(ctl->peer), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

int bench_ctl_adopt(struct bench_ctl *ctl, struct rmig_channel *ch, struct rmig_cancel *stop,
                    struct rmig_err *err)
{
    int rc;

    *ctl = (struct bench_ctl){.ch = ch, .fd = -1, .stop = stop, .end_fd = -1};
    ctl->fd = ch->ops->get_fd ? ch->ops->get_fd(ch) : -1;
    ctl->buf = malloc(BENCH_LINE_MAX);
    if (ctl->fd < 0)
        rc = rmig_err_set(err, -EBADF, "control connection: no socket");
    else if (!ctl->buf)
        rc = rmig_err_set(err, -ENOMEM, "control connection: out of memory");
    else
        rc = name_ends(ctl, err);
    if (rc < 0)
        bench_ctl_close(ctl);
    return rc;
}

int bench_ctl_connect(struct bench_ctl *ctl, const char *host, const char *port,
                      uint32_t dead_peer_ms, struct rmig_cancel *stop, struct rmig_err *err)
{
    struct rmig_channel_opts opts = {.cancel = stop, .dead_peer_ms = dead_peer_ms};
    struct rmig_uri uri = {.kind = RMIG_URI_TCP, .fd = -1};
    struct rmig_channel *ch = NULL;
    int rc;

    snprintf(uri.host, sizeof(uri.host), "%s", host);
    snprintf(uri.port, sizeof(uri.port), "%s", port);
    rc = rmig_channel_open(&uri, RMIG_OPEN_WRITE, &opts, &ch, err);
    if (rc < 0)
        return rc;
    return bench_ctl_adopt(ctl, ch, stop, err);
}

void bench_ctl_close(struct bench_ctl *ctl)
{
    if (ctl->ch)
        (void)rmig_channel_close(ctl->ch, NULL); /* nothing is lost that anybody waits for */
    free(ctl->buf);
    *ctl = (struct bench_ctl){.fd = -1, .end_fd = -1};
}

/* Wait for events. Returns 0, -ETIMEDOUT, -ECANCELED, or -EINTR for end_fd. */
static int wait_for(const struct bench_ctl *ctl, short events, uint64_t deadline_ns, int timeout_ms,
                    const char *what, struct rmig_err *err)
{
    for (;;) {
        struct pollfd fds[3] = {{.fd = ctl->fd, .events = events},
                                {.fd = rmig_cancel_fd(ctl->stop), .events = POLLIN},
                                {.fd = ctl->end_fd, .events = POLLIN}};
        uint64_t now = bench_now_ns();
        int ms = now >= deadline_ns ? 0 : (int)((deadline_ns - now) / BENCH_NS_PER_MS + 1);

        if (poll(fds, 3, ms) < 0 && errno != EINTR)
            return rmig_err_set(err, -errno, "control connection: poll: %s", strerror(errno));
        if (rmig_cancel_triggered(ctl->stop))
            return rmig_err_set(err, -ECANCELED, "cancelled");
        if (fds[0].revents)
            return 0;
        if (fds[2].revents)
            return -EINTR;
        if (ms == 0)
            return rmig_err_set(err, -ETIMEDOUT, "%s: %s for %d ms", ctl->peer, what, timeout_ms);
    }
}

static uint64_t deadline_of(int timeout_ms)
{
    return bench_now_ns() + (uint64_t)timeout_ms * BENCH_NS_PER_MS;
}

static int send_all(struct bench_ctl *ctl, const char *data, size_t len, struct rmig_err *err)
{
    uint64_t deadline_ns = deadline_of(SEND_MS);

    while (len > 0) {
        ssize_t n = send(ctl->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            data += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int rc = wait_for(ctl, POLLOUT, deadline_ns, SEND_MS, "took no data", err);

            if (rc < 0)
                return rc;
        } else if (errno != EINTR) {
            return rmig_err_set(err, -errno, "control connection to %s: %s", ctl->peer,
                                strerror(errno));
        }
    }
    return 0;
}

int bench_ctl_send(struct bench_ctl *ctl, json_t *msg, struct rmig_err *err)
{
    char *line = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
    size_t len;
    int rc;

    json_decref(msg);
    if (!line)
        return rmig_err_set(err, -ENOMEM, "control connection: out of memory");
    len = strlen(line);
    line[len] = '\n'; /* in the place of the NUL: the length goes along */
    rc = len < BENCH_LINE_MAX
             ? send_all(ctl, line, len + 1, err)
             : rmig_err_set(err, -EMSGSIZE, "control message of %zu bytes: at most %u", len,
                            BENCH_LINE_MAX);
    free(line);
    return rc;
}

/* Take the first line out of the buffer. Returns 1 if there was one, 0, or -EPROTO. */
static int take_line(struct bench_ctl *ctl, json_t **msg_p, struct rmig_err *err)
{
    char *newline = ctl->used ? memchr(ctl->buf, '\n', ctl->used) : NULL;
    json_error_t why;
    json_t *msg;
    size_t len;

    if (!newline) {
        if (ctl->used == BENCH_LINE_MAX)
            return rmig_err_set(err, -EPROTO, "%s: a line of more than %u bytes; it is not %s",
                                ctl->peer, BENCH_LINE_MAX, MAGIC);
        return 0;
    }
    len = (size_t)(newline - ctl->buf);
    msg = json_loadb(ctl->buf, len, JSON_REJECT_DUPLICATES, &why);
    ctl->used -= len + 1;
    memmove(ctl->buf, newline + 1, ctl->used);
    if (!json_is_object(msg) || !json_is_string(json_object_get(msg, "op"))) {
        json_decref(msg);
        return rmig_err_set(err, -EPROTO,
                            "%s: sent something that is no control message; it is not %s",
                            ctl->peer, MAGIC);
    }
    *msg_p = msg;
    return 1;
}

int bench_ctl_recv(struct bench_ctl *ctl, int timeout_ms, json_t **msg_p, struct rmig_err *err)
{
    uint64_t deadline_ns = deadline_of(timeout_ms);

    for (;;) {
        int rc = take_line(ctl, msg_p, err);
        ssize_t n;

        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = wait_for(ctl, POLLIN, deadline_ns, timeout_ms, "said nothing", err);
        if (rc < 0)
            return rc;
        n = recv(ctl->fd, ctl->buf + ctl->used, BENCH_LINE_MAX - ctl->used, MSG_DONTWAIT);
        if (n == 0)
            return rmig_err_set(err, -ECONNRESET, "%s: hung up before it was done: did its process end?", ctl->peer);
        if (n > 0)
            ctl->used += (size_t)n;
        else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return rmig_err_set(err, -errno, "control connection to %s: %s", ctl->peer,
                                strerror(errno));
    }
}

int bench_ctl_is(const json_t *msg, const char *op)
{
    return !strcmp(json_string_value(json_object_get(msg, "op")), op);
}

int bench_ctl_remote_error(const json_t *msg, struct rmig_err *err)
{
    const char *text = json_string_value(json_object_get(msg, "message"));
    char clean[RMIG_ERR_MSG_BYTES];
    uint64_t code = EREMOTEIO;

    (void)bench_msg_u64(msg, "code", 1, 4095, &code, NULL);
    clean_text(clean, sizeof(clean), text ? text : "failed and gave no reason");
    return rmig_err_set(err, -(int)code, "peer: %.240s", clean);
}

int bench_ctl_expect(struct bench_ctl *ctl, const char *op, int timeout_ms, json_t **msg_p,
                     struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_recv(ctl, timeout_ms, &msg, err);

    if (rc < 0)
        return rc;
    if (bench_ctl_is(msg, op)) {
        *msg_p = msg;
        return 0;
    }
    if (bench_ctl_is(msg, "error"))
        rc = bench_ctl_remote_error(msg, err);
    else
        rc = rmig_err_set(err, -EPROTO, "%s: sent a message out of turn, not '%s'", ctl->peer, op);
    json_decref(msg);
    return rc;
}

void bench_ctl_send_error(struct bench_ctl *ctl, const struct rmig_err *err)
{
    if (ctl->ch)
        (void)bench_ctl_send(
            ctl,
            json_pack("{s:s, s:i, s:s}", "op", "error", "code", -err->code, "message", err->msg),
            NULL);
}

int bench_msg_u64(const json_t *msg, const char *key, uint64_t min, uint64_t max, uint64_t *value_p,
                  struct rmig_err *err)
{
    const json_t *item = json_object_get(msg, key);
    json_int_t value = json_integer_value(item);

    if (!json_is_integer(item) || value < 0 || (uint64_t)value < min || (uint64_t)value > max)
        return rmig_err_set(err, -EPROTO, "peer: '%s' is missing or not a number from %llu to %llu",
                            key, (unsigned long long)min, (unsigned long long)max);
    *value_p = (uint64_t)value;
    return 0;
}

void bench_msg_text(const json_t *msg, const char *key, char *buf, size_t len)
{
    const char *text = json_string_value(json_object_get(msg, key));

    clean_text(buf, len, text ? text : "");
}

static int check_hello(const struct bench_ctl *ctl, const json_t *msg, struct rmig_err *err)
{
    const char *magic = json_string_value(json_object_get(msg, "magic"));
    const char *version = json_string_value(json_object_get(msg, "version"));
    char clean[32];
    uint64_t protocol = 0;

    if (!magic || strcmp(magic, MAGIC) ||
        bench_msg_u64(msg, "protocol", 0, INT32_MAX, &protocol, NULL) < 0)
        return rmig_err_set(err, -EPROTO, "%s: is not %s", ctl->peer, MAGIC);
    clean_text(clean, sizeof(clean), version ? version : "unknown");
    if (protocol != BENCH_PROTOCOL)
        return rmig_err_set(
            err, -EPROTO,
            "%s: speaks protocol %llu (version %s), this end %d (version %s); run the "
            "same version at both ends",
            ctl->peer, (unsigned long long)protocol, clean, BENCH_PROTOCOL, rmig_version());
    return 0;
}

int bench_ctl_hello(struct bench_ctl *ctl, int timeout_ms, struct rmig_err *err)
{
    json_t *msg = NULL;
    int rc = bench_ctl_send(ctl,
                            json_pack("{s:s, s:s, s:i, s:s}", "op", "hello", "magic", MAGIC,
                                      "protocol", BENCH_PROTOCOL, "version", rmig_version()),
                            err);

    if (rc == 0)
        rc = bench_ctl_expect(ctl, "hello", timeout_ms, &msg, err);
    if (rc == 0)
        rc = check_hello(ctl, msg, err);
    json_decref(msg);
    return rc;
}
