#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-dirty.sh -- a guest that writes: the passes converge, nothing is old or torn, the limit is kept.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
ran=

# member NAME -- of the JSON object
member()
{
    sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$scratch/json"
}

for tracker in pagemap userfaultfd mprotect; do
    rm -f "$scratch/json"
    status=0
    bench --loopback -s 64M --blocks 3 --transport=tcp --dirty-rate 60 --dirty-tracker "$tracker" \
        --max-bandwidth 300 --json="$scratch/json" >"$scratch/out" 2>"$scratch/err" || status=$?
    if [ "$status" -eq 2 ] && [ "$tracker" != mprotect ] && grep -q 'userfaultfd\|PAGEMAP' "$scratch/err"; then
        echo "not on this kernel, or not for this user: $tracker"
        continue
    fi
    ran="$ran $tracker"
    [ "$status" -eq 0 ] || { fault "$tracker: exit status $status"; cat "$scratch/err"; }
    [ "$(member tracker)" = "\"$tracker\"" ] || fault "asked for $tracker, got $(member tracker)"
    [ "$(member verified)" = true ] || fault "$tracker: not verified"
    [ "$(member torn_pages)" = 0 ] || fault "$tracker: torn pages"
    [ "$(member converged)" = true ] || fault "$tracker: did not converge"
    [ "$(member rounds)" -ge 2 ] || fault "$tracker: $(member rounds) rounds"
    [ "$(member written_pages)" -gt 500 ] || fault "$tracker: the guest wrote $(member written_pages) pages"
    [ "$(member stamped_pages)" -gt 500 ] || fault "$tracker: $(member stamped_pages) pages arrived"
    [ "$(member synced_pages)" -gt 0 ] || fault "$tracker: no page was sent again"
done
# Whatever it picks by itself works. Zero pages and holes are written to as well.
expect 0 --loopback -s 64M --transport=tcp --dirty-rate 60 --zero-fraction 0.9 --zero-holes --runs 2
said "$scratch/out" 'guest wrote at .* tracked by (pagemap|userfaultfd|mprotect)'
# the working set is kept to
expect 0 --loopback -s 64M --transport=tcp --dirty-rate 200 --dirty-set 1M --json="$scratch/json"
[ "$(member stamped_pages)" -le 256 ] || fault "--dirty-set 1M: $(member stamped_pages) pages written"
# a guest that cannot write as fast as it should is no result to be taken for one
expect 0 --loopback -s 16M --transport=tcp --dirty-rate 900000 --dirty-set 64K --max-bandwidth 40
said "$scratch/out" 'guest wrote at .*less than the 900000\.0 MB/s of --dirty-rate'

# faster than the link: given up in time
expect 7 --loopback -s 32M --transport=tcp --dirty-rate 400 --max-bandwidth 40 --downtime-limit 20 --time-limit 1 \
    --json="$scratch/json"
said "$scratch/err" 'did not converge in 1000 ms|not through in 1000 ms'
[ "$(member converged)" = false ] || fault "converged within --time-limit 1"
[ "$(member source_whole)" = true ] || fault "given up, and the source is whole: $(member source_whole)"
# a link that is too slow for a guest that writes nothing
expect 7 --loopback -s 32M --transport=tcp --max-bandwidth 10 --time-limit 1
said "$scratch/err" 'the RAM was not through in 1000 ms: [0-9.]+ MiB are left; give it more time or more bandwidth'
# the server ends as its client does
start_server --once
expect 7 -s 32M --transport=tcp --max-bandwidth 10 --time-limit 1 -p "$port" 127.0.0.1
end_server
[ "$status" -eq 7 ] || fault "the server of a client that gave up in time ended with $status"
said "$scratch/server.err" 'was not through'
verdict "with$ran"
