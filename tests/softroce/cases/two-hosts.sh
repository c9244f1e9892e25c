#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# two-hosts.sh -- moves RAM between two hosts; loss on the link, a cut link, a host without power.
# Runs on both: host 0 is the destination, host 1 the source. They meet in MEET, a folder that both have.
# usage: two-hosts.sh IMAGE MEET
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
image=$1 meet=$2
turn=0
side=$([ "$HOST_INDEX" = 0 ] && echo destination || echo source)

# tell KEY [VALUE]: something that the other host waits for
tell()
{
    echo "${2:-}" >"$meet/new.$HOST_INDEX"
    mv "$meet/new.$HOST_INDEX" "$meet/$1"
}

# hear KEY: waits for it, and prints the value
hear()
{
    until_true 120 [ -e "$meet/$1" ] && cat "$meet/$1"
}

# begin NAME: a case; both have ended the one before. The destination serves, the source knows its $port.
begin()
{
    turn=$((turn + 1))
    tell "turn$turn.$HOST_INDEX"
    hear "turn$turn.$((1 - HOST_INDEX))" >/dev/null || { fail "$side: $1" "the other host did not come"; finish; }
    if [ "$HOST_INDEX" = 0 ]; then
        serve --bind "$SELF" || { fail "$side: $1" "the server did not listen"; finish; }
        tell "port$turn" "$port"
    else
        port=$(hear "port$turn") || { fail "$side: $1" "the destination does not serve"; finish; }
    fi
}

# end_server NAME
end_server()
{
    local rc
    wait "$server"
    rc=$?
    cp "$scratch/server" "$scratch/out"
    holds "$side: $1" "$rc" = 0
}

# move NAME ARGUMENT...: an undisturbed move, verified
move()
{
    local name=$1
    shift
    begin "$name"
    if [ "$HOST_INDEX" = 0 ]; then
        end_server "$name"
    elif bench 0 "$side: $name" --transport=rdma -p "$port" "$@" "$PEER"; then
        holds "$side: $name, verified" "$(json transport) $(json verified)" = "rdma true"
        echo "# $(json goodput_bytes_per_s) B/s"
    fi
}

# connected: the move that runs in the background has its queue pair
# shellcheck disable=SC2317 # called by until_true
connected()
{
    [ "$(left_over)" -gt "$before" ]
}

# start_client ARGUMENT...: a move in the background
start_client()
{
    rm -f "$scratch/json"
    timeout 120 rdma_migrate_bench --transport=rdma --json="$scratch/json" -p "$port" "$@" "$PEER" \
        >"$scratch/out" 2>&1 &
    server=$!
}

# lossy NAME ARGUMENT...: once the two are connected, 1 % of what either sends is lost; verified
lossy()
{
    local name=$1 rc dropped
    shift
    begin "$name"
    [ "$HOST_INDEX" = 0 ] || start_client "$@"
    until_true 60 connected || fail "$side: $name" "not connected"
    tc qdisc add dev "$NETDEV" root netem loss 1% || fail "$side: $name" "netem is missing"
    if [ "$HOST_INDEX" = 0 ]; then
        end_server "$name"
    else
        wait "$server"
        rc=$?
        dropped=$(tc -s qdisc show dev "$NETDEV" root | sed -n 's/.*dropped \([0-9]*\).*/\1/p')
        # only here: the destination sends too little for one to be sure
        holds "$side: $name: packets were lost, verified" \
            "$rc $(json transport) $(json verified) $((dropped > 0))" = "0 rdma true 1"
        echo "# $dropped packets lost, $(json goodput_bytes_per_s) B/s"
    fi
    tc qdisc del dev "$NETDEV" root
}

# disturb NAME COMMAND...: the source's host runs COMMAND in mid-move; both ends must say so and end
disturb()
{
    local name=$1 from rc took packets
    shift
    begin "$name"
    if [ "$HOST_INDEX" = 0 ]; then
        hear "disturbed$turn" >/dev/null || fail "$side: $name" "the source did not get there"
        cp "$scratch/server" "$scratch/out"
    else
        packets=$(sent)
        start_client -s 256M
        until_true 60 moving "$packets" || fail "$side: $name" "no page moved"
        tell "disturbed$turn"
        "$@"
    fi
    from=$(now_ms)
    wait "$server"
    rc=$?
    took=$(($(now_ms) - from))
    [ "$HOST_INDEX" != 0 ] || cp "$scratch/server" "$scratch/out"
    # the other end gives up within 2 s; whichever connection notices first says why: RDMA's, or the control
    # connection's, by its own clock
    holds "$side: $name: exit 5 in time" "$rc $((took < 4000 + slack_ms))" = "5 1"
    echo "# $took ms"
    holds "$side: $name: says why" \
        "$(grep -ci 'timed out\|reset by peer\|hung up\|failed\|has not answered\|did not say' "$scratch/out")" -ge 1
}

# Nobody but the lane sees more of this host.
# shellcheck disable=SC2317 # called by disturb
power_cut()
{
    echo $((failures > 0)) >/run/lane/die
    sleep 60
}

before=$(left_over)
move "image between two hosts" --ram "$image"
lossy "1 % loss both ways" -s 32M --max-bandwidth=10
disturb "link cut" tc qdisc add dev "$NETDEV" root netem loss 100%
[ "$HOST_INDEX" = 0 ] || tc qdisc del dev "$NETDEV" root
move "after the link came back" -s 16M
disturb "host without power" power_cut
finish
