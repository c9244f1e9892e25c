#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-guide.sh -- the program of docs/hypervisor-guide.md moves its guest by tcp, and by rdma or what
# comes instead; what the guide shows of it is in it.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
program=$top/docs/examples/tiny_vmm.c
guide=$top/docs/hypervisor-guide.md

[ "$(wc -l <"$program")" -lt 120 ] || fault "the program has 120 lines or more"
awk '/^```/ { shown = $0 == "```c"; next } shown && NF' "$guide" >"$scratch/shown"
[ -s "$scratch/shown" ] || fault "the guide shows nothing"
while IFS= read -r line; do
    grep -qxF -e "$line" "$program" || fault "the guide shows what the program has not: $line"
done <"$scratch/shown"

# tiny ARG... -- the program
tiny()
{
    # shellcheck disable=SC2154 # abs_top_* come from make check
    "$abs_top_builddir/run" "$abs_top_builddir/docs/examples/tiny_vmm" "$@"
}

socket=$scratch/socket
tiny --incoming "unix:$socket" >"$scratch/dest" 2>"$scratch/dest.err" &
dest=$!
pids="$pids $dest"
wait_for()
{
    tries=200
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { fault "never: $*"; return; }
        sleep 0.05
    done
}
wait_for test -S "$socket"
tiny "unix:$socket" >"$scratch/source" || fault "the source failed"
wait "$dest" || fault "the destination failed: $(cat "$scratch/dest.err")"
paused=$(sed -n 's/^paused at //p' "$scratch/source")
runs=$(sed -n 's/^runs from //p' "$scratch/dest")
[ "${paused:-0}" -gt 1000 ] || fault "the guest did not count: $(cat "$scratch/source")"
[ "$paused" = "$runs" ] || fault "it was paused at $paused and went on from $runs"

# nobody there: it says so, and the guest went on
status=0
tiny "unix:$scratch/none" >"$scratch/source" 2>"$scratch/source.err" || status=$?
[ "$status" -eq 1 ] || fault "a move to nobody ended with $status"
said "$scratch/source.err" '^tiny_vmm: .*none'
! grep -q paused "$scratch/source" || fault "the guest was paused for nothing"
verdict "the guide's program moves its guest"
