# SPDX-License-Identifier: BSD-3-Clause
# wire-page.awk -- takes docs/rmig-wire.7 apart into facts, a line each, for check-wire-page.sh. What
# the comments of the page mean is said at its top.

function hex(digits,    i, value) {
    for (i = 1; i <= length(digits); i++)
        value = 16 * value + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    return value
}

# "0x10", "16", "1 MiB", "100 ms" as a decimal number; what is none as it is
function value_of(cell,    part) {
    split(cell, part, " ")
    if (part[1] ~ /^0x[0-9a-fA-F]+$/) return sprintf("%.0f", hex(substr(part[1], 3)))
    if (part[1] !~ /^[0-9]+$/) return cell
    return sprintf("%.0f", part[1] * (part[2] in unit ? unit[part[2]] : 1))
}

# A digit where no table has it: but for 0, the names of types, and versions of QEMU
function stray(text) {
    gsub(/(^|[^A-Za-z0-9])(u|str)(8|16|32|64)s?/, " ", text)
    gsub(/QEMU [0-9.]+/, "", text)
    gsub(/(^|[^A-Za-z0-9.])0([^A-Za-z0-9.]|\.?$)/, "  ", text)
    if (text ~ /[0-9]/) printf "stray\tline %d: %s\n", NR, $0
}

function row(    cell, n, i) {
    n = split(substr($0, 5), cell, / *(^| )Ta( |$) */)
    if (layout) {
        printf "layout\t%s\t%s\t%s\t%s\n", layout, cell[1], cell[2], cell[3]
        i = 4
    } else {
        printf "constant\t%s\t%s\n", one ? one : prefix cell[1], value_of(cell[2])
        if (one) stray(cell[1])
        one = ""
        i = 3
    }
    for (; i <= n; i++) stray(cell[i])
}

BEGIN { unit["KiB"] = 1024; unit["MiB"] = 1024 * 1024; unit["GiB"] = 1024 * 1024 * 1024 }
/^\.\\" constants / { prefix = substr($3, 1, length($3) - 1); next }
/^\.\\" constant / { one = $0; sub(/^[^ ]* constant /, "", one); next }
/^\.\\" layout / { layout = $3; next }
/^\.\\" example / { example = $3; bytes = ""; next }
/^\.\\"/ || /^\.(Dd|Dt|Xr|Bl) / { next }
/^\.El/ { prefix = layout = "" }
/^\.Ed/ && example { printf "example\t%s\t%s\n", example, bytes; example = "" }
example && /^[^.]/ { sub(/;.*/, ""); gsub(/ /, ""); bytes = bytes $0; next }
/^\.It / && !/^\.It Em / && (prefix || layout || one) { row(); next }
{ stray($0) }
END { if (one || example) print "stray\tthe last comment has no row or display" }
