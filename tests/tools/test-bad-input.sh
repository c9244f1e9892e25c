#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-bad-input.sh -- a mistake gets its exit status and one line that names it.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
tried=0

# wrong STATUS PATTERN ARG...
wrong()
{
    tried=$((tried + 1))
    pattern=$2
    wanted=$1
    shift 2
    expect "$wanted" "$@"
    said "$scratch/err" "$pattern"
    one_line "$scratch/err"
}

# usage
expect 2 --no-such-option
said "$scratch/err" "unrecognized option '--no-such-option'"
wrong 2 "size.*'4X'" -s 4X host
wrong 2 'size.*: 0 is not' -s 0 host
wrong 2 'size.*5000.*page size' -s 5000 host
wrong 2 'size' -s -4096 host
wrong 2 'size' -s 99999999999999999999 host
wrong 2 'size' -s 18014398509481984T host
wrong 2 'blocks.*0' --blocks 0 host
wrong 2 'blocks.*16384' --blocks 16384 host
wrong 2 'blocks' --blocks 5 -s 16K host
wrong 2 'zero-fraction' --zero-fraction 1.5 host
wrong 2 'zero-fraction' --zero-fraction nan host
wrong 2 'dirty-rate' --dirty-rate -1 host
wrong 2 'dirty-set' --dirty-set 100 host
wrong 2 "dirty-tracker.*'guess'.*pagemap" --dirty-tracker guess host
wrong 2 "transport.*'ib'.*rdma" --transport ib host
wrong 2 'port' -p 65536 host
wrong 2 'port.*0' -p 0 host
wrong 2 'qp' -q 0 host
wrong 2 'qp.*9.*1 to 8' -q 9 host
wrong 2 'runs' --runs 0 host
wrong 2 'json.*FILE' --json --json-stream host
wrong 2 'HOST is missing.*--json-stream' --json-stream
wrong 2 'min-gbps' --min-gbps fast host
wrong 2 'min-gbps' --min-gbps=-1 host
wrong 2 'HOST is missing.*--min-gbps' --min-gbps 1
wrong 2 "interval: 'often'" -i often host
wrong 2 'interval' --interval=-1 host
wrong 2 'ib-port.*1 to 255' --ib-port 256 host
wrong 2 "pin-budget: '4X'" --pin-budget 4X host
wrong 2 'pin-budget: 0 is not' --pin-budget 0 host
for option in deadline progress-deadline; do
    wrong 2 "--$option: '0' is not a number of seconds" --$option 0 host
    wrong 2 "--$option: 'soon' is not" --$option soon host
    wrong 2 "--$option: '86401' is not" --$option 86401 host
done
wrong 2 'compare' --compare --transport=tcp host
wrong 2 'compare' --compare tcp:host:1
wrong 2 'transport=tcp: HOST says rdma' --transport=tcp rdma:host:1
wrong 2 'pin-all is for RDMA' --transport=tcp --pin-all host
wrong 2 'pin-budget is for RDMA' --transport=tcp --pin-budget 1G host
wrong 2 'pin-budget: 16.00 MiB is less than the RAM, 32.00 MiB, .*--pin-all.*: raise the budget, or do without' --pin-all --pin-budget 16M -s 32M host
wrong 2 'qp is for RDMA' -q 2 tcp:host:1
wrong 2 'gid-index is for RDMA' -x 1 tcp:host:1
wrong 2 'zero-holes: .*zero-fraction' --zero-holes host
wrong 2 'dirty-tracker: .*dirty-rate' --dirty-tracker pagemap host
wrong 2 'dirty-set: .*dirty-rate' --dirty-set 4K host
wrong 2 'dirty-set: more than the RAM, which has 1048576 bytes' -s 1M --dirty-rate 1 --dirty-set 2M host
wrong 2 'HOST is missing.*--json' --json
wrong 2 'HOST is missing.*--size' -s 4K
wrong 2 '--once is for the server' --once host
wrong 2 'bind.*loopback' --loopback --bind 127.0.0.1
wrong 2 'port: with --loopback a free one is taken: leave 5000 out' --loopback -p 5000
wrong 2 'port: with --loopback a free one is taken: leave 5000 out' --loopback tcp:127.0.0.1:5000
wrong 2 "'host:5000': with a port it is rdma:host:5000 or tcp:host:5000; or give --port" host:5000
wrong 2 "'b'.*'a'" a b
wrong 2 'host' 'a b'
wrong 2 'host' ''
wrong 2 'PORT' tcp:somewhere
wrong 2 '99999' rdma:somewhere:99999

# the RAM file
: >"$scratch/empty"
head -c 5000 /dev/zero >"$scratch/ragged"
head -c 8192 /dev/zero >"$scratch/small"
wrong 2 'cannot read .*/none: No such file' --loopback --ram "$scratch/none"
wrong 2 'is empty' --loopback --ram "$scratch/empty"
wrong 2 '5000 bytes.*page' --loopback --ram "$scratch/ragged"
wrong 2 'not a regular file' --loopback --ram "$scratch"
wrong 2 'blocks' --loopback --ram "$scratch/small" --blocks 3
wrong 2 'size.*--ram' --loopback --ram "$scratch/small" -s 8K
wrong 2 'zero-fraction.*--ram' --loopback --ram "$scratch/small" --zero-fraction .5
wrong 2 'zero-holes.*--ram' --loopback --ram "$scratch/small" --zero-holes
wrong 2 'json.*No such file' --loopback -s 4K --json="$scratch/none/file"

# devices
wrong 3 'device=no_such_device: .*(no RDMA|install the plugin)' --loopback -s 4K -d no_such_device
wrong 3 'device=no_such_device: .*(no RDMA|install the plugin)' --loopback -s 4K --transport=rdma -d no_such_device

# nobody there
wrong 4 'no-such-host\.invalid' -s 4K no-such-host.invalid
start_server
wrong 4 "127.0.0.1:$port: .*in use; --port" -p "$port" --bind 127.0.0.1
kill "$server"
end_server
[ "$status" -eq 0 ] || fault "the server that was stopped ended with $status"
wrong 4 'refused; start rdma_migrate_bench' -s 4K -p "$port" 127.0.0.1
wrong 4 'tcp \[::1\]:[0-9]+: ' -s 4K -p "$port" '[::1]'

# more than the server gives
start_server --max-ram 1M
wrong 4 'peer: .*at most 1.00 MiB.*--max-ram' -s 2M -p "$port" 127.0.0.1
expect 0 -s 1M --transport=tcp -p "$port" 127.0.0.1
verdict "$tried mistakes"
