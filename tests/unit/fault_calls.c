/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_calls.c -- decides which call fails and how, and keeps account of what the library holds.
 */
#include "tests/unit/fault_calls.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BLOCKS_MAX 4096
#define FDS_MAX 256

static struct {
    struct fault faults[2];
    unsigned came;
    int child;
    bool clock_jumps, looked;
    uint64_t ahead_ns;
    unsigned passed[FAULT_SITES_MAX];
    unsigned writes, bad_closes;
    const void *blocks[BLOCKS_MAX];
    unsigned nblocks;
    bool fds[FDS_MAX];
} armed;
static _Thread_local bool here;

/* --- what may go wrong ------------------------------------------------------------------------ */

#define CODES(...)                                                                   \
    {                                                                                \
        (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int) \
    }

/* What the man page of each names, or EIO, but for what is a fault of the caller. */
static const struct {
    const int *codes;
    unsigned count;
} table[CALL_COUNT] = {
    [CALL_accept4] = CODES(EAGAIN, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM),
    [CALL_bind] = CODES(EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM, EIO),
    [CALL_calloc] = CODES(ENOMEM),
    [CALL_close] = CODES(EINTR, EIO, ENOSPC, EDQUOT),
    [CALL_compress2] = CODES(Z_MEM_ERROR, Z_BUF_ERROR),
    [CALL_connect] =
        CODES(EINTR, EINPROGRESS, EAGAIN, ECONNREFUSED, EACCES, ENETUNREACH, ETIMEDOUT),
    [CALL_deflate] = CODES(Z_STREAM_ERROR, Z_BUF_ERROR),
    [CALL_deflateReset] = CODES(Z_STREAM_ERROR),
    [CALL_dlopen] = CODES(ENOENT),
    [CALL_dlsym] = CODES(ENOENT),
    [CALL_eventfd] = CODES(EMFILE, ENFILE, ENOMEM),
    [CALL_fallocate] = CODES(EINTR, EOPNOTSUPP, EIO, ENOSPC),
    [CALL_fcntl] = CODES(EBADF, EMFILE, EPERM),
    [CALL_fstat] = CODES(EIO, ENOMEM, EOVERFLOW),
    [CALL_fsync] = CODES(EINTR, EIO, ENOSPC, EDQUOT),
    [CALL_ftruncate] = CODES(EINTR, EIO, EFBIG),
    [CALL_gai_suspend] = CODES(EAI_AGAIN, EAI_INTR),
    [CALL_getaddrinfo] = CODES(EAI_MEMORY, EAI_AGAIN, EAI_FAIL, EAI_SYSTEM),
    [CALL_getaddrinfo_a] = CODES(EAI_MEMORY, EAI_AGAIN, EAI_SYSTEM),
    [CALL_getnameinfo] = CODES(EAI_MEMORY, EAI_AGAIN),
    [CALL_getsockname] = CODES(ENOBUFS, EIO),
    [CALL_getsockopt] = CODES(ENOPROTOOPT, ENOMEM),
    [CALL_inflate] = CODES(Z_MEM_ERROR, Z_DATA_ERROR),
    [CALL_inflateInit_] = CODES(Z_MEM_ERROR),
    [CALL_inflateReset] = CODES(Z_STREAM_ERROR),
    [CALL_ioctl] = CODES(EINTR, ENOMEM, EIO),
    [CALL_kill] = CODES(ESRCH, EPERM),
    [CALL_listen] = CODES(EADDRINUSE, EIO),
    [CALL_lseek] = CODES(EIO, EINVAL, EOVERFLOW),
    [CALL_lstat] = CODES(EACCES, ENOMEM),
    [CALL_madvise] = CODES(EAGAIN, EINVAL, ENOMEM, EFAULT),
    [CALL_mincore] = CODES(EAGAIN, EINVAL, ENOMEM, EFAULT),
    [CALL_malloc] = CODES(ENOMEM),
    [CALL_mmap] = CODES(ENOMEM, EAGAIN, ENODEV),
    [CALL_nanosleep] = CODES(EINTR),
    [CALL_open] = CODES(EINTR, EACCES, EMFILE, ENFILE, ENOMEM, ENOSPC, EIO),
    [CALL_pipe2] = CODES(EMFILE, ENFILE),
    [CALL_poll] = CODES(EINTR, ENOMEM),
    [CALL_posix_spawn] = CODES(EAGAIN, ENOMEM, ENOENT),
    [CALL_posix_spawn_file_actions_addclosefrom_np] = CODES(ENOMEM),
    [CALL_posix_spawn_file_actions_adddup2] = CODES(ENOMEM),
    [CALL_posix_spawn_file_actions_addopen] = CODES(ENOMEM),
    [CALL_posix_spawn_file_actions_init] = CODES(ENOMEM),
    [CALL_posix_spawnattr_init] = CODES(ENOMEM),
    [CALL_pread] = CODES(EINTR, FAULT_ONE_BYTE, FAULT_HALF, EIO),
    [CALL_pthread_create] = CODES(EAGAIN),
    [CALL_pwrite] = CODES(EINTR, FAULT_ONE_BYTE, FAULT_HALF, EIO, ENOSPC, EFBIG, EDQUOT),
    [CALL_read] = CODES(EINTR, FAULT_ONE_BYTE, FAULT_HALF, EIO),
    [CALL_readv] = CODES(EINTR, EAGAIN, FAULT_ONE_BYTE, FAULT_HALF, EIO),
    [CALL_realloc] = CODES(ENOMEM),
    [CALL_recvmsg] = CODES(EINTR, EAGAIN, FAULT_ONE_BYTE, FAULT_HALF, EIO, ECONNRESET, ENOMEM),
    [CALL_sendmsg] =
        CODES(EINTR, EAGAIN, FAULT_ONE_BYTE, FAULT_HALF, EIO, EPIPE, ECONNRESET, ENOBUFS, ENOMEM),
    [CALL_setsockopt] = CODES(ENOPROTOOPT, ENOMEM),
    [CALL_shutdown] = CODES(ENOTCONN, EIO),
    [CALL_sigtimedwait] = CODES(EINTR, EAGAIN),
    [CALL_socket] = CODES(EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT),
    [CALL_strdup] = CODES(ENOMEM),
    [CALL_syscall] = CODES(ENOSYS, EPERM, EMFILE, ENOMEM),
    [CALL_unlink] = CODES(EACCES, EIO),
    [CALL_waitid] = CODES(EINTR, ECHILD),
    [CALL_waitpid] = CODES(EINTR, ECHILD),
    [CALL_write] = CODES(EAGAIN, EIO),
    [CALL_writev] =
        CODES(EINTR, EAGAIN, FAULT_ONE_BYTE, FAULT_HALF, EIO, EPIPE, ENOSPC, EDQUOT, EFBIG),
};

static const char *const names[CALL_COUNT] = {
#define FAULT_NAME(name) [CALL_##name] = #name,
    FAULT_CALLS(FAULT_NAME)
#undef FAULT_NAME
};

const char *fault_call_name(enum fault_call call)
{
    return names[call];
}

const int *fault_codes(enum fault_call call, unsigned *count_p)
{
    *count_p = table[call].count;
    return table[call].codes;
}

const char *fault_code_text(enum fault_call call, int code, char text[64])
{
    const char *word = code == FAULT_ONE_BYTE ? "one byte moved"
                       : code == FAULT_HALF   ? "half of it moved"
                       : code > 0             ? strerror(code)
                                              : NULL;

    if (word)
        snprintf(text, 64, "%s", word);
    else
        snprintf(text, 64, "%s answers %d", names[call], code);
    return text;
}

/* --- arming ----------------------------------------------------------------------------------- */

void fault_arm(const struct fault *first, const struct fault *second)
{
    memset(&armed, 0, sizeof(armed));
    armed.faults[0] = *first;
    armed.faults[1] = *second;
    here = true;
}

void fault_clock_jumps(void)
{
    armed.clock_jumps = true;
}

void fault_clock_runs(void)
{
    armed.clock_jumps = false;
}

unsigned fault_came(void)
{
    return armed.came;
}

void fault_disarm(void)
{
    here = false;
}

unsigned fault_passed(int site)
{
    return armed.passed[site];
}

unsigned fault_writes(void)
{
    return armed.writes;
}

unsigned fault_live_blocks(void)
{
    return armed.nblocks;
}

unsigned fault_live_fds(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < FDS_MAX; fd++)
        n += armed.fds[fd];
    return n;
}

unsigned fault_bad_closes(void)
{
    return armed.bad_closes;
}

/* --- what the calls tell ---------------------------------------------------------------------- */

static bool by_library(enum fault_call call, const void *returns_to)
{
    return here && fault_site_find(call, returns_to) >= 0;
}

bool fault_is_armed(void)
{
    return here;
}

int fault_due(enum fault_call call, const void *returns_to)
{
    int site = here ? fault_site_find(call, returns_to) : -1;

    if (site < 0)
        return FAULT_NONE;
    armed.passed[site]++;
    for (unsigned i = 0; i < 2; i++) {
        const struct fault *f = &armed.faults[i];

        if (f->site != site || f->nth != armed.passed[site])
            continue;
        armed.came++;
        fault_sites->site[site].nfailed++;
        return f->code;
    }
    return FAULT_NONE;
}

void fault_made_block(const void *returns_to, const void *block)
{
    if (!block || !by_library(CALL_malloc, returns_to))
        return;
    if (armed.nblocks == BLOCKS_MAX)
        abort();
    armed.blocks[armed.nblocks++] = block;
}

void fault_freed_block(const void *block)
{
    for (unsigned i = armed.nblocks; here && block && i-- > 0;)
        if (armed.blocks[i] == block) {
            armed.blocks[i] = armed.blocks[--armed.nblocks];
            return;
        }
}

void fault_made_fd(const void *returns_to, int fd)
{
    if (fd >= 0 && fd < FDS_MAX && by_library(CALL_close, returns_to))
        armed.fds[fd] = true;
}

void fault_closed_fd(const void *returns_to, int fd, bool was_open)
{
    if (here && fd >= 0 && fd < FDS_MAX)
        armed.fds[fd] = false;
    if (!was_open && by_library(CALL_close, returns_to))
        armed.bad_closes++;
}

void fault_wrote(const void *returns_to)
{
    armed.writes += by_library(CALL_writev, returns_to);
}

bool fault_first_look(const void *returns_to)
{
    bool first = !armed.looked && by_library(CALL_gai_suspend, returns_to);

    armed.looked = true;
    return first;
}

void fault_started(int child)
{
    if (here)
        armed.child = child;
}

int fault_child(void)
{
    return armed.child;
}

bool fault_time_jumps(const void *returns_to)
{
    return here && armed.clock_jumps && by_library(CALL_poll, returns_to);
}

bool fault_time_is_ahead(const void *returns_to)
{
    return here && armed.ahead_ns && by_library(CALL_poll, returns_to);
}

uint64_t fault_jump_ns(uint64_t more_ns)
{
    armed.ahead_ns += more_ns;
    return armed.ahead_ns;
}
