/* SPDX-License-Identifier: BSD-3-Clause */
/* path.h -- the parts of a path, and where it leads by links. */
#ifndef TOOLS_PATH_H
#define TOOLS_PATH_H

#include <limits.h>
#include <stdbool.h>

/** What follows the last slash: the file's name in its folder; empty where a slash is last. */
const char *path_name(const char *path);

/** The folder that a file is in, with the slash; "." where the path names none. Requires: less than PATH_MAX bytes. */
void path_folder(const char *path, char folder[PATH_MAX]);

/**
 * Follow links as open(2) does, to a name that need not be that of a file yet; where path is no link it is path.
 * Returns: false of names that are too long or links that lead in a circle.
 */
bool path_follow(const char *path, char target[PATH_MAX]);

#endif
