/* SPDX-License-Identifier: BSD-3-Clause */
/* copy.c -- scatter lists, checked, and bytes moved between the two ends. */
#include "tests/fabric/fabric.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int iov_append(struct iovec *v, int n, uint8_t *base, size_t len)
{
    if (n && (uint8_t *)v[n - 1].iov_base + v[n - 1].iov_len == base) {
        v[n - 1].iov_len += len;
        return n;
    }
    v[n] = (struct iovec){base, len};
    return n + 1;
}

/* Appends bytes [off, off + len) of a checked scatter list; -1 if an entry is not allowed. */
int iov_gather(struct fab_qp *qp, const struct ibv_sge *sge, uint32_t count, uint32_t access,
                  uint64_t off, uint64_t len, struct iovec *v, int n)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *base = mr_resolve(own_segment, sge[i].lkey, qp->v.pd->handle, sge[i].addr,
                                   sge[i].length, access);
        uint64_t skip = off < sge[i].length ? off : sge[i].length, take = sge[i].length - skip;

        if (!base && sge[i].length)
            return -1;
        off -= skip;
        if (take > len)
            take = len;
        if (take)
            n = iov_append(v, n, base + skip, take);
        len -= take;
    }
    return n;
}

static ssize_t copy_here(const struct iovec *from, int nfrom, const struct iovec *to, int nto)
{
    size_t at = 0, total = 0;

    for (int i = 0; i < nto; i++)
        for (size_t done = 0, n; done < to[i].iov_len && nfrom; done += n, total += n) {
            n = to[i].iov_len - done < from->iov_len - at ? to[i].iov_len - done : from->iov_len - at;
            memcpy((uint8_t *)to[i].iov_base + done, (uint8_t *)from->iov_base + at, n);
            at += n;
            if (at == from->iov_len) {
                from++;
                nfrom--;
                at = 0;
            }
        }
    return (ssize_t)total;
}

ssize_t copy_bytes(pid_t peer, bool read, struct iovec *l, int nl, struct iovec *r, int nr)
{
    if (peer == getpid()) /* in a test program: what checks memory sees it */
        return copy_here(read ? r : l, read ? nr : nl, read ? l : r, read ? nl : nr);
    if (read)
        return process_vm_readv(peer, l, (unsigned long)nl, r, (unsigned long)nr, 0);
    return process_vm_writev(peer, l, (unsigned long)nl, r, (unsigned long)nr, 0);
}

/* Moves a message's payload into the receive's buffers; false if the requester has gone meanwhile.
 */
bool copy_payload(struct fab_qp *qp, struct message *m, struct iovec *v, int n)
{
    struct lane *rx = qp->link->rx;
    uint64_t done = 0, length = m->length;

    if (!m->num_sge) {
        for (int i = 0; i < n; done += v[i++].iov_len)
            memcpy(v[i].iov_base, m->data + done, v[i].iov_len);
        return true;
    }
    while (done <
           length) { /* in pieces, so that the requester can always take its memory back soon */
        struct iovec l[MAX_SGE], r[MAX_SGE];
        uint64_t piece = length - done < COPY_CHUNK ? length - done : COPY_CHUNK, skip;
        int nl = 0, nr = 0;
        uint64_t want = piece;
        skip = done;
        for (int i = 0; i < n && want; i++) {
            uint64_t s = skip < v[i].iov_len ? skip : v[i].iov_len,
                     t = v[i].iov_len - s < want ? v[i].iov_len - s : want;
            skip -= s;
            if (t)
                l[nl++] = (struct iovec){(uint8_t *)v[i].iov_base + s, t};
            want -= t;
        }
        want = piece;
        skip = done;
        for (uint32_t i = 0; i < m->num_sge && i < MAX_SGE && want; i++) {
            uint64_t s = skip < m->sge[i].iov_len ? skip : m->sge[i].iov_len,
                     t = m->sge[i].iov_len - s < want ? m->sge[i].iov_len - s : want;
            skip -= s;
            if (t)
                r[nr++] = (struct iovec){(uint8_t *)m->sge[i].iov_base + s, t};
            want -= t;
        }
        atomic_fetch_add(&rx->responder_epoch, 1);
        ssize_t got = atomic_load(&rx->closed)
                          ? -1
                          : copy_bytes(qp->link->peer_pid, true, l, nl, r, nr);
        atomic_fetch_add(&rx->responder_epoch, 1);
        if (got <= 0)
            return false;
        done += (uint64_t)got;
    }
    return true;
}
