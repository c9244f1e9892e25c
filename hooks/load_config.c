/* SPDX-License-Identifier: BSD-3-Clause */
/* load_config.c -- reads the stream's header, configuration and commands. */
#include "hooks/load.h"

#include <errno.h>
#include <string.h>

#include "hooks/return_path.h"

int rmig_load_header(struct rmig_load *load, struct rmig_err *err)
{
    uint8_t header[RMIG_STREAM_HEADER_BYTES];
    int rc = rmig_load_get_bytes(load, "the stream header", header, sizeof(header), err);

    return rc < 0 ? rc : rmig_format_header_decode(header, err);
}

int rmig_load_configuration(struct rmig_load *load, struct rmig_err *err)
{
    uint32_t len;
    int rc = rmig_load_get_be32(load, "the machine name's length", &len, err);

    if (rc < 0)
        return rc;
    if (len == 0 || len > RMIG_MACHINE_NAME_MAX)
        return rmig_err_set(err, -EPROTO,
                            "configuration: machine name of %u bytes, 1 to %u are allowed", len,
                            RMIG_MACHINE_NAME_MAX);
    rc = rmig_load_get_bytes(load, "the machine name", load->machine, len, err);
    if (rc < 0)
        return rc;
    load->machine[len] = '\0';
    if (memchr(load->machine, '\0', len))
        return rmig_err_set(err, -EPROTO, "configuration: a byte 0 in the machine name %s",
                            load->machine);
    load->configured = true;
    return 0;
}

static int target_page_bits(struct rmig_load *load, struct rmig_err *err)
{
    uint32_t bits;
    int rc = rmig_load_get_be32(load, "the target page bits", &bits, err);

    if (rc == 0 && bits != RMIG_PAGE_SHIFT)
        return rmig_err_set(err, -ENOTSUP,
                            "configuration: %u target page bits, only %d are supported", bits,
                            RMIG_PAGE_SHIFT);
    load->configuration.says_page_bits = rc == 0;
    return rc;
}

/* Each one that can be listed changes the format. */
static int capabilities(struct rmig_load *load, struct rmig_err *err)
{
    uint32_t count;
    int rc = rmig_load_get_be32(load, "the number of capabilities", &count, err);

    if (rc < 0)
        return rc;
    if (count > RMIG_CAPABILITIES_MAX)
        return rmig_err_set(err, -EPROTO, "configuration: %u capabilities, at most %u are allowed",
                            count, RMIG_CAPABILITIES_MAX);
    if (count > 0) {
        char name[256];

        rc = rmig_load_get_name(load, "a capability's name", name, err);
        if (rc < 0)
            return rc;
        return rmig_err_set(
            err, -ENOTSUP,
            "configuration: capability %.64s is on at the source and not supported; "
            "switch it off there",
            name);
    }
    return 0;
}

static int uuid(struct rmig_load *load, struct rmig_err *err)
{
    struct rmig_configuration *c = &load->configuration;
    int rc = rmig_load_get_bytes(load, "the VM's uuid", c->uuid, sizeof(c->uuid), err);

    c->has_uuid = rc == 0;
    return rc;
}

int rmig_load_subsection(struct rmig_load *load, struct rmig_err *err)
{
    static const struct {
        const char *name;
        int (*read)(struct rmig_load *load, struct rmig_err *err);
    } known[] = {
        {RMIG_CONFIGURATION_PAGE_BITS, target_page_bits},
        {RMIG_CONFIGURATION_CAPABILITIES, capabilities},
        {RMIG_CONFIGURATION_UUID, uuid},
    };
    char name[256];
    uint32_t version;
    int rc;

    if (!load->configured)
        return rmig_err_set(err, -EPROTO, "SUBSECTION outside the configuration");
    rc = rmig_load_get_name(load, "a configuration subsection's name", name, err);
    if (rc == 0)
        rc = rmig_load_get_be32(load, "a configuration subsection's version", &version, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        if (version != RMIG_CONFIGURATION_VERSION)
            return rmig_err_set(err, -EPROTO, "subsection %s: version %u, only %u is known", name,
                                version, RMIG_CONFIGURATION_VERSION);
        if (load->subsections & 1u << i)
            return rmig_err_set(err, -EPROTO, "configuration: subsection %s comes twice", name);
        load->subsections |= 1u << i;
        return known[i].read(load, err);
    }
    return rmig_err_set(err, -EPROTO, "configuration: subsection %.64s is not known", name);
}

/* The source waits at the end for what we say there. */
static int open_return_path(struct rmig_load *load, struct rmig_err *err)
{
    int rc;

    if (load->back)
        return rmig_err_set(err, -EPROTO, "command OPEN_RETURN_PATH: a second one");
    rc = rmig_in_return_path(load->in, &load->back, err);
    if (rc == 0 && !load->back)
        return rmig_err_set(err, -ENOTSUP,
                            "command OPEN_RETURN_PATH: this channel leads one way; switch "
                            "capability return-path off at the source");
    return rc;
}

static int ping(struct rmig_load *load, struct rmig_err *err)
{
    uint32_t value;
    int rc = rmig_load_get_be32(load, "a PING's value", &value, err);

    if (rc == 0 && !load->back)
        return rmig_err_set(err, -EPROTO, "command PING: no OPEN_RETURN_PATH came before");
    return rc < 0 ? rc : rmig_return_put(load->back, RMIG_RETURN_PONG, value, err);
}

static int switchover_start(struct rmig_load *load, struct rmig_err *err)
{
    if (load->switched_over)
        return rmig_err_set(err, -EPROTO, "command SWITCHOVER_START: a second one");
    load->switched_over = true;
    return 0;
}

/* What is switched on at a source that sends this command. An advice without a body is there for
 * bitmaps alone: there is no RAM to be asked for. */
static const char *capability_of(uint16_t command, uint16_t len)
{
    if (command == RMIG_COMMAND_ENABLE_COLO)
        return "x-colo";
    return command == RMIG_COMMAND_POSTCOPY_ADVISE && len == 0 ? "dirty-bitmaps" : "postcopy-ram";
}

int rmig_load_command(struct rmig_load *load, struct rmig_err *err)
{
    static const struct {
        uint16_t command, len;
        int (*run)(struct rmig_load *load, struct rmig_err *err);
    } known[] = {
        {RMIG_COMMAND_OPEN_RETURN_PATH, 0, open_return_path},
        {RMIG_COMMAND_PING, 4, ping},
        {RMIG_COMMAND_SWITCHOVER_START, 0, switchover_start},
    };
    uint16_t command, len;
    int rc = rmig_load_get_be16(load, "a command", &command, err);

    if (rc == 0)
        rc = rmig_load_get_be16(load, "a command's length", &len, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (command != known[i].command)
            continue;
        if (len != known[i].len)
            return rmig_err_set(err, -EPROTO, "command %u (%s): length %u, %u is needed", command,
                                rmig_format_command_name(command), len, known[i].len);
        return known[i].run(load, err);
    }
    return rmig_err_set(err, -ENOTSUP,
                        "command %u (%s) is not supported: capability %s is on at the source; "
                        "switch it off there",
                        command, rmig_format_command_name(command),
                        capability_of(command, len));
}
