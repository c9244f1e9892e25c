#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# one-host.sh -- moves RAM between two processes of one host over RDMA, in every way offered
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
image=$1

before=$(left_over)

# against_link NAME ARGUMENT...: five moves, each next to a run of ib_write_bw; the median must do
against_link()
{
    local name=$1 ratios='' wire='' limit
    shift
    for _ in 1 2 3 4 5; do
        limit=$(link_bw)
        [ "$limit" -gt 0 ] || { fail "$name" "ib_write_bw did not run"; return; }
        bench 0 "$name" --loopback --transport=rdma "$@" || return
        [ "$(json transport) $(json verified)" = "rdma true" ] || fail "$name" "not verified"
        ratios="$ratios $(echo "$(json goodput_bytes_per_s) $limit" | awk '{ printf "%.3f", $1 / $2 }')"
        wire="$wire $(echo "$(json bytes_on_wire) $(json total_ns) $limit" |
            awk '{ printf "%.3f", $1 / $2 * 1e9 / $3 }')"
    done
    echo "    $name: goodput by ib_write_bw of the same minute:$ratios; bytes on the wire alone:$wire"
    # shellcheck disable=SC2086
    holds "$name: at least 0.70 of ib_write_bw (median $(median $ratios))" \
        "$(median $ratios | awk '{ print ($1 >= 0.70) }')" = 1
}

# The main job: a real guest's RAM, pair by pair with the link's own speed.
against_link "image over RDMA, dynamic" --ram "$image"
against_link "image over RDMA, pin-all" --ram "$image" --pin-all

# Shapes
if [ -n "${RMIG_RDMA_ADDR6:-}" ]; then
    rdma_migrate_bench --once --bind "$RMIG_RDMA_ADDR6" -p 18700 >"$scratch/server" 2>&1 &
    sleep 1
    bench 0 "IPv6" --transport=rdma -s 16M -p 18700 "$RMIG_RDMA_ADDR6" &&
        holds "IPv6" "$(json transport) $(json verified)" = "rdma true"
    wait
fi
bench 0 "300 blocks" --loopback --transport=rdma -s 24M --blocks 300 &&
    holds "300 blocks" "$(json blocks) $(json verified)" = "300 true"
bench 0 "two queue pairs" --loopback --transport=rdma -s 32M -q 2 &&
    holds "two queue pairs" "$(json queue_pairs) $(json verified)" = "2 true"
bench 0 "all zero" --loopback --transport=rdma -s 64M --zero-fraction 1 &&
    holds "all zero: next to nothing on the wire" "$(json bytes_on_wire)" -lt 1000000
bench 0 "half zero" --loopback --transport=rdma -s 32M --zero-fraction 0.5 &&
    holds "half zero" "$(json verified)" = true

# A guest that writes while it moves: a quarter of the link.
rate=$(link_bw | awk '{ printf "%.1f", $1 / 4e6 }')
if bench 0 "guest writing at a quarter of the link" --loopback --transport=rdma -s 64M \
    --dirty-rate "$rate" --downtime-limit 500; then
    echo "    $rate MB/s, $(json rounds) passes, downtime $(json downtime_ns) ns"
    holds "guest writing at a quarter of the link: converged, downtime under 500 ms, verified" \
        "$(json converged) $(json verified) $(($(json downtime_ns) < 500000000))" = "true true 1"
fi

# RDMA not to be had: reason given, TCP within 3 s in its place, or an error if RDMA was demanded
fallback()
{
    local name=$1 status=$2 word=$3
    shift 3
    if bench 0 "$name: auto" -s 8M --transport=auto "$@"; then
        holds "$name: auto goes on by TCP within 3 s" \
            "$(json transport) $(json verified) $(($(json fallback_ns) < 3000000000))" = "tcp true 1"
        holds "$name: the reason is in the JSON" "$(json fallback_reason | grep -c "$word")" = 1
    fi
    bench "$status" "$name: rdma" -s 8M --transport=rdma "$@" &&
        holds "$name: rdma fails with the reason" "$(grep -c "$word" "$scratch/out")" -ge 1
}
bench 3 "no such device" --loopback -s 8M -d nosuch0 &&
    holds "no such device: named, with those there are" \
        "$(grep -c "nosuch0.*$RMIG_RDMA_DEV" "$scratch/out")" -ge 1
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

# since_ms NS: milliseconds since date +%s%N said NS
since_ms()
{
    echo $((($(date +%s%N) - $1) / 1000000))
}

# kill_one SIGNAL WHO: both ends run apart; one gets the signal in mid-move
kill_one()
{
    local signal=$1 who=$2 name="$2 gets SIG$1 in mid-move" start server client rc other
    rdma_migrate_bench --once --bind "$RMIG_RDMA_ADDR" -p 18701 >"$scratch/server" 2>&1 &
    server=$!
    sleep 1
    rdma_migrate_bench --transport=rdma -s 192M -p 18701 "$RMIG_RDMA_ADDR" >"$scratch/out" 2>&1 &
    client=$!
    for _ in $(seq 100); do # until the queue pairs are there, and then into the first pass
        [ "$(left_over)" -le "$before" ] || break
        sleep 0.2
    done
    sleep 1
    start=$(date +%s%N)
    if [ "$who" = source ]; then other=$server; kill -"$signal" "$client"
    else other=$client; kill -"$signal" "$server"; fi
    wait "$other"
    rc=$?
    took=$(since_ms "$start")
    wait
    cat "$scratch/server" >>"$scratch/out"
    # the other end gives up within 2 s; what a slow host needs to release RAM comes on top
    holds "$name: the other end exits 5 in $took ms" "$rc $((took < 3000))" = "5 1"
}
kill_one KILL source
kill_one KILL destination
kill_one INT source
kill_one TERM destination

after=$(left_over)
holds "no queue pair, region or identifier is left over" "$after" = "$before"
finish
