/* SPDX-License-Identifier: BSD-3-Clause */
/* check_faults.c -- every call of stream/, hooks/ and common/ fails, at each place where it is
 * made. */
#include "tests/unit/suites.h"

#include "tests/unit/fault_calls.h"

int main(void)
{
    static const suite_fn suites[] = {
        faults_channels_suite,
        faults_sockets_suite,
        faults_exec_suite,
        faults_drivers_suite,
        faults_image_suite,
        faults_kvm_suite,
        faults_trackers_suite,
        faults_sites_suite, /* the last: it sums up */
        NULL,
    };

    fault_sites_read(FAULT_SOURCES);
    return run_suites(suites);
}
