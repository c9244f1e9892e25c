#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# test-qemu-file.sh -- a guest of stock QEMU goes through our load and save drivers and runs on in QEMU:
# the RAM is the same to the byte, the device state is accepted, the run state is kept.
set -u
build=${abs_top_builddir:-$(cd "$(dirname "$0")/../.." && pwd)}
copy=$build/tests/interop/qemu_copy
qemu='qemu-system-x86_64'
machines='q35 microvm isapc'
deadline_s=60

command -v $qemu >/dev/null || { echo "skipped: no $qemu here (Debian: qemu-system-x86)"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-qemu.XXXXXX")
pid=
# shellcheck disable=SC2317 # called by the trap
cleanup()
{
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

die()
{
    echo "FAIL: $*"
    exit 1
}

# start_qemu MACHINE RAM ARGUMENT... -- its memory in the file RAM, its monitor on the descriptors of a coprocess
start_qemu()
{
    local machine=$1 ram=$2
    shift 2
    coproc qemu_io { exec $qemu -machine "$machine",accel=tcg,memory-backend=mem -m 32 -nodefaults \
        -object memory-backend-file,id=mem,size=32M,mem-path="$ram",share=on -display none -vga none \
        -qmp stdio "$@" 2>"$work/qemu.err"; }
    # shellcheck disable=SC2154 # set by coproc
    pid=$qemu_io_PID
    say '{"execute":"qmp_capabilities"}'
    await '"return"'
}

say()
{
    # shellcheck disable=SC2154 # set by coproc
    printf '%s\n' "$1" >&"${qemu_io[1]}"
}

# await PATTERN -- read answers until one matches; it is left in $line
await()
{
    while IFS= read -r -t $deadline_s line <&"${qemu_io[0]}"; do
        case $line in
        *'"error"'*) die "QEMU says $line" ;;
        esac
        [[ $line =~ $1 ]] && return 0
    done
    die "QEMU did not say $1 in $deadline_s s: $(cat "$work/qemu.err")"
}

# status PATTERN QUERY -- ask until the answer matches
status()
{
    local end=$((SECONDS + deadline_s))
    while [ $SECONDS -lt $end ]; do
        say "{\"execute\":\"$2\"}"
        await '"return": \{.*"status"'
        [[ $line =~ $1 ]] && return 0
        [[ $line =~ '"failed"' ]] && die "QEMU: $line $(cat "$work/qemu.err")"
        sleep 0.1
    done
    die "not $1 in $deadline_s s: $line"
}

migrate_to()
{
    say "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >$1\"}}"
    status '"status": "completed"' query-migrate
}

quit_qemu()
{
    say '{"execute":"quit"}'
    wait "$pid" 2>/dev/null
    pid=
}

# one_move MACHINE STOPPED -- out of one QEMU, through our drivers, into another
one_move()
{
    rm -f "$work/ram.a" "$work/ram.b"
    start_qemu "$1" "$work/ram.a"
    sleep 1 # its firmware has filled some memory by then; how much does not matter
    if [ "$2" = stopped ]; then
        say '{"execute":"stop"}'
        status '"paused"' query-status
    fi
    migrate_to "$work/a"
    quit_qemu
    "$copy" copy "$work/a" "$work/b" || die "$1: our drivers do not take QEMU's stream"
    start_qemu "$1" "$work/ram.b" -incoming "exec:cat $work/b"
    if [ "$2" = stopped ]; then
        status '"paused"' query-status
        cmp "$work/ram.a" "$work/ram.b" || die "$1: its memory is not what it was"
        migrate_to "$work/c"
        "$copy" compare "$work/a" "$work/c" || die "$1: a block of the RAM is not what it was"
        say '{"execute":"cont"}'
        status '"running"' query-status
    else
        status '"running"' query-status
    fi
    quit_qemu
    echo "fine: $1, $2"
}

for machine in $machines; do
    one_move "$machine" stopped
done
one_move q35 running
