/* SPDX-License-Identifier: BSD-3-Clause */
/* variant.c -- a plugin that is wrong, short or long in the way that RMIG_ABI_VARIANT says. */
#include <rmig/transport.h>

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Our table with what a later version could append. */
struct longer_ops {
    struct rmig_transport_ops ops;
    void (*appended[4])(void);
};

static struct longer_ops table;

static int do_connect(const struct rmig_transport_params *params,
                      struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    (void)params;
    (void)conn_p;
    (void)err;
    return -ENOTCONN;
}

static int do_listen(const struct rmig_transport_params *params,
                     struct rmig_transport_listener **listener_p, uint16_t *port_p,
                     struct rmig_err *err)
{
    (void)params;
    (void)listener_p;
    (void)port_p;
    (void)err;
    return -ENOTCONN;
}

static int do_accept(struct rmig_transport_listener *listener, int timeout_ms,
                     const struct rmig_transport_params *params,
                     struct rmig_transport_conn **conn_p, struct rmig_err *err)
{
    (void)listener;
    (void)timeout_ms;
    (void)params;
    (void)conn_p;
    (void)err;
    return -ENOTCONN;
}

static void listener_close(struct rmig_transport_listener *listener)
{
    (void)listener;
}

static struct rmig_channel *channel(struct rmig_transport_conn *conn)
{
    (void)conn;
    return NULL;
}

static const struct rmig_hooks *hooks(struct rmig_transport_conn *conn)
{
    (void)conn;
    return NULL;
}

static void close_conn(struct rmig_transport_conn *conn)
{
    (void)conn;
}

/* Leave out the member that follows "no-". */
static void leave_out(const char *member)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        {"name", offsetof(struct rmig_transport_ops, name)},
        {"connect", offsetof(struct rmig_transport_ops, connect)},
        {"listen", offsetof(struct rmig_transport_ops, listen)},
        {"accept", offsetof(struct rmig_transport_ops, accept)},
        {"listener_close", offsetof(struct rmig_transport_ops, listener_close)},
        {"channel", offsetof(struct rmig_transport_ops, channel)},
        {"hooks", offsetof(struct rmig_transport_ops, hooks)},
        {"close", offsetof(struct rmig_transport_ops, close)},
    };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (strcmp(member, members[i].name) == 0)
            memset((char *)&table.ops + members[i].offset, 0, sizeof(void *));
}

const struct rmig_transport_ops *rmig_transport_init(const struct rmig_host *host)
{
    const char *variant = getenv("RMIG_ABI_VARIANT");

    (void)host;
    table.ops = (struct rmig_transport_ops){
        .abi = RMIG_TRANSPORT_ABI,
        .struct_size = sizeof(table.ops),
        .name = "variant",
        .connect = do_connect,
        .listen = do_listen,
        .accept = do_accept,
        .listener_close = listener_close,
        .channel = channel,
        .hooks = hooks,
        .close = close_conn,
    };
    if (!variant)
        return &table.ops;
    if (strcmp(variant, "null") == 0)
        return NULL;
    if (strcmp(variant, "abi") == 0)
        table.ops.abi++;
    if (strcmp(variant, "other-name") == 0)
        table.ops.name = "other";
    if (strcmp(variant, "longer") == 0)
        table.ops.struct_size = sizeof(table);
    if (strncmp(variant, "size-", 5) == 0)
        table.ops.struct_size = (uint32_t)strtoul(variant + 5, NULL, 10);
    if (strncmp(variant, "no-", 3) == 0)
        leave_out(variant + 3);
    return &table.ops;
}
