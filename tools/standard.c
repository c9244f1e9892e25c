/* SPDX-License-Identifier: BSD-3-Clause */
/* standard.c -- keeps the three standard descriptors for what they are for. */
#include "tools/standard.h"

#include <fcntl.h>
#include <unistd.h>

bool standard_hold(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}
