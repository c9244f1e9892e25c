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
without=''

image=$("$top/tools/make-ram-image.sh" 2>"$work/err" | head -n 1)
[ -n "$image" ] || skip_test "$name" "no image of a guest's memory: $(tail -n 1 "$work/err")"

# The fabric's own test has the fabric in itself; without it, it runs on a device.
semantics=$work/semantics
if [ ! -e "$top/tests/fabric/semantics.c" ]; then
    semantics='' without="no tests/fabric/semantics.c here"
elif ! "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -g -pthread -I"$top" -I"$abs_top_builddir" \
    "$top"/tests/fabric/semantics*.c -o "$semantics" -libverbs -lrdmacm 2>"$work/err"; then
    without="does not build: $(grep -m 1 error "$work/err")"
    semantics=''
fi
[ -z "$without" ] || later+=("semantics of RDMA # SKIP $without")
[ -x "$abs_top_builddir/tests/unit/check_migrate_move" ] ||
    later+=("migrate # SKIP tests/unit/check_migrate_move is not built; make check builds it")

boot_limit_s=${RMIG_TEST_BOOT_S:-120}
options=(--timeout=500)
in_guest "$name" "$here/cases/suite.sh" "$image" "$semantics"
