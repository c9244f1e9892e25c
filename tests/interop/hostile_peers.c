/* SPDX-License-Identifier: BSD-3-Clause */
/* hostile_peers.c -- plays the cases that are asked for, a few at a time, and counts. */
#include "tests/interop/hostile.h"

#include <fnmatch.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/interop/hostile_run.h"

#define TASKS_MAX 512u
#define JOBS 2u /* rmig and a peer take turns: more would only wait for the processors */

static const struct hostile_table *const tables[] = {
    &hostile_connect, &hostile_message,      &hostile_order, &hostile_pass,     &hostile_stream,
    &hostile_end,     &hostile_budget,       &hostile_send_message, &hostile_send, &hostile_send_end,
    &hostile_send_budget,
};

static struct hostile_task tasks[TASKS_MAX];
static unsigned ntasks;

/* What the jobs share. */
struct count {
    atomic_uint next, passed, failed;
};

/* --- what to do ------------------------------------------------------------------------------- */

static bool wanted(const char *name, char **patterns)
{
    if (!*patterns)
        return true;
    for (; *patterns; patterns++) {
        char pattern[128];

        snprintf(pattern, sizeof(pattern), "*%s*", *patterns);
        if (fnmatch(pattern, name, 0) == 0)
            return true;
    }
    return false;
}

static void add(const struct hostile_case *c, enum hostile_role role, char **patterns)
{
    bool relay = role == HOSTILE_RELAY_IN || role == HOSTILE_RELAY_OUT;
    struct hostile_task *task = &tasks[ntasks];

    if (ntasks == TASKS_MAX)
        abort();
    *task = (struct hostile_task){.hostile = c, .role = role};
    snprintf(task->name, sizeof(task->name), "%s%s", c->name, relay ? "/relay" : "");
    if (wanted(task->name, patterns))
        ntasks++;
}

static void add_all(char **patterns)
{
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct hostile_case *c = &tables[t]->cases[i];

            add(c, tables[t]->role, patterns);
            if (c->relay)
                add(c, tables[t]->role == HOSTILE_SEND ? HOSTILE_RELAY_OUT : HOSTILE_RELAY_IN,
                    patterns);
        }
}

/* --- doing it --------------------------------------------------------------------------------- */

/* The guest to be sent: something in the first and the last chunk, and in the second block. */
static bool store_guest(const char *path)
{
    struct bytes bytes = {0};
    FILE *file = fopen(path, "w");
    bool ok = file != NULL;

    bytes_put(&bytes, "HEADER START LIST EOS FOOT END ::8 =ram ~4096 ::0x300028 ~4096");
    bytes_put(&bytes, "::0x1008 =rom ~4096 EOS FOOT DEVICE TAIL");
    ok = ok && fwrite(bytes.data, 1, bytes.len, file) == bytes.len;
    ok = (!file || fclose(file) == 0) && ok;
    bytes_release(&bytes);
    return ok;
}

/* Takes one task after another. Returns: its exit status. */
static int work(const char *address, struct count *count)
{
    char folder[] = "/dev/shm/hostile.XXXXXX";
    struct hostile_place place = {.address = address};
    unsigned i;

    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    snprintf(place.stored, sizeof(place.stored), "%s/stored", folder);
    snprintf(place.output, sizeof(place.output), "%s/output", folder);
    if (store_guest(place.stored))
        while ((i = atomic_fetch_add(&count->next, 1)) < ntasks)
            atomic_fetch_add(hostile_play(&tasks[i], &place) ? &count->passed : &count->failed, 1);
    unlink(place.stored);
    if (rmdir(folder) == 0)
        return 0;
    perror(folder);
    return 1;
}

/* Returns: did every job come to its end? */
static bool run_jobs(const char *address, struct count *count)
{
    bool ok = true;
    int status;

    fflush(stdout);
    for (unsigned i = 0; i < JOBS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            exit(work(address, count));
        ok = pid > 0 && ok;
    }
    while (wait(&status) > 0)
        ok = status == 0 && ok;
    return ok;
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    const char *address = getenv("RMIG_TEST_RDMA_ADDR");
    struct count *count =
        mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    add_all(argv + 1 + list);
    for (unsigned i = 0; list && i < ntasks; i++)
        puts(tasks[i].name);
    if (list)
        return 0;
    if (!address || count == MAP_FAILED) {
        fprintf(stderr, "hostile_peers: no RMIG_TEST_RDMA_ADDR: run it by tests/interop/hostile\n");
        return 2;
    }
    if (!run_jobs(address, count) || count->passed + count->failed < ntasks || ntasks == 0) {
        fprintf(stderr, "hostile_peers: not all %u cases were played\n", ntasks);
        count->failed++;
    }
    printf("%u passed, %u failed\n", count->passed, count->failed);
    return count->failed != 0;
}
