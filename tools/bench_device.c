/* bench_device.c -- reads devices and GID tables from /sys/class/infiniband. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_device.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rmig/transport.h>

#define DEVICES "/sys/class/infiniband"
#define GIDS_MAX 1024
#define DEVICES_MAX 64

struct devices {
    char names[DEVICES_MAX][64];
    int count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_devices(struct devices *devices)
{
    DIR *dir = opendir(DEVICES);
    struct dirent *entry;

    devices->count = 0;
    while (dir && devices->count < DEVICES_MAX && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            snprintf(devices->names[devices->count++], sizeof(devices->names[0]), "%.63s",
                     entry->d_name);
    if (dir)
        closedir(dir);
    qsort(devices->names, (size_t)devices->count, sizeof(devices->names[0]), by_name);
}

int bench_device_check(const struct bench_params *params, struct rmig_err *err)
{
    const struct rmig_transport_params wanted = {
        .struct_size = sizeof(wanted),
        .device = params->device,
        .device_port = params->ib_port,
        .gid_index = params->gid_index,
    };
    struct rmig_transport *rdma = NULL;
    int rc;

    if (!params->device[0])
        return 0;
    rc = rmig_transport_load("rdma", &rdma, err);
    if (rc == 0)
        rc = rmig_transport_probe(rdma, &wanted, 0, err);
    rmig_transport_unload(rdma);
    return rc < 0 ? rmig_err_prefix(err, "--device=%.64s", params->device) : 0;
}

/* One line of a file of sysfs; false where it cannot be read, as an unused GID's type. */
static bool read_line(const char *path, char *buf, int len)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(buf, len, f);

    if (f)
        fclose(f);
    if (ok)
        buf[strcspn(buf, "\n")] = '\0';
    return ok;
}

/* 0000:0000:0000:0000:0000:ffff:c0a8:0001 is an IPv4 address in hiding. */
static bool gid_ipv4(const char *gid, char *buf, size_t len)
{
    static const char prefix[] = "0000:0000:0000:0000:0000:ffff:";
    struct in_addr addr;
    unsigned high, low;

    if (strncmp(gid, prefix, sizeof(prefix) - 1) ||
        sscanf(gid + sizeof(prefix) - 1, "%4x:%4x", &high, &low) != 2)
        return false;
    addr.s_addr = htonl(high << 16 | low);
    return inet_ntop(AF_INET, &addr, buf, (socklen_t)len) != NULL;
}

/* An iWARP device's GID is no address; its network interface has one. */
static bool netdev_ipv4(const char *name, char *buf, size_t len)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)(const void *)i->ifa_addr;

        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !strcmp(i->ifa_name, name))
            found = inet_ntop(AF_INET, &sin->sin_addr, buf, (socklen_t)len) != NULL;
    }
    freeifaddrs(all);
    return found;
}

static bool entry_ipv4(const char *port_dir, int index, bool by_netdev, char *buf, size_t len)
{
    char path[256], line[128];

    snprintf(path, sizeof(path), "%.200s/%s/%d", port_dir, by_netdev ? "gid_attrs/ndevs" : "gids",
             index);
    if (!read_line(path, line, sizeof(line)))
        return false;
    return by_netdev ? netdev_ipv4(line, buf, len) : gid_ipv4(line, buf, len);
}

static bool device_ipv4(const char *device, const struct bench_params *params, char *buf,
                        size_t len)
{
    int first = params->gid_index >= 0 ? params->gid_index : 0;
    int end = params->gid_index >= 0 ? first + 1 : GIDS_MAX;
    char dir[160];

    snprintf(dir, sizeof(dir), DEVICES "/%.64s/ports/%u", device,
             params->ib_port ? params->ib_port : 1);
    for (int by_netdev = 0; by_netdev < 2; by_netdev++)
        for (int i = first; i < end; i++)
            if (entry_ipv4(dir, i, by_netdev, buf, len) && strncmp(buf, "127.", 4))
                return true;
    return false;
}

int bench_device_address(const struct bench_params *params, char *buf, size_t len,
                         struct rmig_err *err)
{
    struct devices devices;

    list_devices(&devices);
    if (devices.count == 0)
        return rmig_err_set(err, -ENODEV, "no RDMA device: this host has none");
    for (int i = 0; i < devices.count; i++)
        if (!params->device[0] || !strcmp(params->device, devices.names[i]))
            if (device_ipv4(devices.names[i], params, buf, len))
                return 0;
    if (params->gid_index >= 0)
        return rmig_err_set(err, -ENODEV, "RDMA device %s: GID %d has no IPv4 address",
                            params->device[0] ? params->device : "of any name", params->gid_index);
    return rmig_err_set(err, -ENODEV, "RDMA device %s has no IPv4 address; give its interface one",
                        params->device[0] ? params->device : devices.names[0]);
}
