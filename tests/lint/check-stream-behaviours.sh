#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-stream-behaviours.sh -- every row of docs/stream-behaviours.md is there once, with a function
# and a test at least, and what it names exists.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lint/table.sh
. "$(dirname "$0")/table.sh"
table=$top/docs/stream-behaviours.md
# shellcheck disable=SC2034 # table.sh uses it
rows='A:9 B:11 C:7 D:3 E:4 F:4'

grep -ohE '\brmig_[a-z0-9_]+\(' "$top"/include/rmig/*.h "$top/hooks/guard.h" | tr -d '(' | LC_ALL=C sort -u \
    >"$scratch/functions"
judge "$table" "$scratch/functions"
verdict "$(rows_of "$table" | wc -l) rows of stream behaviours"
