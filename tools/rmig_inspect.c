/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_inspect.c -- the command that says what a stored stream holds, and where it goes wrong. */
#include "tools/rmig_inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/rmig_cmd.h"
#include "tools/rmig_store.h"

static const char name[] = "inspect";

struct inspect {
    struct cmd_common common; /* of these, where the JSON goes */
    const char *file;
    const char *fields; /* pattern of names; NULL: none */
};

enum key { KEY_FIELDS = 0x200 };

static const struct argp_option options[] = {
    {"fields", KEY_FIELDS, "DEVICE", OPTION_ARG_OPTIONAL,
     "Print the fields of the devices, or of those whose name matches DEVICE", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct inspect *inspect = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &inspect->common;
        break;
    case KEY_FIELDS:
        inspect->fields = arg ? arg : "*";
        break;
    case ARGP_KEY_ARG:
        if (inspect->file)
            argp_failure(state, CMD_USAGE, 0, "'%s': one FILE is enough", arg);
        inspect->file = arg;
        break;
    case ARGP_KEY_END:
        if (!inspect->file)
            argp_failure(state, CMD_USAGE, 0, "FILE is needed");
        if (inspect->fields && inspect->common.json && !inspect->common.json_file[0])
            argp_failure(state, CMD_USAGE, 0, "--fields: --json takes the place of the text, and has all fields");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_child children[] = {{&cmd_json_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "Say what a stored migration stream holds, and at which byte it goes wrong.\v"
           "FILE may be a pipe; - is standard input.",
    .children = children,
};

static enum cmd_exit say(const struct inspect *inspect, struct walk *walk)
{
    struct rmig_err err = RMIG_ERR_INIT;
    bool written = !inspect->common.json ||
                   cmd_write_json(name, &inspect->common, inspect_json(walk, inspect->file));

    if (!inspect->common.json || inspect->common.json_file[0])
        inspect_print(walk, inspect->file, inspect->fields);
    if ((fflush(stdout) != 0 || ferror(stdout)) && written) {
        rmig_err_set(&err, -errno, "standard output: %s", strerror(errno));
        return cmd_fail(name, CMD_TRANSFER, &err);
    }
    if (walk->scan.err.code == 0)
        return written ? CMD_OK : CMD_TRANSFER;
    rmig_err_set(&err, walk->scan.err.code, "%.80s: %s", inspect->file, walk->scan.err.msg);
    return cmd_fail(name, CMD_TRANSFER, &err);
}

enum cmd_exit cmd_inspect(int argc, char **argv, struct rmig_cancel *cancel)
{
    struct inspect inspect = {0};
    struct named_file file = {.by = "FILE"};
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_channel *ch = NULL;
    struct walk *walk;
    enum cmd_exit status;

    cmd_common_init(&inspect.common, cancel);
    argp_err_exit_status = CMD_USAGE;
    argv[0] = (char[]){"rmig inspect"};
    argp_parse(&argp, argc, argv, 0, NULL, &inspect);
    file.path = cmd_path(inspect.file);
    if (cmd_check_files(&inspect.common, &file, 1, &err) < 0)
        return cmd_fail(name, CMD_USAGE, &err);
    if (store_open_channel(inspect.file, cancel, &ch, &err) < 0)
        return cmd_fail(name, CMD_USAGE, &err);
    walk = calloc(1, sizeof(*walk));
    if (!walk) {
        (void)rmig_channel_close(ch, NULL);
        rmig_err_set(&err, -ENOMEM, "out of memory");
        return cmd_fail(name, CMD_TRANSFER, &err);
    }
    (void)walk_run(walk, ch);
    status = say(&inspect, walk);
    walk_release(walk);
    free(walk);
    return status;
}
