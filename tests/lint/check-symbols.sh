#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-symbols.sh -- librmig exports what include/rmig/ declares, and nothing else; a plugin exports
# rmig_transport_init alone and needs no symbol of the library.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
CC=${CC:-cc}
need nm "${CC%% *}"
library=$build/.libs/librmig.so
plugin=$build/rdma/.libs/rmig-transport-rdma.so
entry=rmig_transport_init

# declared INCLUDE_DIR -- functions that the public headers declare
declared()
{
    # shellcheck disable=SC2086
    echo '#include <rmig/rmig.h>' |
        $CC -std=c11 -E -P -I"$1" "-D__attribute__(x)=" - |
        awk -f "$top/tests/lint/functions.awk" | grep '^rmig_' | LC_ALL=C sort -u
}

# symbols OPTION FILE -- its dynamic symbols, without versions, weak ones, and what toolchains add
symbols()
{
    nm -D "$1" "$2" | awk '$(NF - 1) != "A" && $(NF - 1) !~ /^[wv]$/ { sub(/@.*/, "", $NF); print $NF }' |
        LC_ALL=C sort -u
}

# differ TITLE FILE1 FILE2 -- a fault for each line that FILE1 has and FILE2 has not
differ()
{
    LC_ALL=C comm -23 "$2" "$3" >"$scratch/only"
    while IFS= read -r name; do
        fault "$1: $name"
    done <"$scratch/only"
}

# The reader of declarations must see functions, and see them only.
mkdir -p "$scratch/self/rmig"
cat >"$scratch/self/rmig/rmig.h" <<'END'
struct ops { int (*call)(int a); int rmig_member; };
typedef int (*rmig_log_fn)(int level);
static inline int rmig_inline(int a) { return a; }
__attribute__((x)) int rmig_a(struct ops *o, int (*cb)(void)); void rmig_b(void);
extern int rmig_c(int) __attribute__((format(printf, 1, 2)));
END
[ "$(declared "$scratch/self" | tr '\n' ' ')" = "rmig_a rmig_b rmig_c " ] ||
    fault "self-test: declarations are misread: $(declared "$scratch/self" | tr '\n' ' ')"

[ -f "$library" ] || { echo "skipped: no $library (a build without shared libraries)" >&2; exit 77; }
declared "$top/include" | grep -v "^$entry\$" >"$scratch/declared"
[ "$(wc -l <"$scratch/declared")" -ge 50 ] || fault "only $(wc -l <"$scratch/declared") declarations"
symbols --defined-only "$library" >"$scratch/exported"
differ "librmig exports what no public header declares" "$scratch/exported" "$scratch/declared"
differ "declared in include/rmig/, not exported by librmig" "$scratch/declared" "$scratch/exported"
if [ -f "$plugin" ]; then
    said=$(symbols --defined-only "$plugin" | tr '\n' ' ')
    [ "$said" = "$entry " ] || fault "${plugin##*/} exports $said: it may export $entry only"
    said=$(symbols --undefined-only "$plugin" | grep '^rmig_' | tr '\n' ' ' || true)
    [ -z "$said" ] || fault "${plugin##*/} needs $said: host services come as struct rmig_host"
fi
verdict "symbols"
