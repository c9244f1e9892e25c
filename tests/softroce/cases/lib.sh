# SPDX-License-Identifier: BSD-3-Clause
# lib.sh -- for tests of rmig that run where RDMA works: a line "PASS: name" or "FAIL: name" a case.
# Expects: rdma_migrate_bench in PATH, RMIG_RDMA_DEV and RMIG_RDMA_ADDR set by tests/softroce/run.
# shellcheck shell=bash
failures=0
as=() # what a run of the bench is started by, if by anything
scratch=$(mktemp -d)
# shellcheck disable=SC2064
trap "rm -rf '$scratch'" EXIT

pass()
{
    echo "PASS: $1"
}

# fail NAME REASON: the case failed; its output follows
fail()
{
    failures=$((failures + 1))
    echo "FAIL: $1: $2"
    sed 's/^/    /' "$scratch/out" 2>/dev/null | tail -n 20
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

# holds NAME CONDITION...: [ CONDITION ] decides the case
holds()
{
    local name=$1
    shift
    if [ "$@" ]; then pass "$name"; else fail "$name" "not so: $*"; fi
}

# link_bw: what ib_write_bw reaches on this link with 64 KiB writes, in bytes per second; 0 if it failed
link_bw()
{
    local server bw='' try
    ib_write_bw -d "$RMIG_RDMA_DEV" -x 1 -s 65536 -F -D 2 -p 18599 >/dev/null 2>&1 &
    server=$!
    for try in $(seq 30); do # a slow host takes its time to start the server
        bw=$(ib_write_bw -d "$RMIG_RDMA_DEV" -x 1 -s 65536 -F -D 2 -p 18599 "$RMIG_RDMA_ADDR" 2>/dev/null |
            awk '$1 == 65536 { printf "%.0f\n", $4 * 1048576 }')
        [ -z "$bw" ] || break
        sleep "0.$((try % 5 + 3))"
    done
    [ -n "$bw" ] || kill "$server"
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
    rdma resource show "$RMIG_RDMA_DEV" 2>/dev/null |
        awk '{ for (i = 1; i < NF; i++) if ($i == "qp" || $i == "mr" || $i == "cm_id") n += $(i + 1) }
            END { print n + 0 }'
}

# finish: the exit status of the whole
finish()
{
    exit $((failures > 0))
}
