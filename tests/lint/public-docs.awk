# SPDX-License-Identifier: BSD-3-Clause
# public-docs.awk -- every function declared in a public header has a doc comment; where it returns
# a status (int and the like), the comment says which: "Returns" or "returns". A getter's comment may
# name the value instead.
# A comment holds for the declarations that follow it without a blank line between.
function fault(text) { print FILENAME ":" FNR ": " text }
FNR == 1 { doc = ""; depth = 0; statement = "" }
/^\/\*/ { doc = ""; in_comment = 1; is_doc = /^\/\*\*/ }
in_comment {
    if (is_doc) doc = doc " " $0
    if (/\*\//) in_comment = 0
    next
}
/^[ \t]*$/ { if (statement == "") doc = ""; next }
/^#/ || /^extern "C"/ || /^}$/ { next }
{
    text = $0
    gsub(/\/\*[^*]*\*\//, "", text)
    opens = gsub(/{/, "{", text)
    closes = gsub(/}/, "}", text)
    if (depth == 0) statement = statement " " text
    depth += opens - closes
    if (depth == 0 && text ~ /[;}][ \t]*$/) { check(statement); statement = "" }
}
function check(s,    name, type) {
    if (s ~ /^ *(typedef|struct [a-z_]+ *[{;]|enum|union)/) return
    if (!match(s, /rmig_[a-z0-9_]+ *\(/)) return
    name = substr(s, RSTART, RLENGTH)
    sub(/ *\(/, "", name)
    type = substr(s, 1, RSTART - 1)
    gsub(/RMIG_MUST_CHECK|[ \t]/, "", type)
    if (doc == "") fault(name ": no doc comment")
    else if (type ~ /^(extern)?(ssize_t|int|int[0-9]+_t)$/ && doc !~ /[Rr]eturns?[^a-z]/)
        fault(name ": the doc comment does not say what it returns")
}
