#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-corruption.sh -- one byte changed on the way is found: exit status 6.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"

head -c 8388608 /dev/urandom >"$scratch/ram"
# 16 pages say TAMPERME: one of them may lie across two of the proxy's chunks, all of them do not
for page in 3 100 200 300 400 500 600 700 800 900 1000 1100 1200 1300 1400 1500; do
    printf 'TAMPERME' | dd of="$scratch/ram" bs=1 seek=$((page * 4096 + 1000)) conv=notrunc 2>/dev/null
done
start_server --once
start_peer tamper "$port"
expect 6 --transport=tcp --ram "$scratch/ram" -p "$peer_port" --json="$scratch/json" 127.0.0.1
said "$scratch/err" 'verification failed: 1 of 4 units of 2 MiB differ'
said "$scratch/json" '"verified":false.*"different_units":1'
said "$scratch/out" 'DIFFERENT'
wait_line "$scratch/peer.out" '^tampered$'
end_server
[ "$status" -eq 6 ] || fault "the server ended with $status"
said "$scratch/server.out" 'the memories DIFFER'
verdict "found"
