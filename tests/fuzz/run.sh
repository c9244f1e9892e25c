#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh [--seeds] [SECONDS [TARGET...]] -- builds the fuzz targets with clang and runs each that long, as many
# at a time as there are processors, from the seeds in corpus/TARGET/. Every tests/fuzz/fuzz_*.c is a target
# that the makefile builds. Prints one line for each: PASS, FAIL (the input that did it is named) or SKIP; and
# how many inputs that were.
#
# --seeds: then has those inputs in corpus/TARGET/ that reach most, beside the seeds that have a name.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*/*}
seeds=
[ "${1:-}" != --seeds ] || { seeds=1; shift; }
seconds=${1:-60}
[ $# -eq 0 ] || shift
# One allocation that is larger is a finding (a target may say another malloc_limit_mb), and so is an
# input that takes longer. No input is longer (a target may say another max_len).
malloc_mb=2
input_seconds=10
input_bytes=65536
# So many seeds a target, of so many bytes at most.
seeds_most=60
seed_bytes=4096
jobs=$(nproc)
# Memory that is used again soon needs no page faults.
export ASAN_OPTIONS="quarantine_size_mb=1:allocator_release_to_os_interval_ms=-1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

if ! command -v clang >/dev/null || ! command -v clang++ >/dev/null; then
    echo "SKIP: fuzzing needs clang (Debian: apt-get install clang)"
    exit 77
fi
if [ $# -eq 0 ]; then
    for source in "$here"/fuzz_*.c; do
        # what fuzz targets share is no target
        grep -q '^FUZZ_TARGET' "$source" || continue
        target=${source##*/}
        set -- "$@" "${target%.c}"
    done
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-fuzz.XXXXXX")
trap 'rm -rf "$work/build"' EXIT
mkdir "$work/build"
[ -x "$top/configure" ] || (cd "$top" && ./autogen.sh >"$work/autogen.log" 2>&1)
(
    cd "$work/build"
    # libtool and configure run in half the time
    shell=/bin/sh
    [ ! -x /bin/dash ] || shell=/bin/dash
    CONFIG_SHELL=$shell "$shell" "$top/configure" --quiet --disable-dependency-tracking --enable-fuzzers \
        CC=clang CXX=clang++ CFLAGS='-g -O1' --enable-sanitizers=address,undefined,fuzzer-no-link
    # shellcheck disable=SC2046 # names of our own, no blanks in them
    make -s -j"$jobs" $(printf 'tests/fuzz/%s ' "$@")
) >"$work/build.log" 2>&1 || {
    cat "$work/build.log"
    echo "FAIL: the fuzz targets do not build"
    exit 1
}

# said_by TARGET WORD: the number that its source names so, or nothing
said_by()
{
    sed -n "s/.*$2=\([0-9]*\).*/\1/p" "$here/$1.c"
}

# take_seeds TARGET GROWN: from what has grown; their names are sums of what they hold
take_seeds()
{
    chosen=$work/build/chosen-$1
    mkdir -p "$chosen"
    cp "$corpus"/* "$2"
    find "$corpus" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
    find "$corpus" -type f -exec cp {} "$chosen" \;
    left=$((seeds_most - $(find "$chosen" -type f | wc -l)))
    touch "$work/build/named-$1"
    "$work/build/tests/fuzz/$1" -set_cover_merge=1 -max_len=$seed_bytes "$chosen" "$2" >>"$work/$1.log" 2>&1
    # the first reach most
    find "$chosen" -type f -newer "$work/build/named-$1" -printf '%T@ %f\n' | sort -n | head -n "$left" |
        while read -r _ seed; do cp "$chosen/$seed" "$corpus"; done
    echo "$(find "$corpus" -type f | wc -l) seeds in $corpus"
}

# run_target TARGET: every seed once, whatever SECONDS is; then what is new
run_target()
{
    corpus=$here/corpus/$1
    found=$work/found-$1
    grown=$work/build/corpus-$1
    limit_mb=$(said_by "$1" malloc_limit_mb)
    max_len=$(said_by "$1" max_len)
    mkdir -p "$found" "$grown"
    if [ ! -d "$corpus" ]; then
        echo "FAIL: $1: no seeds in tests/fuzz/corpus/$1"
        return
    fi
    if "$work/build/tests/fuzz/$1" -malloc_limit_mb="${limit_mb:-$malloc_mb}" -timeout=$input_seconds \
        -artifact_prefix="$found/" "$corpus"/* >"$work/$1.log" 2>&1 &&
        "$work/build/tests/fuzz/$1" -malloc_limit_mb="${limit_mb:-$malloc_mb}" -timeout=$input_seconds \
            -max_total_time="$seconds" -max_len="${max_len:-$input_bytes}" -print_final_stats=1 \
            -artifact_prefix="$found/" "$grown" "$corpus" >>"$work/$1.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1.log")
        echo "PASS: $1: ${runs:-no} inputs in $seconds s"
        [ -z "$seeds" ] || take_seeds "$1" "$grown"
    else
        tail -n 40 "$work/$1.log"
        echo "FAIL: $1: the input is in $found, the log is $work/$1.log"
    fi
}

running=0
for target; do
    run_target "$target" >"$work/said-$target" &
    running=$((running + 1))
    [ $((running % jobs)) -eq 0 ] || [ $running -eq $# ] || continue
    wait
    for said in "$work"/said-*; do
        cat "$said"
        cat "$said" >>"$work/said"
        rm "$said"
    done
done
echo "$(awk '/^PASS: / { all += $3 } END { printf "%d", all }' "$work/said") inputs in all"
! grep -q '^FAIL: ' "$work/said" || exit 1
rm -rf "$work"
