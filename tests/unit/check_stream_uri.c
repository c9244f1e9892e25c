/* SPDX-License-Identifier: BSD-3-Clause */
/* check_stream_uri.c -- migration URIs, good ones and the ways they can be wrong. */
#include <errno.h>
#include <stdio.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

static void assert_refused(const char *text, int code, const char *what)
{
    struct rmig_err err = RMIG_ERR_INIT;
    struct rmig_uri uri = {.fd = 4711};

    ck_assert_failed(rmig_uri_parse(text, &uri, &err), code, &err, what);
    ck_assert_int_eq(uri.fd, 4711);
}

START_TEST(uri__addresses)
{
    struct rmig_uri uri = uri_of("tcp:10.0.0.1:4444");

    ck_assert_int_eq(uri.kind, RMIG_URI_TCP);
    ck_assert_str_eq(uri.host, "10.0.0.1");
    ck_assert_str_eq(uri.port, "4444");
    ck_assert_int_eq(uri.fd, -1);
    uri = uri_of("tcp:[fe80::1%eth0]:65535");
    ck_assert_str_eq(uri.host, "fe80::1%eth0");
    ck_assert_str_eq(uri.port, "65535");
    uri = uri_of("rdma:host.example:0");
    ck_assert_int_eq(uri.kind, RMIG_URI_RDMA);
    ck_assert_str_eq(uri.host, "host.example");
    ck_assert_str_eq(uri_of("tcp::1").host, "");
    ck_assert_str_eq(uri_of("tcp:[]:1").host, "");
}
END_TEST

START_TEST(uri__paths_commands_and_descriptors)
{
    struct rmig_uri uri = uri_of("unix:/run/x.sock");

    ck_assert_int_eq(uri.kind, RMIG_URI_UNIX);
    ck_assert_str_eq(uri.path, "/run/x.sock");
    uri = uri_of("file:dir/with:colon");
    ck_assert_int_eq(uri.kind, RMIG_URI_FILE);
    ck_assert_str_eq(uri.path, "dir/with:colon");
    uri = uri_of("exec:gzip -c > 'a b'");
    ck_assert_int_eq(uri.kind, RMIG_URI_EXEC);
    ck_assert_str_eq(uri.path, "gzip -c > 'a b'");
    uri = uri_of("fd:0");
    ck_assert_int_eq(uri.kind, RMIG_URI_FD);
    ck_assert_int_eq(uri.fd, 0);
    ck_assert_int_eq(uri_of("fd:2147483647").fd, 2147483647);
}
END_TEST

START_TEST(uri__file_with_an_offset)
{
    struct rmig_uri uri = uri_of("file:a,b=c,offset=4096");

    ck_assert_str_eq(uri.path, "a,b=c");
    ck_assert_uint_eq(uri.offset_bytes, 4096);
    ck_assert_uint_eq(uri_of("file:f").offset_bytes, 0);
    ck_assert_uint_eq(uri_of("file:f,offset=0").offset_bytes, 0);
    ck_assert_uint_eq(uri_of("file:f,offset=3K").offset_bytes, 3 << 10);
    ck_assert_uint_eq(uri_of("file:f,offset=1M").offset_bytes, 1 << 20);
    ck_assert_uint_eq(uri_of("file:f,offset=7G").offset_bytes, 7ull << 30);
    ck_assert_uint_eq(uri_of("file:f,offset=8388607T").offset_bytes, 8388607ull << 40);
    ck_assert_uint_eq(uri_of("file:f,offset=9223372036854775807").offset_bytes, INT64_MAX);
    /* none of the others has one */
    ck_assert_str_eq(uri_of("exec:cat >f,offset=1").path, "cat >f,offset=1");
    ck_assert_str_eq(uri_of("unix:f,offset=1").path, "f,offset=1");
}
END_TEST

START_TEST(uri__what_is_wrong_is_named)
{
    assert_refused("", -EINVAL, "does not begin with");
    assert_refused("tcp", -EINVAL, "does not begin with");
    assert_refused("TCP:a:1", -EINVAL, "does not begin with");
    assert_refused("http://x", -EINVAL, "does not begin with");
    assert_refused("tcp:host", -EINVAL, "no \":PORT\"");
    assert_refused("tcp:fe80::1:4444", -EINVAL, "write an IPv6 address in [ ]");
    assert_refused("tcp:[::1", -EINVAL, "\"]:PORT\"");
    assert_refused("tcp:[::1]", -EINVAL, "\"]:PORT\"");
    assert_refused("tcp:[::1]4444", -EINVAL, "\"]:PORT\"");
    assert_refused("tcp:h:", -EINVAL, "port \"\"");
    assert_refused("tcp:h:65536", -EINVAL, "port \"65536\"");
    assert_refused("tcp:h:000001", -EINVAL, "port \"000001\"");
    assert_refused("tcp:h:-1", -EINVAL, "port \"-1\"");
    assert_refused("tcp:h:1,to=9", -EINVAL, "port \"1,to=9\"");
    assert_refused("rdma:h:x", -EINVAL, "port \"x\"");
    assert_refused("fd:", -EINVAL, "descriptor number");
    assert_refused("fd:-1", -EINVAL, "descriptor number");
    assert_refused("fd:2147483648", -EINVAL, "descriptor number");
    assert_refused("fd:99999999999999999999999999", -EINVAL, "descriptor number");
    assert_refused("fd:name", -EINVAL, "descriptor number");
    assert_refused("unix:", -EINVAL, "nothing after");
    assert_refused("file:", -EINVAL, "no path");
    assert_refused("file:,offset=1", -EINVAL, "no path");
    assert_refused("file:f,offset=", -EINVAL, "offset \"\"");
    assert_refused("file:f,offset=-1", -EINVAL, "offset \"-1\"");
    assert_refused("file:f,offset=M", -EINVAL, "offset \"M\"");
    assert_refused("file:f,offset=1MB", -EINVAL, "offset \"1MB\"");
    assert_refused("file:f,offset=1m", -EINVAL, "offset \"1m\"");
    assert_refused("file:f,offset=1,offset=2", -EINVAL, "offset \"1,offset=2\"");
    assert_refused("file:f,offset=9223372036854775808", -EINVAL, "below 2^63");
    assert_refused("file:f,offset=8388608T", -EINVAL, "below 2^63");
    assert_refused("file:f,offset=99999999999999999999", -EINVAL, "below 2^63");
    assert_refused("exec:", -EINVAL, "nothing after");
}
END_TEST

START_TEST(uri__lengths_are_bounded)
{
    char text[5000], host[300];

    memset(host, 'h', sizeof(host));
    host[256] = '\0';
    snprintf(text, sizeof(text), "tcp:%s:1", host);
    assert_refused(text, -ENAMETOOLONG, "host of 256 bytes, at most 255");
    host[255] = '\0';
    snprintf(text, sizeof(text), "tcp:%s:1", host);
    ck_assert_uint_eq(strlen(uri_of(text).host), 255);

    memset(text, 'p', sizeof(text));
    memcpy(text, "unix:", 5);
    text[5 + 108] = '\0';
    assert_refused(text, -ENAMETOOLONG, "108 bytes after the \":\", at most 107");
    text[5 + 107] = '\0';
    ck_assert_uint_eq(strlen(uri_of(text).path), 107);

    memset(text, 'p', sizeof(text));
    memcpy(text, "file:", 5);
    text[5 + 4096] = '\0';
    assert_refused(text, -ENAMETOOLONG, "path of 4096 bytes, at most 4095");
    text[5 + 4095] = '\0';
    ck_assert_uint_eq(strlen(uri_of(text).path), 4095);
}
END_TEST

Suite *stream_uri_suite(void)
{
    const TTest *const tests[] = {uri__addresses, uri__paths_commands_and_descriptors,
                                  uri__file_with_an_offset,
                                  uri__what_is_wrong_is_named, uri__lengths_are_bounded, NULL};
    Suite *suite = suite_create("stream/uri");

    suite_add(suite, "uri", tests);
    return suite;
}
