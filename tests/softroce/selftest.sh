#!/bin/bash
# selftest.sh -- shows that the contract of README.md holds on this machine, lane by lane
# SPDX-License-Identifier: BSD-3-Clause
# usage: selftest.sh [guest|uml]     exit status: 0 all passed, 1 something failed, 77 the lane cannot run here
# shellcheck disable=SC2016  # the words of a COMMAND are for its own shell
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
lane=${1:-guest}
run=("$here/run" "--lane=$lane")
passed=0 failed=0

skip()
{
    printf 'skipped: %s\n' "$*"
    exit 77
}

# check WHAT COMMAND...: one check, by COMMAND's status
check()
{
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok: %s\n' "$what"
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$what"
    fi
}

has()
{
    grep -q -- "$2" "$1" || { sed 's/^/    | /' "$1"; false; }
}

lacks()
{
    ! grep -q -- "$2" "$1" || { sed 's/^/    | /' "$1"; false; }
}

# Nothing of the runs under $TMPDIR is left: no file, no process that names it.
nothing_left()
{
    local left
    left=$(find "$TMPDIR" -mindepth 1; pgrep -f -a "$TMPDIR/softroce")
    [ -z "$left" ] || { printf '    | %s\n' "$left"; false; }
}

usage_errors()
{
    local option
    for option in --lane=moon --hosts=3 --timeout=x --mem=1 --nonsense true --out=; do
        "${run[@]}" "$option" -- true 2>"$work/usage"
        check "bad usage $option: exit 2 and a message" test "$?" = 2 -a -s "$work/usage"
    done
    "${run[@]}" 2>/dev/null
    check "no COMMAND: exit 2" test $? = 2
}

# What COMMAND sees and hands back.
contract()
{
    cd "$work/a folder, odd" || exit 1
    RMIG_MINE='it'\''s "quoted" $HOME' "${run[@]}" --out="$work/out, dir" --kernel-log="$work/klog" -- bash -c '
        echo "to stdout $1"
        echo "to stderr" >/dev/stderr
        echo "again" >/dev/stdout
        printf "%s|%s|%s|%s\n" "$PWD" "$RMIG_MINE" "$RMIG_RDMA_LANE" "$RMIG_RDMA_ROLE"
        test -d "$TMPDIR" && : >"$TMPDIR/x" && : >/tmp/selftest.x && : >./here.x && echo writable
        echo result >"$RMIG_OUT/file"
        ulimit -l
        sleep 1000 &
        exit 37' bash 'a  b' >"$work/c.out" 2>"$work/c.err"
    echo $? >"$work/c.status"
}

contract_checks()
{
    check "exit status passes through" test "$(cat "$work/c.status")" = 37
    check "stdout passes through, words whole" has "$work/c.out" '^to stdout a  b$'
    check "stdout can be opened again" has "$work/c.out" '^again$'
    check "stderr is apart from stdout" lacks "$work/c.out" 'to stderr'
    check "stderr passes through" has "$work/c.err" '^to stderr$'
    check "no kernel noise on stdout" lacks "$work/c.out" '^\[ '
    check "kernel log on failure" has "$work/c.err" 'softroce: COMMAND starts'
    check "folder and environment carry over" \
        has "$work/c.out" "a folder, odd|it's \"quoted\" \$HOME|$lane|0\$"
    check "memory lock is unlimited" has "$work/c.out" '^unlimited$'
    check "TMPDIR, /tmp and the folder are writable" has "$work/c.out" '^writable$'
    check "a write to the host's files stays inside" test ! -e "$work/a folder, odd/here.x" -a ! -e /tmp/selftest.x
    check "--out brings a file out" has "$work/out, dir/file" '^result$'
    check "--kernel-log keeps the log" has "$work/klog" 'Linux version'
}

# The verbs and both kinds of addresses.
verbs()
{
    "${run[@]}" -- bash -c '
        ib_write_bw -F -d $RMIG_RDMA_DEV -x 1 -s 65536 -n 200 >/dev/null 2>&1 &
        sleep 1
        ib_write_bw -F -d $RMIG_RDMA_DEV -x 1 -s 65536 -n 200 $RMIG_RDMA_ADDR | grep "^ 65536 *200 "
        echo "write $?"
        wait
        for a in $RMIG_RDMA_ADDR $RMIG_RDMA_ADDR6; do
            rping -s -a $a -C 2 &
            sleep 1
            rping -c -a $a -C 2 -v | grep -c "ping data"
            wait $!
            echo "rping $a $?"
        done' >"$work/v.out" 2>"$work/v.err"
    echo $? >"$work/v.status"
}

verbs_checks()
{
    check "a run beside another one" test "$(cat "$work/v.status")" = 0
    check "RDMA writes" has "$work/v.out" '^write 0$'
    check "rdma_cm over IPv4" has "$work/v.out" '^rping [0-9.]* 0$'
    check "rdma_cm over IPv6" has "$work/v.out" '^rping [0-9a-f]*:[0-9a-f:]* 0$'
    check "no kernel log on success" lacks "$work/v.err" 'kernel log'
}

time_limit()
{
    local begin=$SECONDS
    "${run[@]}" --timeout=2 -- sleep 600 >"$work/t.out" 2>"$work/t.err"
    echo $? >"$work/t.status"
    echo $((SECONDS - begin)) >"$work/t.seconds"
}

time_limit_checks()
{
    check "time limit: exit 124" test "$(cat "$work/t.status")" = 124
    check "time limit: ends soon" test "$(cat "$work/t.seconds")" -lt 60
    check "time limit: tells what hung" has "$work/t.err" 'sleep 600'
}

two_hosts()
{
    "${run[@]}" --hosts=2 -- bash -c '
        softroce barrier begin
        if [ $RMIG_RDMA_ROLE = 0 ]; then
            rping -s -a $RMIG_RDMA_ADDR6 -C 2 & sleep 1
            softroce put port listening
            wait $!; echo "server $?"
        else
            softroce get port
            rping -c -a $RMIG_RDMA_PEER6 -C 2; echo "client $?"
            exit 5
        fi' >"$work/2.out" 2>"$work/2.err"
    check "two hosts: first non-zero status" test $? = 5
    check "two hosts: rdma_cm between them" has "$work/2.out" '^1: client 0$'
    check "two hosts: both prefixed" has "$work/2.out" '^0: server 0$'
    check "two hosts: a value published" has "$work/2.out" '^1: listening$'
}

host_dies()
{
    "${run[@]}" --hosts=2 -- bash -c '
        if [ $RMIG_RDMA_ROLE = 1 ]; then softroce die; fi
        busybox ping -c 1 -W 1 $RMIG_RDMA_PEER >/dev/null && sleep 2
        busybox ping -c 1 -W 1 $RMIG_RDMA_PEER >/dev/null || echo "peer gone"' >"$work/d.out" 2>"$work/d.err"
    check "a host dies on request: exit 0" test $? = 0
    check "a host dies on request: the other sees it" has "$work/d.out" '^0: peer gone$'
}

interrupted()
{
    local pid tries=0
    : >"$work/i.out"
    "${run[@]}" -- bash -c 'echo here; sleep 600' >"$work/i.out" 2>"$work/i.err" &
    pid=$!
    until grep -q here "$work/i.out" || [ $((tries += 1)) -gt 300 ]; do sleep 0.2; done
    kill -TERM $pid
    wait $pid
    check "TERM: exit 143" test $? = 143
    check "output passes through live" has "$work/i.out" '^here$'
}

# The harness's own failures are no status of COMMAND.
harness_fails()
{
    SOFTROCE_CACHE=/proc/no "${run[@]}" -- true 2>"$work/f.err"
    check "no cache folder: exit 125 and a message" test $? = 125 -a -s "$work/f.err"
    [ "$lane" = guest ] || return 0
    mkdir "$work/bin"
    printf '#!/bin/sh\necho no such machine >&2\nexit 1\n' >"$work/bin/qemu-system-x86_64"
    chmod 755 "$work/bin/qemu-system-x86_64"
    PATH=$work/bin:$PATH "${run[@]}" -- true 2>"$work/f.err"
    check "the guest does not start: exit 125" test $? = 125
    check "the guest does not start: the reason" has "$work/f.err" 'no such machine'
}

[ "$(uname -m)" = x86_64 ] || skip "not x86-64"
for program in qemu-system-x86_64 rping ib_write_bw rdma ip; do
    PATH=$PATH:/usr/sbin:/sbin command -v $program >/dev/null || skip "no $program"
done
work=$(mktemp -d "${TMPDIR:-/tmp}/selftest.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/tmp" "$work/a folder, odd"
export TMPDIR=$work/tmp
"${run[@]}" --prepare || { echo "the lane $lane cannot be prepared"; exit 1; }

usage_errors
harness_fails
(contract) &
pids=($!)
(verbs) &
pids+=($!)
wait "${pids[@]}"
contract_checks
verbs_checks
(time_limit) &
pids=($!)
interrupted
wait "${pids[@]}"
time_limit_checks
two_hosts
host_dies
check "nothing is left behind" nothing_left
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
