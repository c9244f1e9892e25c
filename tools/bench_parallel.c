/* bench_parallel.c -- a pool of threads for the length of one call. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/bench_parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS_MAX 64

struct work {
    atomic_uint_fast64_t next;
    uint64_t nunits;
    bench_unit_fn fn;
    void *opaque;
    struct rmig_cancel *stop;
};

static void *worker(void *opaque)
{
    struct work *work = opaque;

    for (;;) {
        uint64_t unit = atomic_fetch_add(&work->next, 1);

        if (unit >= work->nunits || rmig_cancel_triggered(work->stop))
            return NULL;
        work->fn(work->opaque, unit);
    }
}

bool bench_parallel(uint64_t nunits, bench_unit_fn fn, void *opaque, struct rmig_cancel *stop)
{
    struct work work = {.nunits = nunits, .fn = fn, .opaque = opaque, .stop = stop};
    pthread_t threads[THREADS_MAX];
    long ncpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned nthreads = 0;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (nthreads < THREADS_MAX && (long)nthreads + 1 < ncpus && nthreads + 1 < nunits) {
        if (pthread_create(&threads[nthreads], NULL, worker, &work))
            break;
        nthreads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    worker(&work);
    while (nthreads > 0)
        pthread_join(threads[--nthreads], NULL);
    return !rmig_cancel_triggered(stop);
}
