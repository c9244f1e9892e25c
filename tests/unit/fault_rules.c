/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_rules.c -- the calls whose failure does not simply end in its own error number, and why. */
#include "tests/unit/fault_scene.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>

#define ANY_CODE FAULT_NONE
#define ANY NULL

/* The compiler may have put a function into the one that calls it, so all that may be meant are
 * named. */
struct rule {
    enum fault_call call;
    int code;
    const char *functions; /* by blanks apart, or ANY */
    const char *scenes;    /* what their names begin with, or ANY */
    int outcome;
};

/* The first that fits counts. */
static const struct rule rules[] = {
    /* The resolver's and zlib's errors have no errno of their own. */
    {CALL_getaddrinfo, EAI_MEMORY, ANY, ANY, -ENOMEM},
    {CALL_getaddrinfo, EAI_AGAIN, ANY, ANY, -EAGAIN},
    {CALL_getaddrinfo, EAI_SYSTEM, ANY, ANY, -EMFILE},
    {CALL_getaddrinfo, ANY_CODE, ANY, ANY, -EHOSTUNREACH},
    {CALL_getaddrinfo_a, EAI_MEMORY, ANY, ANY, -ENOMEM},
    {CALL_getaddrinfo_a, EAI_AGAIN, ANY, ANY, -EAGAIN},
    {CALL_getaddrinfo_a, EAI_SYSTEM, ANY, ANY, -EMFILE},
    {CALL_poll, ANY_CODE, ANY, "name", FAULT_SURVIVED}, /* it looks whether the wait is cancelled */
    {CALL_gai_suspend, ANY_CODE, ANY, ANY, FAULT_SURVIVED},
    {CALL_compress2, Z_MEM_ERROR, ANY, ANY, -ENOMEM},
    {CALL_compress2, ANY_CODE, ANY, ANY, -EINVAL},
    {CALL_deflate, ANY_CODE, ANY, ANY, -EINVAL},
    {CALL_deflateReset, ANY_CODE, ANY, ANY, -EINVAL},
    {CALL_inflate, Z_MEM_ERROR, ANY, ANY, -ENOMEM},
    {CALL_inflate, ANY_CODE, ANY, ANY, -EPROTO},
    {CALL_inflateInit_, ANY_CODE, ANY, ANY, -ENOMEM},
    {CALL_inflateReset, ANY_CODE, ANY, ANY, -EINVAL},

    /* A name for messages; without it they say "unknown address". */
    {CALL_getnameinfo, ANY_CODE, ANY, ANY, FAULT_SURVIVED},
    /* The flags of a descriptor that somebody may share, put back at the end or set again: as well
       as can be. */
    {CALL_fcntl, ANY_CODE,
     "rmig_fdio_close keep_nonblocking transfer rmig_fdio_readv rmig_fdio_writev", ANY,
     FAULT_SURVIVED},
    /* An image goes on where a transfer was cut short; it finds its holes, or reads them too; and a
       file system may have none. */
    {CALL_pread, FAULT_ONE_BYTE, ANY, "image", FAULT_SURVIVED},
    {CALL_pread, FAULT_HALF, ANY, "image", FAULT_SURVIVED},
    {CALL_pwrite, FAULT_ONE_BYTE, ANY, "image", FAULT_SURVIVED},
    {CALL_pwrite, FAULT_HALF, ANY, "image", FAULT_SURVIVED},
    {CALL_lseek, ANY_CODE, "file_seek", "image", FAULT_SURVIVED},
    {CALL_fallocate, EOPNOTSUPP, ANY, ANY, FAULT_SURVIVED},
    /* A transfer at an offset that is cut short is an error by its contract. */
    {CALL_pread, FAULT_ONE_BYTE, ANY, ANY, -EIO},
    {CALL_pread, FAULT_HALF, ANY, ANY, -EIO},
    {CALL_pwrite, FAULT_ONE_BYTE, ANY, ANY, -EIO},
    {CALL_pwrite, FAULT_HALF, ANY, ANY, -EIO},
    /* A file does not wait: that it would block is an error. */
    {CALL_readv, EAGAIN, "file_readv", ANY, -EAGAIN},
    {CALL_writev, EAGAIN, "file_writev", ANY, -EAGAIN},
    /* Did the descriptor tell that it is a named pipe? What was opened is looked at once more. */
    {CALL_fstat, ANY_CODE, "rmig_endpoint_open_file", ANY, FAULT_SURVIVED},
    /* What a token is closed by cannot be told; where the first error is told, a second one is not.
     */
    {CALL_close, ANY_CODE, "rmig_cancel_free", ANY, FAULT_SURVIVED},
    {CALL_close, ANY_CODE, "rmig_fdio_close", "no-reader", FAULT_SURVIVED},
    {CALL_writev, EPIPE, ANY, "no-reader", FAULT_SURVIVED},
    /* The flag of the token is enough for who looks at it; a wait has its descriptor. */
    {CALL_write, ANY_CODE, "rmig_cancel_trigger", ANY, FAULT_SURVIVED},
    /* Closing what was listened on, or was somebody else's end of a pipe, has nothing to tell. */
    {CALL_close, ANY_CODE,
     "rmig_listener_close is_stale listen_at listen_unix rmig_listener_open rmig_endpoint_exec "
     "make_pipe",
     ANY, FAULT_SURVIVED},
    {CALL_unlink, ANY_CODE, "rmig_listener_close listen_at", ANY, FAULT_SURVIVED},
    /* Options of a socket that it does without; one that is not tcp's is not watched. */
    {CALL_setsockopt, ANY_CODE, "listen_at", ANY, FAULT_SURVIVED},
    {CALL_setsockopt, ANY_CODE, ANY, "silent", FAULT_EITHER},
    {CALL_getsockopt, ANY_CODE, "rmig_endpoint_socket rmig_socket_peer_init check_peer", ANY,
     FAULT_SURVIVED},
    {CALL_shutdown, ENOTCONN, ANY, ANY, FAULT_SURVIVED},
    /* With several addresses another one may do. */
    {CALL_socket, ANY_CODE, "listen_at", "any name", FAULT_EITHER},
    {CALL_bind, ANY_CODE, ANY, "any name", FAULT_EITHER},
    {CALL_listen, ANY_CODE, ANY, "any name", FAULT_EITHER},
    /* A socket's file that cannot be told to be left over, or not be removed, is in use. */
    {CALL_bind, EADDRINUSE, ANY, "stale", FAULT_EITHER},
    {CALL_listen, EADDRINUSE, ANY, "unix stale", FAULT_EITHER},
    {CALL_lstat, ANY_CODE, ANY, "stale", -EADDRINUSE},
    {CALL_socket, ANY_CODE, "is_stale listen_unix rmig_listener_open", "stale", -EADDRINUSE},
    {CALL_connect, ECONNREFUSED, ANY, "stale", FAULT_SURVIVED},
    {CALL_connect, ANY_CODE, ANY, "stale", -EADDRINUSE},
    {CALL_unlink, ANY_CODE, ANY, "stale", -EADDRINUSE},
    /* No process for the command; one that cannot be told to end is made to. */
    /* The same where one is there, and this has to fail. */
    {CALL_bind, EADDRINUSE, ANY, "taken", FAULT_EITHER},
    {CALL_listen, EADDRINUSE, ANY, "taken", FAULT_EITHER},
    {CALL_lstat, ANY_CODE, ANY, "taken", FAULT_SURVIVED},
    {CALL_socket, ANY_CODE, "is_stale listen_unix rmig_listener_open", "taken", FAULT_SURVIVED},
    {CALL_connect, ANY_CODE, ANY, "taken", FAULT_SURVIVED},
    {CALL_unlink, ANY_CODE, ANY, "taken", FAULT_SURVIVED},
    {CALL_posix_spawn, EAGAIN, ANY, ANY, -EAGAIN},
    {CALL_kill, ANY_CODE, ANY, "exec-killed", FAULT_SURVIVED},
    {CALL_kill, ANY_CODE, ANY, "exec-stubborn", FAULT_EITHER},
    {CALL_poll, ENOMEM, ANY, "exec-killed", FAULT_EITHER},
    {CALL_waitid, ECHILD, ANY, "exec-killed", FAULT_EITHER},
    {CALL_waitpid, ECHILD, ANY, "exec-killed", FAULT_EITHER},
    /* Closed it is all the same; what was interrupted may have been the last write. */
    {CALL_close, ANY_CODE, "rmig_fdio_close", "exec-killed idle pair silent-and tcp unix answer",
     FAULT_EITHER},
    {CALL_close, EINTR, "file_close rmig_fdio_close", ANY, -EINTR},
    /* Memory that is not released is lost to the host, not to the guest. */
    {CALL_madvise, ANY_CODE, "release_pages release_ranges rmig_out_flush", ANY, FAULT_SURVIVED},
    /* Where a file has holes is not known, then: all of it is looked at. */
    {CALL_lseek, ANY_CODE, "seek_next rmig_extent_at", ANY, FAULT_SURVIVED},
    {CALL_mincore, ANY_CODE, "resident_bytes rmig_extent_at", ANY, FAULT_SURVIVED},
    {CALL_fstat, ANY_CODE, "knows_holes rmig_extent_at", ANY, FAULT_SURVIVED},
    /* Memory comes page by page where it does not at once, unless none is left. */
    {CALL_madvise, EFAULT, "rmig_load_populate", ANY, -ENOMEM},
    {CALL_madvise, ANY_CODE, "rmig_load_populate", ANY, FAULT_SURVIVED},
    /* Without its notes a debug build does not check for pages that come twice. */
    {CALL_calloc, ANY_CODE, "rmig_once_new rmig_once_note rmig_bitmap_new", "hooked",
     FAULT_SURVIVED},
    /* The loader has no error numbers; a plugin that is cut short or lacks its symbol is none. */
    {CALL_dlsym, ANY_CODE, ANY, ANY, -ENOEXEC},
    {CALL_dlopen, ANY_CODE, ANY, ANY, -ENOEXEC},
    {CALL_read, FAULT_ONE_BYTE, ANY, "plugin", -ENOEXEC},
    {CALL_read, FAULT_HALF, ANY, "plugin", -ENOEXEC},
    {CALL_close, ANY_CODE, "check_file open_plugin rmig_transport_load", ANY, FAULT_SURVIVED},
    /* What a KVM cannot say it has it has not, but for what is used where it is there. */
    {CALL_ioctl, ANY_CODE, "rmig_kvm_extension", ANY, FAULT_EITHER},
    /* All that KVM is asked comes from one place; turning a log off is what may fail. */
    {CALL_ioctl, EINTR, "rmig_kvm_ioctl", ANY, FAULT_SURVIVED},
    {CALL_ioctl, ANY_CODE, "rmig_kvm_ioctl", ANY, FAULT_EITHER},
    /* The size of a ring is looked at by what can be read of it, through a pipe. */
    {CALL_write, ANY_CODE, "readable map_ring map_rings allocate rmig_dirty_kvm_ring_open",
     "kvm-ring", FAULT_EITHER},
    {CALL_read, ANY_CODE, "map_rings allocate rmig_dirty_kvm_ring_open", "kvm-ring",
     FAULT_SURVIVED},
    {CALL_close, ANY_CODE, ANY, "kvm-ring tracker", FAULT_SURVIVED},
    {CALL_mmap, EAGAIN, ANY, ANY, -EAGAIN},
    /* Counters of one: there is always room for it, and something to read behind it. */
    {CALL_write, ANY_CODE, "stop", "tracker", FAULT_CANNOT},
    {CALL_read, ANY_CODE, "stop", "tracker", FAULT_CANNOT},
    /* MADV_POPULATE_READ is younger than userfaultfd: without it the pages are read. */
    {CALL_madvise, EINVAL, ANY, "tracker", FAULT_SURVIVED},
    {CALL_madvise, EAGAIN, ANY, "tracker", -EAGAIN},
    {CALL_pthread_create, EAGAIN, ANY, "tracker", -EAGAIN},
    /* One of two trackers does. What the kernel cannot do it says by several errors. */
    {CALL_calloc, ANY_CODE, "rmig_dirty_pagemap_open", "tracker-auto", FAULT_SURVIVED},
    {CALL_open, ANY_CODE, "rmig_dirty_pagemap_open", "tracker-auto", FAULT_SURVIVED},
    {CALL_open, EINTR, ANY, "tracker", FAULT_EITHER},
    {CALL_open, EACCES, ANY, "tracker", FAULT_EITHER},
    {CALL_open, ENOSPC, ANY, "tracker", FAULT_EITHER},
    {CALL_open, EIO, ANY, "tracker", FAULT_EITHER},
    {CALL_open, ANY_CODE, "open_fd", "tracker", FAULT_EITHER},
    {CALL_ioctl, ANY_CODE, ANY, "tracker", FAULT_EITHER},
    {CALL_syscall, ANY_CODE, ANY, "tracker", FAULT_EITHER},
    /* There is no SIGPIPE to eat, then. */
    {CALL_sigtimedwait, ANY_CODE, ANY, ANY, FAULT_SURVIVED},
};

static bool in_list(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at && (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static bool begins_with_one(const char *text, const char *list)
{
    while (*list) {
        size_t len = strcspn(list, " ");

        if (strncmp(text, list, len) == 0)
            return true;
        list += len + (list[len] == ' ');
    }
    return false;
}

/* What anything that moves bytes or waits has to take. */
static bool is_soft(int code)
{
    return code == EINTR || code == EAGAIN || code == EINPROGRESS || code == ECONNABORTED ||
           code == FAULT_ONE_BYTE || code == FAULT_HALF;
}

int fault_outcome(const struct fault_scene *scene, const struct fault_site *site, int code)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];

        if (r->call == site->call && (r->code == ANY_CODE || r->code == code) &&
            (!r->functions || in_list(r->functions, site->function)) &&
            (!r->scenes || begins_with_one(scene->name, r->scenes)))
            return r->outcome;
    }
    return is_soft(code) ? FAULT_SURVIVED : -code;
}
