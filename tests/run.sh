#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# run.sh -- runs everything that passes for a test, in sections, and counts what passed and failed
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*}
self=$here/${0##*/}

# name, most seconds, and what it is. The order is the order of running.
sections='
build       300 build with gcc, out of tree, all warnings are errors
check       300 make check of that build
install     120 install; a program found through pkg-config; ./run; the manual pages
sanitize    900 build and make check with the address and undefined sanitizers
plain       600 build and make check without RDMA
valgrind   1500 the unit tests under valgrind
thread     1200 build and unit tests with the thread sanitizer
coverage    600 lines of stream/ hooks/ migrate/ rdma/ that the tests reach: at least 90 %
clang       600 build and make check with clang
fuzz       1800 each fuzz target for a bounded time
dist        900 make distcheck
hypervisor 1200 moves of guests that run, on real KVM
interop    2400 guests of a stock QEMU, natively and over RDMA; hostile peers over RDMA
softroce   2700 tests that need working RDMA verbs, in a guest with soft-RoCE if need be
'
quick='build check install'
alone=' build check interop softroce '

usage()
{
    cat <<'END'
usage: tests/run.sh [OPTION...] [SECTION...]

Runs the sections named, or all, and ends with "N passed, N failed, N skipped". Exit status 0 only
if something ran and nothing failed.

  --quick      what needs neither root nor a guest, under a minute: build, check, install
  --keep       keep the build trees
  --no-install do not install missing packages (only root ever does)
  --list       name the sections
  --help       this text

Environment: RMIG_TEST_FACTOR   multiplies the counts and times of long tests (default 1)
             RMIG_FUZZ_SECONDS  for each fuzz target (default 60 times the factor)
             RMIG_TEST_LOGS     folder for the logs (default: a new one, named at the end)
END
}

# --- inside a section: every check is counted in $count ------------------------------------------

# tally PASSED FAILED SKIPPED
tally()
{
    echo "$1 $2 $3" >>"$count"
}

# expect TEXT COMMAND...: one check that COMMAND succeeds; 77 is a skip
expect()
{
    local text=$1 rc
    shift
    echo "--- $text: $*"
    "$@"
    rc=$?
    case $rc in
    0) tally 1 0 0; echo "PASS: $text" ;;
    77) tally 0 0 1; echo "SKIP: $text" ;;
    *) tally 0 1 0; echo "FAIL: $text (status $rc)" ;;
    esac
    return "$rc"
}

# must TEXT COMMAND...: the rest of the section makes no sense without it
must()
{
    expect "$@" || exit 1
}

# configure_in DIR ARGUMENT...: make DIR and configure the copy of the source in it
configure_in()
{
    local dir=$1
    shift
    mkdir -p "$dir" && cd "$dir" && "$work/src/configure" --quiet "$@"
}

# build_in DIR ARGUMENT...: configure and compile everything, the tests too
build_in()
{
    local dir=$1
    must "configure ${*:2}" configure_in "$@"
    must "build ${*:2}" make -s -C "$dir" "-j$jobs" all
    must "build the tests ${*:2}" make -s -C "$dir" "-j$jobs" check TESTS=
}

# automake_check DIR TARGET ARGUMENT...: make check (or check-unit ...), its tests counted one by one
automake_check()
{
    local dir=$1 out rc sums
    shift
    out=$(mktemp "$work/check.XXXXXX")
    echo "--- make $*"
    # many tests wait for a deadline
    make -s -C "$dir" "-j$((${RMIG_QUICK:-2} * jobs))" "$@" >"$out" 2>&1
    rc=$?
    cat "$out"
    sums=$(awk '/^# (PASS|XFAIL):/ { p += $3 } /^# (FAIL|XPASS|ERROR):/ { f += $3 }
        /^# SKIP:/ { s += $3 } END { print p + 0, f + 0, s + 0 }' "$out")
    # shellcheck disable=SC2086
    tally $sums
    case $rc$sums in
    0*) ;;
    *' 0 '*) echo "FAIL: make check ended with status $rc"; tally 0 1 0 ;;
    esac
    case $sums in
    '0 0 '*) echo "FAIL: make check ran no test"; tally 0 1 0 ;;
    esac
    if [ "$rc" -ne 0 ]; then
        grep -E '^(FAIL|ERROR|XPASS)' "$out"
        tail -n 60 "$dir/test-suite.log"
    fi
    rm -f "$out"
    return "$rc"
}

# tally_lines FILE STATUS NAME: count the PASS:, FAIL: and SKIP: lines of a script that ended with STATUS
tally_lines()
{
    local p f s prefix='^([01]: )?'
    p=$(grep -cE "${prefix}PASS: " "$1") f=$(grep -cE "${prefix}FAIL: " "$1")
    s=$(grep -cE "${prefix}SKIP: " "$1")
    case $2 in
    77) s=$((s + 1)) ;;
    0) [ $((p + f)) -gt 0 ] || { echo "FAIL: $3 ran no test"; f=1; } ;;
    *) [ "$f" -gt 0 ] || { echo "FAIL: $3 ended with status $2"; f=1; } ;;
    esac
    tally "$p" "$f" "$s"
}

section_build()
{
    must "autogen.sh" "$work/src/autogen.sh"
    # compiled in half the time, where that is what counts
    build_in "$work/gcc" --enable-werror ${RMIG_QUICK:+CFLAGS=-O0}
}

section_check()
{
    # the decoders' random loops: fewer between two edits
    RMIG_MUTATIONS=${RMIG_MUTATIONS:-$((1000000 * factor))} automake_check "$work/gcc" check
}

# A program of somebody else's, against what was installed.
section_install()
{
    local dest=$work/dest pc page
    cd "$work" || exit 1
    must "make install" make -s -C "$work/gcc" install DESTDIR="$dest"
    pc=$(find "$dest" -name rmig.pc)
    cat >embed.c <<'END'
#include <stdio.h>
#include <rmig/rmig.h>
int main(void) { return puts(rmig_version()) == EOF; }
END
    PKG_CONFIG_LIBDIR=${pc%/*}:$(pkg-config --variable pc_path pkg-config)
    export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR=$dest
    # shellcheck disable=SC2046
    expect "pkg-config finds the library" cc -o embed embed.c $(pkg-config --cflags --libs rmig)
    expect "the program runs" env LD_LIBRARY_PATH="$(dirname "$(find "$dest" -name 'librmig.so')")" \
        ./embed
    # shellcheck disable=SC2046
    expect "the same in C++" c++ -x c++ -std=c++11 -o embed_cc embed.c \
        $(pkg-config --cflags --libs rmig)
    expect "./run without installing" "$work/gcc/run" rdma_migrate_bench --version
    for page in "$work"/src/docs/*.[1-9]; do
        expect "installed: ${page##*/}" test -n "$(find "$dest" -path "*/man/*" -name "${page##*/}")"
    done
}

section_plain()
{
    build_in "$work/plain" --enable-werror --without-rdma
    RMIG_MUTATIONS=20000 automake_check "$work/plain" check
}

build_sanitized()
{
    build_in "$work/sanitize" --enable-sanitizers=address,undefined CFLAGS='-O1 -g'
}

section_sanitize()
{
    build_sanitized
    # a fault stays a signal, as tests of signal handlers want it
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:handle_segv=0 \
        UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=4 \
        RMIG_MUTATIONS=$((100000 * factor)) automake_check "$work/sanitize" check
}

# The framework's time limits are stretched and random loops cut; our own deadlines stay.
section_valgrind()
{
    # The kernel is asked with mlock2(2), which valgrind does not know.
    export CK_EXCLUDE_TAGS=memlock
    CK_TIMEOUT_MULTIPLIER=20 RMIG_MUTATIONS=$((2000 * factor)) \
        automake_check "$work/gcc" check-valgrind
}

section_thread()
{
    # Kernels that spread mappings widely need the spreading off for this sanitizer.
    local plain=
    setarch -R true 2>/dev/null && plain='setarch -R'
    build_in "$work/thread" --enable-sanitizers=thread CFLAGS='-O1 -g'
    # The thread that glibc's getaddrinfo_a makes behind the sanitizer's back crashes in it.
    export CK_EXCLUDE_TAGS='resolve lookup connecting'
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:handle_segv=0:suppressions=$work/src/tests/tsan.supp \
        CK_TIMEOUT_MULTIPLIER=10 \
        RMIG_MUTATIONS=$((10000 * factor)) automake_check "$work/thread" check-unit LOG_COMPILER="$plain"
}

section_coverage()
{
    build_in "$work/coverage" --enable-coverage CFLAGS='-g'
    RMIG_MUTATIONS=20000 automake_check "$work/coverage" check-unit
    expect "line coverage of at least 90 %" gcovr --root "$work/src" \
        --object-directory "$work/coverage" --exclude-unreachable-branches \
        --filter "$work/src/stream/" --filter "$work/src/hooks/" --filter "$work/src/rdma/" \
        --filter "$work/src/migrate/" \
        --exclude "$work/src/rdma/verbs.c" --fail-under-line 90 --print-summary \
        "$work/coverage"
}

section_clang()
{
    build_in "$work/clang" --enable-werror CC=clang CXX=clang++
    RMIG_MUTATIONS=20000 automake_check "$work/clang" check
}

section_fuzz()
{
    local seconds=${RMIG_FUZZ_SECONDS:-$((60 * factor))} out=$work/fuzz.out rc
    "$work/src/tests/fuzz/run.sh" "$seconds" 2>&1 | tee "$out"
    rc=${PIPESTATUS[0]}
    tally_lines "$out" "$rc" "tests/fuzz/run.sh"
}

tarball_is_complete()
{
    local name
    name=$(basename "$work"/dist/rmig-*.tar.xz .tar.xz)
    (cd "$work/src" && find . -type f -newer "$work/stamp" -prune -o -type f -print) |
        sed 's|^\./||' | grep -vxE '\.gitignore|.*/\.gitignore|m4/\.gitkeep|.*~' | sort \
        >"$work/wanted"
    tar -tf "$work/dist/$name.tar.xz" | sed "s|^$name/||" | sort >"$work/packed"
    comm -23 "$work/wanted" "$work/packed" | sed 's/^/not in the tarball: /' | tee "$work/missing"
    [ ! -s "$work/missing" ]
}

section_dist()
{
    configure_in "$work/dist" || { tally 0 1 0; exit 1; }
    expect "make distcheck" make -s -C "$work/dist" "-j$((2 * jobs))" distcheck
    expect "the tarball has every file" tarball_is_complete
}

section_hypervisor()
{
    local out=$work/hypervisor.out
    "$work/gcc/run" "$work/src/tests/hypervisor/run" --moves=$((20 * factor)) \
        --faults=$((100 * factor)) 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/hypervisor/run"
}

section_interop()
{
    local out=$work/interop.out moves=$((5 * factor))
    abs_top_builddir=$work/gcc "$work/src/tests/interop/run" --moves=$moves --kills=$((2 * factor)) 2>&1 |
        tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/interop/run"
    [ -e "$work/sanitize/config.status" ] || build_sanitized
    abs_top_builddir=$work/sanitize "$work/src/tests/interop/hostile" 2>&1 | tee "$out"
    tally_lines "$out" "${PIPESTATUS[0]}" "tests/interop/hostile"
}

section_softroce()
{
    local test out=$work/softroce.out rc
    cd "$work/src" || exit 1
    export abs_top_srcdir=$work/src abs_top_builddir=$work/gcc
    expect "the soft-RoCE harness" tests/softroce/selftest.sh
    for test in tests/softroce/test-*.sh; do
        echo "--- $test"
        "$work/gcc/run" "$test" 2>&1 | tee "$out"
        rc=${PIPESTATUS[0]}
        tally_lines "$out" "$rc" "$test"
    done
}

# --- around the sections --------------------------------------------------------------------------

field()
{
    echo "$sections" | awk -v name="$1" -v what="$2" '$1 == name {
        if (what == "limit") print $2
        else { sub(/^[a-z]+ +[0-9]+ /, ""); print } }'
}

# copy_source: what git knows and what is new, so that a build in the tree does not show through
copy_source()
{
    mkdir -p "$work/src"
    if git -C "$top" -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$top" && git -c safe.directory='*' ls-files -z -co --exclude-standard |
            while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
            tar --null -T - -cf -)
    else
        tar -C "$top" --exclude=.git --exclude=./build -cf - .
    fi | tar -xf - -C "$work/src" || return 1
    [ ! -f "$work/src/Makefile" ] || make -s -C "$work/src" distclean >/dev/null 2>&1
    # what is newer was made by the tests themselves
    touch "$work/stamp"
}

packages()
{
    local want=--all missing
    [ "$install" = 1 ] || return 0
    [ "$list" != "$quick" ] || want=--build
    missing=$("$top/tools/install-deps.sh" "$want" --list | xargs)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages; as root: tools/install-deps.sh $want ($missing)"
        return 0
    fi
    echo "installing packages that are missing (tools/install-deps.sh $want): $missing"
    "$top/tools/install-deps.sh" "$want" >"$logs/packages.log" 2>&1 || {
        tail -n 20 "$logs/packages.log"
        echo "tests/run.sh: packages could not be installed: $logs/packages.log" >&2
    }
}

# report SECTION: its line, and the end of its log if something is wrong
report()
{
    local name=$1 p=0 f=0 s=0 status=$2 word=ok
    if [ -s "$logs/$name.count" ]; then
        read -r p f s < <(awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }' \
            "$logs/$name.count")
    fi
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        echo "FAIL: no end within $(field "$name" limit) s" >>"$logs/$name.log"
        f=$((f + 1))
    elif [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "FAIL: ended with status $status" >>"$logs/$name.log"
        f=$((f + 1))
    fi
    [ $((p + f + s)) -gt 0 ] || f=1
    [ "$f" -eq 0 ] || word=FAILED
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-7s %-9s %4d passed %3d failed %3d skipped %5d s  %s\n' "$word" "$name" "$p" "$f" "$s" \
        $((SECONDS - begun[$name])) "$(field "$name" text)"
    if [ "$f" -gt 0 ]; then
        echo "  from $logs/$name.log:"
        grep -E '^([01]: )?(FAIL|ERROR|XPASS)' "$logs/$name.log" | sort -u | head -n 20 | sed 's/^/  | /'
        tail -n 40 "$logs/$name.log" | sed 's/^/  | /'
    fi
}

start()
{
    begun[$1]=$SECONDS
    : >"$logs/$1.count"
    timeout -k 20 $(($(field "$1" limit) * factor)) "$self" --inside "$1" "$logs" "$work" "$2" \
        </dev/null >"$logs/$1.log" 2>&1 &
    name_of[$!]=$1
}

finish_one()
{
    local pid status
    wait -n -p pid "${!name_of[@]}"
    status=$?
    report "${name_of[$pid]}" "$status"
    last_status=$status
    unset "name_of[$pid]"
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
    trap '' INT TERM HUP
    [ ${#name_of[@]} -eq 0 ] || kill "${!name_of[@]}" 2>/dev/null
    wait
    [ "$keep" = 1 ] || rm -rf "$work"
}

run_all()
{
    local name lanes=2
    [ "$cores" -ge 2 ] || lanes=1
    for name in $list; do
        case $alone in
        *" $name "*)
            while [ ${#name_of[@]} -gt 0 ]; do finish_one; done
            start "$name" "$cores"
            finish_one
            # nothing else makes sense without a build
            [ "$name" != build ] || [ "$last_status" -eq 0 ] || return
            ;;
        *)
            while [ ${#name_of[@]} -ge $lanes ]; do finish_one; done
            start "$name" $(((cores + 1) / lanes))
            ;;
        esac
    done
    while [ ${#name_of[@]} -gt 0 ]; do finish_one; done
}

factor=${RMIG_TEST_FACTOR:-1}
export RMIG_TEST_FACTOR=$factor
# Time limits are what is promised where tests run alone; elsewhere they tell a slow call from a hang.
slack_ms=1500
# Every fault of the RDMA tests once, in the plain check; in the others and between two edits fewer.
fault_step=${RMIG_FAULT_STEP:-1}
if [ "${1:-}" = --inside ]; then
    logs=$3 work=$4 jobs=$5
    count=$logs/$2.count
    [ "$2" = check ] || [ "$factor" -gt 1 ] || fault_step=4
    export RMIG_FAULT_STEP=$fault_step
    [[ $alone == *" $2 "* ]] || export RMIG_TEST_SLACK_MS=$slack_ms
    "section_$2"
    exit
fi

keep=0 install=1 list=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) list=$quick; export RMIG_QUICK=6 RMIG_MUTATIONS=20000 RMIG_FAULT_STEP=16 ;;
    --keep) keep=1 ;;
    --no-install) install=0 ;;
    --list) echo "$sections" | sed '/^$/d'; exit 0 ;;
    --help) usage; exit 0 ;;
    -*) echo "tests/run.sh: unknown option $1; try --help" >&2; exit 2 ;;
    *)
        [ -n "$(field "$1" limit)" ] || { echo "tests/run.sh: no section $1; try --list" >&2; exit 2; }
        list="$list $1"
        ;;
    esac
    shift
done
: "${list:=$(echo "$sections" | awk 'NF { print $1 }')}"
list=$(echo "$list" | xargs)
# Every section stands on the gcc build.
case " $list " in *' build '*) ;; *) list="build $list" ;; esac

declare -A begun=() name_of=()
passed=0 failed=0 skipped=0 last_status=0
cores=$(nproc)
logs=${RMIG_TEST_LOGS:-$(mktemp -d "${TMPDIR:-/tmp}/rmig-logs.XXXXXX")}
mkdir -p "$logs" || exit 1
logs=$(cd "$logs" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-test.XXXXXX") || exit 1
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

packages
copy_source || { echo "tests/run.sh: cannot copy the source to $work" >&2; exit 1; }
run_all
echo "logs: $logs; ${SECONDS} s in all"
[ "$keep" = 0 ] || echo "build trees: $work"
[ $((passed + failed)) -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
