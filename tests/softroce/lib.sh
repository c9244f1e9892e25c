# SPDX-License-Identifier: BSD-3-Clause
# lib.sh -- for the tests of this folder: a guest that comes up or is skipped aloud, its cases as TAP
# shellcheck shell=bash
here=$(cd "$(dirname "$0")" && pwd -P)
: "${abs_top_builddir:?run it with abs_top_builddir, of a build tree}"
work=$(mktemp -d "${TMPDIR:-/tmp}/rmig-softroce-test.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# from the start of the lane to the start of a command; twice that, then the test is skipped
boot_limit_s=${RMIG_TEST_BOOT_S:-60}

# skip_test NAME REASON: instead of all its cases, and on standard error in a line that stands out
skip_test()
{
    printf '1..1\nok 1 - %s # SKIP %s\n' "$1" "$2"
    printf '\n***** SKIPPED: %s: NOT TESTED HERE: %s *****\n\n' "$1" "$2" >&2
    exit 0
}

# need_lane NAME: the cached kernel and all the programs are there, or the test NAME is skipped
need_lane()
{
    "$here/run" --prepare 2>"$work/err" || skip_test "$1" "$(tail -n 1 "$work/err")"
    grep -v downloading "$work/err" >&2
}

# Lines "ok - name" of the cases get their numbers; others are comments.
tap()
{
    awk '{ sub(/^[01]: /, "") }
        /^(not )?ok - / { n++; sub(/ok - /, "ok " n " - "); print; fflush(); next }
        /^the guest is up$/ { next }
        { sub(/^(# ?)?/, "# "); print; fflush() }'
}

# in_guest NAME COMMAND...: COMMAND's cases, in a guest with the lane's $options. A guest that does not come up
# is started once more, then NAME is skipped. What is wrong in a guest that came up is a failure.
in_guest()
{
    local name=$1 status n skipped
    shift
    for _ in 1 2; do
        # shellcheck disable=SC2016 # for the shell in the guest
        "$here/run" "--boot-timeout=$boot_limit_s" "--keep-log=$work/kernel" --env=RMIG_TEST_SLACK_MS \
            "--env=abs_top_builddir=$abs_top_builddir" "${options[@]}" -- \
            sh -c 'echo "the guest is up"; exec "$@"' sh "$@" 2>"$work/err" | tee "$work/out" | tap
        status=${PIPESTATUS[0]}
        if [ ! -e "$work/out" ]; then # somebody swept the folder: whatever was seen, it is no skip
            echo "not ok 99999 - $name: its folder $work is gone"
            return 1
        fi
        ! grep -q 'the guest is up' "$work/out" || break
        echo "$name: $(tail -n 1 "$work/err")" >&2
    done
    grep -q 'the guest is up' "$work/out" ||
        skip_test "$name" "no guest came up in two attempts: $(tail -n 1 "$work/err")"
    n=$(grep -cE '^([01]: )?(not )?ok - ' "$work/out")
    if [ "$n" = 0 ] || { [ "$status" != 0 ] && ! grep -qE '^([01]: )?not ok - ' "$work/out"; }; then
        n=$((n + 1))
        echo "not ok $n - $name runs to its end"
        [ "$status" != 0 ] || status=1
    fi
    if [ "$status" != 0 ]; then
        echo "# the lane's status $status"
        sed 's/^/# /' "$work/err"
        tail -qn 60 "$work"/kernel* 2>/dev/null | tr -d '\r' | sed 's/^/# kernel: /'
    fi
    for skipped in "${later[@]}"; do
        n=$((n + 1))
        echo "ok $n - $skipped"
        echo "$name: SKIPPED: $skipped" >&2
    done
    echo "1..$n"
    [ "$status" = 0 ]
}
options=() later=()
