#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-cancel.sh -- SIGINT and SIGTERM end either side at once, and both sides say so.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need ps

# ended WITHIN -- the client, with 5 and one line
ended()
{
    status=0
    wait "$client" || status=$?
    within 1.5 "$began" "$1"
    [ "$status" -eq 5 ] || fault "$1: the client ended with $status"
    one_line "$scratch/err"
    said "$scratch/err" 'cancelled'
}

for signal in INT TERM; do
    start_server
    start_client -s 64M -p "$port" 127.0.0.1
    began=$(seconds)
    # a job of a shell without job control ignores SIGINT unless the program asks for it, as it does
    kill -"$signal" "$client"
    ended "SIG$signal to the client"
    wait_line "$scratch/server.err" 'peer: cancelled'
    one_line "$scratch/server.err"
    expect 0 --transport=tcp -s 4M -p "$port" 127.0.0.1

    start_client -s 64M --dirty-rate 10 -p "$port" 127.0.0.1
    began=$(seconds)
    kill -"$signal" "$server"
    ended "SIG$signal to the server"
    end_server
    said "$scratch/server.err" 'cancelled$'
done
# both ends in one command: the other process ends too
start_client --loopback -s 64M
other=$(ps -o pid= --ppid "$client" | tr -d ' ')
began=$(seconds)
kill -INT "$client"
ended "SIGINT to a loopback"
[ -n "$other" ] || fault "no second process was seen"
! kill -0 "$other" 2>/dev/null || fault "the second process is left"

# while it waits for nobody in particular
start_server
began=$(seconds)
kill -INT "$server"
end_server
within 1 "$began" "an idle server"
[ "$status" -eq 0 ] || fault "the idle server ended with $status"
verdict "at once"
