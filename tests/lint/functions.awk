# SPDX-License-Identifier: BSD-3-Clause
# functions.awk -- the functions that preprocessed C text declares: one name a line.
# Bodies and struct members are left out: only what stands outside all braces counts.
!/^#/ { text = text " " $0 }
END {
    gsub(/extern "C" *\{/, " ", text)
    n = length(text)
    for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        if (c == "{") depth++
        else if (c == "}") { if (depth > 0) depth--; if (depth == 0) flat = flat ";" }
        else if (depth == 0) flat = flat c
    }
    n = split(flat, statement, ";")
    for (i = 1; i <= n; i++) {
        if (statement[i] ~ /^[ \t]*(typedef|static)/) continue
        if (match(statement[i], /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
            name = substr(statement[i], RSTART, RLENGTH)
            sub(/[ \t]*\(/, "", name)
            print name
        }
    }
}
