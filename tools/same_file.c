/* SPDX-License-Identifier: BSD-3-Clause */
/* same_file.c -- compares files by device and inode; what is not there yet by its folder and name. */
#include "tools/same_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/path.h"

bool same_file_stat(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The path of a file that does not exist in a folder that does, without links. */
static bool resolve(const char *path, char real[PATH_MAX])
{
    char target[PATH_MAX], folder[PATH_MAX], resolved[PATH_MAX];

    if (!path_follow(path, target))
        return false;
    path_folder(target, folder);
    return realpath(folder, resolved) &&
           snprintf(real, PATH_MAX, "%s/%s", resolved, path_name(target)) < PATH_MAX;
}

static bool are_same(const char *a, const char *b)
{
    struct stat a_stat, b_stat;
    bool a_is = stat(a, &a_stat) == 0, b_is = stat(b, &b_stat) == 0;
    char a_real[PATH_MAX], b_real[PATH_MAX];

    if (a_is != b_is)
        return false;
    if (a_is)
        return S_ISREG(a_stat.st_mode) && same_file_stat(&a_stat, &b_stat);
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
