#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-rdma-checks.sh -- every row of docs/rdma-checks.md is there once, with a function and a test
# at least, what it names exists, and a hostile peer breaks it over real verbs in a case at least.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lint/table.sh
. "$(dirname "$0")/table.sh"
table=$top/docs/rdma-checks.md
# shellcheck disable=SC2034 # table.sh uses it
rows='R:28 S:9'

# Most are static: what begins in the first column and is no declaration.
cat "$top"/rdma/*.[ch] "$top"/hooks/*.c "$top"/stream/*.c |
    sed -nE 's/^[a-z][a-z0-9_ ]*[ *]([a-z][a-z0-9_]*)\(([^;]*|.*[^;])$/\1/p; s/^([a-z][a-z0-9_]*)\([^;]*$/\1/p' |
    LC_ALL=C sort -u >"$scratch/functions"
judge "$table" "$scratch/functions"

# check_played ROWS PLAYED -- print what is in one of two sorted lists only
check_played()
{
    comm -23 "$1" "$2" | sed 's/$/: no case of tests\/interop\/hostile/'
    comm -13 "$1" "$2" | sed 's/$/: there are cases of tests\/interop\/hostile and no such row/'
}

printf 'R1\nR2\n' >"$scratch/good"
printf 'R1\nR3\n' >"$scratch/bad"
[ -z "$(check_played "$scratch/good" "$scratch/good")" ] || fault "self-test: good cases are not passed"
[ "$(check_played "$scratch/good" "$scratch/bad" | wc -l)" -eq 2 ] || fault "self-test: bad cases are passed"
rows_of "$table" | sed 's/ *|.*//; s/ //g' | LC_ALL=C sort -u >"$scratch/rows"
sed -nE 's/^    \{"([RS][0-9]+)\/.*/\1/p' "$top"/tests/interop/hostile_*.c | LC_ALL=C sort -u >"$scratch/played"
check_played "$scratch/rows" "$scratch/played" >"$scratch/said"
while IFS= read -r line; do
    fault "docs/rdma-checks.md: $line"
done <"$scratch/said"
verdict "$(rows_of "$table" | wc -l) checks of what an RDMA peer sends"
