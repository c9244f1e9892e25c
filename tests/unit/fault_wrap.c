/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_wrap.c -- where the calls of the library land that the linker turns away from libc. */
#include "tests/unit/fault_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/userfaultfd.h>
#include <zlib.h>

#include "tests/unit/fake_kvm.h"

#define NS_PER_MS 1000000ull
#define CALLER __builtin_return_address(0)

/* A wrapped call, its two names declared: what is written __wrap_ here the library calls by its own
 * name. */
#define WRAP(type, name, params) \
    type __real_##name params;   \
    type __wrap_##name params;   \
    type __wrap_##name params

/* It ends in errno and an answer. */
#define FAIL_WITH(name, answer)                    \
    do {                                           \
        int due_ = fault_due(CALL_##name, CALLER); \
                                                   \
        if (due_ != FAULT_NONE) {                  \
            errno = due_;                          \
            return (answer);                       \
        }                                          \
    } while (0)

/* It returns the error itself. */
#define ANSWER_FAULT(name)                         \
    do {                                           \
        int due_ = fault_due(CALL_##name, CALLER); \
                                                   \
        if (due_ != FAULT_NONE)                    \
            return due_;                           \
    } while (0)

/* --- memory ----------------------------------------------------------------------------------- */

WRAP(void *, malloc, (size_t size))
{
    void *p;

    FAIL_WITH(malloc, NULL);
    p = __real_malloc(size);
    fault_made_block(CALLER, p);
    return p;
}

WRAP(void *, calloc, (size_t count, size_t size))
{
    void *p;

    FAIL_WITH(calloc, NULL);
    p = __real_calloc(count, size);
    fault_made_block(CALLER, p);
    return p;
}

WRAP(void *, realloc, (void *old, size_t size))
{
    void *p;

    FAIL_WITH(realloc, NULL);
    fault_freed_block(old);
    p = __real_realloc(old, size);
    fault_made_block(CALLER, p);
    return p;
}

WRAP(char *, strdup, (const char *s))
{
    char *p;

    FAIL_WITH(strdup, NULL);
    p = __real_strdup(s);
    fault_made_block(CALLER, p);
    return p;
}

WRAP(void, free, (void *p))
{
    fault_freed_block(p);
    __real_free(p);
}

WRAP(int, mincore, (void *p, size_t len, unsigned char *resident))
{
    FAIL_WITH(mincore, -1);
    return __real_mincore(p, len, resident);
}

WRAP(int, madvise, (void *p, size_t len, int advice))
{
    FAIL_WITH(madvise, -1);
    return __real_madvise(p, len, advice);
}

WRAP(void *, mmap, (void *at, size_t len, int protection, int flags, int fd, off_t offset))
{
    void *p;

    FAIL_WITH(mmap, MAP_FAILED);
    p = __real_mmap(at, len, protection, flags, fd, offset);
    if (p != MAP_FAILED)
        fault_made_block(CALLER, p);
    return p;
}

/* What is mapped is made known by its beginning, and goes with it. */
WRAP(int, munmap, (void *p, size_t len))
{
    fault_freed_block(p);
    return __real_munmap(p, len);
}

/* --- descriptors ------------------------------------------------------------------------------ */

WRAP(int, open, (const char *path, int flags, ...))
{
    mode_t mode;
    va_list ap;
    int fd;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    FAIL_WITH(open, -1);
    fd = __real_open(path, flags, mode);
    fault_made_fd(CALLER, fd);
    return fd;
}

/* One that fails has closed it all the same. */
WRAP(int, close, (int fd))
{
    int due = fault_due(CALL_close, CALLER);
    int rc = __real_close(fd);

    fault_closed_fd(CALLER, fd, rc == 0);
    if (due == FAULT_NONE)
        return rc;
    errno = due;
    return -1;
}

WRAP(int, fcntl, (int fd, int command, ...))
{
    long value;
    va_list ap;
    int rc;

    va_start(ap, command);
    value = va_arg(ap, long);
    va_end(ap);
    FAIL_WITH(fcntl, -1);
    rc = __real_fcntl(fd, command, value);
    if (command == F_DUPFD_CLOEXEC)
        fault_made_fd(CALLER, rc);
    return rc;
}

WRAP(int, fstat, (int fd, struct stat *st))
{
    FAIL_WITH(fstat, -1);
    return __real_fstat(fd, st);
}

WRAP(int, lstat, (const char *path, struct stat *st))
{
    FAIL_WITH(lstat, -1);
    return __real_lstat(path, st);
}

WRAP(int, unlink, (const char *path))
{
    FAIL_WITH(unlink, -1);
    return __real_unlink(path);
}

WRAP(int, pipe2, (int ends[2], int flags))
{
    int rc;

    FAIL_WITH(pipe2, -1);
    rc = __real_pipe2(ends, flags);
    if (rc == 0) {
        fault_made_fd(CALLER, ends[0]);
        fault_made_fd(CALLER, ends[1]);
    }
    return rc;
}

WRAP(int, eventfd, (unsigned value, int flags))
{
    int fd;

    FAIL_WITH(eventfd, -1);
    fd = __real_eventfd(value, flags);
    fault_made_fd(CALLER, fd);
    return fd;
}

uint64_t fault_uffd_lacks_features, fault_uffd_lacks_ioctls;

WRAP(int, ioctl, (int fd, unsigned long request, ...))
{
    void *arg;
    va_list ap;
    int rc;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    FAIL_WITH(ioctl, -1);
    if (fake_kvm_ioctl(fd, request, arg, &rc))
        return rc;
    rc = __real_ioctl(fd, request, arg);
    if (rc == 0 && request == UFFDIO_API)
        ((struct uffdio_api *)arg)->features &= ~fault_uffd_lacks_features;
    if (rc == 0 && request == UFFDIO_REGISTER)
        ((struct uffdio_register *)arg)->ioctls &= ~fault_uffd_lacks_ioctls;
    return rc;
}

/* userfaultfd(2) is all that is called so: it takes flags, and makes a descriptor. */
WRAP(long, syscall, (long number, ...))
{
    long flags, fd;
    va_list ap;

    va_start(ap, number);
    flags = va_arg(ap, long);
    va_end(ap);
    FAIL_WITH(syscall, -1);
    fd = __real_syscall(number, flags);
    fault_made_fd(CALLER, (int)fd);
    return fd;
}

/* --- transfers -------------------------------------------------------------------------------- */

#define IOV_MOST 1024

/* How much of a transfer of total bytes is made. Returns: false: it fails, with errno. */
static bool transfer(int due, size_t total, size_t *most_p)
{
    *most_p = total;
    if (due == FAULT_NONE || total < 2)
        return due == FAULT_NONE || due == FAULT_ONE_BYTE || due == FAULT_HALF;
    if (due == FAULT_ONE_BYTE || due == FAULT_HALF) {
        *most_p = due == FAULT_ONE_BYTE ? 1 : total / 2;
        return true;
    }
    errno = due;
    return false;
}

/* The first most bytes of a vector, to be used before the next one is cut. Returns: how many
 * entries. */
static int cut(const struct iovec *iov, int niov, size_t most, const struct iovec **cut_p)
{
    static struct iovec kept[IOV_MOST];
    int n = 0;

    for (; n < niov && n < IOV_MOST && most; n++) {
        kept[n] = iov[n];
        if (kept[n].iov_len > most)
            kept[n].iov_len = most;
        most -= kept[n].iov_len;
    }
    *cut_p = kept;
    return n;
}

static size_t total_of(const struct iovec *iov, int niov)
{
    size_t total = 0;

    for (int i = 0; i < niov; i++)
        total += iov[i].iov_len;
    return total;
}

/* A vector, whole or cut, by its call; -1 where it fails. */
#define MOVE_VECTOR(due, iov, niov, call)               \
    do {                                                \
        size_t total_ = total_of((iov), (niov)), most_; \
                                                        \
        if ((due) == FAULT_NONE)                        \
            break;                                      \
        if (!transfer((due), total_, &most_)) {         \
            errno = (due);                              \
            return -1;                                  \
        }                                               \
        (niov) = cut((iov), (niov), most_, &(iov));     \
    } while (0);                                        \
    return (call)

WRAP(ssize_t, readv, (int fd, const struct iovec *iov, int niov))
{
    int due = fault_due(CALL_readv, CALLER);

    MOVE_VECTOR(due, iov, niov, __real_readv(fd, iov, niov));
}

WRAP(ssize_t, writev, (int fd, const struct iovec *iov, int niov))
{
    int due = fault_due(CALL_writev, CALLER);

    fault_wrote(CALLER);
    MOVE_VECTOR(due, iov, niov, __real_writev(fd, iov, niov));
}

static struct msghdr *with(const struct msghdr *message, const struct iovec *iov, int niov)
{
    static struct msghdr changed;

    changed = *message;
    changed.msg_iov = (struct iovec *)iov;
    changed.msg_iovlen = (size_t)niov;
    return &changed;
}

WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
{
    int due = fault_due(CALL_recvmsg, CALLER);
    const struct iovec *iov = message->msg_iov;
    int niov = (int)message->msg_iovlen;

    MOVE_VECTOR(due, iov, niov, __real_recvmsg(fd, with(message, iov, niov), flags));
}

WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    int due = fault_due(CALL_sendmsg, CALLER);
    const struct iovec *iov = message->msg_iov;
    int niov = (int)message->msg_iovlen;

    fault_wrote(CALLER);
    MOVE_VECTOR(due, iov, niov, __real_sendmsg(fd, with(message, iov, niov), flags));
}

WRAP(ssize_t, read, (int fd, void *buf, size_t len))
{
    if (!transfer(fault_due(CALL_read, CALLER), len, &len))
        return -1;
    return __real_read(fd, buf, len);
}

WRAP(ssize_t, write, (int fd, const void *buf, size_t len))
{
    fault_wrote(CALLER);
    if (!transfer(fault_due(CALL_write, CALLER), len, &len))
        return -1;
    return __real_write(fd, buf, len);
}

WRAP(ssize_t, pread, (int fd, void *buf, size_t len, off_t offset))
{
    if (!transfer(fault_due(CALL_pread, CALLER), len, &len))
        return -1;
    return __real_pread(fd, buf, len, offset);
}

WRAP(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t offset))
{
    fault_wrote(CALLER);
    if (!transfer(fault_due(CALL_pwrite, CALLER), len, &len))
        return -1;
    return __real_pwrite(fd, buf, len, offset);
}

WRAP(int, fallocate, (int fd, int mode, off_t offset, off_t len))
{
    fault_wrote(CALLER);
    FAIL_WITH(fallocate, -1);
    return __real_fallocate(fd, mode, offset, len);
}

WRAP(int, ftruncate, (int fd, off_t len))
{
    fault_wrote(CALLER);
    FAIL_WITH(ftruncate, -1);
    return __real_ftruncate(fd, len);
}

WRAP(int, fsync, (int fd))
{
    FAIL_WITH(fsync, -1);
    return __real_fsync(fd);
}

WRAP(off_t, lseek, (int fd, off_t offset, int whence))
{
    FAIL_WITH(lseek, -1);
    return __real_lseek(fd, offset, whence);
}

/* --- sockets ---------------------------------------------------------------------------------- */

WRAP(int, socket, (int family, int type, int protocol))
{
    int fd;

    FAIL_WITH(socket, -1);
    fd = __real_socket(family, type, protocol);
    fault_made_fd(CALLER, fd);
    return fd;
}

WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags))
{
    int accepted;

    FAIL_WITH(accept4, -1);
    accepted = __real_accept4(fd, address, len, flags);
    fault_made_fd(CALLER, accepted);
    return accepted;
}

/* Interrupted or in progress, it goes on. */
WRAP(int, connect, (int fd, const struct sockaddr *address, socklen_t len))
{
    int due = fault_due(CALL_connect, CALLER);

    if (due == FAULT_NONE)
        return __real_connect(fd, address, len);
    if (due == EINTR || due == EINPROGRESS)
        __real_connect(fd, address, len);
    errno = due;
    return -1;
}

WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t len))
{
    FAIL_WITH(bind, -1);
    return __real_bind(fd, address, len);
}

WRAP(int, listen, (int fd, int backlog))
{
    FAIL_WITH(listen, -1);
    return __real_listen(fd, backlog);
}

WRAP(int, shutdown, (int fd, int how))
{
    FAIL_WITH(shutdown, -1);
    return __real_shutdown(fd, how);
}

WRAP(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t len))
{
    FAIL_WITH(setsockopt, -1);
    return __real_setsockopt(fd, level, option, value, len);
}

WRAP(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *len))
{
    FAIL_WITH(getsockopt, -1);
    return __real_getsockopt(fd, level, option, value, len);
}

WRAP(int, getsockname, (int fd, struct sockaddr *address, socklen_t *len))
{
    FAIL_WITH(getsockname, -1);
    return __real_getsockname(fd, address, len);
}

/* --- names ------------------------------------------------------------------------------------ */

/* The error of a look-up; that of the system comes with a number. */
#define ANSWER_LOOKUP(name)                        \
    do {                                           \
        int due_ = fault_due(CALL_##name, CALLER); \
                                                   \
        if (due_ == EAI_SYSTEM)                    \
            errno = EMFILE;                        \
        if (due_ != FAULT_NONE)                    \
            return due_;                           \
    } while (0)

WRAP(int, getaddrinfo,
     (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list_p))
{
    int rc;

    ANSWER_LOOKUP(getaddrinfo);
    rc = __real_getaddrinfo(host, port, hints, list_p);
    if (rc == 0)
        fault_made_block(CALLER, *list_p);
    return rc;
}

WRAP(void, freeaddrinfo, (struct addrinfo * list))
{
    fault_freed_block(list);
    __real_freeaddrinfo(list);
}

WRAP(int, getaddrinfo_a, (int mode, struct gaicb *list[], int count, struct sigevent *event))
{
    ANSWER_LOOKUP(getaddrinfo_a);
    return __real_getaddrinfo_a(mode, list, count, event);
}

/* The first look at what was asked for comes before the answer. */
WRAP(int, gai_error, (struct gaicb * request))
{
    return fault_first_look(CALLER) ? EAI_INPROGRESS : __real_gai_error(request);
}

WRAP(int, gai_suspend,
     (const struct gaicb *const list[], int count, const struct timespec *timeout))
{
    ANSWER_FAULT(gai_suspend);
    return __real_gai_suspend(list, count, timeout);
}

WRAP(int, getnameinfo,
     (const struct sockaddr *address, socklen_t len, char *host, socklen_t host_len, char *port,
      socklen_t port_len, int flags))
{
    ANSWER_FAULT(getnameinfo);
    return __real_getnameinfo(address, len, host, host_len, port, port_len, flags);
}

/* --- waits ------------------------------------------------------------------------------------ */

WRAP(int, poll, (struct pollfd * set, nfds_t count, int timeout_ms))
{
    int n;

    FAIL_WITH(poll, -1);
    if (timeout_ms <= 0 || !fault_time_jumps(CALLER))
        return __real_poll(set, count, timeout_ms);
    n = __real_poll(set, count, 0);
    if (n == 0)
        fault_jump_ns((uint64_t)timeout_ms * NS_PER_MS);
    return n;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int rc = __real_clock_gettime(clock, ts);

    if (fault_time_is_ahead(CALLER)) {
        uint64_t ahead_ns = fault_jump_ns(0) + (uint64_t)ts->tv_nsec;

        ts->tv_sec += (time_t)(ahead_ns / 1000000000);
        ts->tv_nsec = (long)(ahead_ns % 1000000000);
    }
    return rc;
}

WRAP(int, nanosleep, (const struct timespec *time, struct timespec *left))
{
    FAIL_WITH(nanosleep, -1);
    return __real_nanosleep(time, left);
}

WRAP(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *timeout))
{
    int due = fault_due(CALL_sigtimedwait, CALLER);

    /* EAGAIN: somebody else has taken the signal */
    if (due == FAULT_NONE || due == EAGAIN) {
        int n = __real_sigtimedwait(set, info, timeout);

        if (due == FAULT_NONE)
            return n;
    }
    errno = due;
    return -1;
}

/* --- threads and processes
 * -------------------------------------------------------------------------------- */

WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg))
{
    ANSWER_FAULT(pthread_create);
    return __real_pthread_create(thread, attr, run, arg);
}

WRAP(int, posix_spawn,
     (pid_t * child_p, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attr, char *const argv[], char *const env[]))
{
    int rc;

    ANSWER_FAULT(posix_spawn);
    rc = __real_posix_spawn(child_p, path, actions, attr, argv, env);
    if (rc == 0)
        fault_started(*child_p);
    return rc;
}

WRAP(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t * actions))
{
    ANSWER_FAULT(posix_spawn_file_actions_init);
    return __real_posix_spawn_file_actions_init(actions);
}

WRAP(int, posix_spawn_file_actions_adddup2, (posix_spawn_file_actions_t * actions, int fd, int to))
{
    ANSWER_FAULT(posix_spawn_file_actions_adddup2);
    return __real_posix_spawn_file_actions_adddup2(actions, fd, to);
}

WRAP(int, posix_spawn_file_actions_addopen,
     (posix_spawn_file_actions_t * actions, int fd, const char *path, int flags, mode_t mode))
{
    ANSWER_FAULT(posix_spawn_file_actions_addopen);
    return __real_posix_spawn_file_actions_addopen(actions, fd, path, flags, mode);
}

WRAP(int, posix_spawn_file_actions_addclosefrom_np,
     (posix_spawn_file_actions_t * actions, int from))
{
    ANSWER_FAULT(posix_spawn_file_actions_addclosefrom_np);
    return __real_posix_spawn_file_actions_addclosefrom_np(actions, from);
}

WRAP(int, posix_spawnattr_init, (posix_spawnattr_t * attr))
{
    ANSWER_FAULT(posix_spawnattr_init);
    return __real_posix_spawnattr_init(attr);
}

pid_t __real_waitpid(pid_t child, int *status_p, int options);
int __real_kill(pid_t pid, int signal);

/* There is no such child: somebody else has reaped it. */
static int reaped(pid_t child)
{
    __real_kill(-child, SIGKILL);
    __real_waitpid(child, NULL, 0);
    errno = ECHILD;
    return -1;
}

WRAP(pid_t, waitpid, (pid_t child, int *status_p, int options))
{
    int due = fault_due(CALL_waitpid, CALLER);

    if (due == FAULT_NONE)
        return __real_waitpid(child, status_p, options);
    if (due == ECHILD)
        return reaped(child);
    errno = due;
    return -1;
}

WRAP(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options))
{
    int due = fault_due(CALL_waitid, CALLER);

    if (due == FAULT_NONE)
        return __real_waitid(type, id, info, options);
    if (due == ECHILD)
        return reaped((pid_t)id);
    errno = due;
    return -1;
}

WRAP(int, kill, (pid_t pid, int signal))
{
    FAIL_WITH(kill, -1);
    if (signal == SIGKILL)
        fault_clock_runs(); /* what dies takes its time */
    return __real_kill(pid, signal);
}

/* --- the loader and zlib ---------------------------------------------------------------------- */

WRAP(void *, dlopen, (const char *path, int flags))
{
    FAIL_WITH(dlopen, NULL);
    return __real_dlopen(path, flags);
}

void *__real_dlsym(void *handle, const char *name);
FAULT_UNWATCHED void *__wrap_dlsym(void *handle, const char *name);

static void *fail_dlsym(void *handle, const char *name, const void *returns_to)
{
    int due = fault_due(CALL_dlsym, returns_to);

    if (due == FAULT_NONE)
        return __real_dlsym(handle, name);
    errno = due;
    return NULL;
}

void *__wrap_dlsym(void *handle, const char *name)
{
    return fault_is_armed() ? fail_dlsym(handle, name, CALLER) : __real_dlsym(handle, name);
}

WRAP(int, compress2, (Bytef * to, uLongf *to_len, const Bytef *from, uLong from_len, int level))
{
    ANSWER_FAULT(compress2);
    return __real_compress2(to, to_len, from, from_len, level);
}

WRAP(int, deflate, (z_streamp zs, int flush))
{
    ANSWER_FAULT(deflate);
    return __real_deflate(zs, flush);
}

WRAP(int, deflateReset, (z_streamp zs))
{
    ANSWER_FAULT(deflateReset);
    return __real_deflateReset(zs);
}

WRAP(int, inflate, (z_streamp zs, int flush))
{
    ANSWER_FAULT(inflate);
    return __real_inflate(zs, flush);
}

WRAP(int, inflateInit_, (z_streamp zs, const char *version, int size))
{
    ANSWER_FAULT(inflateInit_);
    return __real_inflateInit_(zs, version, size);
}

WRAP(int, inflateReset, (z_streamp zs))
{
    ANSWER_FAULT(inflateReset);
    return __real_inflateReset(zs);
}

const void *const fault_landings[CALL_COUNT] = {
#define FAULT_LANDING(name) [CALL_##name] = (const void *)__wrap_##name,
    FAULT_CALLS(FAULT_LANDING)
#undef FAULT_LANDING
};
