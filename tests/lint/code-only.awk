# SPDX-License-Identifier: BSD-3-Clause
# code-only.awk -- C text without comments, strings and character constants; lines are kept.
# A quote is left as "" or '' so that what stands around it stays apart. With -v where=1 each line has
# its file and number in front, tabs between.
FNR == 1 { in_comment = 0 }
{
    out = ""
    rest = $0
    while (rest != "") {
        if (in_comment) {
            at = index(rest, "*/")
            if (at == 0) { rest = ""; break }
            rest = substr(rest, at + 2)
            in_comment = 0
            continue
        }
        if (!match(rest, /\/\*|\/\/|"|'/)) { out = out rest; break }
        out = out substr(rest, 1, RSTART - 1)
        mark = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (mark == "//") break
        if (mark == "/*") { in_comment = 1; out = out " "; continue }
        while (rest != "") {
            c = substr(rest, 1, 1)
            if (c == "\\") { rest = substr(rest, 3); continue }
            rest = substr(rest, 2)
            if (c == mark) break
        }
        out = out mark mark
    }
    print (where ? FILENAME "\t" FNR "\t" out : out)
}
