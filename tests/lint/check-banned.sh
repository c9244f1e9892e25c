#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-banned.sh -- calls that overflow or lose errors are nowhere, the library neither prints nor
# ends the process, and no file holds a note of unfinished work.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

everywhere='strcpy|stpcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|atof|strtok|alloca|tmpnam|mktemp'
library='printf|fprintf|vprintf|vfprintf|dprintf|puts|fputs|putchar|perror|exit|abort|signal|sigaction|system|popen'

# calls NAMES FILE... -- lines of the files that call one of NAMES; members and longer names are others
calls()
{
    names=$1
    shift
    awk -v where=1 -f "$top/tests/lint/code-only.awk" "$@" | awk -F '\t' -v names="$names" '
        BEGIN { pattern = "(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(" }
        match($3, pattern) { print $1 ":" $2 ": " substr($3, RSTART, RLENGTH) "...): banned here" }'
}

# notes FILE... -- lines that put work off
notes()
{
    grep -nHwE 'TO''DO|FIX''ME|X''XX' "$@" || true
}

cat >"$scratch/planted.c" <<'END'
/* strcpy(a, b) in a comment */
int f(void) { g("atoi(x)"); ops->exit(1); my_printf(2); snprintf(a, 1, "\"sprintf("); }
int h(void) { strcpy (a, b); }
int i(void) { printf("x"); }
END
[ "$(calls "$everywhere" "$scratch/planted.c" | cut -d: -f2)" = 3 ] ||
    fault "self-test: a banned call is not found, or a fine one is"
[ "$(calls "$library" "$scratch/planted.c" | cut -d: -f2)" = 4 ] ||
    fault "self-test: a call that the library may not make is not found, or a fine one is"
printf '%s\n' "a TO""DO here" "XX""XX and FIX""MENOT are words" >"$scratch/note"
[ "$(notes "$scratch/note" | wc -l)" = 1 ] || fault "self-test: a note of unfinished work is not found"

cd "$top"
# shellcheck disable=SC2046 # names of our own, no blanks in them
calls "$everywhere|$library" $(sources common stream hooks migrate rdma) >"$scratch/said"
# shellcheck disable=SC2046
calls "$everywhere" $(sources tools tests include) >>"$scratch/said"
find .ci common docs hooks include rdma stream tests tools ./*.md Makefile.am configure.ac \
    -type f ! -name '*.o' ! -name '*.lo' ! -name '*.log' ! -name '*.trs' ! -path '*/.libs/*' \
    ! -path '*/.deps/*' -exec grep -IlwE 'TO''DO|FIX''ME|X''XX' {} + 2>/dev/null >"$scratch/noted" || true
while IFS= read -r file; do
    notes "$file" >>"$scratch/said"
done <"$scratch/noted"
while IFS= read -r line; do
    fault "$line"
done <"$scratch/said"
verdict "banned calls and notes"
