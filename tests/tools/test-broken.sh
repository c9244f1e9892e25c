#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-broken.sh -- a connection that breaks half way: both ends say so and end with 5, in time.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"

broken cut 5 'reset|ended|pipe|hung up'
broken kill 5 'reset|ended|pipe|hung up'

# nobody where the data should go: not connected at all
start_server --once
start_peer refuse "$port"
expect 4 --transport=tcp -s 4M -p "$peer_port" 127.0.0.1
said "$scratch/err" 'refused'
one_line "$scratch/err"

# the server dies
start_server
start_client -s 64M -p "$port" 127.0.0.1
began=$(seconds)
kill -9 "$server"
status=0
wait "$client" || status=$?
[ "$status" -eq 5 ] || fault "the server died, the client ended with $status"
within 5 "$began" "the server died"
one_line "$scratch/err"

# the client dies: the server says so and serves the next one
start_server
start_client -s 64M -p "$port" 127.0.0.1
kill -9 "$client"
wait_line "$scratch/server.err" '^127\.0\.0\.1:[0-9]+: .'
expect 0 --transport=tcp -s 4M -p "$port" 127.0.0.1
verdict "noticed"
