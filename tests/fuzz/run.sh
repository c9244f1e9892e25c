#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run.sh [SECONDS [TARGET...]] -- builds the fuzz targets with clang and runs each that long, from the
# seeds in corpus/TARGET/. Every tests/fuzz/fuzz_*.c is a target that the makefile builds. Prints one
# line for each: PASS, FAIL (the input that did it is named) or SKIP.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*/*}
seconds=${1:-60}
[ $# -eq 0 ] || shift
# One allocation that is larger is a finding (a target may say another malloc_limit_mb), and so is an
# input that takes longer.
malloc_mb=2
input_seconds=10

if ! command -v clang >/dev/null || ! command -v clang++ >/dev/null; then
    echo "SKIP: fuzzing needs clang (Debian: apt-get install clang)"
    exit 77
fi
if [ $# -eq 0 ]; then
    for source in "$here"/fuzz_*.c; do
        # what fuzz targets share is no target
        grep -q LLVMFuzzerTestOneInput "$source" || continue
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
    "$top/configure" --quiet --enable-fuzzers CC=clang CXX=clang++ CFLAGS='-g -O1' \
        --enable-sanitizers=address,undefined,fuzzer-no-link
    for target; do
        make -s -j"$(nproc)" "tests/fuzz/$target"
    done
) >"$work/build.log" 2>&1 || {
    cat "$work/build.log"
    echo "FAIL: the fuzz targets do not build"
    exit 1
}

status=0
for target; do
    corpus=$here/corpus/$target
    found=$work/found-$target
    grown=$work/build/corpus-$target
    mkdir -p "$found" "$grown"
    if [ ! -d "$corpus" ]; then
        echo "FAIL: $target: no seeds in tests/fuzz/corpus/$target"
        status=1
        continue
    fi
    limit_mb=$(sed -n 's/.*malloc_limit_mb=\([0-9]*\).*/\1/p' "$here/$target.c")
    limit_mb=${limit_mb:-$malloc_mb}
    # every seed once, whatever SECONDS is; then what is new
    if "$work/build/tests/fuzz/$target" -malloc_limit_mb="$limit_mb" -timeout=$input_seconds \
        -artifact_prefix="$found/" "$corpus"/* >"$work/$target.log" 2>&1 &&
        "$work/build/tests/fuzz/$target" -malloc_limit_mb="$limit_mb" -timeout=$input_seconds \
            -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 \
            -artifact_prefix="$found/" "$grown" "$corpus" >>"$work/$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
        echo "PASS: $target: ${runs:-no} inputs in $seconds s"
    else
        tail -n 40 "$work/$target.log"
        echo "FAIL: $target: the input is in $found, the log is $work/$target.log"
        status=1
    fi
done
[ $status -ne 0 ] || rm -rf "$work"
exit $status
