/* dirty_userfault.c -- opens a userfaultfd, registers blocks, sets and lifts write protection. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "hooks/dirty_userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* The full right first: only it covers writes that the kernel does for the guest. */
static int open_fd(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    int dev;

    if (fd >= 0 || errno != EPERM)
        return fd;
    dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (dev >= 0) {
        fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
        close(dev);
        if (fd >= 0)
            return fd;
    }
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
}

/* The features can be asked for once per descriptor: one asks, the next one is used. */
static int kernel_features(uint64_t *features_p, struct rmig_err *err)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = open_fd();
    int rc;

    if (fd < 0) {
        int e = errno;

        if (e == ENOSYS)
            return rmig_err_set(err, -ENOTSUP, "userfaultfd: this kernel has none");
        return rmig_err_set(err, -e,
                            "userfaultfd: %s; run as root, or set vm.unprivileged_userfaultfd=1",
                            strerror(e));
    }
    rc = ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
    close(fd);
    if (rc < 0)
        return rmig_err_set(err, -ENOTSUP, "userfaultfd: API handshake: %s", strerror(-rc));
    *features_p = api.features;
    return 0;
}

int rmig_userfault_open(struct rmig_userfault *uf, uint64_t required, uint64_t optional,
                        struct rmig_err *err)
{
    struct uffdio_api api = {.api = UFFD_API};
    uint64_t have = 0;
    int rc = kernel_features(&have, err);

    if (rc < 0)
        return rc;
    if ((have & required) != required)
        return rmig_err_set(err, -ENOTSUP,
                            "userfaultfd: this kernel cannot write-protect this way: feature bits "
                            "0x%llx of 0x%llx are missing",
                            (unsigned long long)(required & ~have), (unsigned long long)required);
    api.features = required | (have & optional);
    uf->fd = open_fd();
    if (uf->fd < 0 || ioctl(uf->fd, UFFDIO_API, &api) < 0) {
        int e = errno;

        rmig_userfault_close(uf);
        return rmig_err_set(err, -e, "userfaultfd: %s", strerror(e));
    }
    uf->features = required | (have & optional);
    return 0;
}

int rmig_userfault_register(struct rmig_userfault *uf, const struct rmig_block *blocks,
                            uint32_t nblocks, struct rmig_err *err)
{
    for (uint32_t i = 0; i < nblocks; i++) {
        struct uffdio_register reg = {
            .range = {.start = (uintptr_t)blocks[i].host, .len = blocks[i].len_bytes},
            .mode = UFFDIO_REGISTER_MODE_WP,
        };

        if (ioctl(uf->fd, UFFDIO_REGISTER, &reg) < 0) {
            int e = errno;

            return rmig_err_set(
                err, e == EINVAL ? -ENOTSUP : -e,
                "userfaultfd: cannot watch RAM block %.64s for writes: %s", blocks[i].name,
                e == EINVAL ? "not for this kind of memory on this kernel" : strerror(e));
        }
        if (!(reg.ioctls & (1ull << _UFFDIO_WRITEPROTECT)))
            return rmig_err_set(err, -ENOTSUP,
                                "userfaultfd: RAM block %.64s cannot be write-protected",
                                blocks[i].name);
    }
    return 0;
}

int rmig_userfault_protect(const struct rmig_userfault *uf, void *start, uint64_t len_bytes,
                           bool on)
{
    struct uffdio_writeprotect wp = {
        .range = {.start = (uintptr_t)start, .len = len_bytes},
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };
    int rc;

    do /* EAGAIN: the address space is changing; it ends with the other thread's call */
        rc = ioctl(uf->fd, UFFDIO_WRITEPROTECT, &wp) < 0 ? -errno : 0;
    while (rc == -EAGAIN || rc == -EINTR);
    return rc;
}

/*
 * Before WP_UNPOPULATED an anonymous page that was never touched has no entry to protect: its first
 * write would go unseen. A read maps the zero page there and allocates nothing.
 */
static int populate(const struct rmig_block *block)
{
    const volatile uint8_t *p = block->host;

    if (madvise(block->host, block->len_bytes, MADV_POPULATE_READ) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    for (uint64_t offset = 0; offset < block->len_bytes; offset += RMIG_PAGE_BYTES)
        (void)p[offset];
    return 0;
}

int rmig_userfault_protect_all(const struct rmig_userfault *uf, const struct rmig_block *blocks,
                               uint32_t nblocks, struct rmig_err *err)
{
    for (uint32_t i = 0; i < nblocks; i++) {
        int rc = 0;

        if (!(uf->features & UFFD_FEATURE_WP_UNPOPULATED) && blocks[i].fd < 0)
            rc = populate(&blocks[i]);
        if (rc == 0)
            rc = rmig_userfault_protect(uf, blocks[i].host, blocks[i].len_bytes, true);
        if (rc < 0)
            return rmig_err_set(err, rc, "dirty tracking: cannot protect RAM block %.64s: %s",
                                blocks[i].name, strerror(-rc));
    }
    return 0;
}

void rmig_userfault_unprotect_all(const struct rmig_userfault *uf, const struct rmig_block *blocks,
                                  uint32_t nblocks)
{
    for (uint32_t i = 0; i < nblocks; i++)
        (void)rmig_userfault_protect(uf, blocks[i].host, blocks[i].len_bytes, false);
}

void rmig_userfault_close(struct rmig_userfault *uf)
{
    if (uf->fd >= 0)
        close(uf->fd);
    uf->fd = -1;
}
