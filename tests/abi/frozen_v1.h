/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frozen_v1.h -- the plugin ABI as the first plugins saw it. Never changes: a plugin that was built
 * with it must load into every later host of ABI 1.
 */
#ifndef TESTS_ABI_FROZEN_V1_H
#define TESTS_ABI_FROZEN_V1_H

#include <stdbool.h>
#include <stdint.h>

struct rmig_out;
struct rmig_channel;
struct rmig_cancel;
struct frozen_conn;
struct frozen_listener;

struct frozen_err {
    int code;
    char msg[256];
};

struct frozen_block {
    const char *name;
    void *host;
    uint64_t len_bytes;
    uint64_t page_bytes;
    int fd;
    uint64_t fd_offset_bytes;
    uint64_t reserved[2];
};

struct frozen_run {
    uint32_t block_index;
    uint32_t flags;
    uint64_t offset_bytes;
    uint64_t len_bytes;
};

struct frozen_hooks {
    int (*set_blocks)(void *opaque, const struct frozen_block *blocks, uint32_t nblocks,
                      struct frozen_err *err);
    int (*before_iterate)(void *opaque, int flag, struct frozen_err *err);
    int (*save_page)(void *opaque, const struct frozen_run *run, uint64_t *sent_bytes_p,
                     struct frozen_err *err);
    int (*after_iterate)(void *opaque, int flag, struct frozen_err *err);
    int (*load)(void *opaque, int flag, const char *block_name, struct frozen_err *err);
};

struct frozen_host {
    uint32_t abi;
    uint32_t struct_size;
    void (*log)(void *opaque, int level, const char *message);
    void *log_opaque;
    int log_threshold;
};

struct frozen_params {
    uint32_t struct_size;
    bool pin_all;
    const char *host;
    const char *port;
    const char *device;
    uint32_t device_port;
    int32_t gid_index;
    uint32_t nqueue_pairs;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t dead_peer_ms;
    uint64_t pin_budget_bytes;
    struct rmig_cancel *cancel;
    int cancel_fd;
};

struct frozen_stats {
    uint32_t struct_size;
    uint64_t wire_bytes;
    uint64_t write_wrs;
    uint64_t write_bytes;
    uint64_t doorbells;
    uint64_t completions;
};

struct frozen_ops {
    uint32_t abi;
    uint32_t struct_size;
    const char *name;
    int (*probe)(const struct frozen_params *params, uint64_t total_ram_bytes,
                 struct frozen_err *err);
    int (*connect)(const struct frozen_params *params, struct frozen_conn **conn_p,
                   struct frozen_err *err);
    int (*listen)(const struct frozen_params *params, struct frozen_listener **listener_p,
                  uint16_t *port_p, struct frozen_err *err);
    int (*accept)(struct frozen_listener *listener, int timeout_ms,
                  const struct frozen_params *params, struct frozen_conn **conn_p,
                  struct frozen_err *err);
    void (*listener_close)(struct frozen_listener *listener);
    struct rmig_channel *(*channel)(struct frozen_conn *conn);
    const struct frozen_hooks *(*hooks)(struct frozen_conn *conn);
    int (*finish)(struct frozen_conn *conn, struct frozen_err *err);
    int (*stats)(struct frozen_conn *conn, struct frozen_stats *stats);
    void (*close)(struct frozen_conn *conn);
};

#endif
