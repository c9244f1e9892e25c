#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-options.sh -- --help, --version and the man page say the same as the program does.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
page=$top/docs/rdma_migrate_bench.1

expect 0 --help
cp "$scratch/out" "$scratch/help"
expect 0 --version
said "$scratch/out" '^rdma_migrate_bench [0-9]+\.[0-9]+\.[0-9]+$'
one_line "$scratch/out"
expect 0 --usage

# every long option of either is in the other; short options next to them
grep -E '^ *(-.,)? *--' "$scratch/help" | grep -Eo -e '--[a-z][a-z_-]*' | sort -u >"$scratch/help.long"
grep '^\.It .*Fl' "$page" | sed 's/\\-/-/g' | grep -o 'Fl -[a-z][a-z_-]*' | sed 's/Fl /-/' | sort -u >"$scratch/page.long"
cmp -s "$scratch/help.long" "$scratch/page.long" ||
    fault "--help and the man page differ: $(diff "$scratch/help.long" "$scratch/page.long" || true)"
[ "$(wc -l <"$scratch/help.long")" -ge 30 ] || fault "only so many options found: $(cat "$scratch/help.long")"
sed -n 's/^  -\(.\), --.*/\1/p' "$scratch/help" | sort >"$scratch/help.short"
sed -n 's/^\.It Fl \([^\\ ]\).*, Fl .*/\1/p' "$page" | sort >"$scratch/page.short"
cmp -s "$scratch/help.short" "$scratch/page.short" ||
    fault "short options differ: $(diff "$scratch/help.short" "$scratch/page.short" || true)"

# the statuses of the man page are those of --help
for status in 0 2 3 4 5 6 7; do
    grep -q "^\.It $status\$" "$page" || fault "the man page does not explain exit status $status"
    tr '\n' ' ' <"$scratch/help" | grep -Eq "[ ,]$status [a-zA-Z]" || fault "--help does not explain $status"
done
# and so are the default port and the members of the JSON that the page promises a schema for
said "$page" '^The default is 18516\.$'
said "$scratch/help" 'default 18516'
[ -s "$top/docs/rdma_migrate_bench.schema.json" ] || fault "no schema"
# rates in Gbit/s where people read them, and nowhere else
expect 0 --loopback -s 16M --transport=tcp --max-bandwidth 40 -i 0.1 --report_gbits --dirty-rate 1 --json="$scratch/json"
said "$scratch/out" ' Gbit/s '
said "$scratch/out" 'guest wrote at [0-9.]+ Gbit/s,'
said "$scratch/err" "$progress"
said "$scratch/err" ' Gbit/s  [0-9]'
! grep -E '[GM]B/s' "$scratch/err" || fault "other units with --report_gbits"
! grep -E 'GB/s|at [0-9.]+ MB/s' "$scratch/out" || fault "other units with --report_gbits"
! grep -i 'gbit' "$scratch/json" || fault "--report_gbits changes the JSON"
expect 0 --loopback -s 4K --transport=tcp --report-gbits
! grep -E 'GB/s' "$scratch/out" || fault "--report-gbits is another option than --report_gbits"
expect 0 --loopback -s 4K --transport=tcp
said "$scratch/out" ' GB/s +Gbit/s '
# a rate that is not kept is refused; the least is
for rate in 0.001 0.0000001 0.0409; do
    expect 2 --loopback -s 4K --transport=tcp --max-bandwidth "$rate"
    said "$scratch/err" "max-bandwidth: $rate MB/s is less than can be kept: 0\\.04096 is the least"
done
expect 0 --loopback -s 64K --transport=tcp --max-bandwidth 0.04096 --dirty-rate 0.001 --json="$scratch/json"
said "$scratch/json" '"total_ns":[0-9]{10}' # a second or more
verdict "$(wc -l <"$scratch/help.long") options"
