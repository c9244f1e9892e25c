/* SPDX-License-Identifier: BSD-3-Clause */
/* same_file.h -- do two of the names that a command was given stand for one file? */
#ifndef TOOLS_SAME_FILE_H
#define TOOLS_SAME_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/** A file that an argument names, or none. */
struct named_file {
    const char *by;   /* the argument: "--output" */
    const char *path; /* NULL or empty: not given */
    bool written;
};

/** Are these stat(2)'s words on one file? */
bool same_file_stat(const struct stat *a, const struct stat *b);

/**
 * Look for two names of one file, at least one of which is to be written: regular files, or what does
 * not exist yet. Returns: true, and which two of files.
 */
bool same_file(const struct named_file *files, size_t nfiles, size_t *first_p, size_t *second_p);

#endif
