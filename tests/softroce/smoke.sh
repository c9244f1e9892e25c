#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# smoke.sh -- one boot, one move over real RDMA, in well under a minute; as TAP
set -u
# shellcheck source=tests/softroce/lib.sh
. "$(dirname "$0")/lib.sh"
name="rdma_migrate_bench moves 128 MiB over RXE, verified"
[ -e "$abs_top_builddir/rdma/.libs/rmig-transport-rdma.so" ] || skip_test "$name" "built without RDMA"
need_lane "$name"
options=(--timeout=120)
in_guest "$name" "$here/cases/smoke.sh"
