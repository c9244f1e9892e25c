# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# shellcheck disable=SC2154 # top and scratch are of lib.sh
# table.sh -- what the lints of tables "row | text | functions | tests" in docs/ share.
#
# To be sourced, after lib.sh. `rows` says which rows there must be: 'A:9 B:11' is A1 to A9, B1 to B11.

# tests_known -- the names of all unit tests
tests_known()
{
    sed -nE 's/^START_TEST\(([A-Za-z0-9_]+)\).*/\1/p' "$top"/tests/unit/check_*.c | LC_ALL=C sort -u
}

# rows_of TABLE -- "ROW functions... tests..." for each row, without the prose
rows_of()
{
    awk -F '|' '$2 ~ /^ [A-Z][0-9]+ $/ { gsub(/[ `]+/, " ", $4); gsub(/[ `]+/, " ", $5)
        print $2 "|" $4 "|" $5 }' "$1" | tr -s ' '
}

# check_table TABLE FUNCTIONS TESTS -- print the faults of TABLE
check_table()
{
    rows_of "$1" | awk -F '|' -v rows="${rows?}" -v functions="$2" -v tests="$3" '
        function load(file, set,    line) { while ((getline line < file) > 0) set[line] = 1 }
        function names(row, text, what, known,    n, i, word) {
            n = split(text, word, " ")
            if (n == 0) print "row " row ": no " what
            for (i = 1; i <= n; i++)
                if (!(word[i] in known)) print "row " row ": no such " what ": " word[i]
        }
        BEGIN { load(functions, declared); load(tests, defined) }
        {
            gsub(/ /, "", $1)
            if (seen[$1]++) print "row " $1 ": twice"
            names($1, $2, "function", declared)
            names($1, $3, "test", defined)
        }
        END {
            n = split(rows, group, " ")
            for (i = 1; i <= n; i++) {
                split(group[i], part, ":")
                for (j = 1; j <= part[2]; j++)
                    if (!((part[1] j) in seen)) print "row " part[1] j ": missing"
            }
        }'
}

# self_test -- a good table passes, and one with a fault of each kind fails by each
self_test()
{
    one=${rows%%:*}
    for group in $rows; do
        for number in $(seq "${group#*:}"); do
            echo "| ${group%:*}$number | text | \`f\` | \`t\` |"
        done
    done >"$scratch/good"
    echo f >"$scratch/one-function"
    echo t >"$scratch/one-test"
    sed -e "/^| ${one}6 /d" -e "/^| ${one}1 /p" -e "s/^\\(| ${one}2 .*\\) .f. /\\1 g /" \
        -e "s/^\\(| ${one}3 .*\\).t. /\\1t u /" -e "s/^\\(| ${one}4 .*\\).t. /\\1/" \
        -e "s/^\\(| ${one}5 .*\\).t. /\\1see hooks /" "$scratch/good" >"$scratch/bad"
    found=$(check_table "$scratch/good" "$scratch/one-function" "$scratch/one-test")
    [ -z "$found" ] || fault "self-test: a good table is not passed: $found"
    found=$(check_table "$scratch/bad" "$scratch/one-function" "$scratch/one-test")
    for planted in "row ${one}6: missing" "row ${one}1: twice" "row ${one}2: no such function: g" \
        "row ${one}3: no such test: u" "row ${one}4: no test" "row ${one}5: no such test: see"; do
        case $found in
        *"$planted"*) ;;
        *) fault "self-test: not found: $planted" ;;
        esac
    done
}

# judge TABLE FUNCTIONS -- each fault of TABLE is one; FUNCTIONS is a file of the names that there are
judge()
{
    self_test
    tests_known >"$scratch/tests"
    check_table "$1" "$2" "$scratch/tests" >"$scratch/said"
    while IFS= read -r line; do
        fault "${1#"$top/"}: $line"
    done <"$scratch/said"
}
