/* SPDX-License-Identifier: BSD-3-Clause */
/* resolve.c -- looks names up with getaddrinfo_a, so that a slow name server holds nobody. */
#include "common/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/wait.h"

/* How often a lookup that runs is looked at: well below the time in which cancel must work. */
#define SLICE_MS 20

/* A lookup; the resolver may hold on to it after we have given up, so it is in one heap block. */
struct lookup {
    struct gaicb request;
    struct addrinfo hints;
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
};

static int resolver_error(int eai, const char *host, const char *port, struct rmig_err *err)
{
    int code = -EHOSTUNREACH;

    if (eai == EAI_MEMORY)
        code = -ENOMEM;
    else if (eai == EAI_AGAIN)
        code = -EAGAIN;
    else if (eai == EAI_SYSTEM && errno)
        code = -errno;
    return rmig_err_set(err, code, "resolve %.64s port %.16s: %s", host ? host : "any address",
                        port, eai == EAI_SYSTEM ? strerror(-code) : gai_strerror(eai));
}

/* Waits for the lookup in slices, so that cancel and the deadline count. 0 = it is done. */
static int wait_for_lookup(struct lookup *lookup, uint64_t deadline_ns, int cancel_fd)
{
    const struct gaicb *list[1] = {&lookup->request};
    const struct timespec slice = {.tv_nsec = SLICE_MS * (long)RMIG_NS_PER_MS};

    while (gai_error(&lookup->request) == EAI_INPROGRESS) {
        if (rmig_wait_fd(-1, 0, cancel_fd, 0) == -ECANCELED)
            return -ECANCELED;
        if (rmig_poll_ms(deadline_ns) == 0)
            return -ETIMEDOUT;
        gai_suspend(list, 1, &slice);
    }
    return 0;
}

static int look_up(const char *host, const char *port, const struct addrinfo *hints,
                   uint64_t deadline_ns, int cancel_fd, struct addrinfo **list_p,
                   struct rmig_err *err)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct gaicb *list[1];
    int rc, eai;

    if (!lookup)
        return rmig_err_set(err, -ENOMEM, "resolve %.64s: out of memory", host);
    snprintf(lookup->host, sizeof(lookup->host), "%s", host);
    snprintf(lookup->port, sizeof(lookup->port), "%s", port);
    lookup->hints = *hints;
    lookup->request.ar_name = lookup->host;
    lookup->request.ar_service = lookup->port;
    lookup->request.ar_request = &lookup->hints;
    list[0] = &lookup->request;
    eai = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    if (eai) {
        free(lookup);
        return resolver_error(eai, host, port, err);
    }
    rc = wait_for_lookup(lookup, deadline_ns, cancel_fd);
    if (rc < 0) {
        /* A lookup that runs cannot be stopped; the resolver's thread still writes to its block,
         * which therefore stays: a few hundred bytes for each lookup that was given up. */
        eai = gai_cancel(&lookup->request);
        if (eai == EAI_ALLDONE && gai_error(&lookup->request) == 0)
            freeaddrinfo(lookup->request.ar_result);
        if (eai != EAI_NOTCANCELED)
            free(lookup);
        return rmig_err_set(err, rc, "resolve %.64s: %s", host,
                            rc == -ECANCELED ? "cancelled"
                                             : "no answer from the name server in time");
    }
    errno = 0;
    eai = gai_error(&lookup->request);
    if (eai == 0)
        *list_p = lookup->request.ar_result;
    else
        rc = resolver_error(eai, host, port, err);
    free(lookup);
    return rc;
}

int rmig_resolve(const char *host, const char *port, bool passive, uint64_t deadline_ns,
                 int cancel_fd, struct addrinfo **list_p, struct rmig_err *err)
{
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
        .ai_socktype = SOCK_STREAM,
    };
    int eai;

    /* The resolver would take 65616 for 80. */
    if (!port || !port[0] || port[strspn(port, "0123456789")] ||
        strtoul(port, NULL, 10) > UINT16_MAX)
        return rmig_err_set(err, -EINVAL, "resolve: port \"%.16s\" is not a number of 0 to 65535",
                            port ? port : "");
    if (host && !host[0])
        host = NULL;
    if (host && strlen(host) >= NI_MAXHOST)
        return rmig_err_set(err, -EINVAL,
                            "resolve: a host name of %zu bytes, at most %d are allowed",
                            strlen(host), NI_MAXHOST - 1);
    errno = 0;
    eai = getaddrinfo(host, port, &hints, list_p);
    if (eai == 0)
        return 0;
    if (eai != EAI_NONAME || !host)
        return resolver_error(eai, host, port, err);
    hints.ai_flags &= ~AI_NUMERICHOST;
    return look_up(host, port, &hints, deadline_ns, cancel_fd, list_p, err);
}

const char *rmig_address_text(const struct sockaddr *addr, socklen_t addr_len,
                              char text[RMIG_ADDRESS_TEXT_BYTES])
{
    char host[64], port[8];

    if (getnameinfo(addr, addr_len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(text, RMIG_ADDRESS_TEXT_BYTES, "unknown address");
    else
        snprintf(text, RMIG_ADDRESS_TEXT_BYTES, addr->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
                 host, port);
    return text;
}
