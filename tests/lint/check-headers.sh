#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-headers.sh -- each public header compiles alone, as C11 and as C++11, in the tree and as
# installed, with no warning; all of them are installed; the C text in the README compiles.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
CC=${CC:-cc}
CXX=${CXX:-c++}
need "${CC%% *}" "${CXX%% *}"
warnings='-Wall -Wextra -pedantic -Werror'

# compile FLAGS FILE -- check syntax; FLAGS is split at blanks
compile()
{
    # shellcheck disable=SC2086
    case $2 in
    *.c) $CC -std=c11 $warnings $1 -fsyntax-only "$2" ;;
    *) $CXX -std=c++11 $warnings $1 -fsyntax-only "$2" ;;
    esac
}

# try_headers INCLUDE_DIR -- every header of INCLUDE_DIR/rmig, twice in a row, and nothing else
try_headers()
{
    for header in "$1"/rmig/*.h; do
        name=${header##*/}
        for unit in "$scratch/unit.c" "$scratch/unit.cc"; do
            printf '#include <rmig/%s>\n#include <rmig/%s>\nextern int unit;\n' "$name" "$name" \
                >"$unit"
            compile "-I$1" "$unit" || fault "$header does not compile alone as ${unit##*.}"
        done
    done
}

# The test itself must be able to fail.
mkdir -p "$scratch/bad/rmig"
echo 'struct x { uint32_t needs_stdint; };' >"$scratch/bad/rmig/bad.h"
if (try_headers "$scratch/bad" && [ "$faults" -eq 0 ]) 2>/dev/null; then
    fault "self-test: a header that lacks an include is not found"
fi

try_headers "$top/include"
if [ -f "$build/Makefile" ]; then
    # no jobserver of an outer make, no flags of it
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "${MAKE:-make}" -s -C "$build" \
        DESTDIR="$scratch/dest" includedir=/include rmigincludedir=/include/rmig \
        install-rmigincludeHEADERS >"$scratch/install.log" 2>&1 ||
        fault "the headers do not install: $(cat "$scratch/install.log")"
    try_headers "$scratch/dest/include"
    for header in "$top"/include/rmig/*.h; do
        [ -f "$scratch/dest/include/rmig/${header##*/}" ] ||
            fault "$header is not installed: add it to rmiginclude_HEADERS"
    done
fi
awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$top/README.md" >"$scratch/readme.c"
[ -s "$scratch/readme.c" ] || fault "README.md has no C text any more: drop this check"
compile "-I$top/include" "$scratch/readme.c" || fault "the C text in README.md does not compile"
verdict "public headers"
