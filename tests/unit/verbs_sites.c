/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_sites.c -- rdma/verbs*.c with each call of libibverbs and librdmacm listed and able to fail. */
#include "tests/unit/verbs_sites.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fabric/fabric.h"

static int due(const struct verbs_site *const *site);

static inline int query_port(struct ibv_context *ctx, uint8_t port, struct ibv_port_attr *attr_p)
{
    return ibv_query_port(ctx, port, attr_p);
}

static inline int query_device_ex(struct ibv_context *ctx, const struct ibv_query_device_ex_input *input,
                                  struct ibv_device_attr_ex *attr_p)
{
    return ibv_query_device_ex(ctx, input, attr_p);
}

/* This place in the code: an entry in a list that the linker puts together. */
#define SITE(name, its_kind)                                                                       \
    ({                                                                                             \
        static const struct verbs_site site_ = {name, __FILE__, __LINE__, its_kind};                         \
        static const struct verbs_site *const entry_                                               \
            __attribute__((section("verbs_sites"), used)) = &site_;                                \
        &entry_;                                                                                   \
    })

/* answer: what says failure, where error_ is the errno that is due. */
#define CALL(name, function, answer, ...)                                                          \
    ({                                                                                             \
        int error_ = due(SITE(name, VERBS_CAN_FAIL));                                              \
        error_ ? (errno = error_, (answer)) : function(__VA_ARGS__);                               \
    })
#define RELEASE(name, function, answer, ...)                                                       \
    ({                                                                                             \
        int error_ = due(SITE(name, VERBS_RELEASE));                                               \
        int rc_ = function(__VA_ARGS__);                                                           \
        error_ ? (errno = error_, (answer)) : rc_;                                                 \
    })
#define NOTE(name, function, ...) (due(SITE(name, VERBS_CANNOT_FAIL)), function(__VA_ARGS__))

/* As rdma_cma.h and verbs.h have it: -1 and errno, NULL and errno, errno, or less than 0. */
#define rdma_accept(...) CALL("rdma_accept", rdma_accept, -1, __VA_ARGS__)
#define rdma_bind_addr(...) CALL("rdma_bind_addr", rdma_bind_addr, -1, __VA_ARGS__)
#define rdma_connect(...) CALL("rdma_connect", rdma_connect, -1, __VA_ARGS__)
#define rdma_create_event_channel() CALL("rdma_create_event_channel", rdma_create_event_channel, NULL)
#define rdma_create_id(...) CALL("rdma_create_id", rdma_create_id, -1, __VA_ARGS__)
#define rdma_create_qp(...) CALL("rdma_create_qp", rdma_create_qp, -1, __VA_ARGS__)
#define rdma_disconnect(...) CALL("rdma_disconnect", rdma_disconnect, -1, __VA_ARGS__)
#define rdma_get_cm_event(...) CALL("rdma_get_cm_event", rdma_get_cm_event, -1, __VA_ARGS__)
#define rdma_listen(...) CALL("rdma_listen", rdma_listen, -1, __VA_ARGS__)
#define rdma_migrate_id(...) CALL("rdma_migrate_id", rdma_migrate_id, -1, __VA_ARGS__)
#define rdma_reject(...) CALL("rdma_reject", rdma_reject, -1, __VA_ARGS__)
#define rdma_resolve_addr(...) CALL("rdma_resolve_addr", rdma_resolve_addr, -1, __VA_ARGS__)
#define rdma_resolve_route(...) CALL("rdma_resolve_route", rdma_resolve_route, -1, __VA_ARGS__)
#define rdma_set_option(...) CALL("rdma_set_option", rdma_set_option, -1, __VA_ARGS__)
#define rdma_ack_cm_event(...) RELEASE("rdma_ack_cm_event", rdma_ack_cm_event, -1, __VA_ARGS__)
#define rdma_destroy_id(...) RELEASE("rdma_destroy_id", rdma_destroy_id, -1, __VA_ARGS__)
#define rdma_destroy_event_channel(...)                                                            \
    NOTE("rdma_destroy_event_channel", rdma_destroy_event_channel, __VA_ARGS__)
#define rdma_destroy_qp(...) NOTE("rdma_destroy_qp", rdma_destroy_qp, __VA_ARGS__)
#define rdma_get_src_port(...) NOTE("rdma_get_src_port", rdma_get_src_port, __VA_ARGS__)

#undef ibv_get_device_list
#undef ibv_query_port
#undef ibv_reg_mr
#define ibv_create_comp_channel(...)                                                               \
    CALL("ibv_create_comp_channel", ibv_create_comp_channel, NULL, __VA_ARGS__)
#define ibv_create_cq(...) CALL("ibv_create_cq", ibv_create_cq, NULL, __VA_ARGS__)
#define ibv_get_async_event(...) CALL("ibv_get_async_event", ibv_get_async_event, -1, __VA_ARGS__)
#define ibv_get_cq_event(...) CALL("ibv_get_cq_event", ibv_get_cq_event, -1, __VA_ARGS__)
#define ibv_get_device_list(...) CALL("ibv_get_device_list", ibv_get_device_list, NULL, __VA_ARGS__)
#define ibv_open_device(...) CALL("ibv_open_device", ibv_open_device, NULL, __VA_ARGS__)
#define ibv_poll_cq(...) CALL("ibv_poll_cq", ibv_poll_cq, -1, __VA_ARGS__)
#define ibv_post_recv(...) CALL("ibv_post_recv", ibv_post_recv, error_, __VA_ARGS__)
#define ibv_post_send(...) CALL("ibv_post_send", ibv_post_send, error_, __VA_ARGS__)
#define ibv_query_device(...) CALL("ibv_query_device", ibv_query_device, error_, __VA_ARGS__)
#define ibv_query_device_ex(...) CALL("ibv_query_device_ex", query_device_ex, error_, __VA_ARGS__)
#define ibv_query_gid_table(...)                                                                   \
    CALL("ibv_query_gid_table", ibv_query_gid_table, -(ssize_t)error_, __VA_ARGS__)
#define ibv_query_port(...) CALL("ibv_query_port", query_port, error_, __VA_ARGS__)
#define ibv_reg_mr(pd, addr, len, access)                                                          \
    CALL("ibv_reg_mr", __ibv_reg_mr, NULL, pd, addr, len, (unsigned)(access), 0)
#define ibv_req_notify_cq(...) CALL("ibv_req_notify_cq", ibv_req_notify_cq, error_, __VA_ARGS__)
#define ibv_close_device(...) RELEASE("ibv_close_device", ibv_close_device, -1, __VA_ARGS__)
#define ibv_dereg_mr(...) RELEASE("ibv_dereg_mr", ibv_dereg_mr, error_, __VA_ARGS__)
#define ibv_destroy_comp_channel(...)                                                              \
    RELEASE("ibv_destroy_comp_channel", ibv_destroy_comp_channel, error_, __VA_ARGS__)
#define ibv_destroy_cq(...) RELEASE("ibv_destroy_cq", ibv_destroy_cq, error_, __VA_ARGS__)
#define ibv_ack_async_event(...) NOTE("ibv_ack_async_event", ibv_ack_async_event, __VA_ARGS__)
#define ibv_ack_cq_events(...) NOTE("ibv_ack_cq_events", ibv_ack_cq_events, __VA_ARGS__)
#define ibv_event_type_str(...) NOTE("ibv_event_type_str", ibv_event_type_str, __VA_ARGS__)
#define ibv_free_device_list(...) NOTE("ibv_free_device_list", ibv_free_device_list, __VA_ARGS__)
#define ibv_get_device_name(...) NOTE("ibv_get_device_name", ibv_get_device_name, __VA_ARGS__)
#define ibv_wc_status_str(...) NOTE("ibv_wc_status_str", ibv_wc_status_str, __VA_ARGS__)
#define calloc(...) CALL("calloc", calloc, NULL, __VA_ARGS__)

#include "rdma/verbs.c"
#include "rdma/verbs_device.c"

#undef calloc

/* --- what is due ------------------------------------------------------------------------------ */

#define SITES_MAX 256u

extern const struct verbs_site *const __start_verbs_sites[], *const __stop_verbs_sites[];

static struct {
    _Atomic uint64_t reached[SITES_MAX][FABRIC_SIDES], failed[SITES_MAX];
} *shared;
static struct {
    int site; /* -1 = none */
    int side, error;
    bool releases_fail;
} armed = {.site = -1};
static atomic_bool fired;

void verbs_sites_init(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || verbs_sites_count() > SITES_MAX)
        abort();
}

unsigned verbs_sites_count(void)
{
    return (unsigned)(__stop_verbs_sites - __start_verbs_sites);
}

const struct verbs_site *verbs_site_at(unsigned site)
{
    return __start_verbs_sites[site];
}

void verbs_site_arm(unsigned site, enum fabric_side side, int error, bool releases_fail)
{
    armed.side = (int)side;
    armed.error = error;
    armed.releases_fail = releases_fail;
    atomic_store(&fired, false);
    armed.site = (int)site;
}

void verbs_sites_fail_releases(void)
{
    armed.site = -1;
    armed.error = EIO;
    armed.releases_fail = true;
    atomic_store(&fired, true);
}

void verbs_sites_disarm(void)
{
    armed.site = -1;
    armed.releases_fail = false;
    atomic_store(&fired, false);
}

bool verbs_site_fired(void)
{
    return atomic_load(&fired);
}

uint64_t verbs_site_reached(unsigned site, enum fabric_side side)
{
    return atomic_load(&shared->reached[site][side]);
}

uint64_t verbs_site_failed(unsigned site)
{
    return atomic_load(&shared->failed[site]);
}

/* The errno that the site is to fail with, or 0. */
static int due(const struct verbs_site *const *site)
{
    int i = (int)(site - __start_verbs_sites), side = control_thread_side();

    atomic_fetch_add(&shared->reached[i][side], 1);
    if ((*site)->kind == VERBS_CANNOT_FAIL)
        return 0;
    if (i == armed.site && side == armed.side && !atomic_exchange(&fired, true)) {
        atomic_fetch_add(&shared->failed[i], 1);
        return armed.error;
    }
    if ((*site)->kind == VERBS_RELEASE && armed.releases_fail && atomic_load(&fired)) {
        atomic_fetch_add(&shared->failed[i], 1);
        return EIO;
    }
    return 0;
}
