/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_uri.c -- libFuzzer target: any text as a URI; its parts are within their bounds, and written
 * as a URI again give the same parts. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <rmig/channel.h>

#include "tests/fuzz/target.h"

/* It allocates nothing: malloc_limit_mb=1; max_len=8192 */

#define TEXT_MAX 8192u

static const struct rmig_uri untouched = {.kind = 77, .host = "?", .port = "?", .path = "?"};

static bool is_string(const char *s, size_t room)
{
    return memchr(s, '\0', room) != NULL;
}

static void check_address(const struct rmig_uri *uri)
{
    char *end;

    need(uri->port[0] && uri->port[0] >= '0' && uri->port[0] <= '9', "a port");
    need(strtoul(uri->port, &end, 10) <= 65535 && *end == '\0', "a port");
    need(!strchr(uri->host, ':') || !strchr(uri->host, ']'), "a host");
    need(uri->path[0] == '\0' && uri->fd == -1, "an address has no path");
}

/* The bounds that the header promises, and nothing in what does not count. */
static void check(const struct rmig_uri *uri)
{
    need(is_string(uri->host, sizeof(uri->host)) && is_string(uri->port, sizeof(uri->port)) &&
             is_string(uri->path, sizeof(uri->path)),
         "the end of a string");
    need(uri->kind == RMIG_URI_FILE || uri->offset_bytes == 0, "an offset");
    need(uri->offset_bytes <= INT64_MAX, "an offset");
    if (uri->kind == RMIG_URI_TCP || uri->kind == RMIG_URI_RDMA) {
        check_address(uri);
        return;
    }
    need(uri->host[0] == '\0' && uri->port[0] == '\0', "only an address has a host");
    need((uri->kind == RMIG_URI_FD) == (uri->fd >= 0) && uri->fd >= -1, "a descriptor");
    need((uri->kind == RMIG_URI_FD) == (uri->path[0] == '\0'), "a path");
    need(uri->kind != RMIG_URI_UNIX || strlen(uri->path) < 108, "the path of a socket");
}

/* The number of bytes that an offset says; there is no other one. */
static void check_offset(const char *value, uint64_t offset)
{
    static const char units[] = "KMGT";
    uint64_t v = 0;
    const char *unit;

    for (; *value >= '0' && *value <= '9'; value++)
        need(!__builtin_mul_overflow(v, 10, &v) &&
                 !__builtin_add_overflow(v, (uint64_t)(*value - '0'), &v),
             "an offset");
    unit = *value ? strchr(units, *value) : NULL;
    for (; unit && unit >= units; unit--)
        need(!__builtin_mul_overflow(v, 1024, &v), "an offset");
    need(v == offset, "an offset");
}

/* The parts are those of the text, which begins with the scheme. */
static void check_parts(const char *text, const struct rmig_uri *uri)
{
    const char *rest = strchr(text, ':') + 1, *at = strstr(rest, ",offset=");

    if (uri->kind == RMIG_URI_TCP || uri->kind == RMIG_URI_RDMA) {
        rest += *rest == '[';
        need(strncmp(rest, uri->host, strlen(uri->host)) == 0, "the host");
        need(strcmp(strrchr(text, ':') + 1, uri->port) == 0, "the port");
    } else if (uri->kind == RMIG_URI_FILE && at) {
        need(strlen(uri->path) == (size_t)(at - rest), "the path");
        need(strncmp(rest, uri->path, strlen(uri->path)) == 0, "the path");
        check_offset(at + 8, uri->offset_bytes);
    } else if (uri->kind != RMIG_URI_FD) {
        need(strcmp(rest, uri->path) == 0, "the path");
    }
}

/* In one form; of several there are, like one with K and one without. */
static void print(const struct rmig_uri *uri, char text[TEXT_MAX])
{
    const char *scheme = uri->kind == RMIG_URI_TCP ? "tcp" : "rdma";
    int bracket = strchr(uri->host, ':') || uri->host[0] == '[';

    switch (uri->kind) {
    case RMIG_URI_TCP:
    case RMIG_URI_RDMA:
        snprintf(text, TEXT_MAX, "%s:%s%s%s:%s", scheme, bracket ? "[" : "", uri->host,
                 bracket ? "]" : "", uri->port);
        return;
    case RMIG_URI_UNIX:
        snprintf(text, TEXT_MAX, "unix:%s", uri->path);
        return;
    case RMIG_URI_FD:
        snprintf(text, TEXT_MAX, "fd:%d", uri->fd);
        return;
    case RMIG_URI_FILE:
        snprintf(text, TEXT_MAX, "file:%s,offset=%llu", uri->path,
                 (unsigned long long)uri->offset_bytes);
        return;
    case RMIG_URI_EXEC:
        snprintf(text, TEXT_MAX, "exec:%s", uri->path);
        return;
    }
    need(0, "a kind of URI");
}

static void check_same(const struct rmig_uri *a, const struct rmig_uri *b)
{
    need(a->kind == b->kind && a->fd == b->fd && a->offset_bytes == b->offset_bytes, "the same");
    need(strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0, "the same address");
    need(strcmp(a->path, b->path) == 0, "the same path");
}

FUZZ_TARGET(fuzz_uri)
{
    static char text[TEXT_MAX + 1];
    static struct rmig_uri uri, again;
    struct rmig_err err = RMIG_ERR_INIT;
    size_t begin;
    int rc;

    /* at the end of its memory */
    size = size < TEXT_MAX ? size : TEXT_MAX;
    begin = TEXT_MAX - size;
    memcpy(text + begin, data, size);
    uri = untouched;
    rc = rmig_uri_parse(text + begin, &uri, &err);
    need(rc == err.code && (rc < 0) == (err.msg[0] != '\0'), "the result");
    need(is_string(err.msg, sizeof(err.msg)), "words of an error");
    if (rc < 0) {
        need(rc == -EINVAL || rc == -ENAMETOOLONG, "an error that is promised");
        check_same(&uri, &untouched);
        return 0;
    }
    need(rc == 0, "the result");
    check(&uri);
    check_parts(text + begin, &uri);
    print(&uri, text);
    need(rmig_uri_parse(text, &again, NULL) == 0, "parsed again");
    check_same(&uri, &again);
    return 0;
}
