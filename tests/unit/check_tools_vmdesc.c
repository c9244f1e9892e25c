/* SPDX-License-Identifier: BSD-3-Clause */
/* check_tools_vmdesc.c -- the description of devices: lengths, and all that a stranger can write.
 */
#include "tools/rmig_vmdesc.h"

#include <errno.h>

#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

#define HEAD "{\"page_size\": 4096, \"devices\": ["
#define DEVICE(fields) \
    "{\"name\": \"d\", \"instance_id\": 0, \"version\": 1, \"fields\": [" fields "]}"
#define FIELD "{\"name\": \"f\", \"type\": \"uint8\", \"size\": 3}"

static int parse(struct vmdesc *desc, const char *text, struct rmig_err *err)
{
    *err = (struct rmig_err)RMIG_ERR_INIT;
    return vmdesc_parse(desc, text, strlen(text), err);
}

START_TEST(parse__length_is_the_sum_of_fields_and_subsections)
{
    static const char text[] = HEAD DEVICE(
        FIELD
        ", {\"name\": \"a\", \"array_len\": 5, \"type\": \"uint32\", \"size\": 4},"
        "{\"name\": \"s\", \"type\": \"struct\", \"size\": 3, \"struct\": {\"fields\": [" FIELD
        "]}}"
        "], \"subsections\": [{\"vmsd_name\": \"d/sub\", \"version\": 7, \"fields\": [" FIELD
        "]}") "]}";
    struct rmig_err err;
    struct vmdesc desc;

    ck_assert_done(parse(&desc, text, &err), &err);
    ck_assert_uint_eq(desc.page_bytes, 4096);
    ck_assert_uint_eq(desc.ndevices, 1);
    ck_assert_uint_eq(desc.devices[0].body_bytes, 3 + 20 + 3 + (1 + 1 + 5 + 4 + 3));
    ck_assert_uint_eq(desc.nnodes, 6);
    ck_assert(desc.nodes[2].whole && desc.nodes[2].next == 4);
    ck_assert(!desc.nodes[4].type && desc.nodes[4].version == 7);
    vmdesc_release(&desc);
}
END_TEST

START_TEST(find__by_name_and_instance_from_the_hint_on)
{
    static const char text[] =
        HEAD "{\"name\": \"a\", \"instance_id\": 0}, {\"name\": \"b\", \"instance_id\": 0},"
             "{\"name\": \"a\", \"instance_id\": 1}]}";
    struct rmig_err err;
    struct vmdesc desc;

    ck_assert_done(parse(&desc, text, &err), &err);
    for (uint32_t hint = 0; hint < 9; hint++) {
        ck_assert_int_eq(vmdesc_find(&desc, hint, "a", 0), 0);
        ck_assert_int_eq(vmdesc_find(&desc, hint, "a", 1), 2);
        ck_assert_int_eq(vmdesc_find(&desc, hint, "b", 1), -1);
    }
    vmdesc_release(&desc);
    ck_assert_int_eq(vmdesc_find(&desc, 0, "a", 0), -1);
}
END_TEST

START_TEST(parse__what_is_wrong_is_named)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "\"devices\" is missing"},
        {"{\"page_size\": -1, \"devices\": []}", "\"page_size\""},
        {"{\"page_size\": 4096, \"devices\": 5}", "\"devices\" is missing or no list"},
        {HEAD "5]}", "\"name\""},
        {HEAD "{\"name\": \"d\"}]}", "\"instance_id\" is missing or no count, in device d"},
        {HEAD "{\"name\": \"d\", \"instance_id\": 4294967296}]}", "at most 4294967295"},
        {HEAD "{\"name\": \"d\", \"instance_id\": 0, \"fields\": 1}]}", "\"fields\" is no list"},
        {HEAD DEVICE("{\"name\": \"f\", \"size\": 1}") "]}", "\"type\""},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\"}") "]}", "\"size\" is missing"},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": 1.5}") "]}", "\"size\""},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": -1}") "]}", "\"size\""},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": 9223372036854775807}") "]}",
         "\"size\" is 9223372036854775807"},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": 9223372036854775808}") "]}",
         "no JSON"},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": 1099511627776, \"array_len\": "
                     "4294967295}") "]}",
         "field f: 4294967295 times 1099511627776 bytes"},
        {HEAD DEVICE("{\"name\": \"f\", \"type\": \"t\", \"size\": 1099511627776}," FIELD) "]}",
         "is beyond 1099511627776"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rmig_err err;
        struct vmdesc desc;

        ck_assert_failed(parse(&desc, cases[i].text, &err), -EPROTO, &err, cases[i].said);
        ck_assert_ptr_null(desc.root);
    }
}
END_TEST

/* text is head, n times part, n times end, and tail. */
static char *nest(const char *head, const char *part, const char *end, const char *tail, size_t n)
{
    size_t room = strlen(head) + n * (strlen(part) + strlen(end)) + strlen(tail) + 1;
    char *text = malloc(room), *at = text;

    ck_assert_ptr_nonnull(text);
    at += snprintf(at, room, "%s", head);
    for (size_t i = 0; i < n; i++, at += strlen(part))
        memcpy(at, part, strlen(part) + 1);
    for (size_t i = 0; i < n; i++, at += strlen(end))
        memcpy(at, end, strlen(end) + 1);
    snprintf(at, room - (size_t)(at - text), "%s", tail);
    return text;
}

static int parse_nest(const char *head, const char *part, const char *end, const char *tail,
                      size_t n, struct rmig_err *err)
{
    char *text = nest(head, part, end, tail, n);
    struct vmdesc desc;
    int rc = parse(&desc, text, err);

    vmdesc_release(&desc);
    free(text);
    return rc;
}

START_TEST(parse__depth_is_bounded)
{
    static const char head[] = HEAD "{\"name\": \"d\", \"instance_id\": 0, \"fields\": [";
    static const char open[] = "{\"name\": \"s\", \"type\": \"struct\", \"size\": 0, \"struct\": "
                               "{\"fields\": [";
    struct rmig_err err;

    ck_assert_done(parse_nest(head, open, "]}}", "]}]}", VMDESC_DEPTH_MAX, &err), &err);
    ck_assert_failed(parse_nest(head, open, "]}}", "]}]}", VMDESC_DEPTH_MAX + 1, &err), -EPROTO,
                     &err, "structs in each other");
    ck_assert_failed(parse_nest("", "[", "]", "", 1000000, &err), -EPROTO, &err, "no JSON");
}
END_TEST

START_TEST(parse__amount_is_bounded)
{
    struct rmig_err err;

    ck_assert_failed(parse_nest(HEAD, "{},", "", "0]}", VMDESC_NODES_MAX, &err), -EPROTO, &err,
                     "objects");
    ck_assert_failed(parse_nest(HEAD, "0,", "", "0]}", VMDESC_VALUES_MAX, &err), -EPROTO, &err,
                     "commas");
    ck_assert_failed(parse_nest(HEAD, "0,", "", "0]}", VMDESC_DEVICES_MAX, &err), -EPROTO, &err,
                     "16385 devices");
    ck_assert_failed(parse_nest(HEAD, " ", "", "]}", VMDESC_TEXT_MAX, &err), -EPROTO, &err,
                     "at most 16777216 are read");
}
END_TEST

Suite *tools_vmdesc_suite(void)
{
    const TTest *const tests[] = {parse__length_is_the_sum_of_fields_and_subsections,
                                  find__by_name_and_instance_from_the_hint_on,
                                  parse__what_is_wrong_is_named,
                                  parse__depth_is_bounded,
                                  parse__amount_is_bounded,
                                  NULL};
    Suite *suite = suite_create("tools/vmdesc");

    suite_add(suite, "vmdesc", tests);
    return suite;
}
