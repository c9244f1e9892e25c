/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults_sites.c -- was each call of the library made to fail, at each place where it is
 * made? */
#include <stdio.h>

#include "tests/unit/fault_scene.h"
#include "tests/unit/stream_suite.h"
#include "tests/unit/suites.h"

/* What no scene is about: whole moves, which are threads. */
static const char *const apart[] = {"migrate/"};

START_TEST(sites__each_file_of_the_library_is_there)
{
    unsigned nfiles = 0;

    for (const char *at = FAULT_SOURCES; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        char name[128];
        bool wanted;

        snprintf(name, sizeof(name), "%.*s", (int)len, at);
        at += len;
        wanted = strcmp(strrchr(name, '.'), ".c") == 0;
        for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++)
            wanted = wanted && strncmp(name, apart[i], strlen(apart[i])) != 0;
        ck_assert_msg(!wanted || fault_sites_linked(name), "%s is in no scene", name);
        nfiles += wanted;
    }
    ck_assert_uint_gt(nfiles, 50);
    ck_assert_str_ne(rmig_version(), ""); /* which takes its file along */
}
END_TEST

/* What no scene can reach: the thread of a tracker, where the guest would wait for it, and counters
 * that cannot fail. */
static bool is_out_of_reach(const struct fault_site *site)
{
    static const struct {
        enum fault_call call;
        const char *function;
    } list[] = {
        {CALL_poll, "handler"}, {CALL_read, "handler"}, {CALL_read, "take_faults"},
        {CALL_write, "stop"},   {CALL_read, "stop"},
    };

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        if (list[i].call == site->call && strcmp(list[i].function, site->function) == 0)
            return true;
    return false;
}

/* Has this call failed somewhere in the function? The compiler may have made several sites of one.
 */
static bool failed_in(const char *function, enum fault_call call)
{
    for (unsigned i = 0; i < fault_sites->count; i++) {
        const struct fault_site *site = &fault_sites->site[i];

        if (site->call == call && site->nfailed && strcmp(site->function, function) == 0)
            return true;
    }
    return false;
}

START_TEST(sites__each_call_of_each_function_has_failed)
{
    unsigned nsites = 0, nfailed = 0, nmissed = 0;
    bool all = fault_sites->nscenes == fault_sites->ntests && fault_step() == 1;

    for (unsigned i = 0; i < fault_sites->count; i++) {
        const struct fault_site *site = &fault_sites->site[i];
        unsigned count;

        fault_codes(site->call, &count);
        if (count == 0 || !site->in_list || is_out_of_reach(site))
            continue;
        nsites++;
        nfailed += site->nfailed != 0;
        if (site->nfailed || !all)
            continue;
        nmissed += !failed_in(site->function, site->call);
        printf("# %s in %s has not failed%s\n", fault_call_name(site->call), site->function,
               failed_in(site->function, site->call) ? " at one place of several" : "");
    }
    printf("# %u call sites, %u of them made to fail, in %u cases of %u of %u scenes\n", nsites,
           nfailed, fault_sites->ncases, fault_sites->nscenes, fault_sites->ntests);
    fflush(stdout);
    ck_assert_msg(nmissed == 0, "%u of %u call sites have never failed", nmissed, nsites);
}
END_TEST

Suite *faults_sites_suite(void)
{
    const TTest *const sites[] = {sites__each_file_of_the_library_is_there,
                                  sites__each_call_of_each_function_has_failed, NULL};
    Suite *suite = suite_create("faults/sites");

    suite_add(suite, "sites", sites);
    return suite;
}
