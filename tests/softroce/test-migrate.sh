#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-migrate.sh -- whole moves of a guest that runs, over real RDMA: the unit tests of moves, by rdma
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=${abs_top_builddir:?of a build with tests}/tests/unit/check_migrate_move
[ -x "$program" ] || { echo "no $program; make check builds it"; exit 77; }
# shellcheck disable=SC2016 # expanded in the lane
exec "$here/run" --lane="${RMIG_TEST_LANE:-guest}" -- bash -o pipefail -c '
    RMIG_TEST_RDMA_ADDR=$RMIG_RDMA_ADDR CK_VERBOSITY=silent CK_TAP_LOG_FILE_NAME=- RMIG_TEST_SLACK_MS=3000 \
        "$1" | sed -n "s/^ok [0-9]* - /PASS: /p; s/^not ok [0-9]* - /FAIL: /p; s/^# //p" | sed "s|[^ ]*check_migrate_move.c:||"
' bash "$program"
