/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_bench.c -- what a stream costs beside what it cannot do without: memcpy, writev, stdio, a
 * socket. Each kind of work is done in turn with its peer; a line of JSON a round.
 *
 *   stream_bench copied|referenced|small ROUNDS     rates of both
 *   stream_bench put|get CALLS                      that many calls of put_be64, get_be64: for callgrind
 *   stream_bench tcp HOST PORT BYTES                referenced pages to whoever reads there
 *   stream_bench sink                               reads and drops; prints the port first
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <rmig/rmig.h>

#define BLOCK_BYTES (1u << 20)
#define SOURCE_BYTES (64u << 20) /* more than a cache has */
#define PIECE_BYTES 64u
#define PAGE 4096u

static struct rmig_err err;
static uint8_t *source;

static void check(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "stream_bench: %s: %s\n", what, err.code ? err.msg : strerror(-rc));
        exit(EXIT_FAILURE);
    }
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Pages that are there, none of them zero. */
static uint8_t *memory(size_t len_bytes)
{
    uint8_t *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        check(-errno, "mmap");
    (void)madvise(p, len_bytes, MADV_HUGEPAGE);
    memset(p, 0x5a, len_bytes);
    return p;
}

static struct rmig_out *stream_to(const char *text)
{
    struct rmig_uri uri;
    struct rmig_channel *ch = NULL;
    struct rmig_out *out = NULL;

    if (text) {
        check(rmig_uri_parse(text, &uri, &err), text);
        check(rmig_channel_open(&uri, RMIG_OPEN_WRITE, NULL, &ch, &err), text);
    } else {
        check(rmig_channel_null(&ch, &err), "null channel");
    }
    check(rmig_out_new(ch, &out, &err), "stream");
    return out;
}

/* --- work and its peer: seconds for a total of bytes ------------------------------------------ */

#define TOTAL_BYTES (2ull << 30)

static double ours_copied(void)
{
    struct rmig_out *out = stream_to(NULL);
    double began = now_s();

    for (uint64_t done = 0; done < TOTAL_BYTES; done += BLOCK_BYTES)
        rmig_out_put_buffer(out, source + done % SOURCE_BYTES, BLOCK_BYTES);
    check(rmig_out_flush(out), "flush");
    began = now_s() - began;
    check(rmig_out_close(out, &err), "close");
    return began;
}

/* The same copies into a buffer of the same size, and nothing else. */
static double memcpy_copied(void)
{
    static uint8_t buffer[RMIG_STREAM_BUFFER_BYTES];
    double began = now_s();

    for (uint64_t done = 0; done < TOTAL_BYTES; done += sizeof(buffer)) {
        memcpy(buffer, source + done % SOURCE_BYTES, sizeof(buffer));
        __asm__ volatile("" : : "r"(buffer) : "memory");
    }
    return now_s() - began;
}

#define REFERENCED_BYTES (TOTAL_BYTES * 16)

/* Pages that do not touch, as dirty ones are. */
static double ours_referenced(void)
{
    struct rmig_out *out = stream_to("file:/dev/null");
    double began = now_s();

    for (uint64_t done = 0; done < REFERENCED_BYTES; done += PAGE)
        rmig_out_put_ref(out, source + done * 2 % SOURCE_BYTES, PAGE, false);
    check(rmig_out_flush(out), "flush");
    began = now_s() - began;
    check(rmig_out_close(out, &err), "close");
    return began;
}

/* A list of as many entries for each call, made on the way. */
static double writev_referenced(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct iovec iov[RMIG_STREAM_IOV_MAX];
    double began = now_s();
    int n = 0;

    for (uint64_t done = 0; done < REFERENCED_BYTES; done += PAGE) {
        iov[n++] = (struct iovec){source + done * 2 % SOURCE_BYTES, PAGE};
        if (n < RMIG_STREAM_IOV_MAX)
            continue;
        if (writev(fd, iov, n) < 0)
            check(-errno, "writev");
        n = 0;
    }
    began = now_s() - began;
    close(fd);
    return began;
}

static double ours_small(void)
{
    struct rmig_out *out = stream_to("file:/dev/null");
    double began = now_s();

    for (uint64_t done = 0; done < TOTAL_BYTES; done += PIECE_BYTES)
        rmig_out_put_buffer(out, source + done % SOURCE_BYTES, PIECE_BYTES);
    check(rmig_out_flush(out), "flush");
    began = now_s() - began;
    check(rmig_out_close(out, &err), "close");
    return began;
}

static double stdio_small(void)
{
    static char buffer[RMIG_STREAM_BUFFER_BYTES];
    FILE *f = fopen("/dev/null", "we");
    double began;

    if (!f || setvbuf(f, buffer, _IOFBF, sizeof(buffer)))
        check(-EIO, "/dev/null");
    began = now_s();
    for (uint64_t done = 0; done < TOTAL_BYTES; done += PIECE_BYTES)
        if (fwrite_unlocked(source + done % SOURCE_BYTES, PIECE_BYTES, 1, f) != 1)
            check(-EIO, "fwrite");
    fflush(f);
    began = now_s() - began;
    fclose(f);
    return began;
}

static const struct work {
    const char *name, *peer;
    double (*ours)(void), (*theirs)(void);
    uint64_t bytes;
} works[] = {
    {"copied", "memcpy", ours_copied, memcpy_copied, TOTAL_BYTES},
    {"referenced", "writev", ours_referenced, writev_referenced, REFERENCED_BYTES},
    {"small", "fwrite_unlocked", ours_small, stdio_small, TOTAL_BYTES},
};

/* The first round warms up and is not printed. Who goes first changes. */
static void compare(const struct work *w, unsigned rounds)
{
    source = memory(SOURCE_BYTES);
    for (unsigned i = 0; i <= rounds; i++) {
        double ours = i % 2 ? w->ours() : 0, theirs = w->theirs();

        if (i % 2 == 0)
            ours = w->ours();
        if (i > 0)
            printf("{\"work\": \"%s\", \"peer\": \"%s\", \"bytes\": %" PRIu64
                   ", \"ours_s\": %.6f, \"peer_s\": %.6f}\n",
                   w->name, w->peer, w->bytes, ours, theirs);
        fflush(stdout);
    }
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void put_numbers(uint64_t calls)
{
    struct rmig_out *out = stream_to(NULL);

    for (uint64_t i = 0; i < calls; i++)
        rmig_out_put_be64(out, i);
    check(rmig_out_close(out, &err), "close");
}

static void get_numbers(uint64_t calls)
{
    struct rmig_buffer *buffer = NULL;
    struct rmig_channel *ch = NULL;
    struct rmig_in *in = NULL;
    uint64_t v;

    check(rmig_buffer_new(calls * sizeof(v), &buffer, &err), "buffer");
    if (rmig_buffer_set_length(buffer, calls * sizeof(v)) != calls * sizeof(v))
        check(-ENOMEM, "buffer");
    check(rmig_channel_from_buffer(buffer, RMIG_OPEN_READ, &ch, &err), "channel");
    check(rmig_in_new(ch, &in, &err), "stream");
    for (uint64_t i = 0; i < calls; i++)
        check(rmig_in_get_be64(in, &v), "get");
    check(rmig_in_close(in, &err), "close");
}

/* --- tcp -------------------------------------------------------------------------------------- */

static void send_pages(const char *host, const char *port, uint64_t total_bytes)
{
    char uri[300];
    struct rmig_out *out;
    double began;

    source = memory(total_bytes);
    snprintf(uri, sizeof(uri), "tcp:%s:%s", host, port);
    out = stream_to(uri);
    began = now_s();
    for (uint64_t done = 0; done < total_bytes; done += PAGE)
        rmig_out_put_ref(out, source + done, PAGE, false);
    check(rmig_out_flush(out), "flush");
    began = now_s() - began;
    check(rmig_out_close(out, &err), "close");
    printf("{\"work\": \"tcp\", \"bytes\": %" PRIu64 ", \"ours_s\": %.6f}\n", total_bytes, began);
}

/* As iperf3 reads: into a buffer of 128 KiB, over and over. */
static void sink(void)
{
    static uint8_t buffer[128u << 10];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        check(-errno, "listen");
    printf("%u\n", ntohs(addr.sin_port));
    fflush(stdout);
    fd = accept(fd, NULL, NULL);
    if (fd < 0)
        check(-errno, "accept");
    while (read(fd, buffer, sizeof(buffer)) > 0)
        ;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    for (size_t i = 0; argc == 3 && i < sizeof(works) / sizeof(works[0]); i++)
        if (strcmp(what, works[i].name) == 0) {
            compare(&works[i], (unsigned)strtoul(argv[2], NULL, 10));
            return EXIT_SUCCESS;
        }
    if (argc == 3 && strcmp(what, "put") == 0)
        put_numbers(strtoull(argv[2], NULL, 10));
    else if (argc == 3 && strcmp(what, "get") == 0)
        get_numbers(strtoull(argv[2], NULL, 10));
    else if (argc == 5 && strcmp(what, "tcp") == 0)
        send_pages(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    else if (argc == 2 && strcmp(what, "sink") == 0)
        sink();
    else {
        fprintf(stderr, "usage: stream_bench copied|referenced|small ROUNDS | put|get CALLS | "
                        "tcp HOST PORT BYTES | sink\n");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
