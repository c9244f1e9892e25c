/* SPDX-License-Identifier: BSD-3-Clause */
/* uri.c -- the one parser of migration URIs. */
#include <rmig/channel.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>

#define PORT_MAX 65535u

static const struct scheme {
    const char *prefix;
    enum rmig_uri_kind kind;
} schemes[] = {
    {"tcp:", RMIG_URI_TCP},   {"unix:", RMIG_URI_UNIX}, {"fd:", RMIG_URI_FD},
    {"file:", RMIG_URI_FILE}, {"exec:", RMIG_URI_EXEC}, {"rdma:", RMIG_URI_RDMA},
};
#define NSCHEMES (sizeof(schemes) / sizeof(schemes[0]))

/* Decimal digits alone, 1 or more, at most max. Returns the value or -EINVAL. */
static long decimal(const char *text, unsigned long max)
{
    unsigned long v = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        v = v * 10 + (unsigned long)(*text - '0');
        if (v > max)
            return -EINVAL;
    }
    return (long)v;
}

/* HOST:PORT or [V6]:PORT. */
static int parse_address(const char *text, const char *rest, struct rmig_uri *uri,
                         struct rmig_err *err)
{
    const char *host = rest, *end, *port;
    size_t len;

    if (*rest == '[') {
        host = rest + 1;
        end = strchr(host, ']');
        if (!end || end[1] != ':')
            return rmig_err_set(err, -EINVAL, "URI %.100s: no \"]:PORT\" after \"[\"", text);
        port = end + 2;
    } else {
        end = strchr(rest, ':');
        if (!end)
            return rmig_err_set(err, -EINVAL, "URI %.100s: no \":PORT\" after the host", text);
        if (strchr(end + 1, ':'))
            return rmig_err_set(err, -EINVAL,
                                "URI %.100s: more than one \":\"; write an IPv6 address in [ ]",
                                text);
        port = end + 1;
    }
    len = (size_t)(end - host);
    if (len >= sizeof(uri->host))
        return rmig_err_set(err, -ENAMETOOLONG, "URI %.60s...: host of %zu bytes, at most %zu",
                            text, len, sizeof(uri->host) - 1);
    if (strlen(port) >= sizeof(uri->port) || decimal(port, PORT_MAX) < 0)
        return rmig_err_set(err, -EINVAL, "URI %.100s: port \"%.20s\" is not a number of 0 to %u",
                            text, port, PORT_MAX);
    memcpy(uri->host, host, len);
    memcpy(uri->port, port, strlen(port));
    return 0;
}

static int parse_fd(const char *text, const char *rest, struct rmig_uri *uri, struct rmig_err *err)
{
    long fd = decimal(rest, INT_MAX);

    if (fd < 0)
        return rmig_err_set(err, -EINVAL, "URI %.100s: \"%.20s\" is not a descriptor number", text,
                            rest);
    uri->fd = (int)fd;
    return 0;
}

static int parse_path(const char *text, const char *rest, size_t max_bytes, struct rmig_uri *uri,
                      struct rmig_err *err)
{
    size_t len = strlen(rest);

    if (len == 0)
        return rmig_err_set(err, -EINVAL, "URI %.100s: nothing after the \":\"", text);
    if (len > max_bytes)
        return rmig_err_set(err, -ENAMETOOLONG,
                            "URI %.60s...: %zu bytes after the \":\", at most %zu", text, len,
                            max_bytes);
    memcpy(uri->path, rest, len + 1);
    return 0;
}

/* Digits, and what they are multiplied by. Returns the bytes or -EINVAL. */
static int64_t size(const char *text)
{
    static const char units[] = "KMGT";
    const size_t ndigits = strspn(text, "0123456789");
    const char *unit = text[ndigits] ? strchr(units, text[ndigits]) : NULL;
    const unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    uint64_t v = 0;

    if (ndigits == 0 || (text[ndigits] && !unit) || (unit && text[ndigits + 1]))
        return -EINVAL;
    for (size_t i = 0; i < ndigits; i++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return -EINVAL;
    return v > (uint64_t)INT64_MAX >> shift ? -EINVAL : (int64_t)(v << shift);
}

/* PATH[,offset=N]; a comma may be anywhere else in a path. */
static int parse_file(const char *text, const char *rest, struct rmig_uri *uri,
                      struct rmig_err *err)
{
    static const char option[] = ",offset=";
    const char *at = strstr(rest, option), *value = at ? at + strlen(option) : NULL;
    const size_t max_bytes = sizeof(uri->path) - 1;
    const size_t len = at ? (size_t)(at - rest) : strlen(rest);
    int64_t offset = value ? size(value) : 0;

    if (len == 0)
        return rmig_err_set(err, -EINVAL, "URI %.100s: no path after the \":\"", text);
    if (len > max_bytes)
        return rmig_err_set(err, -ENAMETOOLONG, "URI %.60s...: path of %zu bytes, at most %zu",
                            text, len, max_bytes);
    if (offset < 0)
        return rmig_err_set(err, -EINVAL,
                            "URI %.100s: offset \"%.20s\" is not a number of bytes below 2^63, "
                            "like 4096 or 1M",
                            text, value);
    memcpy(uri->path, rest, len);
    uri->offset_bytes = (uint64_t)offset;
    return 0;
}

int rmig_uri_parse(const char *text, struct rmig_uri *uri_p, struct rmig_err *err)
{
    struct rmig_uri uri = {.fd = -1};
    const struct scheme *s = schemes;
    const char *rest;
    size_t max_bytes = sizeof(uri.path) - 1;
    int rc;

    while (s < schemes + NSCHEMES && strncmp(text, s->prefix, strlen(s->prefix)) != 0)
        s++;
    if (s == schemes + NSCHEMES)
        return rmig_err_set(
            err, -EINVAL,
            "URI %.100s: does not begin with tcp:, unix:, fd:, file:, exec: or rdma:", text);
    rest = text + strlen(s->prefix);
    uri.kind = s->kind;
    if (s->kind == RMIG_URI_UNIX)
        max_bytes = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (s->kind == RMIG_URI_TCP || s->kind == RMIG_URI_RDMA)
        rc = parse_address(text, rest, &uri, err);
    else if (s->kind == RMIG_URI_FD)
        rc = parse_fd(text, rest, &uri, err);
    else if (s->kind == RMIG_URI_FILE)
        rc = parse_file(text, rest, &uri, err);
    else
        rc = parse_path(text, rest, max_bytes, &uri, err);
    if (rc < 0)
        return rc;
    *uri_p = uri;
    return 0;
}
