#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-shape.sh -- files and functions stay small enough to read, and each .c file opens with its
# licence and one sentence that says what it does.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
file_lines=800
function_lines=80

# shape FILE... -- the faults of these .c files, by name from the top
shape()
{
    (cd "$top" && awk -v most="$function_lines" -v all="$file_lines" '
        function fault(text) { print name ":" lines ": " text }
        function finish() {
            if (!licence) fault("no SPDX line")
            if (!said) fault("does not open with: /* " base " -- what it does */")
            if (lines > all) fault(lines " lines: split it, " all " at most")
        }
        FNR == 1 {
            if (name) finish()
            name = base = FILENAME
            sub(/.*\//, "", base)
            licence = said = from = 0
        }
        { lines = FNR }
        FNR <= 4 && /SPDX-License-Identifier: BSD-3-Clause/ { licence = 1 }
        FNR <= 4 && index($0, " " base " -- ") { said = 1 }
        /^{/ { from = FNR }
        /^}/ && from {
            if (FNR - from - 1 > most)
                fault("a function of " FNR - from - 1 " lines: at most " most)
            from = 0
        }
        END { finish() }' "$@")
}

cat >"$scratch/good.c" <<'END'
/* SPDX-License-Identifier: BSD-3-Clause */
/* good.c -- is fine. */
END
{
    echo 'int f(void)'
    echo '{'
    seq "$((function_lines + 1))"
    echo '}'
    seq "$file_lines"
} >"$scratch/bad.c"
tree=$top
top=$scratch
[ -z "$(shape good.c)" ] || fault "self-test: a good file is not passed: $(shape good.c)"
[ "$(shape bad.c | wc -l)" -eq 4 ] || fault "self-test: a fault is not found: $(shape bad.c)"
top=$tree

sources common stream hooks migrate rdma tools tests | grep '\.c$' >"$scratch/files"
# shellcheck disable=SC2046 # names of our own, no blanks in them
shape $(cat "$scratch/files") >"$scratch/said"
while IFS= read -r line; do
    fault "$line"
done <"$scratch/said"
verdict "size and opening of $(wc -l <"$scratch/files") files"
