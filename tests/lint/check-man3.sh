#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-man3.sh -- the comments in the public headers make well-formed pages of section 3: one for each
# function, each symbol of librmig.map, each struct, enum and function type, and no other.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
maker=$top/docs/man3.awk

# make_pages FOLDER HEADER... -- pages in FOLDER/man3; prints what the maker found missing
make_pages()
{
    mkdir -p "$1/man3"
    folder=$1
    shift
    awk -v out="$folder/man3" -v date='January 1, 1970' -f "$maker" "$@" 2>&1
}

# declared HEADER... -- "function NAME" and "type NAME" for what the headers declare, read apart from the maker
declared()
{
    awk -f "$top/tests/lint/code-only.awk" "$@" | sed 's/extern "" {//' >"$scratch/code"
    awk -f "$top/tests/lint/functions.awk" "$scratch/code" | sed -n 's/^rmig_/function &/p'
    sed -nE -e 's/^(struct|enum) (rmig_[a-z0-9_]+) \{.*/type \2/p' \
        -e 's/^typedef .*\(\*(rmig_[a-z0-9_]+)\).*/type \1/p' "$scratch/code"
}

# compare DECLARED MAP FOLDER -- a line for each name without a page, page without a name, reference to no
# page, and remainder of a comment in a page
compare()
{
    (cd "$3" && awk -v declared="$1" -v map="$2" '
        function base(file) { sub(/.*\//, "", file); sub(/\.3$/, "", file); return file }
        BEGIN {
            for (i = 1; i < ARGC; i++) page[base(ARGV[i])] = 1
            while ((getline line < declared) > 0) {
                split(line, field, " ")
                name[field[2]] = 1
                if (!(field[2] in page)) print field[1] " " field[2] " has no page"
            }
            for (one in page) if (!(one in name)) print "the page " one "(3) is of no function or type"
            while ((getline line < map) > 0) {
                if (line !~ /^ +rmig_[a-z0-9_*]+;$/) continue
                gsub(/[ ;]/, "", line)
                pattern = "^" line "$"
                gsub(/\*/, "[a-z0-9_]*", pattern)
                found = 0
                for (one in page) if (one ~ pattern) found = 1
                if (!found) print "librmig.map: " line " has no page"
            }
        }
        /^\.so / && !(base($2) in page) { print FILENAME ": includes " $2 ", which is not there" }
        /^\.Xr rmig_/ && $3 == 3 && !($2 in page) { print FILENAME ": refers to " $2 "(3), which is not there" }
        /@[a-z]|(^| )(Returns|Ownership|Blocks|Threads): *$/ { print FILENAME ": has what only a comment should: " $0 }
        ' man3/*.3)
}

# A comment with all parts makes the page that it should, and each fault is found.
mkdir -p "$scratch/self/rmig"
cat >"$scratch/self/rmig/good.h" <<'END'
/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * good.h -- is fine.
 *
 * Where a comment below does not say otherwise
 *   Ownership: the caller's.
 *   Threads:   any
 *              of them.
 *   -ENOMEM:   no memory
 */

/** How. */
struct rmig_opts {
    int ms; /**< how long */
};

/**
 * rmig_good / rmig_fine - do it
 * @opts: NULL is the default
 *
 * As rmig_other() does. Not twice.
 *
 * Blocks: never.  Threads: one.
 * Returns: 0; -EINVAL @opts (or it is late); -ENOMEM.
 */
int rmig_good(const struct rmig_opts *opts);
int rmig_fine(const struct rmig_opts *opts);

/** rmig_other - do nothing. Blocks: never. */
void rmig_other(void);
END
cat >"$scratch/self/rmig/bad.h" <<'END'
/* SPDX-License-Identifier: BSD-3-Clause */
/* bad.h -- is not. */

int rmig_bare(void);

/**
 * rmig_misnamed - do it with rmig_nothing()
 * @b: no such thing
 *
 * Blocks: never.
 */
int rmig_named(int a);

/** What. */
enum rmig_kind {
    RMIG_KIND_A
};
END
said=$(make_pages "$scratch/self" "$scratch/self/rmig/good.h")
[ -z "$said" ] || fault "self-test: a good comment is not passed: $said"
declared "$scratch/self/rmig/good.h" >"$scratch/good"
printf '    rmig_g*;\n    rmig_other;\n' >"$scratch/good.map"
said=$(compare "$scratch/good" "$scratch/good.map" "$scratch/self")
[ -z "$said" ] || fault "self-test: good pages are not passed: $said"
said=$(sed -n '/^\.Nm/,$p' "$scratch/self/man3/rmig_good.3" | sed '/^\.Sh LIBRARY/,/^\.In/d' | tr '\n' '|')
want='.Nm rmig_good ,|.Nm rmig_fine|.Nd do it|.Ft int|.Fo rmig_good|.Fa "const struct rmig_opts *opts"|.Fc|'
want=$want'.Ft int|.Fo rmig_fine|.Fa "const struct rmig_opts *opts"|.Fc|.Sh DESCRIPTION|Do it.|.Pp|As|'
want=$want'.Xr rmig_other 3|does.|Not twice.|.Bl -tag -width "opts"|.It Fa opts|.Dv NULL|is the default.|.El|'
want=$want".Sh OWNERSHIP|The caller's.|.Sh BLOCKING|Never.|.Sh THREADS|One.|.Sh RETURN VALUES|"
want=$want'.Bl -tag -width "-ENOTSUP"|.It 0|success|.It Pf - Er EINVAL|.Fa opts|(or it is late)|'
want=$want'.It Pf - Er ENOMEM|no memory|.El|.Sh SEE ALSO|.Xr rmig_opts 3 ,|.Xr rmig_other 3 ,|.Xr rmig 7|'
[ "$said" = "$want" ] || fault "self-test: a comment is misread: $said"
said=$(make_pages "$scratch/self" "$scratch/self/rmig/bad.h" | sed 's/.*: \(rmig_[^ ]*\)/\1/' | tr '\n' '|')
for planted in 'rmig_bare: no doc comment' 'its comment does not begin' 'rmig_nothing(), which is not declared' \
    '@b is no parameter' 'rmig_named: no Ownership' 'rmig_named: no Threads' 'rmig_named: no Returns' \
    'RMIG_KIND_A has no comment'; do
    case $said in
    *"$planted"*) ;;
    *) fault "self-test: not found: $planted" ;;
    esac
done
# rmig_named and rmig_kind have pages by now, rmig_bare none
declared "$scratch/self/rmig/bad.h" >>"$scratch/good"
grep -v ' rmig_kind$' "$scratch/good" >"$scratch/bad"
printf '    rmig_x*;\n' >>"$scratch/good.map"
printf '.so man3/rmig_gone.3\n' >"$scratch/self/man3/rmig_fine.3"
printf '.Xr rmig_lost 3 ,\n@param\n' >"$scratch/self/man3/rmig_other.3"
said=$(compare "$scratch/bad" "$scratch/good.map" "$scratch/self")
for planted in 'function rmig_bare has no page' 'page rmig_kind(3) is of no' 'rmig_x* has no page' 'rmig_gone' \
    'refers to rmig_lost(3)' 'only a comment should: @param'; do
    case $said in
    *"$planted"*) ;;
    *) fault "self-test: not found: $planted" ;;
    esac
done
[ "$(echo "$said" | wc -l)" -eq 6 ] || fault "self-test: what is no fault is one: $said"

make_pages "$scratch/all" "$top"/include/rmig/*.h >"$scratch/said"
declared "$top"/include/rmig/*.h >"$scratch/declared"
[ "$(grep -c '^function' "$scratch/declared")" -ge 50 ] || fault "only $(grep -c '^function' "$scratch/declared") functions"
compare "$scratch/declared" "$top/librmig.map" "$scratch/all" >>"$scratch/said"
if command -v mandoc >/dev/null; then
    # One run, in which a page with a fault must be found; pages that include another one are that one.
    printf '.Dd January 1, 1970\n.Dt PLANTED 3\n.Os\n.Sh NAME\n' >"$scratch/all/man3/planted.3"
    (cd "$scratch/all" && grep -L '^\.so ' man3/*.3 | xargs mandoc -T lint -W warning) >"$scratch/lint" || true
    grep -q planted "$scratch/lint" || fault "self-test: mandoc does not find a page without sections"
    grep -v planted "$scratch/lint" >>"$scratch/said" || true
fi
while IFS= read -r line; do
    fault "$line"
done <"$scratch/said"
[ "$faults" -gt 0 ] || need mandoc
verdict "$(wc -l <"$scratch/declared") functions and types with their pages"
