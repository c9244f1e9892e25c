#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-garbage.sh -- peers that speak nonsense or another version get a plain answer and break nothing.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"
tried=0

# a server that is none
for mode in serve-garbage serve-long serve-version serve-close; do
    start_peer "$mode"
    began=$(seconds)
    expect 4 -s 4K -p "$peer_port" 127.0.0.1
    within 3 "$began" "$mode"
    one_line "$scratch/err"
    said "$scratch/err" "127\.0\.0\.1:$peer_port"
    case $mode in
    serve-version) said "$scratch/err" 'protocol 9 \(version 9\.9\.9\), this end 2 .*same version' ;;
    serve-close) said "$scratch/err" 'hung up|reset' ;;
    *) said "$scratch/err" 'is not rdma_migrate_bench' ;;
    esac
    tried=$((tried + 1))
done

# clients that are none: each is told of in a line, and the next real one is served
start_server
for kind in garbage long version message json half huge wrap negative ragged strange deep nul ask patient leave; do
    lines=$(wc -l <"$scratch/server.err")
    began=$(seconds)
    "$python" "$top/tests/tools/peer.py" send "$port" "$kind"
    wait_line "$scratch/server.err" '.'
    i=0
    while [ "$(wc -l <"$scratch/server.err")" -le "$lines" ] && [ $i -lt 1200 ]; do
        sleep 0.05
        i=$((i + 1))
    done
    [ "$(wc -l <"$scratch/server.err")" -eq $((lines + 1)) ] ||
        fault "$kind: not one line: $(tail -n +$((lines + 1)) "$scratch/server.err")"
    within 6 "$began" "$kind"
    kill -0 "$server" || { fault "$kind killed the server"; break; }
    tried=$((tried + 1))
done
expect 0 -s 4M --transport=tcp -p "$port" 127.0.0.1
said "$scratch/server.err" 'speaks protocol 9'
said "$scratch/server.err" 'RAM of .*: this host gives at most'
# nothing of what strangers send reaches the terminal raw
! LC_ALL=C grep -q '[^[:print:]]' "$scratch/server.err" || fault "control characters in the messages"
verdict "$tried peers"
