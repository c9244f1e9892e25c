/* SPDX-License-Identifier: BSD-3-Clause */
/* check_hooks_transport.c -- the plugin loader: names, files, the ABI old, new and wrong. */
#include "config.h"

#include <rmig/rmig.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/hooks_util.h"
#include "tests/unit/suites.h"

static struct rmig_transport *t;
static struct rmig_err err;
static char directory[] = "/tmp/rmig-plugins-XXXXXX";
#define DIRECTORY_RANDOM 6 /* bytes at its end that mkdtemp replaces */

/* Where the plugins of tests/abi/ were built. */
static void setup(void)
{
    const char *build = getenv("abs_top_builddir");
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s/tests/abi/.libs", build ? build : ".");
    setenv("RMIG_TRANSPORT_DIR", dir, 1);
    unsetenv("RMIG_ABI_VARIANT");
    unsetenv("LD_LIBRARY_PATH");
    t = NULL;
    err = (struct rmig_err)RMIG_ERR_INIT;
}

static void teardown(void)
{
    rmig_transport_unload(t);
}

static void refused(const char *name, int code, const char *word)
{
    int rc = rmig_transport_load(name, &t, &err);

    if (rc != code)
        ck_abort_msg("%d, not %d: %s", rc, code, err.msg);
    ck_assert_int_eq(err.code, code);
    ck_assert_ptr_null(t);
    if (!strstr(err.msg, word))
        ck_abort_msg("'%s' does not tell of '%s'", err.msg, word);
}

static void loaded(const char *name)
{
    if (rmig_transport_load(name, &t, &err) < 0)
        ck_abort_msg("%s", err.msg);
}

/* --- names and files -------------------------------------------------------------------------- */

START_TEST(name__bad_ones_are_EINVAL)
{
    static const char *const bad[] = {
        "",
        "../frozen",
        "a/b",
        "-a",
        "_a",
        "Rdma",
        "a b",
        "a.b",
        "a\n",
        "\xc3\xa4",
        "a23456789012345678901234567890123",
    };

    ck_assert_uint_lt((size_t)_i, sizeof(bad) / sizeof(bad[0]));
    refused(bad[_i], -EINVAL, "transport name");
}
END_TEST

START_TEST(name__null_is_EINVAL)
{
    refused(NULL, -EINVAL, "transport name");
}
END_TEST

START_TEST(name__longest_is_looked_for)
{
    refused("a2345678901234567890123456789-_2", -ENOENT, "a2345678901234567890123456789-_2");
}
END_TEST

START_TEST(file__missing_is_ENOENT)
{
    refused("nowhere", -ENOENT, "RMIG_TRANSPORT_DIR");
}
END_TEST

START_TEST(file__installed_directory_is_the_default)
{
    if (_i)
        setenv("RMIG_TRANSPORT_DIR", "", 1);
    else
        unsetenv("RMIG_TRANSPORT_DIR");
    refused("nowhere", -ENOENT, "/transports/rmig-transport-nowhere.so");
}
END_TEST

START_TEST(file__directory_name_too_long_is_EINVAL)
{
    char dir[5000];

    memset(dir, 'd', sizeof(dir));
    dir[4999] = '\0';
    setenv("RMIG_TRANSPORT_DIR", dir, 1);
    refused("frozen", -EINVAL, "too long");
}
END_TEST

/* A directory of our own with one entry, made by kind. */
static void make_entry(int kind)
{
    static const char *const texts[] = {"", "abc", "this is no shared object\n",
                                        "\177ELF and no more"};
    char path[128];
    int fd;

    memset(directory + sizeof(directory) - 1 - DIRECTORY_RANDOM, 'X', DIRECTORY_RANDOM);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    setenv("RMIG_TRANSPORT_DIR", directory, 1);
    snprintf(path, sizeof(path), "%s/rmig-transport-entry.so", directory);
    if (kind == 4) {
        ck_assert_int_eq(mkdir(path, 0700), 0);
    } else if (kind == 5) {
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    } else {
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, texts[kind], strlen(texts[kind])), (ssize_t)strlen(texts[kind]));
        close(fd);
    }
}

static void remove_entry(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/rmig-transport-entry.so", directory);
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}

START_TEST(file__no_shared_object_is_ENOEXEC)
{
    make_entry(_i);
    refused("entry", -ENOEXEC, "entry");
    remove_entry();
}
END_TEST

START_TEST(file__no_plugin_is_ENOEXEC)
{
    refused("silent", -ENOEXEC, "rmig_transport_init");
}
END_TEST

START_TEST(file__unresolved_symbol_is_ENOEXEC)
{
    refused("unresolved", -ENOEXEC, "nobody_has_this_symbol");
}
END_TEST

/* The plugin that needs librmig-gone.so, with the library's name changed into one that is nowhere.
 */
static void make_orphan(void)
{
    static const char needed[] = "librmig-gone.so";
    char from[4200], to[128], *bytes, *name;
    FILE *f;
    size_t len;

    snprintf(from, sizeof(from), "%s/rmig-transport-orphan.so", getenv("RMIG_TRANSPORT_DIR"));
    f = fopen(from, "rb");
    ck_assert_ptr_nonnull(f);
    bytes = malloc(1 << 20);
    ck_assert_ptr_nonnull(bytes);
    len = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    name = memmem(bytes, len, needed, sizeof(needed));
    ck_assert_ptr_nonnull(name);
    name[0] = 'L';
    make_entry(0);
    snprintf(to, sizeof(to), "%s/rmig-transport-entry.so", directory);
    f = fopen(to, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
    fclose(f);
    free(bytes);
}

START_TEST(file__missing_library_is_ENOENT)
{
    make_orphan();
    refused("entry", -ENOENT, "Librmig-gone.so");
    remove_entry();
}
END_TEST

/* --- the table of operations ------------------------------------------------------------------ */

START_TEST(ops__complete_one_loads)
{
    loaded("variant");
    ck_assert_str_eq(rmig_transport_ops(t)->name, "variant");
    ck_assert_uint_eq(rmig_transport_ops(t)->struct_size, sizeof(struct rmig_transport_ops));
}
END_TEST

START_TEST(ops__optional_ones_have_defaults)
{
    struct rmig_transport_params params = {.struct_size = sizeof(params)};
    struct rmig_transport_stats stats;

    loaded("variant");
    ck_assert_int_eq(rmig_transport_ops(t)->probe(&params, 1u << 30, &err), 0);
    ck_assert_int_eq(rmig_transport_probe(t, &params, 1u << 30, &err), 0);
    ck_assert_int_eq(rmig_transport_ops(t)->finish(NULL, &err), 0);
    ck_assert_int_eq(rmig_transport_ops(t)->listener_fd(NULL), -1);
    ck_assert_int_eq(rmig_transport_ops(t)->revoke(NULL, NULL), -ENOTSUP);
    ck_assert(!rmig_transport_ops(t)->peer_ram_is_zero(NULL));
    memset(&stats, 0xff, sizeof(stats));
    stats.struct_size = sizeof(stats);
    ck_assert_int_eq(rmig_transport_ops(t)->stats(NULL, &stats), 0);
    ck_assert_uint_eq(stats.struct_size, sizeof(stats));
    ck_assert_uint_eq(stats.wire_bytes, 0);
    ck_assert_uint_eq(stats.zero_bytes, 0);
    /* a caller that knows fewer figures */
    memset(&stats, 0xff, sizeof(stats));
    stats.struct_size = offsetof(struct rmig_transport_stats, write_wrs);
    ck_assert_int_eq(rmig_transport_ops(t)->stats(NULL, &stats), 0);
    ck_assert_uint_eq(stats.wire_bytes, 0);
    ck_assert_uint_eq(stats.write_wrs, UINT64_MAX);
}
END_TEST

START_TEST(ops__wrong_abi_is_ENOEXEC)
{
    setenv("RMIG_ABI_VARIANT", "abi", 1);
    refused("variant", -ENOEXEC, "ABI is 2");
}
END_TEST

START_TEST(ops__none_is_ENOEXEC)
{
    setenv("RMIG_ABI_VARIANT", "null", 1);
    refused("variant", -ENOEXEC, "ABI 1");
}
END_TEST

START_TEST(ops__other_name_is_ENOEXEC)
{
    setenv("RMIG_ABI_VARIANT", "other-name", 1);
    refused("variant", -ENOEXEC, "other");
}
END_TEST

START_TEST(ops__mandatory_member_missing_is_ENOEXEC)
{
    static const char *const members[] = {"name",           "connect", "listen", "accept",
                                          "listener_close", "channel", "hooks",  "close"};
    char variant[32];

    snprintf(variant, sizeof(variant), "no-%s", members[_i]);
    setenv("RMIG_ABI_VARIANT", variant, 1);
    refused("variant", -ENOEXEC, members[_i]);
}
END_TEST

START_TEST(ops__shorter_table_lacks_its_end)
{
    char variant[32];
    size_t size = (size_t)_i * 8;

    snprintf(variant, sizeof(variant), "size-%zu", size);
    setenv("RMIG_ABI_VARIANT", variant, 1);
    refused("variant", -ENOEXEC, "missing");
}
END_TEST

START_TEST(ops__longer_table_loads)
{
    setenv("RMIG_ABI_VARIANT", "longer", 1);
    loaded("variant");
    ck_assert_uint_eq(rmig_transport_ops(t)->struct_size, sizeof(struct rmig_transport_ops));
}
END_TEST

/* --- a plugin of old -------------------------------------------------------------------------- */

static char logged[256];

static void keep_line(void *opaque, enum rmig_log_level level, const char *message)
{
    (void)opaque;
    (void)level;
    snprintf(logged, sizeof(logged), "%s", message);
}

START_TEST(frozen__loads_and_logs)
{
    rmig_log_set(keep_line, NULL, RMIG_LOG_INFO);
    loaded("frozen");
    rmig_log_set(NULL, NULL, RMIG_LOG_ERROR);
    ck_assert_str_eq(logged, "frozen: hello");
}
END_TEST

START_TEST(frozen__may_log_without_a_sink)
{
    logged[0] = '\0';
    loaded("frozen");
    ck_assert_str_eq(logged, "");
}
END_TEST

START_TEST(frozen__moves_pages)
{
    struct rmig_transport_params params = {.struct_size = sizeof(params)};
    struct rmig_transport_stats stats = {.struct_size = sizeof(stats)};
    const struct rmig_transport_ops *ops;
    struct rmig_transport_conn *conn = NULL;
    struct guest g;
    struct messages m;

    guest_init(&g, 1, 64 * RMIG_PAGE_BYTES);
    messages_init(&m);
    guest_fill(&g, 0, 0, 30, 1);
    loaded("frozen");
    ops = rmig_transport_ops(t);
    ck_assert_int_eq(rmig_transport_connect(t, &params, &conn, &err), 0);
    ck_assert_ptr_null(ops->channel(conn));
    save_all(&m, &g, ops->hooks(conn), conn, 0);
    ck_assert_int_eq(ops->stats(conn, &stats), 0);
    ck_assert_uint_eq(stats.wire_bytes, 64 * RMIG_PAGE_BYTES);
    ck_assert_uint_eq(stats.doorbells, 3); /* set-up, round, the last pass */
    ck_assert_uint_eq(stats.zero_bytes, 0);
    ck_assert_int_eq(ops->finish(conn, &err), 0);
    ops->close(conn);
    messages_release(&m);
    guest_release(&g);
}
END_TEST

START_TEST(params__cancel_fd_is_filled)
{
    struct rmig_transport_params params = {.struct_size = sizeof(params), .cancel_fd = 12345};
    struct rmig_transport_stats stats = {.struct_size = sizeof(stats)};
    struct rmig_transport_listener *listener = NULL;
    struct rmig_transport_conn *conn = NULL;
    struct rmig_cancel *cancel = NULL;
    uint16_t port = 0;

    ck_assert_int_eq(rmig_cancel_new(&cancel, NULL), 0);
    loaded("frozen");
    if (_i)
        params.cancel = cancel;
    ck_assert_int_eq(rmig_transport_listen(t, &params, &listener, &port, &err), 0);
    ck_assert_uint_eq(port, 4321);
    ck_assert_int_eq(rmig_transport_accept(t, listener, -1, &params, &conn, &err), 0);
    ck_assert_int_eq(rmig_transport_ops(t)->stats(conn, &stats), 0);
    ck_assert_int_eq((int)stats.completions, _i ? rmig_cancel_fd(cancel) : -1);
    rmig_transport_ops(t)->close(conn);
    rmig_transport_ops(t)->listener_close(listener);
    ck_assert_int_eq(rmig_transport_connect(t, &params, &conn, &err), 0);
    ck_assert_int_eq(rmig_transport_ops(t)->stats(conn, &stats), 0);
    ck_assert_int_eq((int)stats.completions, _i ? rmig_cancel_fd(cancel) : -1);
    rmig_transport_ops(t)->close(conn);
    rmig_cancel_free(cancel);
}
END_TEST

START_TEST(params__too_small_is_EINVAL)
{
    struct rmig_transport_params params = {.struct_size = (uint32_t)_i * 8};
    struct rmig_transport_conn *conn = NULL;
    struct rmig_transport_listener *listener = NULL;
    uint16_t port;

    loaded("frozen");
    ck_assert_int_eq(rmig_transport_connect(t, &params, &conn, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "struct_size"));
    ck_assert_int_eq(rmig_transport_probe(t, &params, 0, NULL), -EINVAL);
    ck_assert_int_eq(rmig_transport_listen(t, &params, &listener, &port, NULL), -EINVAL);
    ck_assert_int_eq(rmig_transport_accept(t, NULL, 0, &params, &conn, NULL), -EINVAL);
}
END_TEST

START_TEST(params__of_a_later_caller)
{
    struct {
        struct rmig_transport_params params;
        uint64_t appended[4];
    } longer = {.params.struct_size = sizeof(longer)};
    struct rmig_transport_conn *conn = NULL;

    loaded("frozen");
    ck_assert_int_eq(rmig_transport_connect(t, &longer.params, &conn, &err), 0);
    rmig_transport_ops(t)->close(conn);
}
END_TEST

START_TEST(load__the_same_one_twice)
{
    struct rmig_transport *second = NULL;

    loaded("frozen");
    ck_assert_int_eq(rmig_transport_load("frozen", &second, &err), 0);
    rmig_transport_unload(second);
    ck_assert_str_eq(rmig_transport_ops(t)->name, "frozen");
    rmig_transport_unload(NULL);
}
END_TEST

START_TEST(version__is_the_package)
{
    ck_assert_str_eq(rmig_version(), PACKAGE_VERSION);
}
END_TEST

Suite *hooks_transport_suite(void)
{
    Suite *s = suite_create("hooks/transport");
    TCase *tc = tcase_create("transport");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, name__bad_ones_are_EINVAL, 0, 11);
    tcase_add_test(tc, name__null_is_EINVAL);
    tcase_add_test(tc, name__longest_is_looked_for);
    tcase_add_test(tc, file__missing_is_ENOENT);
    tcase_add_loop_test(tc, file__installed_directory_is_the_default, 0, 2);
    tcase_add_test(tc, file__directory_name_too_long_is_EINVAL);
    tcase_add_loop_test(tc, file__no_shared_object_is_ENOEXEC, 0, 6);
    tcase_add_test(tc, file__no_plugin_is_ENOEXEC);
    tcase_add_test(tc, file__unresolved_symbol_is_ENOEXEC);
    tcase_add_test(tc, file__missing_library_is_ENOENT);
    tcase_add_test(tc, ops__complete_one_loads);
    tcase_add_test(tc, ops__optional_ones_have_defaults);
    tcase_add_test(tc, ops__wrong_abi_is_ENOEXEC);
    tcase_add_test(tc, ops__none_is_ENOEXEC);
    tcase_add_test(tc, ops__other_name_is_ENOEXEC);
    tcase_add_loop_test(tc, ops__mandatory_member_missing_is_ENOEXEC, 0, 8);
    tcase_add_loop_test(tc, ops__shorter_table_lacks_its_end, 0,
                        (int)(offsetof(struct rmig_transport_ops, listener_fd) / 8));
    tcase_add_test(tc, ops__longer_table_loads);
    tcase_add_test(tc, frozen__loads_and_logs);
    tcase_add_test(tc, frozen__may_log_without_a_sink);
    tcase_add_test(tc, frozen__moves_pages);
    tcase_add_loop_test(tc, params__cancel_fd_is_filled, 0, 2);
    tcase_add_loop_test(tc, params__too_small_is_EINVAL, 0, 10);
    tcase_add_test(tc, params__of_a_later_caller);
    tcase_add_test(tc, load__the_same_one_twice);
    tcase_add_test(tc, version__is_the_package);
    suite_add_tcase(s, tc);
    return s;
}
