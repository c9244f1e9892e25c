/* SPDX-License-Identifier: BSD-3-Clause */
/* check_rdma_sites.c -- each place where rdma/verbs*.c call out fails with each error there is. */
#include "tests/unit/rdma_move.h"
#include "tests/unit/verbs_sites.h"

#include <ctype.h>
#include <errno.h>
#include <sys/mman.h>

#define MIB ((uint64_t)1 << 20)
#define ERRORS_MAX 8

/*
 * What each call can fail with. ibv_get_device_list(3) names its errors. All other pages of rdma-core
 * (Debian's libibverbs-dev and librdmacm-dev, section 3) say of a failure "errno" and no more; for
 * those it is what the kernel's uverbs and ucma answer to what the call asks of them.
 */
static const struct call {
    const char *name;
    const char *says; /* with the error's text behind it; NULL = the move goes on as if nothing were */
    int errors[ERRORS_MAX];
} calls[] = {
    { "calloc", "out of memory", { ENOMEM } },
    { "ibv_close_device", NULL, { EBUSY } },
    { "ibv_create_comp_channel", "ibv_create_comp_channel", { EMFILE, ENFILE, ENOMEM, EIO } },
    { "ibv_create_cq", "ibv_create_cq", { EINVAL, ENOMEM, EIO } },
    { "ibv_dereg_mr", NULL, { EINVAL, EBUSY } },
    { "ibv_destroy_comp_channel", NULL, { EBUSY } },
    { "ibv_destroy_cq", NULL, { EBUSY, EIO } },
    { "ibv_get_async_event", NULL, { EAGAIN, EINTR, EIO } }, /* there is no event here */
    { "ibv_get_cq_event", "ibv_get_cq_event", { EIO, EBADF, EINVAL } },
    { "ibv_get_device_list", "ibv_get_device_list", { EPERM, ENOSYS, ENOMEM } },
    { "ibv_open_device", "cannot be opened", { EACCES, ENODEV, ENOENT, EMFILE, ENOMEM } },
    { "ibv_poll_cq", "ibv_poll_cq failed", { EIO } }, /* gives no reason */
    { "ibv_post_recv", "ibv_post_recv", { EINVAL, ENOMEM, EFAULT, EIO } },
    { "ibv_post_send", "ibv_post_send", { EINVAL, ENOMEM, EFAULT, EIO } },
    { "ibv_query_device", "ibv_query_device", { EINVAL, EIO, ENODEV } },
    { "ibv_query_device_ex", NULL, { EINVAL, EOPNOTSUPP, EIO } }, /* then it pins */
    { "ibv_query_gid_table", "ibv_query_gid_table", { EINVAL, ENOMEM, EOPNOTSUPP } },
    { "ibv_query_port", "ibv_query_port", { EINVAL, EIO } },
    { "ibv_reg_mr", "cannot pin", { ENOMEM, EAGAIN, EPERM, EINVAL, EFAULT } },
    { "ibv_req_notify_cq", "ibv_req_notify_cq", { EINVAL, EIO } },
    { "rdma_accept", "rdma_accept", { EINVAL, ENOMEM, ENODEV, ECONNRESET } },
    { "rdma_ack_cm_event", NULL, { EINVAL } },
    { "rdma_bind_addr", "rdma_bind_addr", { EADDRINUSE, EADDRNOTAVAIL, EACCES, ENODEV, EINVAL } },
    { "rdma_connect", "rdma_connect", { EINVAL, ENOMEM, ENODEV, ECONNREFUSED } },
    { "rdma_create_event_channel", "rdma_create_event_channel",
      { ENODEV, ENOENT, EACCES, EMFILE, ENFILE, ENOMEM } },
    { "rdma_create_id", "rdma_create_id", { ENOMEM, ENODEV, EINVAL } },
    { "rdma_create_qp", "rdma_create_qp", { EINVAL, ENOMEM, EPERM, EIO } },
    { "rdma_destroy_id", NULL, { EINVAL } },
    { "rdma_disconnect", NULL, { EINVAL, ENOTCONN } },
    { "rdma_get_cm_event", "rdma_get_cm_event", { EIO, ENODEV, ENOMEM } },
    { "rdma_listen", "rdma_listen", { EADDRINUSE, EINVAL, ENODEV } },
    { "rdma_migrate_id", "rdma_migrate_id", { EINVAL, ENOMEM } },
    { "rdma_reject", NULL, { EINVAL, ENOMEM } },
    { "rdma_resolve_addr", "rdma_resolve_addr",
      { EADDRNOTAVAIL, EHOSTUNREACH, ENETUNREACH, ENODEV, EINVAL, ENOMEM } },
    { "rdma_resolve_route", "rdma_resolve_route", { EINVAL, ENODEV, ENOMEM, ETIMEDOUT } },
    { "rdma_set_option", "rdma_set_option", { EINVAL, ENOSYS, ENOMEM } },
};

/* Errors of a call that only say that there is nothing to take. */
static bool is_no_failure(const struct call *call, int error)
{
    return !call->says || ((error == EAGAIN || error == EINTR) && strstr(call->name, "_event"));
}

static const struct call *call_named(const char *name)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (!strcmp(calls[i].name, name))
            return &calls[i];
    ck_abort_msg("%s: no row says what it fails with", name);
    return NULL;
}

/* --- scenes ----------------------------------------------------------------------------------- */

enum scene { SCENE_MOVE, SCENE_REFUSED, SCENE_DEVICES, SCENES };

static struct move move;
static unsigned long long ncases;
static struct {
    uint64_t reached[SCENES][256][FABRIC_SIDES];
    _Atomic uint64_t cases;
} *plan;

static const uint64_t lengths[] = { 3 * MIB, 4096, MIB };

static void touch_pages(struct move *m, unsigned round)
{
    ram_fill(&m->from, 0, 2 * MIB, MIB / 2, round + 5);
    ck_assert_int_eq(rmig_save_mark_dirty(m->save, 0, 2 * MIB, MIB / 2), 0);
}

/* SCENE_MOVE: a move with several queue pairs and some waiting in it. SCENE_REFUSED: a destination
 * that turns the source away. SCENE_DEVICES: one that has no address at that GID index. */
static void play(enum scene scene)
{
    fabric_reset();
    move_init(&move, 3, lengths);
    memset((uint8_t *)move.from.blocks[0].host + MIB, 0, MIB / 2);
    move.source_params.nqueue_pairs = 2;
    move.source_params.device = move.dest_params.device = "fab0";
    move.source_params.flags = RMIG_TRANSPORT_ON_DEMAND;
    move.source_params.connect_timeout_ms += slack_ms();
    move.dest_params.connect_timeout_ms += slack_ms();
    move.nrounds = 1;
    move.touch = touch_pages;
    fabric_set_delay_ms(1); /* so that there is something to wait for */
    if (scene == SCENE_REFUSED) {
        move.source_params.pin_all = true;
        move.dest_params.pin_budget_bytes = 64 * MIB;
    } else if (scene == SCENE_DEVICES) {
        move.source_params.gid_index = 63;
    }
    move_run(&move);
}

static void ends(void)
{
    verbs_sites_disarm();
    move_release(&move);
    fabric_reset();
}

/* The scene, with nothing that strikes it but what gives things up. */
static void play_as_it_should(enum scene scene)
{
    play(scene);
    if (scene == SCENE_MOVE)
        move_was_good(&move);
    else
        move_failed_cleanly(&move);
    ends();
}

/* What each scene comes by, on which side. */
START_TEST(sites__are_reached)
{
    for (int scene = 0; scene < SCENES; scene++) {
        uint64_t before[256][FABRIC_SIDES];

        for (unsigned i = 0; i < verbs_sites_count(); i++)
            for (int side = 0; side < FABRIC_SIDES; side++)
                before[i][side] = verbs_site_reached(i, (enum fabric_side)side);
        play_as_it_should((enum scene)scene);
        for (unsigned i = 0; i < verbs_sites_count(); i++)
            for (int side = 0; side < FABRIC_SIDES; side++)
                plan->reached[scene][i][side] =
                    verbs_site_reached(i, (enum fabric_side)side) - before[i][side];
    }
}
END_TEST

/* --- a case ----------------------------------------------------------------------------------- */

static void outcome_is_honest(void)
{
    if (move.source_err.code == 0 && move.dest_err.code == 0)
        move_was_good(&move);
    else
        move_failed_cleanly(&move);
}

/* The side whose call failed says which one, with what, and amid what. */
static void told(const struct verbs_site *site, const struct call *call, enum fabric_side side,
                 int error)
{
    static const char *const stages[] = { "RDMA connection to ", "RDMA connection from ",
                                          "RDMA listener on ", " while ", " to peer " };
    const struct rmig_err *err = side == FABRIC_ACTIVE ? &move.source_err : &move.dest_err;
    const char *reason = !strcmp(call->name, "ibv_poll_cq") || !strcmp(call->name, "calloc")
                             ? ""
                         : !strcmp(call->name, "rdma_resolve_route") && error == ENODEV
                             ? "belongs to no RDMA device"
                         : !strcmp(call->name, "ibv_get_device_list") && error == ENOSYS
                             ? "ib_uverbs is not loaded"
                             : strerror(error);
    bool has_stage = false;

    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        has_stage |= strstr(err->msg, stages[i]) != NULL;
    ck_assert_msg(err->code < 0 && strstr(err->msg, call->says) && strstr(err->msg, reason) && has_stage,
                  "line %d, %s with %s: the %s says %d \"%s\"", site->line, site->call,
                  strerror(error), side == FABRIC_ACTIVE ? "source" : "destination", err->code,
                  err->msg);
}

static void fail_once(unsigned site, enum scene scene, enum fabric_side side, int error,
                      bool releases_fail)
{
    const struct call *call = call_named(verbs_site_at(site)->call);
    unsigned fds = count_fds();

    verbs_site_arm(site, side, error, releases_fail);
    play(scene);
    ck_assert_msg(verbs_site_fired(), "line %d was not reached again", verbs_site_at(site)->line);
    if (is_no_failure(call, error) && scene == SCENE_MOVE && strcmp(call->name, "rdma_disconnect"))
        move_was_good(&move);
    else
        outcome_is_honest();
    /* that it is refused may be what comes first */
    if (!is_no_failure(call, error) &&
        !(scene == SCENE_REFUSED && strstr(move.source_err.msg, "refused the RDMA connection")))
        told(verbs_site_at(site), call, side, error);
    ends();
    ck_assert_uint_eq(count_fds(), fds);
    ncases++;
}

/* All of its errors, or the first where a sample will do; and once more with all that clears up failing. */
static void fail_site(unsigned site, enum scene scene, enum fabric_side side)
{
    const struct call *call = call_named(verbs_site_at(site)->call);
    bool all = suite_figure("RMIG_RDMA_FAULTS_ALL", 0);

    for (int i = 0; i < ERRORS_MAX && call->errors[i] && (i == 0 || all); i++)
        fail_once(site, scene, side, call->errors[i], false);
    if (all)
        fail_once(site, scene, side, call->errors[0], true);
}

START_TEST(site__fails_with_each_error)
{
    unsigned site = (unsigned)_i;
    bool all = suite_figure("RMIG_RDMA_FAULTS_ALL", 0), done = false;

    if (verbs_site_at(site)->kind == VERBS_CANNOT_FAIL)
        return;
    fabric_reset();
    for (int scene = 0; scene < SCENES; scene++)
        for (int side = FABRIC_ACTIVE; side < FABRIC_SIDES; side++)
            if (plan->reached[scene][site][side] && (all || !done)) {
                fail_site(site, (enum scene)scene, (enum fabric_side)side);
                done = true;
            }
    plan->cases += ncases;
}
END_TEST

/* What gives something up fails wherever it is called, with a connection that is refused for want of memory, too. */
START_TEST(releases__fail_everywhere)
{
    fabric_reset();
    for (int scene = 0; scene < SCENES; scene++) {
        unsigned fds = count_fds();

        verbs_sites_fail_releases();
        play_as_it_should((enum scene)scene);
        ck_assert_uint_eq(count_fds(), fds);
        plan->cases++;
    }
    for (unsigned i = 0; i < verbs_sites_count(); i++)
        if (!strcmp(verbs_site_at(i)->call, "calloc") && plan->reached[SCENE_MOVE][i][FABRIC_PASSIVE]) {
            fail_once(i, SCENE_MOVE, FABRIC_PASSIVE, ENOMEM, true);
            plan->cases++;
        }
}
END_TEST

/* --- all of them ------------------------------------------------------------------------------ */

/* Append the file to code, without its comments and texts. */
static void add_code(char *code, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t n = strlen(code);
    int c, before = 0;
    char end = 0;

    ck_assert_msg(file, "%s cannot be read", path);
    while ((c = fgetc(file)) != EOF) {
        if (end == '*' ? before == '*' && c == '/' : end && c == end && before != '\\')
            end = 0;
        else if (!end && before == '/' && c == '*')
            end = '*';
        else if (!end && c == '"')
            end = '"';
        else if (!end && n < (1 << 20) - 1)
            code[n++] = (char)c;
        before = c;
    }
    fclose(file);
}

/* How often the code calls it. */
static unsigned count_calls(const char *code, const char *name)
{
    size_t len = strlen(name);
    unsigned n = 0;

    for (const char *at = code; (at = strstr(at, name)); at += len)
        n += at > code && !isalnum((unsigned char)at[-1]) && at[-1] != '_' && at[len] == '(';
    return n;
}

/* Every ibv_NAME( and rdma_NAME( of the files is one of the list. */
START_TEST(sites__are_all_that_the_files_call)
{
    char *code = calloc(1, 1 << 20);
    static const char *const prefixes[] = { "ibv_", "rdma_" };

    ck_assert_ptr_nonnull(code);
    add_code(code, VERBS_FOLDER "/verbs.c");
    add_code(code, VERBS_FOLDER "/verbs_device.c");
    for (int p = 0; p < 2; p++)
        for (const char *at = code; (at = strstr(at, prefixes[p])); at++) {
            char name[64];
            size_t len = 0;
            unsigned listed = 0;

            while (len < sizeof(name) - 1 && (isalnum((unsigned char)at[len]) || at[len] == '_'))
                len++;
            if (isalnum((unsigned char)at[-1]) || at[-1] == '_' || at[len] != '(')
                continue;
            snprintf(name, sizeof(name), "%.*s", (int)len, at);
            for (unsigned i = 0; i < verbs_sites_count(); i++)
                listed += !strcmp(verbs_site_at(i)->call, name);
            ck_assert_msg(listed == count_calls(code, name), "%s: %u calls in the files, %u listed", name,
                          count_calls(code, name), listed);
        }
    free(code);
}
END_TEST

START_TEST(sites__have_all_failed)
{
    unsigned can_fail = 0, failed = 0;

    for (unsigned i = 0; i < verbs_sites_count(); i++) {
        const struct verbs_site *site = verbs_site_at(i);

        if (site->kind == VERBS_CANNOT_FAIL)
            continue;
        can_fail++;
        failed += verbs_site_failed(i) > 0;
        if (!verbs_site_failed(i))
            printf("# %s:%d: %s never failed\n", site->file, site->line, site->call);
    }
    printf("# rdma/verbs*.c: %u call sites, %u of them can fail, %u have failed, in %llu cases\n",
           verbs_sites_count(), can_fail, failed, (unsigned long long)plan->cases);
    fflush(stdout);
    ck_assert_uint_eq(failed, can_fail);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rdma/sites");
    TCase *sites = tcase_create("sites");

    verbs_sites_init();
    plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED)
        return EXIT_FAILURE;
    suite_add_tcase(suite, sites);
    tcase_set_timeout(sites, 120);
    tcase_add_test(sites, sites__are_all_that_the_files_call);
    tcase_add_test(sites, sites__are_reached);
    tcase_add_loop_test(sites, site__fails_with_each_error, 0, (int)verbs_sites_count());
    tcase_add_test(sites, releases__fail_everywhere);
    tcase_add_test(sites, sites__have_all_failed);
    return suite_run(suite);
}
