#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# run.sh -- the tests that every change has to pass: minutes, and the same answer every time
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*}
# shellcheck source=tests/lib/steps.sh
. "$here/lib/steps.sh"

usage()
{
    cat <<'END'
usage: tests/run.sh [--keep]

Builds a copy of the source and runs what make check does, the unit tests, hostile peers and tests of the tools'
input with the address and undefined sanitizers, and a move in a guest with soft-RoCE. A line a test; the last one is "N passed, N failed, N skipped". Exit status 0
only if something passed and nothing failed. As root it installs the packages that are missing.

  --keep   keep the build trees
  --help   this text

What takes longer: tests/full.sh.
END
}

keep=0
for option in "$@"; do
    case $option in
    --keep) keep=1 ;;
    --help) usage; exit 0 ;;
    *) echo "tests/run.sh: unknown option $option; try --help" >&2; exit 2 ;;
    esac
done

# Limits on time tell a wait without an end from a slow one here; the promises are for full.sh.
export RMIG_TEST_SLACK_MS=20000 RMIG_MUTATIONS=20000 CK_EXCLUDE_TAGS=speed

begin
step "packages" "$top/tools/install-deps.sh" --gate
# the unit tests and the hostile peers have their turn with the sanitizers, which see more
# shellcheck disable=SC2016 # for make
plain=('check_PROGRAMS=$(TEST_HELPERS) tests/unit/check_rdma_amid'
    'TESTS=tests/unit/check_rdma_amid $(filter-out %/test-hostile,$(SYSTEM_TESTS))')
{ build_product plain --enable-werror CFLAGS='-O1 -g1' && build_tests plain "${plain[0]}"; } || closing
make_check plain check "${plain[@]}"
abs_top_builddir=$work/plain tap softroce "$work/src/tests/softroce/smoke.sh"
if build sanitized --enable-sanitizers=address,undefined CFLAGS='-O1 -g1'; then
    # a fault stays a signal, as tests of signal handlers want it
    export ASAN_OPTIONS=strict_string_checks=1:handle_segv=0 UBSAN_OPTIONS=print_stacktrace=1
    # to look for leaks behind each of 1,500 tests takes longer than the tests: tests/full.sh leaks does; faults
    # has the whole of check_rdma_amid, and tools the tools' tests that are left out here
    # shellcheck disable=SC2016 # for make
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 RMIG_MUTATIONS=1000 make_check sanitized check \
        'TESTS=$(filter-out %/check_rdma_amid,$(UNIT_TESTS)) tests/interop/test-hostile'
    make_check sanitized check-input
fi
closing
