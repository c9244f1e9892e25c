#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# suite.sh -- all that one host with RDMA is needed for, in one guest; as TAP. Under 9 minutes.
set -u
# shellcheck source=tests/softroce/lib.sh
. "$(dirname "$0")/lib.sh"
name="the soft-RoCE suite of one host"
top=$here/../..
[ -e "$abs_top_builddir/rdma/.libs/rmig-transport-rdma.so" ] || skip_test "$name" "built without RDMA"
need_lane "$name"

image=$("$top/tools/make-ram-image.sh" 2>"$work/err" | head -n 1)
[ -n "$image" ] || skip_test "$name" "no image of a guest's memory: $(tail -n 1 "$work/err")"

# The fabric's own test has the fabric in itself; without it, and without the case of what it does for a test
# program, it runs on a device.
semantics=$work/semantics
if ! "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -g -pthread -I"$top" -I"$abs_top_builddir" \
    "$top"/tests/fabric/semantics.c "$top"/tests/fabric/semantics_{data,end,error}.c -o "$semantics" \
    -libverbs -lrdmacm 2>"$work/err"; then
    sed 's/^/# /' "$work/err"
    printf 'not ok 1 - %s: semantics of RDMA builds\n1..1\n' "$name"
    exit 1
fi
[ -x "$abs_top_builddir/tests/unit/check_migrate_move" ] ||
    later+=("migrate # SKIP tests/unit/check_migrate_move is not built; make check builds it")

boot_limit_s=${RMIG_TEST_BOOT_S:-120}
options=(--timeout=500)
in_guest "$name" "$here/cases/suite.sh" "$image" "$semantics"
