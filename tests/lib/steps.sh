# SPDX-License-Identifier: BSD-3-Clause
# steps.sh -- what run.sh and full.sh share: the copied source, builds, steps that are counted
# shellcheck shell=bash
#
# To be sourced, with $top the source tree. Afterwards: $work is a folder that goes away with the script,
# $work/src a copy of the source in it. A script ends with `closing`.

: "${top:?the source tree}"
passed=0 failed=0 skipped=0
jobs=$(nproc)
# libtool and configure run in half the time
shell=/bin/sh
[ ! -x /bin/dash ] || shell=/bin/dash

# begin: the scratch folder and the copy of the source
begin()
{
    keep=${keep:-0}
    work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-test.XXXXXX") || exit 1
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    step "the source, copied" copy_source || closing
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
    trap '' INT TERM HUP
    if [ "$keep" = 1 ]; then echo "kept: $work"; else rm -rf "$work"; fi
}

# closing: the count, alone on the last line; green only if something passed and nothing failed
closing()
{
    [ $((passed + failed)) -gt 0 ] || failed=1
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# tally PASSED FAILED SKIPPED
tally()
{
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# step TEXT COMMAND...: one test that COMMAND succeeds; its output is shown only if it does not
step()
{
    local text=$1 log=$work/step.log start=$SECONDS rc
    shift
    "$@" >"$log" 2>&1 </dev/null
    rc=$?
    if [ "$rc" -eq 0 ]; then
        tally 1 0 0
        echo "PASS: $text ($((SECONDS - start)) s)"
    else
        tally 0 1 0
        echo "FAIL: $text (status $rc, $((SECONDS - start)) s)"
        grep -E '^(FAIL|ERROR|not ok)' "$log" | head -n 50
        tail -n 200 "$log"
    fi
    return "$rc"
}

# skip TEXT REASON
skip()
{
    tally 0 0 1
    echo "SKIP: $1: $2"
}

# copy_source: what git knows and what is new, so that a build in the tree does not show through
copy_source()
{
    mkdir -p "$work/src" || return 1
    if git -C "$top" -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$top" && git -c safe.directory='*' ls-files -z -co --exclude-standard |
            while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
            tar --null -T - -cf -)
    else
        tar -C "$top" --exclude=.git --exclude=./build -cf - .
    fi | tar -xf - -C "$work/src" || return 1
    [ ! -f "$work/src/Makefile" ] || make -s -C "$work/src" distclean >/dev/null 2>&1 || return 1
    # what is newer was made by the tests themselves
    touch "$work/stamp"
}

configure_in()
{
    local dir=$1
    shift
    mkdir -p "$dir" && cd "$dir" &&
        CONFIG_SHELL=$shell "$shell" "$work/src/configure" --quiet --disable-dependency-tracking "$@"
}

# build_product NAME ARGUMENT...: what is installed, configured with the arguments, in $work/NAME
build_product()
{
    local dir=$work/$1
    shift
    [ -x "$work/src/configure" ] || step "autogen.sh" "$work/src/autogen.sh" || return 1
    step "configure $*" configure_in "$dir" "$@" || return 1
    step "build $*" make -s -C "$dir" "-j$jobs" all
}

# build NAME ARGUMENT...: the tests too
build()
{
    build_product "$@" && build_tests "$1"
}

# build_tests NAME ARGUMENT...: of the build NAME; the arguments are for make
build_tests()
{
    local name=$1
    shift
    # compiled in half the time, and not what is tested
    step "build the tests, $name" make -s -C "$work/$name" "-j$jobs" check TESTS= CFLAGS='-O0 -g1' "$@"
}

# make_check NAME TARGET ARGUMENT...: make check, or another target of its kind, of the build NAME: a line
# a test, and behind them the logs of those that failed; $tasks at a time, if that is set
make_check()
{
    local dir=$work/$1 log=$work/$1.check rc p f s trs
    shift
    # some tests wait
    make -s -C "$dir" "-j${tasks:-$((jobs + 2))}" "$@" </dev/null 2>&1 | tee "$log" |
        grep --line-buffered -E '^(PASS|FAIL|SKIP|XFAIL|XPASS|ERROR): ' | sed -u "s|$work/src/||g"
    rc=${PIPESTATUS[0]}
    read -r p f s < <(awk '/^# (PASS|XFAIL):/ { p += $3 } /^# (FAIL|XPASS|ERROR):/ { f += $3 }
        /^# SKIP:/ { s += $3 } END { print p + 0, f + 0, s + 0 }' "$log")
    tally "$p" "$f" "$s"
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then
        tally 0 1 0
        echo "FAIL: make $* ended with status $rc"
        tail -n 100 "$log"
    fi
    if [ $((p + f)) -eq 0 ]; then
        tally 0 1 0
        echo "FAIL: make $* ran no test"
    fi
    if [ "$f" -gt 0 ]; then
        grep -rlE '^:test-result: (FAIL|ERROR|XPASS)' --include='*.trs' "$dir" | while IFS= read -r trs; do
            echo "--- ${trs#"$dir/"}: its log"
            grep -vE '^ok ' "${trs%.trs}.log" | tail -n 150
        done
    fi
    [ "$rc" -eq 0 ]
}

# tap NAME COMMAND...: a test that speaks TAP; a line a case, and its log if one failed
tap()
{
    local name=$1 log=$work/tap.log rc p f s
    shift
    "$@" >"$log" 2>&1 </dev/null
    rc=$?
    sed -n "s|^ok [0-9]* *-* *\(.*# SKIP.*\)|SKIP: $name: \1|p; t; s|^ok [0-9]* *-* *|PASS: $name: |p
        s|^not ok [0-9]* *-* *|FAIL: $name: |p" "$log"
    s=$(grep -cE '^ok .*# SKIP' "$log") p=$(($(grep -cE '^ok ' "$log") - s)) f=$(grep -cE '^not ok ' "$log")
    if grep -qE '^1\.\.0' "$log"; then
        s=$((s + 1))
        echo "SKIP: $name: $(sed -n 's/^1\.\.0 *#* *//p' "$log")"
    elif [ $((p + f + s)) -eq 0 ] || { [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; }; then
        f=$((f + 1))
        echo "FAIL: $name: status $rc after $((p + s)) cases"
    fi
    tally "$p" "$f" "$s"
    [ "$f" -eq 0 ] || tail -n 200 "$log"
    [ "$f" -eq 0 ]
}
