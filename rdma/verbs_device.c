/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_device.c -- the RDMA devices of this host and their addresses. */
#include "rdma/verbs.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <infiniband/verbs.h>

#include "rdma/verbs_errno.h"

static struct ibv_device **list_devices(int *n_p, struct rmig_err *err)
{
    struct ibv_device **list = ibv_get_device_list(n_p);

    if (!list)
        rmig_err_set(err, -ENODEV, "no RDMA device: ibv_get_device_list: %s",
                     errno == ENOSYS ? "this kernel has no RDMA, or ib_uverbs is not loaded"
                                     : strerror(errno));
    return list;
}

int rmig_rdma_verbs_count_devices(struct rmig_err *err)
{
    int n = 0;
    struct ibv_device **list = list_devices(&n, err);

    if (!list)
        return -ENODEV;
    ibv_free_device_list(list);
    if (n == 0)
        return rmig_err_set(err, -ENODEV,
                            "no RDMA device on this host; `rdma link add rxe0 type rxe netdev "
                            "NAME` makes one in software");
    return n;
}

static struct ibv_context *open_device(const char *name, struct rmig_err *err)
{
    char known[160] = "";
    struct ibv_context *ctx = NULL;
    bool found = false;
    int n = 0, why = 0;
    struct ibv_device **list = list_devices(&n, err);

    if (!list)
        return NULL;
    for (int i = 0; i < n; i++) {
        const char *dev = ibv_get_device_name(list[i]);
        size_t used = strlen(known);

        if (!strcmp(dev, name)) {
            found = true;
            ctx = ibv_open_device(list[i]);
            why = errno;
            break;
        }
        snprintf(known + used, sizeof(known) - used, " %s", dev);
    }
    ibv_free_device_list(list);
    if (!found)
        rmig_err_set(err, -ENODEV, "no RDMA device %.64s; this host has:%s", name,
                     known[0] ? known : " none");
    else if (!ctx)
        rmig_err_set(err, -ENODEV, "RDMA device %.64s cannot be opened: %s", name, strerror(why));
    return ctx;
}

static bool gid_is_ipv4(const union ibv_gid *gid)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    return !memcmp(gid->raw, mapped, sizeof(mapped));
}

static void gid_to_address(const struct ibv_gid_entry *entry, struct sockaddr_storage *addr_p)
{
    memset(addr_p, 0, sizeof(*addr_p));
    if (gid_is_ipv4(&entry->gid)) {
        struct sockaddr_in *in4 = (struct sockaddr_in *)addr_p;

        in4->sin_family = AF_INET;
        memcpy(&in4->sin_addr, entry->gid.raw + 12, 4);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)addr_p;

        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_addr, entry->gid.raw, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            in6->sin6_scope_id = entry->ndev_ifindex;
    }
}

/* All GIDs of a device, of all its ports. Returns: how many, *entries_p to be freed; -errno. */
static ssize_t read_gids(struct ibv_context *ctx, struct ibv_gid_entry **entries_p,
                         struct rmig_err *err)
{
    struct ibv_device_attr device;
    struct ibv_gid_entry *entries;
    size_t room = 1; /* a full table is refused by some kernels */
    ssize_t n;
    int rc = ibv_query_device(ctx, &device);

    if (rc)
        return verbs_error(err, rc, "ibv_query_device");
    for (uint8_t i = 1; i <= device.phys_port_cnt; i++) {
        struct ibv_port_attr port;

        rc = ibv_query_port(ctx, i, &port);
        if (rc)
            return verbs_error(err, rc, "ibv_query_port");
        room += (size_t)port.gid_tbl_len;
    }
    entries = calloc(room, sizeof(*entries));
    if (!entries)
        return rmig_err_set(err, -ENOMEM, "out of memory");
    n = ibv_query_gid_table(ctx, entries, room, 0);
    if (n < 0) {
        free(entries);
        return verbs_error(err, (int)-n, "ibv_query_gid_table");
    }
    *entries_p = entries;
    return n;
}

/* The GID that the options name, or the best: an IPv4 address if there is one. NULL if none fits. */
static const struct ibv_gid_entry *choose_gid(const struct ibv_gid_entry *entries, ssize_t n,
                                              uint32_t port, int gid_index)
{
    const struct ibv_gid_entry *best = NULL;

    for (ssize_t i = 0; i < n; i++) {
        const struct ibv_gid_entry *e = &entries[i];

        if (e->port_num != port || (gid_index >= 0 && e->gid_index != (uint32_t)gid_index) ||
            e->gid_type == IBV_GID_TYPE_IB)
            continue;
        if (!best || (gid_is_ipv4(&e->gid) && !gid_is_ipv4(&best->gid)))
            best = e;
    }
    return best;
}

int rmig_rdma_verbs_device_address(const char *device, uint32_t port, int gid_index,
                                   struct sockaddr_storage *addr_p, struct rmig_err *err)
{
    struct ibv_context *ctx = open_device(device, err);
    struct ibv_gid_entry *entries = NULL;
    const struct ibv_gid_entry *best;
    char gid_text[32] = "any GID index";
    ssize_t n;

    if (gid_index >= 0)
        snprintf(gid_text, sizeof(gid_text), "GID index %d", gid_index);
    if (!ctx)
        return -ENODEV;
    n = read_gids(ctx, &entries, err);
    ibv_close_device(ctx);
    if (n < 0) {
        rmig_err_prefix(err, "RDMA device %.64s: its GID table cannot be read", device);
        return (int)n;
    }
    best = choose_gid(entries, n, port, gid_index);
    if (best)
        gid_to_address(best, addr_p);
    free(entries);
    if (!best)
        return rmig_err_set(err, -EADDRNOTAVAIL,
                            "RDMA device %.64s port %u has no IP address at %s; see `rdma link` and "
                            "give its network device an address",
                            device, port, gid_text);
    return 0;
}
