# SPDX-License-Identifier: BSD-3-Clause
# lib.sh -- for what runs in a guest: a line "ok - name" or "not ok - name" a case, the rest is for people
# Expects: SELF, PEER, DEVICE and the like from tests/softroce/run, abs_top_builddir.
# shellcheck shell=bash
failures=0
before=0 # verbs objects at the start
as=() # what a run of the bench is started by, if by anything
# A time limit is what is promised, plus what a guest without acceleration takes for itself.
# shellcheck disable=SC2034 # for the cases
slack_ms=${RMIG_TEST_SLACK_MS:-3000}
scratch=$(mktemp -d)
# shellcheck disable=SC2064
trap "rm -rf '$scratch'" EXIT
exec {nap_fd}<> <(:)

# ./run has the programs themselves first in PATH, not libtool's scripts: nothing is linked anew here
: "${abs_top_builddir:?of a build tree}"
PATH=$abs_top_builddir/tools/.libs:$PATH
LD_LIBRARY_PATH=$abs_top_builddir/.libs
RMIG_TRANSPORT_DIR=$abs_top_builddir/rdma/.libs
export PATH LD_LIBRARY_PATH RMIG_TRANSPORT_DIR

pass()
{
    echo "ok - $1"
}

# fail NAME REASON: the case failed; its output follows
fail()
{
    failures=$((failures + 1))
    echo "not ok - $1"
    echo "# $2"
    sed 's/^/# /' "$scratch/out" 2>/dev/null | tail -n 20
}

# holds NAME CONDITION...: [ CONDITION ] decides the case
holds()
{
    local name=$1
    shift
    if [ "$@" ]; then pass "$name"; else fail "$name" "not so: $*"; fi
}

now_ms()
{
    local us=${EPOCHREALTIME/[.,]/}
    echo "${us%???}"
}

# until_true SECONDS COMMAND...: whether COMMAND succeeds in time, tried every 50 ms
until_true()
{
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        read -rt 0.05 -u "$nap_fd" || :
    done
}

# listens PORT: whether a socket of this host listens there
listens()
{
    local hex at state table
    printf -v hex '%04X' "$1"
    for table in /proc/net/tcp /proc/net/tcp6; do
        while read -r _ at _ state _; do
            [ "${at##*:} $state" != "$hex 0A" ] || return 0
        done <$table
    done
    return 1
}

# Sets $port to one that nobody listens on, for programs that cannot pick one.
free_port()
{
    port=$((20000 + RANDOM % 10000))
    while listens "$port"; do
        port=$((port + 1))
    done
}

# serve [ARGUMENT...]: one session in the background, on a port of its own. Sets $server and $port.
serve()
{
    : >"$scratch/server"
    timeout 150 rdma_migrate_bench --once -p 0 "$@" >"$scratch/server" 2>&1 &
    server=$!
    until_true 30 grep -q 'listening on' "$scratch/server" || { cat "$scratch/server"; return 1; }
    port=$(sed -n 's/.*listening on.* port \([0-9]*\)$/\1/p' "$scratch/server")
}

# bench STATUS NAME ARGUMENT...: one run that must end with STATUS; its JSON is in $scratch/json
bench()
{
    local want=$1 name=$2 rc
    shift 2
    rm -f "$scratch/json"
    timeout 120 "${as[@]}" rdma_migrate_bench --json="$scratch/json" "$@" >"$scratch/out" 2>&1
    rc=$?
    [ "$rc" -eq "$want" ] || fail "$name" "exit status $rc instead of $want"
    [ "$rc" -eq "$want" ]
}

# json KEY: a value of the last run. By grep: a guest without acceleration takes seconds to start an
# interpreter, and the schema is checked elsewhere.
json()
{
    grep -o "\"$1\":\(\"[^\"]*\"\|[^,}]*\)" "$scratch/json" | head -n 1 | cut -d : -f 2- | tr -d '"'
}

# link_bw: what ib_write_bw reaches on this link with 64 KiB writes, in bytes per second; 0 if it failed
link_bw()
{
    local server bw port
    free_port
    timeout 60 ib_write_bw -d "$DEVICE" -x 1 -s 65536 -F -D 2 -p "$port" >/dev/null 2>&1 &
    server=$!
    until_true 20 listens "$port"
    # perftest counts in MiB; where its own clock is off it says 0: what it did in its 2 seconds, then
    bw=$(timeout 60 ib_write_bw -d "$DEVICE" -x 1 -s 65536 -F -D 2 -p "$port" "$SELF" 2>/dev/null |
        awk '$1 == 65536 { printf "%.0f\n", ($4 > 0 ? $4 * 1048576 : $2 * $1 / 2) }')
    [ -n "$bw" ] || kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    echo "${bw:-0}"
}

# median NUMBER...
median()
{
    printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"
}

# left_over: verbs objects that exist now, as a number
left_over()
{
    rdma resource show "$DEVICE" 2>/dev/null |
        awk '{ for (i = 1; i < NF; i++) if ($i == "qp" || $i == "mr" || $i == "cm_id") n += $(i + 1) }
            END { print n + 0 }'
}

# as_before: none is left of what was made since $before was taken
as_before()
{
    [ "$(left_over)" = "$before" ]
}

# Packets that the device has sent.
sent()
{
    cat "/sys/class/infiniband/$DEVICE/ports/1/hw_counters/sent_pkts"
}

# moving BEGUN: pages are under way, 8 MiB since sent said BEGUN
moving()
{
    [ "$(sent)" -gt $(($1 + 2000)) ]
}

# finish: the exit status of the whole
finish()
{
    exit $((failures > 0))
}
