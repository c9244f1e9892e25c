/* kvm_control.c -- accepts clients, cuts their bytes into lines, answers each. */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/kvm_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A client that does not take its answer holds the main loop up for so long. */
#define ANSWER_MS 1000

int kvm_control_open(struct kvm_control *c, const char *path, struct rmig_err *err)
{
    struct rmig_uri uri = {.kind = RMIG_URI_UNIX, .fd = -1};

    if (snprintf(uri.path, sizeof(uri.path), "%s", path) >= (int)sizeof(uri.path))
        return rmig_err_set(err, -ENAMETOOLONG, "--control: longer than %zu bytes",
                            sizeof(uri.path) - 1);
    return rmig_listener_open(&uri, &c->listener, err);
}

void kvm_control_poll(const struct kvm_control *c, struct pollfd *fds)
{
    for (size_t i = 0; i < KVM_CLIENTS_MAX; i++)
        fds[i] = (struct pollfd){c->clients[i].ch ? rmig_channel_fd(c->clients[i].ch) : -1, POLLIN, 0};
    fds[KVM_CLIENTS_MAX] =
        (struct pollfd){c->listener ? rmig_listener_fd(c->listener) : -1, POLLIN, 0};
}

static void hang_up(struct kvm_client *client)
{
    (void)rmig_channel_close(client->ch, NULL);
    client->ch = NULL;
    client->used = 0;
}

static void answer(struct kvm_control *c, struct kvm_client *client, const char *line)
{
    json_t *msg = json_loads(line, 0, NULL), *said;
    const char *name = json_string_value(json_object_get(msg, "command"));
    struct iovec iov[2] = {{NULL, 0}, {(void *)(uintptr_t)"\n", 1}};

    said = name ? c->command(c->opaque, name, msg)
                : json_pack("{s:b, s:s}", "ok", 0, "error", "no JSON object with a command");
    iov[0].iov_base = json_dumps(said, JSON_COMPACT);
    iov[0].iov_len = iov[0].iov_base ? strlen(iov[0].iov_base) : 0;
    if (iov[0].iov_len == 0 || rmig_channel_writev_all(client->ch, iov, 2, NULL) < 0)
        hang_up(client);
    free(iov[0].iov_base);
    json_decref(said);
    json_decref(msg);
}

static void receive(struct kvm_control *c, struct kvm_client *client)
{
    struct iovec room = {client->line + client->used, sizeof(client->line) - 1 - client->used};
    ssize_t n = client->ch->ops->readv(client->ch, &room, 1, NULL);
    char *end;

    if (n <= 0) {
        hang_up(client);
        return;
    }
    client->used += (size_t)n;
    while (client->ch && (end = memchr(client->line, '\n', client->used)) != NULL) {
        size_t len = (size_t)(end - client->line) + 1;

        *end = 0;
        answer(c, client, client->line);
        client->used = client->ch ? client->used - len : 0;
        memmove(client->line, client->line + len, client->used);
    }
    if (client->used == sizeof(client->line) - 1)
        hang_up(client); /* no command is so long */
}

static void let_in(struct kvm_control *c)
{
    const struct rmig_channel_opts opts = {.idle_timeout_ms = ANSWER_MS};
    struct rmig_channel *ch;

    if (rmig_listener_accept(c->listener, 0, &opts, &ch, NULL) < 0)
        return; /* it has left already */
    for (size_t i = 0; i < KVM_CLIENTS_MAX; i++)
        if (!c->clients[i].ch) {
            c->clients[i].ch = ch;
            return;
        }
    (void)rmig_channel_close(ch, NULL);
}

void kvm_control_serve(struct kvm_control *c, const struct pollfd *fds)
{
    for (size_t i = 0; i < KVM_CLIENTS_MAX; i++)
        if (fds[i].revents)
            receive(c, &c->clients[i]);
    if (fds[KVM_CLIENTS_MAX].revents)
        let_in(c);
}

void kvm_control_close(struct kvm_control *c)
{
    for (size_t i = 0; i < KVM_CLIENTS_MAX; i++)
        if (c->clients[i].ch)
            hang_up(&c->clients[i]);
    rmig_listener_close(c->listener);
}
