/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_cmd.h -- the commands of rmig, and what they share: exit status, options, messages. */
#ifndef TOOLS_RMIG_CMD_H
#define TOOLS_RMIG_CMD_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <rmig/rmig.h>

#include "tools/rmig_link.h"
#include "tools/same_file.h"

/** Exit status, documented in rmig(1): those of rdma_migrate_bench that apply. */
enum cmd_exit {
    CMD_OK = 0,
    CMD_USAGE = 2,     /* bad option, URI or file */
    CMD_NO_DEVICE = 3, /* RDMA asked for and not to be had */
    CMD_CONNECT = 4,   /* cannot listen or connect */
    CMD_TRANSFER = 5   /* failed or cancelled half way, or the file is damaged */
};

/** Options that more than one command takes. */
struct cmd_common {
    struct link_opts link;
    uint64_t max_ram_bytes; /* 0 = the memory of this host */
    bool json;
    char json_file[4096]; /* empty: standard output */
};

/** The argp child with the options of struct cmd_common, which is its input. */
extern const struct argp cmd_common_argp;

/** Of these --json alone, for a command without a peer; the input is the same. */
extern const struct argp cmd_json_argp;

/** Set what has no zero default. Requires: before parsing. */
void cmd_common_init(struct cmd_common *common, struct rmig_cancel *cancel);

/** One line on standard error: "rmig NAME: MESSAGE". Returns: status. */
enum cmd_exit cmd_fail(const char *name, enum cmd_exit status, const struct rmig_err *err);

/**
 * Write what --json asks for, to where it asks; the object is gone afterwards.
 * Returns: was all of it written? If not, standard error has said why.
 */
bool cmd_write_json(const char *name, const struct cmd_common *common, json_t *json);

/**
 * Refuse an option of RDMA where no URI is of it. uris: a NULL ends them. Returns: 0; -EINVAL.
 */
int cmd_check_rdma(const struct link_opts *opts, const char *const *uris, struct rmig_err *err);

/** Most files that a command names, --json not counted. */
#define CMD_FILES_MAX 3

/**
 * Refuse what would write over one of the files, and a --json that cannot be written.
 * Returns: 0; -EINVAL two names of one file; -errno.
 */
int cmd_check_files(const struct cmd_common *common, const struct named_file *files, size_t nfiles,
                    struct rmig_err *err);

/** The path that an argument is; NULL of "-", which is a standard stream and names no file. */
const char *cmd_path(const char *arg);

/** Where a stream is written to. */
struct stream_place {
    const char *by;   /* the argument that says so */
    const char *path; /* NULL: a descriptor */
    int fd;           /* -1: neither */
};

/** Of a URI. uri_p: keeps the path. */
struct stream_place cmd_uri_place(const char *text, struct rmig_uri *uri_p);

/**
 * Refuse what would get the stream and something else. *alone_p becomes true where the stream is all that standard
 * output takes: what is printed has to go elsewhere. Requires: nothing is open yet. Returns: 0; -EINVAL.
 */
int cmd_check_place(const struct cmd_common *common, const struct stream_place *place, bool *alone_p,
                    struct rmig_err *err);

/** The path of a URI file:PATH, in uri_p; NULL for any other, a bad one too. */
const char *cmd_uri_file(const char *text, struct rmig_uri *uri_p);

/** Status of a link that could not be opened. */
enum cmd_exit cmd_link_status(const struct link *link, int rc);

/** The commands: parse their arguments, do their work, say what came of it. */
enum cmd_exit cmd_receive(int argc, char **argv, struct rmig_cancel *cancel);
enum cmd_exit cmd_send(int argc, char **argv, struct rmig_cancel *cancel);
enum cmd_exit cmd_relay(int argc, char **argv, struct rmig_cancel *cancel);
enum cmd_exit cmd_inspect(int argc, char **argv, struct rmig_cancel *cancel);

#endif
