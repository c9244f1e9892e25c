#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-wire-page.sh -- every number of docs/rmig-wire.7 is the code's, and every constant of the
# protocol's headers is in the page; records lie as the encoders put them; the example is what comes out.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
CC=${CC:-cc}
need "${CC%% *}"
page=$top/docs/rmig-wire.7
lint=$top/tests/lint
example=tests/lint/wire_example
# All constants of these are in the page, but for the ones that follow from others.
headers='rdma/wire.h stream/format.h hooks/return_path.h'
derived='RMIG_WIRE_TYPE_END|RMIG_WIRE_FLAGS_KNOWN|RMIG_WIRE_CHUNK_SHIFT|RMIG_SECTION_HEAD_MAX'

# page_facts PAGE -- what the page says, a line each: constant NAME VALUE, layout RECORD OFFSET SIZE
# FIELD, example NAME BYTES; and stray LINE for a digit that nobody would check
page_facts()
{
    awk -f "$lint/wire-page.awk" "$1"
}

# constant_names TREE -- the constants of its headers
constant_names()
{
    # shellcheck disable=SC2086 # several names
    (cd "$1" && sed -nE \
        -e 's/^#define (RMIG_[A-Z0-9_]+)[ \\].*/\1/p' -e 's/^    (RMIG_[A-Z0-9_]+)( = [^,]*)?,?( .*)?$/\1/p' \
        $headers) | grep -vxE "$derived"
}

# record_list TREE -- RECORDS(X), FIELDS_name(X) of the structs in wire.h
record_list()
{
    awk '/^struct rmig_wire_[a-z]+ \{/ { name = substr($2, 11); all = all " X(" name ")"; fields = "" }
        /^};/ && name { print "#define FIELDS_" name "(X)" fields; name = "" }
        name && /;/ { sub(/;.*/, "", $2); fields = fields " X(" name ", " $2 ")" }
        END { print "#define RECORDS(X)" all }' "$1/rdma/wire.h"
}

# constant_list TREE EXPRESSIONS -- a CONSTANT() for each name in the headers, and for each line
# "EXPRESSION [FILE]" of the file EXPRESSIONS; the macros of a .c file last as long as they are needed
constant_list()
{
    constant_names "$1" | sed 's/.*/CONSTANT("&", &);/'
    while IFS= read -r line; do
        file=${line##* }
        case $file in
        *.c)
            sed -n '/^#define [A-Z0-9_]* .*[^\\]$/p' "$1/$file"
            echo "CONSTANT(\"$line\", ${line% *});"
            sed -nE 's/^#define ([A-Z0-9_]+) .*[^\\]$/#undef \1/p' "$1/$file"
            ;;
        *.h) echo "CONSTANT(\"$line\", ${line% *});" ;;
        esac
    done <"$2"
}

# code_facts TREE EXPRESSIONS -- what the code says, in lines as of page_facts
code_facts()
{
    record_list "$1" >"$scratch/wire_records.h"
    constant_list "$1" "$2" >"$scratch/wire_constants.h"
    sed -n 's/.* \([^ ]*\.h\)$/#include "\1"/p' "$2" | LC_ALL=C sort -u >"$scratch/wire_includes.h"
    # shellcheck disable=SC2086
    $CC -std=gnu11 -Wall -Werror -D_GNU_SOURCE -I"$scratch" -I"$1" -I"$1/include" -o "$scratch/facts" \
        "$lint/wire_facts.c" "$1/rdma/wire.c" "$1/common/err.c" && "$scratch/facts"
}

# compare PAGE TREE -- print what one of them says and the other does not
compare()
{
    page_facts "$1" | LC_ALL=C sort >"$scratch/page"
    # what the headers do not name by itself
    awk -F '\t' '$1 == "constant" && $2 ~ /\.[ch]$/ { print $2 }' "$scratch/page" >"$scratch/expressions"
    code_facts "$2" "$scratch/expressions" >"$scratch/code" || echo "the code's numbers cannot be had"
    if [ -x "$build/$example" ]; then
        "$build/$example" >>"$scratch/code"
    else # the page's word for it, and a skip at the end
        grep '^example' "$scratch/page" >>"$scratch/code"
    fi
    LC_ALL=C sort -o "$scratch/code" "$scratch/code"
    LC_ALL=C comm -23 "$scratch/page" "$scratch/code" | sed 's/^/only the page says: /'
    LC_ALL=C comm -13 "$scratch/page" "$scratch/code" | sed 's/^/only the code says: /'
}

# plant WHAT FILE SED -- in a scratch copy of the page and of the tree: SED on FILE makes a fault
# that has WHAT in its description
plant()
{
    rm -rf "$scratch/tree"
    mkdir "$scratch/tree"
    (cd "$top" && cp -R common docs hooks include rdma stream "$scratch/tree")
    chmod -R u+w "$scratch/tree"
    sed "$3" "$top/$2" >"$scratch/tree/$2"
    ! cmp -s "$top/$2" "$scratch/tree/$2" || fault "self-test: nothing to plant in $2: $3"
    compare "$scratch/tree/docs/rmig-wire.7" "$scratch/tree" 2>&1 | tr '\t' ' ' >"$scratch/said"
    grep -qF "$1" "$scratch/said" || fault "self-test: not found: $1, planted in $2"
}

compare "$page" "$top" | tr '\t' ' ' >"$scratch/faults"
while IFS= read -r line; do
    fault "docs/rmig-wire.7: $line"
done <"$scratch/faults"
if thorough && [ "$faults" -eq 0 ]; then
    plant 'only the page says: constant RMIG_WIRE_COMPRESS 9' docs/rmig-wire.7 's/^\.It COMPRESS Ta 6/.It COMPRESS Ta 9/'
    plant 'only the code says: constant RMIG_SECTION_PART 2' docs/rmig-wire.7 '/^\.It PART Ta/d'
    plant 'only the page says: constant RMIG_COMMAND_STOP 12' docs/rmig-wire.7 's/^\.It SWITCHOVER_START .*/&\n.It STOP Ta 12/'
    plant 'only the page says: constant ASK_CHUNKS rdma/source_write.c 17' docs/rmig-wire.7 's/at most Ta 16$/at most Ta 17/'
    plant 'only the page says: layout result 4 4 host_addr' docs/rmig-wire.7 's/^\.It 8 Ta 8 Ta host_addr/.It 4 Ta 4 Ta host_addr/'
    plant 'only the page says: stray' docs/rmig-wire.7 's/^Padding is sent/At most 7 are sent/'
    plant 'only the code says: constant RMIG_WIRE_NEW 12' rdma/wire.h 's/^    RMIG_WIRE_UNREGISTER_FINISHED = 11,/&\n    RMIG_WIRE_NEW = 12,/'
    plant 'only the code says: constant RMIG_WIRE_NEW_MAX 7' rdma/wire.h 's/^#define RMIG_WIRE_VERSION 1u/&\n#define RMIG_WIRE_NEW_MAX 7u/'
    plant 'only the code says: constant IDLE_TIMEOUT_MS rdma/conn.c 9' rdma/conn.c 's/^\(#define IDLE_TIMEOUT_MS\).*/\1 9u/'
    plant 'only the code says: layout result 4 4 rkey' rdma/wire.c 's/(buf, result->rkey)/(buf + 4, result->rkey)/; s/(buf + 4, 0);/(buf, 0);/'
    plant 'only the code says: fault' rdma/wire.c 's/rmig_store_be32(buf + 28, 0)/rmig_store_be32(buf + 28, 1)/'
    [ ! -x "$build/$example" ] ||
        plant 'only the page says: example stream 52' docs/rmig-wire.7 's/^51 45 56/52 45 56/'
fi
[ "$faults" -gt 0 ] || [ -x "$build/$example" ] || { echo "skipped: no $example in the build" >&2; exit 77; }
verdict "$(wc -l <"$scratch/page") facts of docs/rmig-wire.7"
