#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-includes.sh -- the layers hold: nobody includes what the may-include table forbids.
# With RMIG_LINT_THOROUGH set it first proves on small trees with one planted fault each that it finds that fault.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
rules=$top/tests/lint/includes.awk

# check_tree DIR -- print the faults of the tree in DIR
check_tree()
(
    cd "$1"
    files=$(find include common stream hooks migrate rdma tools -name '*.[ch]' -type f 2>/dev/null |
        LC_ALL=C sort)
    # shellcheck disable=SC2086 # names of our own, no blanks in them
    [ -z "$files" ] || awk -v files="$files" -f "$rules" $files
    for name in rdma_cma rdma_verbs rsocket; do
        [ ! -e "rdma/$name.h" ] || echo "rdma/$name.h: hides the system header <rdma/$name.h>"
    done
    # shellcheck disable=SC2086
    [ -z "$files" ] || header_edges $files | tsort 2>&1 >/dev/null | sed -n 's/^tsort: -: /cycle: /p
        s/^tsort: \([a-z].*\.h\)$/cycle: \1/p'
)

# header_edges FILE... -- "a.h b.h" for each header that includes another, for tsort
header_edges()
{
    awk 'FILENAME ~ /\.h$/ && /^#include/ {
            what = $2
            if (what ~ /^<rmig\//) what = "include/" substr(what, 2, length(what) - 2)
            else if (what ~ /^"/) what = substr(what, 2, length(what) - 2)
            else next
            print FILENAME, what
        }' "$@"
}

# plant FILE LINE... -- a file with these lines in the small tree
plant()
{
    file=$scratch/tree/$1
    shift
    mkdir -p "${file%/*}"
    printf '%s\n' "$@" >"$file"
}

# small_tree -- a tree without a fault
small_tree()
{
    rm -rf "$scratch/tree"
    plant include/rmig/error.h '#include <stdint.h>'
    plant common/bytes.h '#include <stdint.h>'
    plant common/error.c '#include <rmig/error.h>' '#include <errno.h>'
    plant stream/format.h '#include <rmig/error.h>'
    plant stream/stream_internal.h '#include <rmig/error.h>'
    plant stream/out.c '#include "config.h"' '#include <zlib.h>' '#include "common/bytes.h"'
    plant hooks/save.h '#include <stdint.h>'
    plant hooks/save.c '#include "hooks/save.h"' '#include "stream/format.h"' \
        '#include "stream/stream_internal.h"' '#include "common/bytes.h"'
    plant migrate/move.h '#include <rmig/error.h>'
    plant migrate/move.c '#include "migrate/move.h"' '#include "common/bytes.h"'
    plant rdma/verbs.h '#include <rmig/error.h>'
    plant rdma/verbs.c '#include "rdma/verbs.h"' '#include <infiniband/verbs.h>' \
        '#include <rdma/rdma_cma.h>'
    plant rdma/verbs_device.c '#include "rdma/verbs.h"' '#include <infiniband/verbs.h>'
    plant rdma/wire.h '#include <stdint.h>'
    plant rdma/wire.c '#include "rdma/wire.h"' '#include "common/bytes.h"'
    plant tools/tool.h '#include <stdint.h>'
    plant tools/tool.c '#include "tools/tool.h"' '#include <rmig/error.h>' '#include <jansson.h>'
}

# catches FILE LINE... -- the small tree with this file planted must be found faulty, by its name
catches()
{
    small_tree
    plant "$@"
    check_tree "$scratch/tree" | grep -q "$1" ||
        fault "self-test: the fault planted in $1 ($2) is not found"
}

self_test()
{
    small_tree
    said=$(check_tree "$scratch/tree")
    [ -z "$said" ] || fault "self-test: a tree without fault is not passed: $said"
    catches common/error.c '#include <rmig/error.h>' '#include "stream/format.h"'
    catches common/error.c '#include <rmig/error.h>' '#include <zlib.h>'
    catches common/error.c '#include <errno.h>' '#include <rmig/error.h>'
    catches include/rmig/error.h '#include "common/bytes.h"'
    catches include/rmig/error.h '#include <zlib.h>'
    catches stream/out.c '#include "hooks/save.h"'
    catches stream/out.c '#include "rdma/wire.h"'
    catches hooks/save.c '#include "hooks/save.h"' '#include "rdma/wire.h"'
    catches hooks/save.c '#include "hooks/save.h"' '#include "stream/out.h"'
    catches hooks/save.c '#include "common/bytes.h"' '#include "hooks/save.h"'
    catches migrate/move.c '#include "migrate/move.h"' '#include "hooks/save.h"'
    catches migrate/move.c '#include "migrate/move.h"' '#include "stream/format.h"'
    catches stream/out.c '#include "migrate/move.h"'
    catches rdma/wire.c '#include "rdma/wire.h"' '#include "stream/format.h"'
    catches rdma/wire.c '#include "rdma/wire.h"' '#include "hooks/save.h"'
    catches rdma/wire.c '#include "rdma/wire.h"' '#include <infiniband/verbs.h>'
    catches rdma/wire.c '#include "rdma/wire.h"' '#include <rdma/rdma_cma.h>'
    catches rdma/wire.h '#include "wire_more.h"'
    catches rdma/wire.h '#include <rmig/nothing.h>'
    catches tools/tool.c '#include "tools/tool.h"' '#include "common/bytes.h"'
    catches tools/tool.c '#include "tools/tool.h"' '  #  include "rdma/verbs.h"'
    catches rdma/rdma_cma.h ''
    catches rdma/rdma_verbs.h ''
    catches rdma/rsocket.h ''
    catches rdma/wire.h '#include "rdma/wire.h"'
    small_tree
    plant rdma/wire.h '#include "rdma/verbs.h"'
    plant rdma/verbs.h '#include "rdma/wire.h"'
    check_tree "$scratch/tree" | grep -q '^cycle: ' || fault "self-test: a cycle of headers is not found"
}

! thorough || self_test
check_tree "$top" >"$scratch/said"
while IFS= read -r line; do
    fault "$line"
done <"$scratch/said"
verdict "includes"
