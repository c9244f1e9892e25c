#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# suite.sh -- all that one host with RDMA is needed for, in one guest
# usage: suite.sh IMAGE SEMANTICS; either may be empty
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
image=$1 semantics=$2

# What RDMA promises, as tests/fabric/semantics checks it: here on RXE, which the fabric stands in for elsewhere.
# known TEST: a pattern of the checks of TEST in which RXE is known to be another device than the fabric. Only these
# may fail, and one of them does; nothing for a test that is to be the same.
known()
{
    case $1 in
    registration) echo 'errno == ENOMEM|ibv_dealloc_pd' ;; # a limit that is the fabric's own setting
    messages) echo 'wc\.src_qp is 0,' ;; # without a meaning for RC
    # no event at the target; a bad lkey gives another status, or a flush; what waits for it gets nothing; an atomic
    # is refused for want of access to the region
    refusals) echo 'asynchronous event|no completion|status is (2|10|21),|wr_id is 999,|state_of' ;;
    # LOC_QP_OP_ERR and REM_OP_ERR, no event; from 6.1.192-3 on nobody is told of an invalidation that is refused
    'receive errors') echo 'status is (2|11|21),|asynchronous event|no completion' ;;
    limits) echo ' is 7, not 4|Segmentation fault' ;; # queues are rounded up, and the test does not expect it
    # the kernel takes leave for a process that died: a flush, no RETRY_EXC
    'peer death') echo 'cq_quiet|no completion|status is (5|21),' ;;
    disconnect) echo 'no completion|status is 21,' ;; # 6.1: a SEND to a peer that is gone does not complete in 5 s
    esac
}

# semantic TEST
semantic()
{
    local name="semantics of RDMA: $1" differs rc
    differs=$(known "$1")
    RMIG_TEST_SLACK_MS=60000 RDMA_TEST_ADDRESS=$SELF timeout 150 "$semantics" "$1" >"$scratch/out" 2>&1
    rc=$?
    if [ -z "$differs" ]; then
        holds "$name" "$rc" = 0
    elif [ "$rc" = 0 ]; then
        pass "$name: without the differences that are known"
    elif sed 's/^# //' "$scratch/out" | grep "^FAIL $1: " | grep -vE "$differs" >"$scratch/other"; then
        fail "$name, but for known differences" "this differs, too: $(cat "$scratch/other")"
    elif ! sed 's/^# //' "$scratch/out" | grep -q "^FAIL $1: "; then
        fail "$name, but for known differences" "status $rc"
    else
        pass "$name, but for known differences"
        echo "# these may differ: $differs"
    fi
}

for t in one-sided notification 'refused connection' 'dereg race' traffic \
        'peer death' registration messages refusals 'receive errors' limits disconnect; do
    semantic "$t"
done

# Whole moves of a guest that runs: the unit tests of moves, by rdma.
if [ -x "$abs_top_builddir/tests/unit/check_migrate_move" ]; then
    RMIG_TEST_RDMA_ADDR=$SELF CK_VERBOSITY=silent CK_TAP_LOG_FILE_NAME=- RMIG_TEST_SLACK_MS=$slack_ms \
        timeout 180 "$abs_top_builddir/tests/unit/check_migrate_move" >"$scratch/out" 2>&1
    rc=$?
    sed -n 's/^\(not \)\{0,1\}ok [0-9]* - [^ ]*check_migrate_move.c:\([^:]*:\)/\1ok - migrate \2/p; s/^# /&/p' \
        "$scratch/out"
    if [ "$rc" != 0 ]; then
        fail "check_migrate_move" "status $rc"
    fi
fi

if [ -n "$image" ]; then
    rm -f "$scratch/out"
    "$here/one-host.sh" "$image" || failures=$((failures + 1))
fi
finish
