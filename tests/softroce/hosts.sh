#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# hosts.sh -- moves between two guests with a link between them, good and bad; as TAP. Minutes.
set -u
# shellcheck source=tests/softroce/lib.sh
. "$(dirname "$0")/lib.sh"
name="moves between two hosts"
[ -e "$abs_top_builddir/rdma/.libs/rmig-transport-rdma.so" ] || skip_test "$name" "built without RDMA"
need_lane "$name"
image=$("$here/../../tools/make-ram-image.sh" 2>"$work/err" | head -n 1)
[ -n "$image" ] || skip_test "$name" "no image of a guest's memory: $(tail -n 1 "$work/err")"
mkdir "$work/meet"
boot_limit_s=${RMIG_TEST_BOOT_S:-120}
options=(--hosts=2 --timeout=420 "--out=$work/meet")
in_guest "$name" "$here/cases/two-hosts.sh" "$image" "$work/meet"
