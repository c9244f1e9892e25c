/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * socket_peer.c -- notices on a tcp socket that the peer has died.
 *
 * Three cases, by what the connection is doing when the peer goes silent:
 *
 *   nothing in flight      keepalive probes stay unanswered
 *   data in flight         it stays unacknowledged
 *   the window is closed   window probes stay unanswered
 *
 * TCP_USER_TIMEOUT alone would cover all three, but it also ends a connection whose peer is alive
 * and answers every probe with a closed window: a destination that is busy for longer than
 * dead_peer_ms. So they are looked for here, in the waits, by the time since the peer's last
 * acknowledgement. The system spaces window probes further and further apart; the user timeout, which
 * caps that spacing, is set a little ahead of the clock while a wait goes on, and taken off after. A
 * peer leaves a probe unanswered that comes within half a second of the one before, so the window is
 * given 2 s at least. What is seen once may be a question that was sent this moment: it counts when it
 * is seen twice, the first time one look before the time is up.
 *
 * The system sends a keepalive probe a second after the last word, and the next a second later: in
 * 2 s a single one, and a link may lose that. So a second one is asked for when the first has had its
 * half second: the probe timer, set anew, is due at once. Where nobody waits here the system ends the
 * connection by itself, a second or two later.
 */
#include "stream/socket_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/overflow.h"

#define TICK_MIN_MS 20u
#define TICK_MAX_MS 250u
#define PROBED_MIN_MS 2000u
/* A second keepalive probe, so long after the first. */
#define PROBE_AGAIN_MS 550u
/* The system tells times in ticks of its own, of 10 ms at most. */
#define TICK_SLACK_MS 10u

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Will the peer have left something unanswered for too long by then? The limit, or 0. */
static uint32_t passed_limit(const struct rmig_socket_io *s, const struct tcp_info *info,
                             uint64_t silent_ms)
{
    uint32_t probed_ms = (uint32_t)rmig_max_u64(s->dead_peer_ms, PROBED_MIN_MS);

    if (info->tcpi_unacked)
        return silent_ms >= s->dead_peer_ms ? s->dead_peer_ms : 0;
    if (info->tcpi_probes)
        return silent_ms >= probed_ms ? probed_ms : 0;
    return 0;
}

/* Keeps window probes coming, the next one in about half of the time that the window is given. */
static void hold_probes_short(const struct rmig_socket_io *s, const struct tcp_info *info)
{
    uint64_t ahead_ms = rmig_max_u64(s->dead_peer_ms, PROBED_MIN_MS) / 2;
    /* The window closed after the last data went out, so the timeout stays ahead of its clock. */
    uint64_t ms = rmig_min_u64(info->tcpi_last_data_sent + ahead_ms, INT32_MAX);

    set_option(s->io.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}

/* The one probe that is out may be lost: has its answer been long in coming? */
static bool wants_another_probe(const struct rmig_socket_io *s, const struct tcp_info *info,
                                uint64_t silent_ms)
{
    return info->tcpi_unacked == 0 && info->tcpi_probes == 1 &&
           silent_ms >= (uint64_t)s->keepalive_s * 1000 + PROBE_AGAIN_MS;
}

static int check_peer(struct rmig_fdio *io, struct rmig_wait_watch *watch, struct rmig_err *err)
{
    const struct rmig_socket_io *s = (struct rmig_socket_io *)io;
    struct tcp_info info;
    socklen_t len = sizeof(info);
    uint64_t silent_ms;
    uint32_t limit_ms;

    memset(&info, 0, sizeof(info));
    if (getsockopt(io->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return 0;
    silent_ms = rmig_min_u64(info.tcpi_last_ack_recv, info.tcpi_last_data_recv);
    silent_ms = rmig_min_u64(silent_ms, watch->waited_ms);
    limit_ms = passed_limit(s, &info, silent_ms + io->tick_ms);
    if (watch->suspect && limit_ms &&
        silent_ms + rmig_min_u64(TICK_SLACK_MS, limit_ms / 8) >= limit_ms)
        return rmig_err_set(err, -ETIMEDOUT,
                            "%s: the peer has not answered for %llu ms, limit %u ms", io->label,
                            (unsigned long long)silent_ms, limit_ms);
    watch->suspect = limit_ms > 0;
    if (watch->direction == RMIG_SHUT_WRITE && info.tcpi_unacked == 0) {
        watch->probing = true;
        hold_probes_short(s, &info);
    } else if (wants_another_probe(s, &info, silent_ms)) {
        set_option(io->fd, IPPROTO_TCP, TCP_KEEPIDLE, s->keepalive_s);
    }
    return 0;
}

/* Not waiting, nobody moves the user timeout ahead: off with it. */
static void after_wait(struct rmig_fdio *io, struct rmig_wait_watch *watch)
{
    if (watch->probing)
        set_option(io->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
}

int rmig_socket_peer_init(struct rmig_socket_io *s, uint32_t dead_peer_ms, struct rmig_err *err)
{
    int protocol = 0, rc = 0;
    socklen_t len = sizeof(protocol);
    int idle_s = (int)rmig_max_u64(1, dead_peer_ms / 2000);
    int probes = 1 + (int)rmig_max_u64(1, (dead_peer_ms + 1000) / 2000);
    const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},       {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, idle_s}, {IPPROTO_TCP, TCP_KEEPINTVL, 1},
        {IPPROTO_TCP, TCP_KEEPCNT, probes},
    };

    if (getsockopt(s->io.fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0 ||
        protocol != IPPROTO_TCP)
        return 0;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && rc == 0; i++)
        rc = set_option(s->io.fd, options[i].level, options[i].option, options[i].value);
    if (rc < 0)
        return rmig_err_set(err, rc, "%s: setsockopt: %s", s->io.label, strerror(-rc));
    s->dead_peer_ms = dead_peer_ms;
    s->keepalive_s = idle_s;
    s->io.check_peer = check_peer;
    s->io.after_wait = after_wait;
    s->io.tick_ms =
        (uint32_t)rmig_max_u64(TICK_MIN_MS, rmig_min_u64(TICK_MAX_MS, dead_peer_ms / 8));
    return 0;
}
