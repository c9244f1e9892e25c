#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# full.sh -- the tests that take longer than every change can wait for, in parts
# shellcheck disable=SC2317 # the parts are called by their names
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*}
# shellcheck source=tests/lib/steps.sh
. "$here/lib/steps.sh"
# shellcheck source=tests/mutants.sh
. "$here/mutants.sh"
# shellcheck source=tests/mutants_rows.sh
. "$here/mutants_rows.sh"

# name, minutes on two cores, and what it is
parts='
rxe            8 every test that needs RDMA, in one guest with soft-RoCE
rxe-hosts      4 two guests as two hosts: lost packets, a link cut, a host without power
lane           3 the lane itself: tests/softroce/run
slow           8 the unit tests that wait or try much, and the limits of time that are promised
leaks          6 the unit tests with the address sanitizer, leaks and use after return too, but for those of rdma
leaks-rdma     8 the unit tests of rdma likewise
tools          5 the tests of the tools and of the fabric with the address sanitizer
valgrind       5 the unit tests under valgrind, but for those of rdma
valgrind-rdma  8 the unit tests of rdma under valgrind
tsan           6 the unit tests with the thread sanitizer
faults         7 each call, completion, event and message of RDMA that can fail does, with sanitizers: what is told
soak           8 500 moves that something happens to, at random: an end killed, stopped, cancelled, a link cut
speed          8 goodput beside that of a stock QEMU, by TCP and RDMA, as ratios; only what arrived is judged
mutants        8 a fault planted in each layer: a test of the gate goes red
mutants-rows   7 a fault for every row of docs/stream-behaviours.md: its named test goes red
bench-stream   5 what the streams cost, beside memcpy, stdio, writev and iperf3
bench-move     7 what a move of 4 GiB over TCP costs, beside a stock QEMU
bench-prealloc 7 the same into memory that is there before the move
bench-rdma     8 what a move over RDMA costs: beside raw loops, until its first page, and to cancel
bench-rdma-link 8 the same beside the rate of a link
bench-rdma-qemu 7 what it costs beside a stock QEMU
bench-rdma-zero 6 what pages without content cost: zero pages, holes
bench-rdma-size 3 what grows with the RAM: memory, messages, instructions
dirty-rate     5 guests that write at 10 to 150 % of a link, over RDMA and TCP: converged or given up, and whole
without-rdma   4 the build and make check where there is no libibverbs
clang          7 the build and make check with clang, memory filled with junk before it is used
coverage       6 lines that the unit tests reach: 90 % of stream/ hooks/ migrate/ rdma/, 95 % of the first two each, 90 % of rdma/
dist           5 make distcheck; every file is in the tarball; install, and a program that uses it
fuzz-wire      7 the fuzz targets of what a peer says: control messages, both ends of a move, inspect, the description
fuzz-stream    8 the fuzz targets of streams, buffers, URIs, RAM images and the format, for a minute each
hypervisor     3 moves of guests that run, on real KVM
interop        8 guests of a stock QEMU through rmig, over the RDMA of tests/fabric, tcp, unix and exec
interop-full   5 guests of two NUMA nodes with disks, NICs and VGA
interop-big    8 guests with 3 GiB, some of it behind 4 GiB
interop-many   6 the same 50 times in a row each way, and what is left behind
interop-kills  7 either side killed at 20 random instants each
interop-rxe    8 moves of guests over RDMA of the kernel, in a guest with soft-RoCE
bench-interop  5 sending to a stock QEMU, beside its own sending
'

usage()
{
    cat <<'END'
usage: tests/full.sh [--keep] PART...
       tests/full.sh --list

Runs the parts named, each in builds of its own; the last line is "N passed, N failed, N skipped". As root it
installs the packages that are missing.

  --list   the parts, with the minutes they take on two cores
  --keep   keep the build trees
  --help   this text

Environment: RMIG_TEST_SOAK_SEED  the first seed of soak (default 1; each run takes 500)
             RMIG_TEST_FACTOR   multiplies the counts and times of what counts something (default 1)
END
}

# field PART: its line of the table, if there is one
field()
{
    echo "$parts" | awk -v name="$1" '$1 == name'
}

# the rest of the part makes no sense without it
must()
{
    "$@" || closing
}

# softroce SCRIPT: of tests/softroce, on the build plain, if it is about one
softroce()
{
    abs_top_builddir=$work/plain tap softroce "$work/src/tests/softroce/$1"
}

part_rxe()
{
    must build plain --enable-werror CFLAGS='-O1 -g1'
    softroce suite.sh
}

part_rxe_hosts()
{
    must build_product plain --enable-werror CFLAGS='-O1 -g1'
    softroce hosts.sh
}

part_lane()
{
    softroce selftest.sh
}

# What is promised is checked here, without slack, and a test at a time.
part_slow()
{
    must build plain --enable-werror CFLAGS='-O2 -g1'
    RMIG_LINT_THOROUGH=1 make_check plain check-lint
    unset RMIG_TEST_SLACK_MS CK_EXCLUDE_TAGS
    tasks=1 RMIG_MUTATIONS=$((1000000 * factor)) make_check plain check-unit
    tasks=1 make_check plain check-slow
}

# leaks TESTS: by the makefile's name of them
leaks()
{
    must build sanitized --enable-sanitizers=address,undefined CFLAGS='-O1 -g1'
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:handle_segv=0 \
        UBSAN_OPTIONS=print_stacktrace=1 RMIG_MUTATIONS=1000 make_check sanitized check "TESTS=\$($1)"
}

part_leaks()
{
    leaks CORE_TESTS
}

part_tools()
{
    must build sanitized --enable-sanitizers=address,undefined CFLAGS='-O1 -g1'
    # a fault stays a signal, as tests of signal handlers want it
    ASAN_OPTIONS=strict_string_checks=1:handle_segv=0 UBSAN_OPTIONS=print_stacktrace=1 \
        make_check sanitized check-tools
}

part_leaks_rdma()
{
    leaks RDMA_TESTS
}

# The kernel is asked with mlock2(2), which valgrind does not know. The framework's limits are stretched.
under_valgrind()
{
    must build plain --enable-werror CFLAGS='-O1 -g'
    CK_EXCLUDE_TAGS='memlock speed' CK_TIMEOUT_MULTIPLIER=20 RMIG_MUTATIONS=$((2000 * factor)) RMIG_FAULT_STEP=20 \
        make_check plain check-valgrind TEST_DEADLINE_S=500 "$@"
}

part_valgrind()
{
    # shellcheck disable=SC2016 # for make
    under_valgrind VALGRIND_TESTS='$(CORE_TESTS)'
}

part_valgrind_rdma()
{
    # shellcheck disable=SC2016 # for make
    under_valgrind VALGRIND_TESTS='$(RDMA_TESTS)'
}

part_tsan()
{
    # Kernels that spread mappings widely need the spreading off for this sanitizer.
    local plain=
    ! setarch -R true 2>/dev/null || plain='setarch -R'
    must build tsan --enable-sanitizers=thread CFLAGS='-O1 -g'
    # The thread that glibc's getaddrinfo_a makes behind the sanitizer's back crashes in it.
    export CK_EXCLUDE_TAGS='resolve lookup connecting speed' CK_TIMEOUT_MULTIPLIER=10
    export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:handle_segv=0:suppressions=$work/src/tests/tsan.supp"
    RMIG_MUTATIONS=$((10000 * factor)) RMIG_FAULT_STEP=5 make_check tsan check-unit LOG_COMPILER="$work/src/tests/lib/deadline --each 300 $plain"
}

# Every call of rdma/verbs.c, completion status, event, stall and cut; make check has a sample of it.
part_faults()
{
    local tests="tests/unit/check_rdma_sites tests/unit/check_rdma_amid tests/unit/check_rdma_faults tests/fabric/semantics"
    [ -x "$work/src/configure" ] || must step "autogen.sh" "$work/src/autogen.sh"
    must step "configure" configure_in "$work/sanitized" --enable-sanitizers=address,undefined CFLAGS='-O0 -g1'
    # shellcheck disable=SC2086 # names; no more than is needed: sanitizers take their time
    must step "build what it needs" make -s -C "$work/sanitized" "-j$jobs" $tests \
        tests/fabric/librdmafabric.la rdma/rmig-transport-rdma.la tools/rdma_migrate_bench
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:handle_segv=0
    export UBSAN_OPTIONS=print_stacktrace=1
    RMIG_RDMA_FAULTS_ALL=1 RMIG_FAULT_STEP=20 make_check sanitized check-TESTS "TESTS=$tests"
    grep -h '^# rdma' "$work"/sanitized/tests/unit/check_rdma_*.log
    abs_top_srcdir=$work/src abs_top_builddir=$work/sanitized tap faults-fallback \
        "$work/src/tests/tools/faults-fallback"
}

# so many fit a part; four parts with the seeds 1, 501, 1001, 1501 are 2,000
soak_cases=500

part_soak()
{
    local out=$work/soak.out
    must build_product plain --enable-werror CFLAGS='-O1 -g1'
    must step "build the fabric" make -s -C "$work/plain" "-j$jobs" tests/fabric/librdmafabric.la
    "$work/src/tests/soak/run" --build="$work/plain" --cases=$((soak_cases * factor)) --jobs=6 \
        --seed="${RMIG_TEST_SOAK_SEED:-1}" 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/soak/run"
}

part_speed()
{
    local rc
    must build fast --enable-werror CFLAGS='-O2 -g1'
    "$work/src/tests/bench/vs-qemu" --size=1024 --build="$work/fast"
    rc=$?
    if [ "$rc" -eq 77 ]; then
        skip "tests/bench/vs-qemu" "there is no QEMU"
    else
        step "tests/bench/vs-qemu: all moves arrived whole" [ "$rc" -eq 0 ]
    fi
}

# bench NAME WORK...: of tests/bench/NAME
bench()
{
    local name=$1 out=$work/bench.out rc
    shift
    must build_product fast --enable-werror CFLAGS='-O2 -g1'
    must step "the benchmarks are built" make -s -C "$work/fast" "-j$jobs" tests/bench/cancel_bench \
        tests/bench/rdma_bench tests/bench/stream_bench tests/fabric/librdmafabric.la
    "$work/src/tests/bench/$name" --build="$work/fast" --record="$work/figures" "$@" 2>&1 | tee "$out"
    rc=${PIPESTATUS[0]}
    step "tests/bench/$name: all was measured" [ "$rc" -eq 0 ]
    tally 0 0 "$(grep -c '^SKIP' "$out")"
    cat "$work/figures/$name.md"
}

part_bench_stream()
{
    bench stream copied referenced small numbers tcp
}

part_bench_move()
{
    bench stream move
}

part_bench_prealloc()
{
    bench stream move-prealloc
}

part_bench_rdma()
{
    bench rdma raw first cancel scattered
}

part_bench_rdma_link()
{
    bench rdma shaped shaped-1g
}

part_bench_rdma_qemu()
{
    bench rdma qemu
}

part_bench_rdma_zero()
{
    bench rdma zero holes
}

part_bench_rdma_size()
{
    bench rdma memory linear
}

part_dirty_rate()
{
    local out=$work/dirty-rate.out
    must build_product fast --enable-werror CFLAGS='-O2 -g1'
    must step "build the fabric" make -s -C "$work/fast" "-j$jobs" tests/fabric/librdmafabric.la
    "$work/src/tests/bench/dirty-rate" --build="$work/fast" 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/bench/dirty-rate"
}

part_without_rdma()
{
    must build plain --enable-werror --without-rdma CFLAGS='-O1 -g1'
    make_check plain check
}

part_clang()
{
    # each function stays one: check_faults tells its cases by the function that calls
    must build clang --enable-werror CC=clang CXX=clang++ \
        CFLAGS='-O1 -g1 -fno-inline -fno-optimize-sibling-calls'
    # what is read before it was written shows
    MALLOC_PERTURB_=165 make_check clang check
}

# covered PERCENT FOLDER...: of their lines the tests reach as many, by the file that part_coverage makes
covered()
{
    local percent=$1 filters=() folder
    shift
    for folder in "$@"; do
        filters+=(--filter "$work/src/$folder/")
    done
    gcovr --root "$work/src" --add-tracefile "$work/coverage.json" "${filters[@]}" --fail-under-line "$percent" \
        --print-summary
}

part_coverage()
{
    must build coverage --enable-coverage CFLAGS='-g'
    make_check coverage check-unit
    must step "the lines that were reached" gcovr --root "$work/src" --object-directory "$work/coverage" \
        --exclude-unreachable-branches --filter "$work/src/(stream|hooks|migrate|rdma)/" \
        --json "$work/coverage.json" "$work/coverage"
    step "line coverage of at least 90 %" covered 90 stream hooks migrate rdma
    # what is not reached, and why: tests/README.md
    step "of stream/ at least 95 %" covered 95 stream
    step "of hooks/ at least 95 %" covered 95 hooks
    step "of rdma/ at least 90 %" covered 90 rdma
}

stream_targets='fuzz_stream fuzz_out fuzz_load fuzz_image fuzz_uri fuzz_inflate fuzz_buffer'

# fuzz TARGET...
fuzz()
{
    local out=$work/fuzz.out
    "$work/src/tests/fuzz/run.sh" $((60 * factor)) "$@" 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/fuzz/run.sh"
}

part_fuzz_stream()
{
    # shellcheck disable=SC2086 # names
    fuzz $stream_targets
}

part_fuzz_wire()
{
    local source name others=
    for source in "$work"/src/tests/fuzz/fuzz_*.c; do
        grep -q '^FUZZ_TARGET' "$source" || continue
        name=$(basename "$source" .c)
        case " $stream_targets " in *" $name "*) ;; *) others="$others $name" ;; esac
    done
    # shellcheck disable=SC2086
    fuzz $others
}

part_dist()
{
    local dest=$work/dest pc page
    must build_product plain --enable-werror CFLAGS='-O1 -g1'
    # it builds all of it once more, and the tests: the quickest way will do
    step "make distcheck" make -s -C "$work/plain" "-j$((2 * jobs))" distcheck DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O0
    step "the tarball has every file" tarball_is_complete
    cd "$work" || exit 1
    must step "make install" make -s -C "$work/plain" install DESTDIR="$dest"
    pc=$(find "$dest" -name rmig.pc)
    cat >embed.c <<'END'
#include <stdio.h>
#include <rmig/rmig.h>
int main(void) { return puts(rmig_version()) == EOF; }
END
    PKG_CONFIG_LIBDIR=${pc%/*}:$(pkg-config --variable pc_path pkg-config)
    export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR=$dest
    # shellcheck disable=SC2046
    step "pkg-config finds the library" cc -o embed embed.c $(pkg-config --cflags --libs rmig)
    step "the program runs" env LD_LIBRARY_PATH="$(dirname "$(find "$dest" -name 'librmig.so')")" ./embed
    # shellcheck disable=SC2046
    step "the same in C++" c++ -x c++ -std=c++11 -o embed_cc embed.c $(pkg-config --cflags --libs rmig)
    step "./run without installing" "$work/plain/run" rdma_migrate_bench --version
    for page in "$work"/src/docs/*.[1-9]; do
        step "installed: ${page##*/}" test -n "$(find "$dest" -path "*/man/*" -name "${page##*/}")"
    done
}

tarball_is_complete()
{
    local name
    name=$(basename "$work"/plain/rmig-*.tar.xz .tar.xz)
    (cd "$work/src" && find . -type f -newer "$work/stamp" -prune -o -type f -print) |
        sed 's|^\./||' | grep -vxE '\.gitignore|.*/\.gitignore|m4/\.gitkeep|.*~' | sort \
        >"$work/wanted"
    tar -tf "$work/plain/$name.tar.xz" | sed "s|^$name/||" | sort >"$work/packed"
    comm -23 "$work/wanted" "$work/packed" | sed 's/^/not in the tarball: /' | tee "$work/missing"
    [ ! -s "$work/missing" ]
}

part_hypervisor()
{
    local out=$work/hypervisor.out
    must build_product plain --enable-werror CFLAGS='-O1 -g1'
    "$work/plain/run" "$work/src/tests/hypervisor/run" --moves=$((20 * factor)) \
        --faults=$((100 * factor)) 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/hypervisor/run"
}

# interop ARGUMENT...: of tests/interop/run
interop()
{
    local out=$work/interop.out
    must build_product plain --enable-werror CFLAGS='-O1 -g1'
    must step "build the fabric" make -s -C "$work/plain" "-j$jobs" tests/fabric/librdmafabric.la
    abs_top_builddir=$work/plain "$work/src/tests/interop/run" "$@" 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/interop/run"
}

part_interop()
{
    interop --moves=$((5 * factor)) --kills=$((2 * factor)) --without=/full/ --without=/big/
}

part_interop_full()
{
    interop /full/
}

part_interop_big()
{
    interop /big/
}

part_interop_many()
{
    interop --moves=$((50 * factor)) many/
}

part_interop_kills()
{
    interop --kills=$((20 * factor)) kill/random
}

part_interop_rxe()
{
    interop --lane=rxe --rdma --without=/full/ --without=/big/ receive/ send/rdma relay/ count/
}

part_bench_interop()
{
    local rc
    must build_product fast --enable-werror CFLAGS='-O2 -g1'
    must step "build the fabric" make -s -C "$work/fast" "-j$jobs" tests/fabric/librdmafabric.la
    "$work/src/tests/bench/interop" --build="$work/fast"
    rc=$?
    if [ "$rc" -eq 77 ]; then
        skip "tests/bench/interop" "there is no QEMU"
    else
        step "tests/bench/interop: all arrived whole" [ "$rc" -eq 0 ]
    fi
}

# tally_lines FILE STATUS NAME: count the PASS:, FAIL: and SKIP: lines of a script that ended with STATUS
tally_lines()
{
    local p f s prefix='^([01]: )?'
    p=$(grep -cE "${prefix}PASS: " "$1") f=$(grep -cE "${prefix}FAIL: " "$1")
    s=$(grep -cE "${prefix}SKIP: " "$1")
    case $2 in
    77) [ "$s" -gt 0 ] || { echo "SKIP: $3: $(tail -n 1 "$1")"; s=1; } ;;
    0) [ $((p + f)) -gt 0 ] || { echo "FAIL: $3 ran no test"; f=1; } ;;
    *) [ "$f" -gt 0 ] || { echo "FAIL: $3 ended with status $2"; f=1; } ;;
    esac
    tally "$p" "$f" "$s"
}

keep=0 list=
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=1 ;;
    --list) echo "$parts" | sed '/^$/d'; exit 0 ;;
    --help) usage; exit 0 ;;
    -*) echo "tests/full.sh: unknown option $1; try --help" >&2; exit 2 ;;
    *)
        [ -n "$(field "$1")" ] || { echo "tests/full.sh: no part $1; try --list" >&2; exit 2; }
        list="$list $1"
        ;;
    esac
    shift
done
[ -n "$list" ] || { usage; exit 2; }

factor=${RMIG_TEST_FACTOR:-1}
export RMIG_TEST_FACTOR=$factor
# Limits of time tell a slow call from a hang, but for the part that is about them.
export RMIG_TEST_SLACK_MS=5000 RMIG_MUTATIONS=20000 CK_EXCLUDE_TAGS=speed

begin
step "packages" "$top/tools/install-deps.sh" --all
for part in $list; do
    echo "--- $part"
    "part_${part//-/_}"
done
closing
