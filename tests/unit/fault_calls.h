/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault_calls.h -- every call that the library makes to the system can be made to fail, where it is
 * made.
 *
 * The program is linked with --wrap, so a call in the library's objects arrives in fault_wrap.c,
 * which asks here what is to become of it; libc's own calls, and by the return address the test's,
 * go by. What is asked for is named by its call site, the address in the program that it returns
 * to, and how often that was passed since arming.
 */
#ifndef TESTS_UNIT_FAULT_CALLS_H
#define TESTS_UNIT_FAULT_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calls, as FAULT_WRAP in the makefile has them for the linker. */
#define FAULT_CALLS(X)                                                                            \
    X(accept4) X(bind) X(calloc) X(close) X(compress2) X(connect) X(deflate) X(deflateReset)      \
    X(dlopen) X(dlsym) X(eventfd) X(fallocate) X(fcntl) X(free) X(freeaddrinfo) X(fstat) X(fsync) X(ftruncate) X(gai_suspend)        \
    X(getaddrinfo) X(getaddrinfo_a) X(getnameinfo) X(getsockname) X(getsockopt) X(inflate)        \
    X(inflateInit_) X(inflateReset) X(ioctl) X(kill) X(listen) X(lseek) X(lstat) X(madvise)       \
    X(malloc) X(mincore) X(mmap) X(munmap) X(nanosleep) X(open) X(pipe2) X(poll) X(posix_spawn)              \
    X(posix_spawn_file_actions_addclosefrom_np) X(posix_spawn_file_actions_adddup2)               \
    X(posix_spawn_file_actions_addopen) X(posix_spawn_file_actions_init)                          \
    X(posix_spawnattr_init) X(pread) X(pthread_create) X(pwrite) X(read) X(readv) X(realloc)      \
    X(recvmsg) X(sendmsg) X(setsockopt) X(shutdown) X(sigtimedwait) X(socket) X(strdup)           \
    X(syscall) X(unlink) X(waitid) X(waitpid) X(write) X(writev)

enum fault_call {
#define FAULT_CALL_NUMBER(name) CALL_##name,
    FAULT_CALLS(FAULT_CALL_NUMBER) CALL_COUNT
#undef FAULT_CALL_NUMBER
};

/* What becomes of a call: an error number (of the system, of the resolver, of zlib: as the call has
 * them), or a transfer that is cut short. */
#define FAULT_NONE INT32_MIN
#define FAULT_ONE_BYTE (INT32_MIN + 1)
#define FAULT_HALF (INT32_MIN + 2)

struct fault_site {
    uintptr_t returns_to; /* less the program's base */
    enum fault_call call;
    char function[60]; /* that it is in, as the symbol table has it; without what the compiler adds
                        */
    bool in_list;      /* found in the program's code, not only come by */
    unsigned nfailed;  /* in this program and its forks */
};

#define FAULT_SITES_MAX 512

/* The call sites, in memory that forks share. */
struct fault_sites {
    struct fault_site site[FAULT_SITES_MAX];
    unsigned count,
        listed;      /* listed: how many were found in the code; 0: this machine's is not known */
    unsigned jumps;  /* calls made by a jump, which have no site of their own */
    unsigned ncases; /* that were played */
    unsigned ntests,
        nscenes; /* tests that play a scene each; scenes that were played to their end */
};

extern struct fault_sites *fault_sites;

/* --- what the program is made of: fault_sites.c ----------------------------------------------- */

/* Read the program's symbols and code. sources: names of the library's files, by blanks apart.
 * Aborts where there are no symbols. */
void fault_sites_read(const char *sources);
/* Is a file, named as in sources, part of the program? */
bool fault_sites_linked(const char *source);
/* Returns: the site of a call that returns there, entered if it is new; -1 the caller is not the
 * library. */
int fault_site_find(enum fault_call call, const void *returns_to);
/* Where a call of that number lands: fault_wrap.c. */
extern const void *const fault_landings[CALL_COUNT];

/* --- arming ----------------------------------------------------------------------------------- */

/* The nth time (from 1) that a site is passed it ends as code says. */
struct fault {
    int site; /* -1: none */
    unsigned nth;
    int code;
};

/* From here on calls are counted, those of this thread, and up to two faults come about. */
void fault_arm(const struct fault *first, const struct fault *second);
/* Waits in poll take no time then: the library's clock jumps instead. Until it runs again. */
void fault_clock_jumps(void);
void fault_clock_runs(void);
/* How many faults came about. */
unsigned fault_came(void);
void fault_disarm(void);

/* Since arming, at this site. */
unsigned fault_passed(int site);
/* Calls, since arming, that may write to a descriptor. */
unsigned fault_writes(void);
/* Made by the library since arming and not released: memory, descriptors. */
unsigned fault_live_blocks(void);
unsigned fault_live_fds(void);
/* The child that it started last; 0: none. */
int fault_child(void);
/* Descriptors that the library closed though they were not open. */
unsigned fault_bad_closes(void);

/* Features and calls of userfaultfd that the kernel does not tell of, as an older one has none. */
extern uint64_t fault_uffd_lacks_features, fault_uffd_lacks_ioctls;

const char *fault_call_name(enum fault_call call);
/* The codes to try on a call, and how many. */
const int *fault_codes(enum fault_call call, unsigned *count_p);
/* As text, for messages. */
const char *fault_code_text(enum fault_call call, int code, char text[64]);

/* A sanitizer that is linked in looks its functions up before it is ready to watch anything. */
#define FAULT_UNWATCHED                                                                           \
    __attribute__((no_sanitize("address"), no_sanitize("undefined"), no_sanitize("thread")))
/* Is this thread's part of the library armed? */
FAULT_UNWATCHED bool fault_is_armed(void);

/* --- for fault_wrap.c ------------------------------------------------------------------------- */

/* Returns: what is to become of this call; FAULT_NONE: it is to be made. */
int fault_due(enum fault_call call, const void *returns_to);
void fault_made_block(const void *returns_to, const void *block);
void fault_freed_block(const void *block);
void fault_made_fd(const void *returns_to, int fd);
void fault_closed_fd(const void *returns_to, int fd, bool was_open);
void fault_wrote(const void *returns_to);
void fault_started(int child);
bool fault_first_look(const void *returns_to);
bool fault_time_jumps(const void *returns_to);
bool fault_time_is_ahead(const void *returns_to);
uint64_t fault_jump_ns(uint64_t more_ns);

#endif
