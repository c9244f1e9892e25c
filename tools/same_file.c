/* SPDX-License-Identifier: BSD-3-Clause */
/* same_file.c -- compares files by device and inode; what is not there yet by its folder and name. */
#include "tools/same_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as Linux has it */

bool same_file_follow(const char *path, char target[PATH_MAX])
{
    char link[PATH_MAX], next[PATH_MAX];

    if (snprintf(target, PATH_MAX, "%s", path) >= PATH_MAX)
        return false;
    for (int i = 0; i < LINKS_MAX; i++) {
        const char *slash = strrchr(target, '/');
        ssize_t len = readlink(target, link, sizeof(link) - 1);

        if (len < 0)
            return true;
        link[len] = '\0';
        if (snprintf(next, sizeof(next), "%.*s%s", slash && link[0] != '/' ? (int)(slash - target + 1) : 0, target,
                     link) >= (int)sizeof(next))
            return false;
        memcpy(target, next, sizeof(next));
    }
    return false;
}

/* The path of a file that does not exist in a folder that does, without links. */
static bool resolve(const char *path, char real[PATH_MAX])
{
    char target[PATH_MAX], resolved[PATH_MAX];
    char *slash;

    if (!same_file_follow(path, target))
        return false;
    slash = strrchr(target, '/');
    if (slash)
        *slash = '\0';
    if (!realpath(!slash ? "." : slash == target ? "/" : target, resolved))
        return false;
    return snprintf(real, PATH_MAX, "%s/%s", resolved, slash ? slash + 1 : target) < PATH_MAX;
}

static bool are_same(const char *a, const char *b)
{
    struct stat a_stat, b_stat;
    bool a_is = stat(a, &a_stat) == 0, b_is = stat(b, &b_stat) == 0;
    char a_real[PATH_MAX], b_real[PATH_MAX];

    if (a_is != b_is)
        return false;
    if (a_is)
        return S_ISREG(a_stat.st_mode) && a_stat.st_dev == b_stat.st_dev && a_stat.st_ino == b_stat.st_ino;
    return resolve(a, a_real) && resolve(b, b_real) && strcmp(a_real, b_real) == 0;
}

bool same_file(const struct named_file *files, size_t nfiles, size_t *first_p, size_t *second_p)
{
    for (size_t i = 0; i < nfiles; i++)
        for (size_t j = i + 1; j < nfiles; j++) {
            const struct named_file *a = &files[i], *b = &files[j];

            if (!a->path || !a->path[0] || !b->path || !b->path[0] || (!a->written && !b->written) ||
                !are_same(a->path, b->path))
                continue;
            *first_p = i;
            *second_p = j;
            return true;
        }
    return false;
}
