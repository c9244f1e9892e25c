/* SPDX-License-Identifier: BSD-3-Clause */
/* switchover.c -- the last words of a move. */
#include "migrate/switchover.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/overflow.h"

#define WHY_MS 100
#define WHY_MAX 255u

bool rmig_switchover_answers(const struct rmig_link *link)
{
    return link->conn || link->answers;
}

int rmig_switchover_put(const struct rmig_link *link, struct rmig_save *save, struct rmig_err *err)
{
    const uint8_t flags = rmig_switchover_answers(link) ? RMIG_SWITCHOVER_ANSWERS : 0;

    return rmig_save_section(save, RMIG_SWITCHOVER_SECTION, 0, RMIG_SWITCHOVER_VERSION, &flags,
                             sizeof(flags), err);
}

/* --- source ----------------------------------------------------------------------------------- */

/* The reason comes from the peer: what cannot be printed is a question mark. */
static int refused(struct rmig_in *answers, struct rmig_err *err)
{
    char why[256] = "";

    if (rmig_in_get_counted_string(answers, why) < 0)
        why[0] = 0;
    for (char *c = why; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return rmig_err_set(err, -EREMOTEIO, "the destination gave up: %s",
                        why[0] ? why : "it does not say why");
}

/* Returns: wanted, or LISTED_ZERO where LISTED was wanted. */
static int take_answer(struct rmig_in *answers, enum rmig_switchover_answer wanted,
                       struct rmig_err *err)
{
    uint32_t answer;

    if (rmig_in_get_be32(answers, &answer) < 0)
        return rmig_in_error(answers, err);
    if (answer == (uint32_t)wanted ||
        (answer == RMIG_SWITCHOVER_LISTED_ZERO && wanted == RMIG_SWITCHOVER_LISTED))
        return (int)answer;
    if (answer == RMIG_SWITCHOVER_REFUSED)
        return refused(answers, err);
    return rmig_err_set(err, -EPROTO, "switchover: the destination answered %u, %u is next", answer,
                        (unsigned)wanted);
}

/* Returns: what was answered; 0 over a transport, which has no words for it. */
static int await(struct rmig_link *link, enum rmig_switchover_answer wanted, const char *what,
                 struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    int rc;

    if (link->conn) {
        rc = rmig_channel_wait(rmig_out_channel(link->out), RMIG_SHUT_WRITE, &e);
        if (rc == -ECONNABORTED)
            rc = -EREMOTEIO; /* it reports that it failed */
    } else {
        rc = link->answers ? take_answer(link->answers, wanted, &e) : 0;
    }
    return rc < 0 ? rmig_err_set(err, rc, "waiting for the destination to %s: %s", what, e.msg) : rc;
}

int rmig_switchover_await_listed(struct rmig_link *link, bool *ram_is_zero_p, struct rmig_err *err)
{
    int rc;

    if (link->conn) { /* it has compared the lists, and agreed when it connected */
        *ram_is_zero_p = link->transport->peer_ram_is_zero(link->conn);
        return 0;
    }
    rc = link->answers ? await(link, RMIG_SWITCHOVER_LISTED, "find its RAM blocks", err) : 0;
    if (rc < 0)
        return rc;
    *ram_is_zero_p = rc == RMIG_SWITCHOVER_LISTED_ZERO;
    return 0;
}

int rmig_switchover_await_prepared(struct rmig_link *link, struct rmig_err *err)
{
    int rc = await(link, RMIG_SWITCHOVER_PREPARED, "have everything", err);

    return rc < 0 ? rc : 0;
}

int rmig_switchover_put_go(struct rmig_link *link, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    int rc;

    rmig_out_put_be32(link->out, RMIG_SWITCHOVER_GO);
    rmig_out_flush(link->out);
    rc = rmig_out_error(link->out, &why);
    if (rc == -ECONNABORTED && link->conn)
        return rmig_err_set(err, -EREMOTEIO, "instead of taking the go-ahead: %s", why.msg);
    return rc < 0 ? rmig_err_set(err, rc, "%s", why.msg) : 0;
}

int rmig_switchover_await_started(struct rmig_link *link, struct rmig_err *err)
{
    int rc = await(link, RMIG_SWITCHOVER_STARTED, "run the guest", err);

    return rc < 0 ? rc : 0;
}

void rmig_switchover_ask_why(struct rmig_link *link, struct rmig_err *err)
{
    struct rmig_err why = RMIG_ERR_INIT;
    struct pollfd fd = {.events = POLLIN};

    if (!link->answers || rmig_cancel_triggered(link->channel_opts.cancel))
        return;
    fd.fd = rmig_in_fd(link->answers);
    if (poll(&fd, 1, WHY_MS) <= 0 || rmig_in_set_blocking(link->answers, false, NULL) < 0)
        return;
    if (take_answer(link->answers, RMIG_SWITCHOVER_REFUSED, &why) > 0)
        refused(link->answers, &why);
    if (why.code == -EREMOTEIO)
        *err = why;
}

/* --- destination ------------------------------------------------------------------------------ */

int rmig_switchover_take(const struct rmig_link *link, uint32_t version, const uint8_t *data,
                         size_t len_bytes, bool *answers_p, struct rmig_err *err)
{
    if (version != RMIG_SWITCHOVER_VERSION || len_bytes != 1 ||
        (data[0] & ~RMIG_SWITCHOVER_ANSWERS))
        return rmig_err_set(err, -EPROTO, "section %s: version %u with %zu bytes, only version %u "
                            "with 1 byte is known", RMIG_SWITCHOVER_SECTION, version, len_bytes,
                            RMIG_SWITCHOVER_VERSION);
    if (data[0] && !link->conn && !link->answer)
        return rmig_err_set(err, -EPROTO, "section %s: the source waits for answers, and the stream "
                            "has no way back: it is a copy of a move", RMIG_SWITCHOVER_SECTION);
    *answers_p = data[0];
    return 0;
}

static int say(struct rmig_link *link, enum rmig_switchover_answer answer, struct rmig_err *err)
{
    if (!link->answer) /* a transport: asking for more is the answer */
        return 0;
    rmig_out_put_be32(link->answer, answer);
    rmig_out_flush(link->answer);
    return rmig_out_error(link->answer, err);
}

void rmig_switchover_say_listed(struct rmig_link *link, bool ram_is_zero)
{
    (void)say(link, ram_is_zero ? RMIG_SWITCHOVER_LISTED_ZERO : RMIG_SWITCHOVER_LISTED, NULL);
}

int rmig_switchover_await_go(struct rmig_link *link, bool answers, struct rmig_err *err)
{
    struct rmig_err e = RMIG_ERR_INIT;
    uint32_t word = 0;
    int rc = answers ? say(link, RMIG_SWITCHOVER_PREPARED, &e) : 0;

    if (rc == 0 && rmig_in_get_be32(link->in, &word) < 0)
        rc = rmig_in_error(link->in, &e);
    if (rc < 0)
        return rmig_err_set(err, rc, "everything is loaded, but the go-ahead did not come: %s",
                            e.msg);
    if (word != RMIG_SWITCHOVER_GO)
        return rmig_err_set(err, -EPROTO, "switchover: 0x%08x instead of the go-ahead", word);
    return 0;
}

void rmig_switchover_say_started(struct rmig_link *link, bool answers)
{
    if (answers)
        (void)say(link, RMIG_SWITCHOVER_STARTED, NULL);
    (void)rmig_link_finish(link, NULL);
}

/* Past the stream, which takes nothing once the move is cancelled, and without waiting. */
void rmig_switchover_refuse(struct rmig_link *link, const struct rmig_err *why)
{
    uint8_t bytes[4 + 1 + WHY_MAX];
    size_t len = strnlen(why->msg, WHY_MAX);

    if (!link->answer || rmig_out_error(link->answer, NULL) < 0)
        return; /* a transport says so when it is closed; a word that was cut takes none behind it */
    rmig_store_be32(bytes, RMIG_SWITCHOVER_REFUSED);
    bytes[4] = (uint8_t)len;
    memcpy(bytes + 5, why->msg, len);
    (void)send(rmig_out_fd(link->answer), bytes, 5 + len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
