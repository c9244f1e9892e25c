/* SPDX-License-Identifier: BSD-3-Clause */
/* path.c -- takes paths apart, and follows links that may dangle, which realpath(3) does not. */
#include "tools/path.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as Linux has it */

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void path_folder(const char *path, char folder[PATH_MAX])
{
    int len = (int)(path_name(path) - path);

    snprintf(folder, PATH_MAX, "%.*s", len ? len : 1, len ? path : ".");
}

bool path_follow(const char *path, char target[PATH_MAX])
{
    char link[PATH_MAX], next[PATH_MAX];

    if (snprintf(target, PATH_MAX, "%s", path) >= PATH_MAX)
        return false;
    for (int i = 0; i < LINKS_MAX; i++) {
        ssize_t len = readlink(target, link, sizeof(link) - 1);
        int folder_len;

        if (len < 0)
            return true;
        link[len] = '\0';
        folder_len = link[0] == '/' ? 0 : (int)(path_name(target) - target);
        if (snprintf(next, sizeof(next), "%.*s%s", folder_len, target, link) >= (int)sizeof(next))
            return false;
        memcpy(target, next, sizeof(next));
    }
    return false;
}
