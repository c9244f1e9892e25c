# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# lib.sh -- what the lint scripts share: where the tree is, a scratch folder, counting of faults.
#
# To be sourced. Afterwards: $top is the source tree, $build the build tree, $scratch a folder that
# goes away with the script. A script calls `fault` for each thing it finds and ends with `verdict`.

top=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
# shellcheck disable=SC2034 # not every script looks at the build tree
build=${abs_top_builddir:-$top}
faults=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# thorough -- are the checks that plant faults to be found wanted, where they take long?
thorough()
{
    [ -n "${RMIG_LINT_THOROUGH:-}" ]
}

# fault TEXT... -- say what is wrong, and where
fault()
{
    printf '%s\n' "$*" >&2
    faults=$((faults + 1))
}

# need TOOL... -- without one of the tools there is nothing to tell: skip
need()
{
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { echo "skipped: no $tool here" >&2; exit 77; }
    done
}

# verdict TEXT -- end the script: TEXT says what was checked
verdict()
{
    if [ "$faults" -gt 0 ]; then
        echo "$faults fault(s): $1" >&2
        exit 1
    fi
    echo "fine: $1"
    exit 0
}

# sources FOLDER... -- the C and C++ files of these folders of the tree, relative to its top
sources()
{
    (cd "$top" && for folder in "$@"; do
        [ -d "$folder" ] && find "$folder" -name '*.[ch]' -type f
    done | LC_ALL=C sort)
}

# code_only FILE -- the file with comments, strings and character constants blanked, lines kept
code_only()
{
    awk -f "$top/tests/lint/code-only.awk" "$1"
}
