#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-stalled.sh -- a network that swallows everything: both ends end with 5 at --progress-deadline, which
# the client gives the server too.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"

broken stall 5 'for 500 ms .idle timeout' --progress-deadline=0.5
# a client that is stopped, so that nobody tells the server: it goes by the client's --progress-deadline
start_server --once
start_client -s 64M -p "$port" --progress-deadline=1 127.0.0.1
kill -STOP "$client"
end_server
kill -KILL "$client"
[ "$status" -eq 5 ] || fault "the client was stopped, the server ended with $status"
said "$scratch/server.err" 'for 1000 ms .idle timeout'
# a server that is stopped before it says its first word
start_server
kill -STOP "$server"
expect 4 --transport=tcp -s 4M -p "$port" --progress-deadline=0.5 127.0.0.1
said "$scratch/err" 'said nothing for 500 ms'
kill -KILL "$server"

# rmig: a source that connects and says nothing; what the options take
rmig()
{
    # shellcheck disable=SC2154 # abs_top_* come from make check
    "$abs_top_builddir/run" rmig "$@"
}
rmig receive tcp:127.0.0.1:0 --output="$scratch/stream" --progress-deadline=0.3 --deadline=0.2 \
    >"$scratch/out" 2>&1 </dev/null &
receiver=$!
pids="$pids $receiver"
wait_line "$scratch/out" ', port [0-9]'
"$python" -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(1)' \
    "$(sed -n 's/.*, port \([0-9]*\).*/\1/p' "$scratch/out")" &
pids="$pids $!"
status=0
wait "$receiver" || status=$?
[ "$status" -eq 5 ] || fault "rmig receive ended with $status"
said "$scratch/out" 'nothing received for 300 ms \(idle timeout\)'
for wrong in --deadline=0 --deadline=soon --progress-deadline=1e9 --timeout=-1; do
    status=0
    rmig receive tcp:127.0.0.1:0 --output="$scratch/stream" "$wrong" >"$scratch/out" 2>&1 </dev/null || status=$?
    [ "$status" -eq 2 ] || fault "rmig receive $wrong ended with $status"
    said "$scratch/out" "deadline: '${wrong#*=}' is not a number of seconds from 0.001 to 86400"
done
verdict "noticed"
