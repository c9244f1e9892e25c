#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# one-host.sh -- moves RAM between two processes of one host over RDMA, in every way offered
# usage: one-host.sh IMAGE
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
image=$1
before=$(left_over)

# against_link NAME ARGUMENT...: three moves, each next to a run of ib_write_bw; the ratios are figures, no test
against_link()
{
    local name=$1 ratios='' wire='' limit
    shift
    for _ in 1 2 3; do
        limit=$(link_bw)
        bench 0 "$name" --loopback --transport=rdma "$@" || return
        [ "$(json transport) $(json verified)" = "rdma true" ] || { fail "$name" "not verified"; return; }
        [ "$limit" -gt 0 ] || continue # perftest did not run: no figure
        ratios="$ratios $(echo "$(json goodput_bytes_per_s) $limit" | awk '{ printf "%.3f", $1 / $2 }')"
        wire="$wire $(echo "$(json bytes_on_wire) $(json total_ns) $limit" |
            awk '{ printf "%.3f", $1 / $2 * 1e9 / $3 }')"
    done
    pass "$name"
    # shellcheck disable=SC2086 # a list of numbers
    echo "# goodput by ib_write_bw of the same minute:$ratios, median $(median $ratios); on the wire alone:$wire"
}

# The main job: a real guest's RAM, pair by pair with the link's own speed.
against_link "image over RDMA, dynamic" --ram "$image"
against_link "image over RDMA, pin-all" --ram "$image" --pin-all

# Shapes
if [ -n "$SELF6" ]; then
    if serve --bind "$SELF6" && bench 0 "IPv6" --transport=rdma -s 16M -p "$port" "$SELF6"; then
        wait "$server"
        holds "IPv6" "$? $(json transport) $(json verified)" = "0 rdma true"
    else
        fail "IPv6" "$(cat "$scratch/server")"
        kill "$server" 2>/dev/null
    fi
fi
bench 0 "300 blocks" --loopback --transport=rdma -s 24M --blocks 300 &&
    holds "300 blocks" "$(json blocks) $(json verified)" = "300 true"
bench 0 "two queue pairs" --loopback --transport=rdma -s 32M -q 2 &&
    holds "two queue pairs" "$(json queue_pairs) $(json verified)" = "2 true"
bench 0 "all zero" --loopback --transport=rdma -s 64M --zero-fraction 1 &&
    holds "all zero: next to nothing on the wire" "$(json bytes_on_wire)" -lt 1000000
bench 0 "half zero" --loopback --transport=rdma -s 32M --zero-fraction 0.5 &&
    holds "half zero" "$(json verified)" = true

# A guest that writes while it moves: at a quarter of the link, as far as that is known.
rate=$(link_bw | awk '{ printf "%.1f", ($1 > 0 ? $1 / 4e6 : 10) }')
if bench 0 "guest writing at a quarter of the link" --loopback --transport=rdma -s 64M \
    --dirty-rate "$rate" --downtime-limit 500; then
    holds "guest writing at a quarter of the link: converged, verified" \
        "$(json converged) $(json verified)" = "true true"
    echo "# $rate MB/s, $(json rounds) passes, downtime $(json downtime_ns) ns"
fi

# RDMA not to be had: reason given, TCP within 3 s in its place, or an error if RDMA was demanded
fallback()
{
    local name=$1 status=$2 word=$3
    shift 3
    if bench 0 "$name: auto" -s 8M --transport=auto "$@"; then
        holds "$name: auto goes on by TCP within 3 s" \
            "$(json transport) $(json verified) $(($(json fallback_ns) / 1000000 < 3000 + slack_ms))" = "tcp true 1"
        holds "$name: the reason is in the JSON" "$(json fallback_reason | grep -c "$word")" = 1
    fi
    bench "$status" "$name: rdma" -s 8M --transport=rdma "$@" &&
        holds "$name: rdma fails with the reason" "$(grep -c "$word" "$scratch/out")" -ge 1
}
bench 3 "no such device" --loopback -s 8M -d nosuch0 &&
    holds "no such device: named, with those there are" \
        "$(grep -c "nosuch0.*$DEVICE" "$scratch/out")" -ge 1
(
    ulimit -l 1024
    bench 0 "RLIMIT_MEMLOCK, CAP_IPC_LOCK exempts" --loopback -s 8M --transport=rdma &&
        holds "RLIMIT_MEMLOCK, CAP_IPC_LOCK exempts" "$(json transport) $(json verified)" = "rdma true"
    # shellcheck disable=SC2034 # bench uses it
    as=(setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock)
    fallback "RLIMIT_MEMLOCK" 3 RLIMIT_MEMLOCK --loopback
    exit "$failures"
)
failures=$((failures + $?))
(
    export RMIG_TRANSPORT_DIR=/nowhere
    fallback "plugin missing" 3 plugin --loopback
    exit "$failures"
)
failures=$((failures + $?))

# kill_one SIGNAL WHO: both ends run apart; one gets the signal in mid-move
kill_one()
{
    local signal=$1 who=$2 name="$2 gets SIG$1 in mid-move: the other end exits 5 in time"
    local begun start client rc other took
    serve --bind "$SELF" || { fail "$name" "the server did not listen"; return; }
    begun=$(sent)
    timeout 120 rdma_migrate_bench --transport=rdma -s 192M -p "$port" "$SELF" >"$scratch/out" 2>&1 &
    client=$!
    if ! until_true 60 moving "$begun"; then
        fail "$name" "no page moved"
        kill "$client" "$server" 2>/dev/null
        wait
        return
    fi
    start=$(now_ms)
    # timeout passes on what it gets, but for KILL: then its child is meant
    if [ "$who" = source ]; then
        other=$server
        kill_child "$signal" "$client"
    else
        other=$client
        kill_child "$signal" "$server"
    fi
    wait "$other"
    rc=$?
    took=$(($(now_ms) - start))
    wait
    cat "$scratch/server" >>"$scratch/out"
    holds "$name" "$rc $((took < 2000 + slack_ms))" = "5 1"
    echo "# $took ms"
}

# kill_child SIGNAL PID: of the timeout PID, its child gets the signal
kill_child()
{
    local child
    read -r child _ <"/proc/$2/task/$2/children"
    kill "-$1" "$child"
}
kill_one KILL source
kill_one KILL destination
kill_one INT source
kill_one TERM destination

if until_true 15 as_before; then
    pass "no queue pair, region or identifier is left over"
else
    fail "no queue pair, region or identifier is left over" "$before before, $(left_over) after"
fi
finish
