#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-fallback.sh -- where RDMA cannot be had, auto goes on by TCP within 3 s and says why; rdma fails.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"

# falls_back WHAT PATTERN ARG...
falls_back()
{
    what=$1
    pattern=$2
    shift 2
    rm -f "$scratch/json"
    began=$(seconds)
    expect 0 -s 4M --json="$scratch/json" "$@"
    within 3.5 "$began" "$what"
    said "$scratch/err" "TCP instead of RDMA: .*($pattern)"
    said "$scratch/json" "\"transport\":\"tcp\".*\"fallback_reason\":\"[^\"]*($pattern)"
    said "$scratch/json" '"verified":true'
    awk -F'"fallback_ns":' '{ split($2, a, ","); exit !(a[1] > 0 && a[1] < 3e9) }' "$scratch/json" ||
        fault "$what: fallback_ns is not within 3 s"
    expect 3 -s 4M --transport=rdma "$@"
    one_line "$scratch/err"
    said "$scratch/err" "$pattern"
}

# no plugin here, and there
export RMIG_TRANSPORT_DIR="$scratch"
falls_back 'no plugin' 'rmig-transport-rdma' --loopback
unset RMIG_TRANSPORT_DIR
if [ ! -e "${abs_top_builddir:?}/rdma/.libs/rmig-transport-rdma.so" ]; then
    echo "built without RDMA: only the missing plugin was tried"
elif [ -n "$(ls /sys/class/infiniband 2>/dev/null)" ]; then
    echo "this host has RDMA: only the missing plugin was tried"
else
    falls_back 'no device' 'device|RDMA' --loopback
fi
# --compare measures what there is
export RMIG_TRANSPORT_DIR="$scratch"
expect 3 -s 4M --loopback --compare --json="$scratch/json"
[ "$(grep -c '"transport":"tcp".*"verified":true' "$scratch/json")" -eq 3 ] || fault "--compare: $(cat "$scratch/json")"
[ "$(grep -c '"transport":"rdma".*"exit_status":3\|"exit_status":3.*"transport":"rdma"' "$scratch/json")" -eq 3 ] ||
    fault "--compare: $(cat "$scratch/json")"
unset RMIG_TRANSPORT_DIR
# several runs in one session: each falls back, none disturbs the next
expect 0 -s 4M --loopback --runs 3 --json="$scratch/json"
[ "$(grep -c '"verified":true' "$scratch/json")" -eq 3 ] || fault "3 runs: $(cat "$scratch/json")"
verdict "goes on"
