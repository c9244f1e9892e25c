/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_inspect.h -- what rmig inspect says of a walk: for people, and as JSON. */
#ifndef TOOLS_RMIG_INSPECT_H
#define TOOLS_RMIG_INSPECT_H

#include <jansson.h>
#include <stdbool.h>

#include "tools/rmig_walk.h"

/** Print it on standard output. fields: those of the devices whose name matches; NULL: of none. */
void inspect_print(struct walk *walk, const char *file, const char *fields);

/** As one object, docs/rmig_inspect.schema.json. Returns: it; NULL out of memory. */
json_t *inspect_json(struct walk *walk, const char *file);

/** "8-4-4-4-12" digits. Returns: buf. */
char *inspect_uuid(char buf[37], const uint8_t uuid[16]);

#endif
