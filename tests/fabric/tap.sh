# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# tap.sh -- TAP for shell tests, a line a case; and commands in pairs on the fabric; sourced, not run.
tap_cases=0
tap_failed=0
on_fabric=${abs_top_srcdir:?run it by make check}/tests/fabric/run

# tap NAME COMMAND... -- a case: COMMAND succeeds, and counts no fault if the test counts any
tap()
{
    tap_name=$1
    tap_faults=${faults:-0}
    shift
    tap_cases=$((tap_cases + 1))
    if "$@" && [ "${faults:-0}" -eq "$tap_faults" ]; then
        echo "ok $tap_cases - $tap_name"
    else
        echo "not ok $tap_cases - $tap_name"
        tap_failed=$((tap_failed + 1))
    fi
}

# tap_skip NAME REASON
tap_skip()
{
    tap_cases=$((tap_cases + 1))
    echo "ok $tap_cases - $1 # SKIP $2"
}

# tap_end -- the end of a test
tap_end()
{
    echo "1..$tap_cases"
    [ "$tap_failed" -eq 0 ]
    exit
}

# need_fabric -- without the library there is nothing to run
need_fabric()
{
    [ -e "${abs_top_builddir:?}/rdma/.libs/rmig-transport-rdma.so" ] || {
        echo "1..0 # SKIP built without RDMA"
        exit 0
    }
    "$on_fabric" -- true 2>/dev/null || {
        echo "1..0 # SKIP $("$on_fabric" -- true 2>&1)"
        exit 0
    }
}

# shown FILE... -- as comments
shown()
{
    for file in "$@"; do
        echo "# ${file##*/}:"
        tail -n 50 "$file" | sed 's/^/#   /'
    done
}

# until_line FILE PATTERN PID -- until a line matches; not if the process ends first, nor after 60 s
until_line()
{
    tries=0
    until grep -Eq -e "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -le 3000 ] && kill -0 "$3" 2>/dev/null || return 1
        sleep 0.02
    done
}
