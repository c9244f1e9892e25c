/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_output.c -- writes a file out of sight and gives it its name at the end. */
#include "tools/rmig_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/fifo.h"
#include "tools/path.h"
#include "tools/same_file.h"
#include "tools/standard.h"

static int path_error(const char *path, struct rmig_err *err)
{
    int code = errno;

    return rmig_err_set(err, -code, "%.180s: %s", path, strerror(code));
}

static int open_named(struct output *output, struct rmig_err *err)
{
    output->fd = mkostemp(output->temp, O_CLOEXEC);
    if (output->fd >= 0)
        return 0;
    output->temp[0] = '\0';
    return path_error(output->path, err);
}

static int open_hidden(struct output *output, struct rmig_err *err)
{
    char folder[PATH_MAX];

    path_folder(output->path, folder);
    output->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (output->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR)
        return path_error(output->path, err);
    return open_named(output, err);
}

/* In a folder such as /tmp only its owner and the name's may: rename(2) would say so when all has been written. */
static int check_replace(const struct output *output, struct rmig_err *err)
{
    char folder[PATH_MAX];
    struct stat here, folder_st;

    path_folder(output->path, folder);
    if (lstat(output->path, &here) < 0 || stat(folder, &folder_st) < 0)
        return path_error(output->path, err);
    if (!(folder_st.st_mode & S_ISVTX) || geteuid() == 0 || geteuid() == here.st_uid ||
        geteuid() == folder_st.st_uid)
        return 0;
    errno = EPERM;
    return path_error(output->path, err);
}

/* Where it stands: what is there is not only ours. */
static int open_standard(struct output *output, struct rmig_err *err)
{
    output->in_place = true;
    output->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (output->fd >= 0 && (fcntl(output->fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        output_close(output);
        errno = EBADF;
    }
    return output->fd < 0 ? path_error(output->path, err) : 0;
}

/* What a link of /proc leads to has no name that could be given to something else. */
static bool follow(const char *path, char target[PATH_MAX])
{
    struct stat here, there;

    if (lstat(path, &here) < 0 || !S_ISLNK(here.st_mode) || !path_follow(path, target))
        return false;
    if (stat(path, &here) < 0)
        return errno == ENOENT;
    return stat(target, &there) == 0 && same_file_stat(&here, &there);
}

int output_open(struct output *output, const char *path, struct rmig_cancel *cancel, struct rmig_err *err)
{
    struct stat st;
    int len;

    *output = (struct output){.path = path, .fd = -1};
    if (standard_is_path(STDOUT_FILENO, path))
        return open_standard(output, err);
    if (follow(path, output->real))
        output->path = path = output->real;
    len = (int)(path_name(path) - path);
    if (!path[len] || snprintf(output->temp, sizeof(output->temp), "%.*s.rmig.XXXXXX", len, path) >=
                          (int)sizeof(output->temp))
        return rmig_err_set(err, -EINVAL, "'%.180s' is not the name of a file", path);
    if (stat(path, &st) < 0)
        return errno == ENOENT ? open_hidden(output, err) : path_error(path, err);
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return path_error(path, err);
    }
    if (S_ISREG(st.st_mode)) {
        int rc = check_replace(output, err);

        return rc < 0 ? rc : open_hidden(output, err);
    }
    output->in_place = true;
    output->fd = fifo_open(path, 0, cancel, err);
    return output->fd < 0 ? output->fd : 0;
}

int output_open_standard(struct output *output, struct rmig_err *err)
{
    *output = (struct output){.path = "standard output"};
    return open_standard(output, err);
}

/* From nameless to a name beside the last one. */
static int give_name(struct output *output, struct rmig_err *err)
{
    char self[32];
    int fd;

    fd = mkostemp(output->temp, O_CLOEXEC); /* finds a free name */
    if (fd < 0)
        return path_error(output->path, err);
    close(fd);
    unlink(output->temp);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", output->fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, output->temp, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    return path_error(output->path, err);
}

static bool is_nameless(const struct output *output)
{
    struct stat st;

    return fstat(output->fd, &st) == 0 && st.st_nlink == 0;
}

/* Returns: a descriptor; -errno. */
static int open_folder(const struct output *output, struct rmig_err *err)
{
    char folder[PATH_MAX];
    int fd;

    path_folder(output->path, folder);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : rmig_err_set(err, -errno, "--sync: %.180s: %s", folder, strerror(errno));
}

/* Not every file system can, and those that cannot keep names by themselves. */
static int sync_folder(const struct output *output, int fd, struct rmig_err *err)
{
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : path_error(output->path, err);
}

int output_can_sync(const struct output *output, struct rmig_err *err)
{
    int fd;

    if (output->in_place)
        return 0;
    fd = open_folder(output, err);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int output_sync(const struct output *output, struct rmig_err *err)
{
    if (fsync(output->fd) == 0)
        return 0;
    /* a pipe or a terminal, which keeps nothing */
    if (output->in_place && (errno == EINVAL || errno == EROFS || errno == ENOTSUP))
        return 0;
    return path_error(output->path, err);
}

int output_flush(const struct output *output, struct rmig_err *err)
{
    int fd = fcntl(output->fd, F_DUPFD_CLOEXEC, 0);

    return fd < 0 || close(fd) < 0 ? path_error(output->path, err) : 0;
}

/* A folder that was made there meanwhile changes places, too, and is not ours to remove. */
static int exchange(struct output *output)
{
    struct stat st;

    if (renameat2(AT_FDCWD, output->temp, AT_FDCWD, output->path, RENAME_EXCHANGE) < 0)
        return -errno;
    if (lstat(output->temp, &st) < 0 || !S_ISDIR(st.st_mode)) {
        output->replaced = true;
        return 0;
    }
    (void)renameat2(AT_FDCWD, output->temp, AT_FDCWD, output->path, RENAME_EXCHANGE);
    return -EISDIR;
}

static int take_place(struct output *output, struct rmig_err *err)
{
    int rc = exchange(output);

    if (rc < 0 && rc != -EISDIR) /* nothing is there, or the file system cannot */
        rc = rename(output->temp, output->path) < 0 ? -errno : 0;
    if (rc < 0) {
        unlink(output->temp);
        errno = -rc;
        return path_error(output->path, err);
    }
    if (!output->replaced)
        output->temp[0] = '\0';
    output->published = true;
    return 0;
}

int output_publish(struct output *output, bool sync, struct rmig_err *err)
{
    int rc = sync ? output_sync(output, err) : 0, folder = -1;

    if (rc < 0 || output->in_place)
        return rc;
    if (sync && (folder = open_folder(output, err)) < 0)
        return folder;
    rc = is_nameless(output) ? give_name(output, err) : 0;
    if (rc == 0)
        rc = take_place(output, err);
    if (rc == 0 && sync)
        rc = sync_folder(output, folder, err);
    if (rc < 0)
        output_withdraw(output);
    if (folder >= 0)
        close(folder);
    return rc;
}

void output_settle(struct output *output)
{
    if (!output->replaced)
        return;
    unlink(output->temp);
    output->temp[0] = '\0';
    output->replaced = false;
}

void output_withdraw(struct output *output)
{
    if (!output->published)
        return;
    if (!output->replaced || rename(output->temp, output->path) < 0)
        unlink(output->path);
    output->temp[0] = '\0';
    output->published = output->replaced = false;
}

void output_close(struct output *output)
{
    if (output->fd < 0)
        return;
    output_settle(output);
    if (!output->in_place && output->temp[0] && !is_nameless(output))
        unlink(output->temp);
    close(output->fd);
    output->fd = -1;
}
