/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm_control.h -- the control socket: a JSON object a line in, one a line out. */
#ifndef TOOLS_KVM_CONTROL_H
#define TOOLS_KVM_CONTROL_H

#include <jansson.h>
#include <poll.h>
#include <rmig/channel.h>

#define KVM_CLIENTS_MAX 4u

struct kvm_control {
    struct rmig_listener *listener; /* NULL = closed */
    struct kvm_client {
        struct rmig_channel *ch; /* NULL = free */
        size_t used;
        char line[4096];
    } clients[KVM_CLIENTS_MAX];
    /* Does what a line asks for. Returns: the answer, a new object. */
    json_t *(*command)(void *opaque, const char *name, json_t *args);
    void *opaque;
};

/** Listen at a path. Requires: zeroed but for command and opaque. Returns: 0; an errno. */
int kvm_control_open(struct kvm_control *c, const char *path, struct rmig_err *err);

/** What to poll: KVM_CLIENTS_MAX + 1 entries. */
void kvm_control_poll(const struct kvm_control *c, struct pollfd *fds);

/** After the poll. Waits a second at most for a client that does not take its answer. */
void kvm_control_serve(struct kvm_control *c, const struct pollfd *fds);

/** Fine on one that is not open. */
void kvm_control_close(struct kvm_control *c);

#endif
