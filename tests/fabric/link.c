/* SPDX-License-Identifier: BSD-3-Clause */
/* link.c -- links: the memory and the socket that two connected queue pairs share. */
#include "tests/fabric/fabric.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct link *links; /* under the engine lock */

static struct link *link_map(int fd, int side)
{
    struct link *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->shm = mmap(NULL, sizeof(*l->shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (l->shm == MAP_FAILED) {
        free(l);
        return NULL;
    }
    l->tx = &l->shm->lane[side];
    l->rx = &l->shm->lane[!side];
    l->sock = -1;
    atomic_store(&l->refs, 1);
    return l;
}

struct link *link_create(int *shm_fd)
{
    struct link *l = NULL;

    *shm_fd = memfd_create("rdma-fabric-link", MFD_CLOEXEC);
    if (*shm_fd >= 0 && ftruncate(*shm_fd, sizeof(struct link_shm)) == 0)
        l = link_map(*shm_fd, 0);
    if (!l && *shm_fd >= 0)
        close(*shm_fd);
    return l;
}

struct link *link_open(int shm_fd, int side)
{
    return link_map(shm_fd, side);
}

void link_bind_peer(struct link *l, int segment_fd, pid_t pid, uint32_t qpn)
{
    struct segment *s = pid == getpid() ? own_segment
                                        : mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED,
                                               segment_fd, 0);

    if (s == MAP_FAILED)
        return;
    l->peer_pid = pid;
    l->peer_qpn = qpn;
    engine_lock();
    l->peer = s;
    l->next = links;
    links = l;
    engine_unlock();
}

void link_put(struct link *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    engine_lock();
    for (struct link **p = &links; *p; p = &(*p)->next)
        if (*p == l) {
            *p = l->next;
            break;
        }
    engine_unlock();
    if (l->peer && l->peer != own_segment)
        munmap(l->peer, sizeof(*l->peer));
    munmap(l->shm, sizeof(*l->shm));
    if (l->sock >= 0)
        close(l->sock);
    free(l);
}

void link_cut(struct link *l)
{
    atomic_store(&l->gone, true);
    shutdown(l->sock, SHUT_RDWR);
}

static bool link_dead(struct link *l)
{
    struct pollfd p = {.fd = l->sock, .events = POLLRDHUP};
    return atomic_load(&l->gone) || syscall(SYS_poll, &p, 1, 0) > 0;
}

static void wait_epoch(struct link *l, _Atomic uint32_t *epoch)
{
    uint32_t seen = atomic_load(epoch);

    uint64_t limit = now_ns() + 2000000000u;

    while ((seen & 1) && atomic_load(epoch) == seen && !link_dead(l) && now_ns() < limit)
        sched_yield();
}

/* Returns when no access to our memory that began before is under way on this link. */
void link_quiesce(struct link *l)
{
    atomic_thread_fence(memory_order_seq_cst);
    wait_epoch(l, &l->rx->requester_epoch);
    wait_epoch(l, &l->tx->responder_epoch);
}

void engine_wait_accesses(void)
{
    for (struct link *l = links; l; l = l->next)
        link_quiesce(l);
}
