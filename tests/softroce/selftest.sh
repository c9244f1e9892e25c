#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# selftest.sh -- the lane keeps what README.md says of it; as TAP. Four boots and more: a minute.
# shellcheck disable=SC2016 # the words of a command are for its own shell
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-softroce-test.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$work/tmp" "$work/a folder, odd" "$work/empty"
export TMPDIR=$work/tmp
n=0 failed=0

# check WHAT COMMAND...: one case, by COMMAND's status
check()
{
    local what=$1
    shift
    n=$((n + 1))
    if "$@"; then
        echo "ok $n - $what"
    else
        failed=$((failed + 1))
        echo "not ok $n - $what"
        tail -qn 30 "$work/out" "$work/err" 2>/dev/null | sed 's/^/# /'
    fi
}

has()
{
    grep -qe "$2" "$work/$1"
}

# lane ARGUMENT...: sets $status; the streams are in out and err
lane()
{
    status=0
    "$here/run" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# No file under TMPDIR, no process that names it.
nothing_left()
{
    local p left=''
    for p in /proc/[0-9]*; do
        [ "${p#/proc/}" = $$ ] || ! grep -qsF "$TMPDIR/softroce." "$p/cmdline" || left+=" ${p#/proc/}"
    done
    left+=$(find "$TMPDIR" -mindepth 1)
    [ -z "$left" ] || { echo "# left: $left"; false; }
}

if ! "$here/run" --prepare 2>"$work/err"; then
    printf '1..1\nok 1 - the soft-RoCE lane # SKIP %s\n' "$(tail -n 1 "$work/err")"
    printf '\n***** SKIPPED: the soft-RoCE lane: %s *****\n\n' "$(tail -n 1 "$work/err")" >&2
    exit 0
fi

lane --nonsense -- true
check "an unknown option: status 125, and the usage" test "$status" = 125 -a -s "$work/err"
XDG_CACHE_HOME=$work/empty http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 lane -- true
check "no kernel to be had: status 125" test "$status" = 125
check "no kernel to be had: the last line says why" has err '^softroce: the Debian kernel cannot be downloaded: .'

cd "$work/a folder, odd" || exit 1
MINE='it'\''s "quoted" $HOME' lane --env=MINE --env=THEIRS=x --out="$work/out, dir" --keep-log="$work/log" -- bash -c '
    echo "to stdout $1"
    echo "to stderr" >/dev/stderr
    echo "$PWD|$MINE|$THEIRS|$HOST_INDEX|$SELF|$PEER|$SELF6|$DEVICE|$NETDEV|$(ulimit -l)"
    : >here.x && : >/tmp/lane-selftest.x && echo writable
    echo result >"$2/file"
    rdma link
    exit 37' bash 'a  b' "$work/out, dir"
check "the command's status is the lane's" test "$status" = 37
check "standard output passes, words are whole" has out '^to stdout a  b$'
check "standard error passes" has err '^to stderr$'
check "the streams stay apart" test "$(grep -c 'to stderr' "$work/out")$(grep -c 'to stdout' "$work/err")" = 00
check "folder, environment and limits" has out \
    "a folder, odd|it's \"quoted\" \$HOME|x|0|10.10.10.1|10.10.10.1|fd00:10::1|rxe0|dummy0|unlimited\$"
check "rxe0 is active" has out 'rxe0/1 state ACTIVE'
check "all files can be written" has out '^writable$'
check "what is written stays inside" test ! -e here.x -a ! -e /tmp/lane-selftest.x
check "--out brings a file out" test "$(cat "$work/out, dir/file")" = result
check "--keep-log keeps the console" test -e "$work/log"
cd /

began=$SECONDS
lane --timeout=2 -- sleep 600
check "the timeout: status 124" test "$status" = 124
check "the timeout: in time" test $((SECONDS - began)) -lt 150
check "the timeout: who hung is on standard error" has err 'sleep 600'

"$here/run" -- sh -c 'echo here; sleep 600' >"$work/out" 2>"$work/err" &
pid=$!
for _ in $(seq 1200); do
    if grep -q here "$work/out" || ! kill -0 $pid 2>/dev/null; then break; fi
    sleep 0.1
done
check "output passes while the command runs" has out '^here$'
kill -TERM $pid
wait $pid
check "SIGTERM: status 143" test $? = 143

lane --hosts=2 --out="$work/meet" -- bash -c '
    ping -c 1 -w 20 $PEER >/dev/null && echo "$SELF sees $PEER"
    : >"$1/done$HOST_INDEX"
    for _ in $(seq 600); do [ ! -e "$1/done$((1 - HOST_INDEX))" ] || break; sleep 0.1; done
    [ $HOST_INDEX = 1 ] || exit 0
    echo 9 >/run/lane/die
    sleep 60' bash "$work/meet"
check "two hosts: the first status that is not 0, from a host that died on request" test "$status" = 9
check "two hosts: both see the other one" test \
    "$(grep -cE '^(0: 10.10.10.1 sees 10.10.10.2|1: 10.10.10.2 sees 10.10.10.1)$' "$work/out")" = 2
check "nothing is left behind" nothing_left
echo "1..$n"
[ "$failed" = 0 ]
