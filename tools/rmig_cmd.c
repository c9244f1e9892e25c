/* SPDX-License-Identifier: BSD-3-Clause */
/* rmig_cmd.c -- the options that commands of rmig share, and how they say what went wrong. */
#include "tools/rmig_cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_units.h"
#include "tools/fifo.h"
#include "tools/path.h"
#include "tools/rmig_ram.h"
#include "tools/standard.h"

enum key { KEY_MAX_RAM = 0x100, KEY_PIN_BUDGET, KEY_DEADLINE, KEY_PROGRESS_DEADLINE, KEY_JSON };

static const struct argp_option options[] = {
    {.doc = "The peer:", .group = 10},
    {"device", 'd', "NAME", 0, "RDMA device to use (default: the one the address chooses)", 10},
    {"gid-index", 'x', "N", 0, "GID index to use with --device", 10},
    {"ib-port", 'i', "N", 0, "Port of the RDMA device (default 1)", 10},
    {"pin-budget", KEY_PIN_BUDGET, "SIZE", 0, "Most memory to have registered at once (default: all)",
     10},
    {"deadline", KEY_DEADLINE, "SECONDS", 0,
     "Longest wait for a peer that died or cannot be reached any more (default 2)", 10},
    {"progress-deadline", KEY_PROGRESS_DEADLINE, "SECONDS", 0,
     "Longest wait for a peer that lives and does nothing (default 30)", 10},
    {"timeout", 0, NULL, OPTION_ALIAS, NULL, 10},
    {"max-ram", KEY_MAX_RAM, "SIZE", 0,
     "Most guest RAM that a peer may ask for (default: the memory of this host)", 10},
    {0},
};

static const struct argp_option json_options[] = {
    {.doc = "Output:", .group = 20},
    {"json", KEY_JSON, "FILE", OPTION_ARG_OPTIONAL, "A JSON object, to FILE or to standard output",
     20},
    {0},
};

static uint64_t number(struct argp_state *state, const char *option, const char *arg, uint64_t min,
                       uint64_t max)
{
    uint64_t value = 0;

    if (!bench_parse_u64(arg, min, max, &value))
        argp_failure(state, CMD_USAGE, 0, "--%s: '%s' is not a number from %llu to %llu", option,
                     arg, (unsigned long long)min, (unsigned long long)max);
    return value;
}

static uint64_t size(struct argp_state *state, const char *option, const char *arg)
{
    uint64_t value = 0;

    if (!bench_parse_size(arg, &value) || value == 0)
        argp_failure(state, CMD_USAGE, 0, "--%s: '%s' is not a size such as 512M or 4G", option,
                     arg);
    return value;
}

static uint32_t seconds(struct argp_state *state, const char *option, const char *arg)
{
    uint32_t ms = 0;

    if (!bench_parse_seconds(arg, &ms))
        argp_failure(state, CMD_USAGE, 0, "--%s: '%s' is not a number of seconds from 0.001 to %u",
                     option, arg, BENCH_SECONDS_MAX);
    return ms;
}

static void text(struct argp_state *state, const char *option, const char *arg, char *buf,
                 size_t len)
{
    if (snprintf(buf, len, "%s", arg) >= (int)len)
        argp_failure(state, CMD_USAGE, 0, "--%s: longer than %zu bytes", option, len - 1);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct cmd_common *common = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = common;
        break;
    case 'd':
        text(state, "device", arg, common->link.device, sizeof(common->link.device));
        break;
    case 'x':
        common->link.gid_index = (int32_t)number(state, "gid-index", arg, 0, 65535);
        break;
    case 'i':
        common->link.ib_port = (uint32_t)number(state, "ib-port", arg, 1, 255);
        break;
    case KEY_PIN_BUDGET:
        common->link.pin_budget_bytes = size(state, "pin-budget", arg);
        break;
    case KEY_DEADLINE:
        common->link.dead_peer_ms = seconds(state, "deadline", arg);
        break;
    case KEY_PROGRESS_DEADLINE:
        common->link.idle_timeout_ms = seconds(state, "progress-deadline", arg);
        break;
    case KEY_MAX_RAM:
        common->max_ram_bytes = size(state, "max-ram", arg);
        break;
    case ARGP_KEY_END:
        if (!common->link.device[0] && (common->link.gid_index >= 0 || common->link.ib_port))
            argp_failure(state, CMD_USAGE, 0, "--%s: of which --device?",
                         common->link.ib_port ? "ib-port" : "gid-index");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_json(int key, char *arg, struct argp_state *state)
{
    struct cmd_common *common = state->input;

    if (key != KEY_JSON)
        return ARGP_ERR_UNKNOWN;
    common->json = true;
    if (arg && standard_is_path(STDOUT_FILENO, arg))
        arg = NULL;
    text(state, "json", arg ? arg : "", common->json_file, sizeof(common->json_file));
    return 0;
}

const struct argp cmd_json_argp = {.options = json_options, .parser = parse_json};

static const struct argp_child children[] = {{&cmd_json_argp, 0, NULL, 0}, {0}};
const struct argp cmd_common_argp = {.options = options, .parser = parse, .children = children};

void cmd_common_init(struct cmd_common *common, struct rmig_cancel *cancel)
{
    *common = (struct cmd_common){.link = {.gid_index = -1, .cancel = cancel},
                                  .max_ram_bytes = guest_ram_host_bytes()};
}

enum cmd_exit cmd_fail(const char *name, enum cmd_exit status, const struct rmig_err *err)
{
    fprintf(stderr, "rmig %s: %s\n", name, err->msg);
    return status;
}

static int write_json(FILE *file, const char *path, const json_t *json, struct rmig_err *err)
{
    bool written = json_dumpf(json, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF && fflush(file) == 0;
    int rc = written ? 0 : rmig_err_set(err, -errno, "%.180s: %s", path, strerror(errno));

    if (file != stdout && fclose(file) != 0 && rc == 0)
        rc = rmig_err_set(err, -errno, "%.180s: %s", path, strerror(errno));
    return rc;
}

static int put_json(const struct cmd_common *common, const json_t *json, struct rmig_err *err)
{
    const char *path = common->json_file;
    FILE *file = NULL;
    int rc;

    if (!path[0])
        return write_json(stdout, "standard output", json, err);
    rc = fifo_fopen(path, common->link.cancel, &file, err);
    return rc < 0 ? rc : write_json(file, path, json, err);
}

bool cmd_write_json(const char *name, const struct cmd_common *common, json_t *json)
{
    struct rmig_err err = RMIG_ERR_INIT;
    bool written = put_json(common, json, &err) == 0;

    if (!written)
        fprintf(stderr, "rmig %s: --json: %s\n", name, err.msg);
    json_decref(json);
    return written;
}

/* A file that can be written, or a folder where it can be made. */
static int check_writable(const char *path, struct rmig_err *err)
{
    char target[PATH_MAX] = "", folder[PATH_MAX];

    (void)path_follow(path, target); /* what is wrong with the name access(2) says */
    path_folder(target, folder);
    if (access(path, W_OK) == 0 || (errno == ENOENT && access(folder, W_OK | X_OK) == 0))
        return 0;
    return rmig_err_set(err, -errno, "--json: %.180s: %s", path, strerror(errno));
}

int cmd_check_files(const struct cmd_common *common, const struct named_file *files, size_t nfiles,
                    struct rmig_err *err)
{
    struct named_file all[CMD_FILES_MAX + 1];
    size_t a, b;

    memcpy(all, files, nfiles * sizeof(*files));
    all[nfiles] = (struct named_file){"--json", common->json_file, true};
    if (same_file(all, nfiles + 1, &a, &b))
        return rmig_err_set(err, -EINVAL, "%s and %s name one file, %.160s: it would be lost", all[a].by,
                            all[b].by, all[b].path);
    return common->json_file[0] ? check_writable(common->json_file, err) : 0;
}

int cmd_check_rdma(const struct link_opts *opts, const char *const *uris, struct rmig_err *err)
{
    const char *option = opts->pin_all            ? "pin-all"
                         : opts->pin_budget_bytes ? "pin-budget"
                         : opts->device[0]        ? "device"
                                                  : NULL;

    if (!option)
        return 0;
    for (; *uris; uris++)
        if (strncmp(*uris, "rdma:", 5) == 0)
            return 0;
    return rmig_err_set(err, -EINVAL, "--%s is for RDMA: say rdma:HOST:PORT", option);
}

const char *cmd_path(const char *arg)
{
    return strcmp(arg, "-") != 0 ? arg : NULL;
}

const char *cmd_uri_file(const char *text, struct rmig_uri *uri_p)
{
    return rmig_uri_parse(text, uri_p, NULL) == 0 && uri_p->kind == RMIG_URI_FILE ? uri_p->path : NULL;
}

struct stream_place cmd_uri_place(const char *text, struct rmig_uri *uri_p)
{
    const char *path = cmd_uri_file(text, uri_p);
    bool is_fd = !path && rmig_uri_parse(text, uri_p, NULL) == 0 && uri_p->kind == RMIG_URI_FD;

    return (struct stream_place){text, path, is_fd ? uri_p->fd : -1};
}

/* A device gives nothing back, and a folder is refused elsewhere. */
static bool goes_to(const char *path, const struct stat *st)
{
    struct stat other;

    return path[0] && stat(path, &other) == 0 && !S_ISCHR(st->st_mode) && same_file_stat(&other, st);
}

int cmd_check_place(const struct cmd_common *common, const struct stream_place *place, bool *alone_p,
                    struct rmig_err *err)
{
    bool standard, json_here;
    struct stat st;

    if ((place->path ? stat(place->path, &st) : fstat(place->fd, &st)) < 0)
        return 0; /* whoever opens it says so */
    standard = standard_is(STDOUT_FILENO, &st);
    json_here = goes_to(common->json_file, &st) || (standard && common->json && !common->json_file[0]);
    if (standard && isatty(STDOUT_FILENO))
        return rmig_err_set(err, -EINVAL, "%.120s: a terminal takes no stream; lead it to a file or pipe", place->by);
    if (standard_is(STDERR_FILENO, &st))
        return rmig_err_set(err, -EINVAL, "%.120s: standard error goes there too, and is for messages: lead one of "
                            "the two elsewhere", place->by);
    if (json_here)
        return rmig_err_set(err, -EINVAL, "%.120s and --json both go to %s: --json=FILE takes it elsewhere", place->by,
                            standard ? "standard output" : common->json_file);
    *alone_p = standard;
    return 0;
}

enum cmd_exit cmd_link_status(const struct link *link, int rc)
{
    if (((rc == -EINVAL || rc == -ENAMETOOLONG) && !link->plugin) || link->uri.kind == RMIG_URI_FILE)
        return CMD_USAGE; /* a device may answer EINVAL, too */
    if (link->uri.kind != RMIG_URI_RDMA)
        return CMD_CONNECT;
    switch (rc) {
    case -ENODEV:
    case -ENOENT: /* the plugin, or a library that it needs */
    case -ENOEXEC:
        return CMD_NO_DEVICE;
    default:
        return CMD_CONNECT;
    }
}
