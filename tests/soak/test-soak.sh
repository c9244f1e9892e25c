#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-soak.sh -- twenty cases of tests/soak/run, each of its events among them
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"
[ -e "${abs_top_builddir:?}/rdma/.libs/rmig-transport-rdma.so" ] || { echo "skipped: built without RDMA"; exit 77; }
"$abs_top_srcdir/tests/fabric/run" -- true || { echo "skipped: no fabric here"; exit 77; }

# the seeds cover all kinds there are
"$python" "$abs_top_srcdir/tests/soak/run" --build="$abs_top_builddir" --seed=71265 --cases=20 --jobs=3 >"$scratch/out" 2>&1 ||
    fault "tests/soak/run: status $?"
cat "$scratch/out"
[ "$(grep -c '^PASS: ' "$scratch/out")" -eq 20 ] || fault "not all of twenty cases passed"
verdict "nobody hangs, and nothing is left"
