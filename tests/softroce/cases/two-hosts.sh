#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# two-hosts.sh -- moves RAM between two hosts; loss on the link, a cut link, a host without power.
# Runs on both: host 0 is the destination, host 1 the source.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
image=$1
port=18700

# serve: one session in the background; the source may begin
serve()
{
    rdma_migrate_bench --once --bind "$RMIG_RDMA_ADDR" -p "$port" >"$scratch/out" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        grep -q . "$scratch/out" && break
        sleep 0.1
    done
}

# move NAME ARGUMENT...: an undisturbed move, verified
move()
{
    local name=$1 rc
    shift
    port=$((port + 1))
    if [ "$RMIG_RDMA_ROLE" = 0 ]; then
        serve
        softroce barrier "$port" 120 || fail "$name" "the source did not come"
        wait "$server"
        rc=$?
        holds "$name: destination" "$rc" = 0
    else
        softroce barrier "$port" 120 || fail "$name" "the destination did not come"
        bench 0 "$name: source" --transport=rdma -p "$port" "$@" "$RMIG_RDMA_PEER" &&
            holds "$name: source, verified, $(json goodput_bytes_per_s) B/s" \
                "$(json transport) $(json verified)" = "rdma true"
    fi
}

# connected: wait until the move that runs in the background has its queue pair
connected()
{
    for _ in $(seq 400); do
        [ "$(left_over)" -le "$before" ] || return
        sleep 0.05
    done
}

# lossy NAME ARGUMENT...: once the two are connected, 1 % of what either sends is lost; verified
lossy()
{
    local name=$1 rc
    shift
    port=$((port + 1))
    if [ "$RMIG_RDMA_ROLE" = 0 ]; then
        serve
        softroce barrier "$port" 120 || fail "$name" "the source did not come"
    else
        softroce barrier "$port" 120 || fail "$name" "the destination did not come"
        rdma_migrate_bench --transport=rdma --json="$scratch/json" -p "$port" "$@" "$RMIG_RDMA_PEER" \
            >"$scratch/out" 2>&1 &
        server=$!
    fi
    connected
    tc qdisc add dev "$RMIG_RDMA_NETDEV" root netem loss 1% || fail "$name" "netem is missing"
    wait "$server"
    rc=$?
    holds "$name: exit 0" "$rc" = 0
    if [ "$RMIG_RDMA_ROLE" = 1 ]; then # the destination sends too little for one to be sure
        holds "$name: packets were lost" "$(tc -s qdisc show dev "$RMIG_RDMA_NETDEV" root |
            sed -n 's/.*dropped \([0-9]*\).*/\1/p')" -gt 0
        holds "$name: verified, $(json goodput_bytes_per_s) B/s" "$(json transport) $(json verified)" = "rdma true"
    fi
    tc qdisc del dev "$RMIG_RDMA_NETDEV" root
}

# disturb NAME COMMAND...: the source's host runs COMMAND in mid-move; both ends must say so and end
disturb()
{
    local name=$1 begun rc took
    shift
    port=$((port + 1))
    if [ "$RMIG_RDMA_ROLE" = 0 ]; then
        serve
        softroce barrier "$port" 120 || fail "$name" "the source did not come"
        softroce get "disturbed$port" 120 >/dev/null || fail "$name" "the source did not get there"
    else
        softroce barrier "$port" 120 || fail "$name" "the destination did not come"
        rdma_migrate_bench --transport=rdma -s 256M -p "$port" "$RMIG_RDMA_PEER" >"$scratch/out" 2>&1 &
        server=$!
        connected
        sleep 1
        softroce put "disturbed$port" now
        "$@"
    fi
    begun=$(date +%s%N)
    wait "$server"
    rc=$?
    took=$((($(date +%s%N) - begun) / 1000000))
    holds "$name: exit 5 after $took ms" "$rc $((took < 4000))" = "5 1"
    cat "$scratch/out"
    # whichever connection notices first: RDMA's, or the control connection's, by its own clock
    holds "$name: says why" \
        "$(grep -ci 'timed out\|reset by peer\|hung up\|failed\|has not answered\|did not say' "$scratch/out")" -ge 1
}

before=$(left_over)
move "image between two hosts" --ram "$image"
lossy "1 % loss both ways" -s 32M --max-bandwidth=10
disturb "link cut" tc qdisc add dev "$RMIG_RDMA_NETDEV" root netem loss 100%
[ "$RMIG_RDMA_ROLE" = 0 ] || tc qdisc del dev "$RMIG_RDMA_NETDEV" root
softroce barrier up 60
move "after the link came back" -s 16M
disturb "host without power" softroce die "$((failures > 0))"
finish
