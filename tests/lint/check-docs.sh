#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-docs.sh -- the man pages are well formed and name pages and functions that exist, what the guides
# name exists, ARCHITECTURE.md names every source file and stays short, and every public function says
# what it returns.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
architecture_lines=150

# named FILE -- what the text names that looks like a file of this tree, or links to one
named()
{
    {
        # words that begin with one of our folders
        grep -oE '(^|[^A-Za-z0-9_./~$-])(\./)?(\.ci|common|docs|hooks|include|rdma|stream|tests|tools)/[A-Za-z0-9_./*{}<>-]*' \
            "$1" | sed -E 's/^[^A-Za-z.]//; s/[.,]+$//'
        # relative links
        grep -oE '\]\([^)#]+' "$1" | sed 's/^](//' | grep -v '://' || true
        # scripts and guides at the top
        grep -oE '(^|[^A-Za-z0-9_./-])(\./)?[a-zA-Z]+\.(sh|md|ac|am)\b' "$1" | sed -E 's/^[^A-Za-z.]//' || true
    } | LC_ALL=C sort -u
}

# exists NAME -- in the source tree; patterns need one match, NAME and FILE stand for any; what a
# build makes counts by its source
exists()
{
    case $1 in
    */.libs*) return 0 ;;
    esac
    # shellcheck disable=SC2046 # patterns are to be expanded
    (cd "$top" && set -- $(echo "$1" | sed 's/NAME/*/; s/FILE/*/') && { [ -e "$1" ] || [ -e "$1.c" ]; })
}

# shellcheck disable=SC2016 # the backquotes are text
printf 'see `tests/none.sh`, rdma/nowhere.c and [x](docs/no.7)\nalso nothing.sh, not https://x.y/tools/\n' \
    >"$scratch/guide.md"
[ "$(named "$scratch/guide.md" | tr '\n' ' ')" = "docs/no.7 nothing.sh rdma/nowhere.c tests/none.sh " ] ||
    fault "self-test: names are misread: $(named "$scratch/guide.md" | tr '\n' ' ')"

for guide in README.md ARCHITECTURE.md HACKING.md tests/README.md; do
    [ -s "$top/$guide" ] || { fault "$guide: missing or empty"; continue; }
    named "$top/$guide" >"$scratch/named"
    while IFS= read -r name; do
        exists "$name" || exists "${guide%/*}/$name" || fault "$guide names $name, which is not there"
    done <"$scratch/named"
done
lines=$(wc -l <"$top/ARCHITECTURE.md")
[ "$lines" -le $architecture_lines ] || fault "ARCHITECTURE.md: $lines lines, at most $architecture_lines"
sources common stream hooks rdma tools >"$scratch/files"
while IFS= read -r file; do
    base=${file##*/}
    # a module's line names NAME.c, NAME.h or NAME.[ch]
    grep -qE "(^|[^A-Za-z0-9_])${base%.*}\.(${base##*.}|\[ch\])" "$top/ARCHITECTURE.md" ||
        fault "ARCHITECTURE.md does not name $file"
done <"$scratch/files"

cat >"$scratch/bad.h" <<'END'
/** rmig_a - does it. */
int rmig_a(void);
/* no doc comment */
void rmig_b(void);

int rmig_c(void);
/** rmig_d, rmig_e: both. Returns 0 or -errno. */
int rmig_d(void);
int rmig_e(int a,
           int b);
/** rmig_f: returns nothing. */
void rmig_f(void);
END
said=$(awk -f "$top/tests/lint/public-docs.awk" "$scratch/bad.h" | cut -d: -f3 | tr -d '\n')
[ "$said" = " rmig_a rmig_b rmig_c" ] || fault "self-test: doc comments are misread:$said"
awk -f "$top/tests/lint/public-docs.awk" "$top"/include/rmig/*.h >"$scratch/said"
while IFS= read -r line; do
    fault "$line"
done <"$scratch/said"

if command -v mandoc >/dev/null; then
    for page in "$top"/docs/*.[1-9]; do
        mandoc -T lint -W warning "$page" >"$scratch/said" || true
        while IFS= read -r line; do
            fault "$line"
        done <"$scratch/said"
    done
fi
# dangling PAGE... -- "PAGE REFERENCE" where there is no such page in docs/, and none is made of the headers
dangling()
{
    awk -v made="$made" -v kept="$kept" '
        BEGIN {
            n = split(made " " kept, name, " ")
            for (i = 1; i <= n; i++) known[name[i]] = 1
        }
        /^\.Xr (rmig[a-z0-9_-]*|rdma_migrate_bench) [1-9]/ { refer($2 "." $3) }
        /^\.(It )?Fn rmig_/ { sub(/^\.It /, "."); refer($2 ".3") }
        function refer(page) { if (!(page in known)) print FILENAME " " page }' "$@"
}
made=$(awk -v names=1 -f "$top/docs/man3.awk" "$top"/include/rmig/*.h | sed 's/ .*/.3/' | tr '\n' ' ')
kept=$(cd "$top/docs" && echo *.[1-9])
printf '%s\n' '.Xr rmig 7 ,' '.Fn rmig_out_new .' '.Xr rmig_out_flush 3' '.Xr rmig_gone 3' '.Xr rmig 8' \
    '.It Fn rmig_lost "a"' '.Xr poll 2' >"$scratch/page"
said=$(dangling "$scratch/page" | sed 's/.* //' | tr '\n' ' ')
[ "$said" = "rmig_gone.3 rmig.8 rmig_lost.3 " ] || fault "self-test: references are misread: $said"
dangling "$top"/docs/*.[1-9] >"$scratch/refs"
while read -r page ref; do
    fault "docs/${page##*/} refers to $ref, which is not there"
done <"$scratch/refs"
for page in "$top"/docs/*.[1-9]; do
    grep -q "docs/${page##*/}" "$top/Makefile.am" || fault "docs/${page##*/} is not in dist_man_MANS"
done
# Without mandoc the rest has been checked, but not all: say so.
[ "$faults" -gt 0 ] || need mandoc
verdict "documents"
