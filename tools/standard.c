/* SPDX-License-Identifier: BSD-3-Clause */
/* standard.c -- keeps the three standard descriptors for what they are for. */
#include "tools/standard.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tools/same_file.h"

bool standard_hold(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

bool standard_is(int standard, const struct stat *st)
{
    const dev_t null = makedev(1, 3);
    struct stat own;

    return fstat(standard, &own) == 0 && same_file_stat(&own, st) && !(S_ISCHR(st->st_mode) && st->st_rdev == null);
}

bool standard_is_path(int standard, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && standard_is(standard, &st);
}
