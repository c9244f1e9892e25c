# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# functions.sh -- what the tests of the tools share; sourced, not run.
# shellcheck disable=SC2154 # abs_top_* come from make check
scratch=$(mktemp -d)
top=${abs_top_srcdir:?run it by make check}
pids=
faults=0
# the system's: what a version manager puts in its place may take ten times as long to start
python=/usr/bin/python3
[ -x "$python" ] || python=python3
export LC_ALL=C

cleanup()
{
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# shellcheck disable=SC2154
bench()
{
    "$abs_top_builddir/run" rdma_migrate_bench "$@"
}

# need COMMAND -- skip the test where the command is missing
need()
{
    command -v "$1" >/dev/null || { echo "skipped: $1 is missing"; exit 77; }
}

fault()
{
    echo "FAULT: $*"
    faults=$((faults + 1))
}

# expect STATUS ARG... -- run the bench; its output is in $scratch/out and $scratch/err afterwards
expect()
{
    wanted=$1
    shift
    status=0
    bench "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || {
        fault "rdma_migrate_bench $*: exit status $status, not $wanted"
        sed 's/^/    /' "$scratch/err"
    }
}

# said FILE PATTERN -- one of its lines matches
said()
{
    grep -Eq -e "$2" "$1" || {
        fault "no line in ${1##*/} matches '$2':"
        sed 's/^/    /' "$1"
    }
}

# What -i says while pages move.
progress='^ *[0-9.]+ s  round .* left$'

# one_line FILE -- exactly one line was said, besides the progress
one_line()
{
    [ "$(grep -Evc -e "$progress" "$1")" -eq 1 ] || {
        fault "not one line:"
        sed 's/^/    /' "$1"
    }
}

# wait_line FILE PATTERN -- until a line matches, a minute at most
wait_line()
{
    i=0
    until grep -Eq -e "$2" "$1" 2>/dev/null; do
        i=$((i + 1))
        [ $i -le 1200 ] || { fault "no line in ${1##*/} matches '$2' in a minute"; cat "$1"; exit 1; }
        sleep 0.05
    done
}

# start_server [ARG...] -- on a port of its own: $server (pid), $port; output in $scratch/server.*
start_server()
{
    : >"$scratch/server.out"
    # not by bench: the pid has to be the program's, not that of a shell that waits for it
    "$abs_top_builddir/run" rdma_migrate_bench -p 0 --bind 127.0.0.1 "$@" \
        >"$scratch/server.out" 2>"$scratch/server.err" </dev/null &
    server=$!
    pids="$pids $server"
    wait_line "$scratch/server.out" 'listening on'
    port=$(sed -n 's/.* port \([0-9]*\)$/\1/p' "$scratch/server.out")
}

# start_client ARG... -- TCP to the server, slowly, in the background, until pages move: $client (pid)
start_client()
{
    : >"$scratch/err"
    "$abs_top_builddir/run" rdma_migrate_bench --transport=tcp --max-bandwidth 10 -i 0.1 "$@" \
        >"$scratch/out" 2>"$scratch/err" </dev/null &
    client=$!
    pids="$pids $client"
    wait_line "$scratch/err" "$progress"
}

# end_server -- wait for it: $status
end_server()
{
    status=0
    wait "$server" || status=$?
}

# start_peer MODE [ARG...] -- tests/tools/peer.py: $peer (pid), $peer_port
start_peer()
{
    : >"$scratch/peer.out"
    "$python" "$top/tests/tools/peer.py" "$@" >"$scratch/peer.out" 2>"$scratch/peer.err" </dev/null &
    peer=$!
    pids="$pids $peer"
    wait_line "$scratch/peer.out" '^port '
    peer_port=$(sed -n 's/^port //p' "$scratch/peer.out")
}

# seconds -- the clock, for durations
seconds()
{
    date +%s.%N
}

# within SECONDS START WHAT -- no longer than that, and the slack of tests/README.md, since START
within()
{
    awk -v limit="$1" -v from="$2" -v to="$(seconds)" -v slack_ms="${RMIG_TEST_SLACK_MS:-0}" \
        'BEGIN { exit !(to - from <= limit + slack_ms / 1000) }' ||
        fault "$3: longer than $1 s"
}

# broken MODE SECONDS PATTERN [ARG...] -- by a proxy, half way: both ends end with 5 and a line, in time
broken()
{
    mode=$1
    limit=$2
    pattern=$3
    shift 3
    start_server --once
    start_peer "$mode" "$port" 3000000
    began=$(seconds)
    expect 5 --transport=tcp -s 64M -p "$peer_port" "$@" 127.0.0.1
    end_server
    within "$limit" "$began" "$mode"
    said "$scratch/err" "$pattern"
    one_line "$scratch/err"
    [ "$status" -eq 5 ] || fault "$mode: the server ended with $status"
    said "$scratch/server.err" '^127\.0\.0\.1:[0-9]+: .'
    one_line "$scratch/server.err"
    kill "$peer" 2>/dev/null || true
}

# verdict WHAT -- the end of a test
verdict()
{
    [ "$faults" -eq 0 ] || { echo "$faults fault(s)"; exit 1; }
    echo "fine: $*"
}
