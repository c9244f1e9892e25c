/* SPDX-License-Identifier: BSD-3-Clause */
/* transport.c -- loads a transport plugin, checks its ABI and fills in what it leaves out. */
#include "config.h"

#include <rmig/transport.h>

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "common/log.h"
#include "common/overflow.h"
#include "hooks/holes.h"

#define NAME_MAX_BYTES 32
#define PATH_BYTES 4096

struct rmig_transport {
    void *handle;
    struct rmig_transport_ops ops;
    char name[NAME_MAX_BYTES + 2];
};

/* --- what the host offers -------------------------------------------------------------------- */

static void host_log(void *opaque, enum rmig_log_level level, const char *message)
{
    (void)opaque;
    rmig_log(level, "%s", message);
}

/* Part of the log sink's global state: one for the process, valid as long as any plugin is. */
static struct rmig_host host = {
    .abi = RMIG_TRANSPORT_ABI,
    .struct_size = sizeof(host),
    .log = host_log,
    .log_threshold = RMIG_LOG_ERROR,
    .zero_range = rmig_zero_range,
};

static void refresh_host(void)
{
    rmig_log_fn fn;
    void *opaque;
    enum rmig_log_level threshold;

    rmig_log_get(&fn, &opaque, &threshold);
    host.log_threshold = fn ? threshold : RMIG_LOG_ERROR;
}

/* --- defaults of optional ops ---------------------------------------------------------------- */

static int default_probe(const struct rmig_transport_params *params, uint64_t total_ram_bytes,
                         struct rmig_err *err)
{
    (void)params;
    (void)total_ram_bytes;
    (void)err;
    return 0;
}

static int default_finish(struct rmig_transport_conn *conn, struct rmig_err *err)
{
    (void)conn;
    (void)err;
    return 0;
}

static int default_stats(struct rmig_transport_conn *conn, struct rmig_transport_stats *stats)
{
    uint32_t size = stats->struct_size;

    (void)conn;
    if (size > sizeof(size))
        memset(stats, 0, size);
    stats->struct_size = size;
    return 0;
}

static int default_listener_fd(struct rmig_transport_listener *listener)
{
    (void)listener;
    return -1;
}

static int default_revoke(struct rmig_transport_conn *conn, struct rmig_err *err)
{
    (void)conn;
    return rmig_err_set(err, -ENOTSUP, "the transport cannot take back its access to guest RAM");
}

static bool default_peer_ram_is_zero(const struct rmig_transport_conn *conn)
{
    (void)conn;
    return false;
}

/* --- loading --------------------------------------------------------------------------------- */

static int plugin_path(const char *name, char path[PATH_BYTES], struct rmig_err *err)
{
    const char *dir = secure_getenv("RMIG_TRANSPORT_DIR");
    size_t len = strnlen(name, NAME_MAX_BYTES + 1);
    int n;

    if (len == 0 || len > NAME_MAX_BYTES)
        return rmig_err_set(err, -EINVAL, "transport name: 1 to %d bytes are allowed",
                            NAME_MAX_BYTES);
    for (size_t i = 0; i < len; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
            (i == 0 || (name[i] != '-' && name[i] != '_')))
            return rmig_err_set(err, -EINVAL,
                                "transport name: byte %zu is not a-z, 0-9 or, after the first, - _",
                                i);
    if (!dir || !*dir)
        dir = RMIG_TRANSPORT_DEFAULT_DIR;
    n = snprintf(path, PATH_BYTES, "%s%s/rmig-transport-%s.so", strchr(dir, '/') ? "" : "./", dir,
                 name);
    if (n < 0 || n >= PATH_BYTES)
        return rmig_err_set(err, -EINVAL, "transport %s: the directory's name is too long", name);
    return 0;
}

static int open_file(const char *path)
{
    int fd;

    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Its first bytes; what is no regular file has none. Returns: how many; -errno. */
static ssize_t read_head(int fd, char *head, size_t len_bytes)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return 0;
    do
        n = read(fd, head, len_bytes);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Is there a file that could be a shared object? dlopen's own errors are text only. */
static int check_file(const char *name, const char *path, struct rmig_err *err)
{
    static const char magic[4] = {0x7f, 'E', 'L', 'F'};
    char head[sizeof(magic)];
    ssize_t n;
    int fd;

    fd = open_file(path);
    if (fd < 0)
        return rmig_err_set(err, errno == ENOENT || errno == ENOTDIR ? -ENOENT : -errno,
                            "transport %s: cannot open %.120s: %s; install the plugin or set "
                            "RMIG_TRANSPORT_DIR",
                            name, path, strerror(errno));
    n = read_head(fd, head, sizeof(head));
    close(fd);
    if (n < 0)
        return rmig_err_set(err, (int)n, "transport %s: cannot read %.160s: %s", name, path,
                            strerror((int)-n));
    if (n != (ssize_t)sizeof(head) || memcmp(head, magic, sizeof(magic)) != 0)
        return rmig_err_set(err, -ENOEXEC, "transport %s: %.160s is not a shared object", name,
                            path);
    return 0;
}

static int open_plugin(struct rmig_transport *t, struct rmig_err *err)
{
    char path[PATH_BYTES];
    const char *why;
    int rc;

    rc = plugin_path(t->name, path, err);
    if (rc < 0)
        return rc;
    rc = check_file(t->name, path, err);
    if (rc < 0)
        return rc;
    t->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (t->handle)
        return 0;
    why = dlerror();
    if (!why)
        why = "no reason given";
    /* The file is there, so what cannot be opened is a library that it needs. */
    return rmig_err_set(err, strstr(why, "cannot open shared object") ? -ENOENT : -ENOEXEC,
                        "transport %s: cannot load: %.200s", t->name, why);
}

static int take_ops(struct rmig_transport *t, const struct rmig_transport_ops *from,
                    struct rmig_err *err)
{
    const char *missing;

    if (from->abi != RMIG_TRANSPORT_ABI)
        return rmig_err_set(err, -ENOEXEC, "transport %s: its ABI is %u, this library's is %u",
                            t->name, from->abi, RMIG_TRANSPORT_ABI);
    memset(&t->ops, 0, sizeof(t->ops));
    memcpy(&t->ops, from, rmig_min_u64(from->struct_size, sizeof(t->ops)));
    t->ops.struct_size = sizeof(t->ops);

    missing = !t->ops.name             ? "name"
              : !t->ops.connect        ? "connect"
              : !t->ops.listen         ? "listen"
              : !t->ops.accept         ? "accept"
              : !t->ops.listener_close ? "listener_close"
              : !t->ops.channel        ? "channel"
              : !t->ops.hooks          ? "hooks"
              : !t->ops.close          ? "close"
                                       : NULL;
    if (missing)
        return rmig_err_set(err, -ENOEXEC, "transport %s: its mandatory member %s is missing",
                            t->name, missing);
    if (strcmp(t->ops.name, t->name) != 0)
        return rmig_err_set(err, -ENOEXEC, "transport %s: the plugin calls itself %.32s", t->name,
                            t->ops.name);
    if (!t->ops.probe)
        t->ops.probe = default_probe;
    if (!t->ops.finish)
        t->ops.finish = default_finish;
    if (!t->ops.stats)
        t->ops.stats = default_stats;
    if (!t->ops.listener_fd)
        t->ops.listener_fd = default_listener_fd;
    if (!t->ops.revoke)
        t->ops.revoke = default_revoke;
    if (!t->ops.peer_ram_is_zero)
        t->ops.peer_ram_is_zero = default_peer_ram_is_zero;
    return 0;
}

static int init_plugin(struct rmig_transport *t, struct rmig_err *err)
{
    const struct rmig_transport_ops *(*init)(const struct rmig_host *);
    const struct rmig_transport_ops *ops;
    void *symbol = dlsym(t->handle, RMIG_TRANSPORT_INIT_SYMBOL);

    if (!symbol)
        return rmig_err_set(err, -ENOEXEC, "transport %s: not a plugin: it has no symbol %s",
                            t->name, RMIG_TRANSPORT_INIT_SYMBOL);
    memcpy(&init, &symbol, sizeof(init)); /* ISO C has no cast from object to function pointer */
    refresh_host();
    ops = init(&host);
    if (!ops)
        return rmig_err_set(err, -ENOEXEC, "transport %s: the plugin does not work with ABI %u",
                            t->name, RMIG_TRANSPORT_ABI);
    return take_ops(t, ops, err);
}

int rmig_transport_load(const char *name, struct rmig_transport **t_p, struct rmig_err *err)
{
    struct rmig_transport *t;
    int rc;

    if (!name)
        return rmig_err_set(err, -EINVAL, "transport name: none given");
    t = calloc(1, sizeof(*t));
    if (!t)
        return rmig_err_set(err, -ENOMEM, "transport: out of memory");
    /* A longer name keeps one byte too many, and is refused for it. */
    memcpy(t->name, name, strnlen(name, NAME_MAX_BYTES + 1));
    rc = open_plugin(t, err);
    if (rc == 0)
        rc = init_plugin(t, err);
    if (rc < 0) {
        rmig_transport_unload(t);
        return rc;
    }
    *t_p = t;
    return 0;
}

void rmig_transport_unload(struct rmig_transport *t)
{
    bool keep = RUNNING_ON_VALGRIND != 0;

    if (!t)
        return;
#ifdef RMIG_KEEP_PLUGINS
    keep = true;
#endif
    if (t->handle && !keep)
        dlclose(t->handle);
    free(t);
}

const struct rmig_transport_ops *rmig_transport_ops(const struct rmig_transport *t)
{
    return &t->ops;
}

/* --- making connections ----------------------------------------------------------------------- */

/* What the plugin gets: our size, zeroes for what an older caller does not know, the cancel fd. */
static int complete_params(const struct rmig_transport_params *params,
                           struct rmig_transport_params *full_p, struct rmig_err *err)
{
    const size_t least = offsetof(struct rmig_transport_params, cancel_fd) + sizeof(int);

    if (params->struct_size < least)
        return rmig_err_set(err, -EINVAL,
                            "transport parameters: struct_size is %u, at least %zu is needed",
                            params->struct_size, least);
    memset(full_p, 0, sizeof(*full_p));
    memcpy(full_p, params, rmig_min_u64(params->struct_size, sizeof(*full_p)));
    full_p->struct_size = sizeof(*full_p);
    full_p->cancel_fd = rmig_cancel_fd(full_p->cancel);
    return 0;
}

int rmig_transport_probe(const struct rmig_transport *t, const struct rmig_transport_params *params,
                         uint64_t total_ram_bytes, struct rmig_err *err)
{
    struct rmig_transport_params full;
    int rc = complete_params(params, &full, err);

    return rc < 0 ? rc : t->ops.probe(&full, total_ram_bytes, err);
}

int rmig_transport_connect(const struct rmig_transport *t,
                           const struct rmig_transport_params *params,
                           struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    struct rmig_transport_params full;
    int rc = complete_params(params, &full, err);

    return rc < 0 ? rc : t->ops.connect(&full, conn_p, err);
}

int rmig_transport_listen(const struct rmig_transport *t,
                          const struct rmig_transport_params *params,
                          struct rmig_transport_listener **listener_p, uint16_t *port_p,
                          struct rmig_err *err)
{
    struct rmig_transport_params full;
    int rc = complete_params(params, &full, err);

    return rc < 0 ? rc : t->ops.listen(&full, listener_p, port_p, err);
}

int rmig_transport_accept(const struct rmig_transport *t, struct rmig_transport_listener *listener,
                          int timeout_ms, const struct rmig_transport_params *params,
                          struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    struct rmig_transport_params full;
    int rc = complete_params(params, &full, err);

    return rc < 0 ? rc : t->ops.accept(listener, timeout_ms, &full, conn_p, err);
}
