#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-tcp.sh -- moves over TCP: loopback, a server for several clients, files with holes, blocks.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"

# member NAME -- of the last JSON object in $scratch/json
member()
{
    tail -n 1 "$scratch/json" | sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p"
}

# is NAME VALUE
is()
{
    [ "$(member "$1")" = "$2" ] || fault "$1 is $(member "$1"), not $2"
}

# moved ARG... -- over TCP, verified
moved()
{
    rm -f "$scratch/json"
    expect 0 --transport=tcp --json="$scratch/json" "$@"
    is verified true
    is different_units 0
    is transport '"tcp"'
}

moved --loopback -s 16M
is ram_bytes 16777216
is zero_pages 0
is normal_pages 4096
said "$scratch/out" '^tcp .* yes$'
moved --loopback -s 4K
is ram_bytes 4096
moved --loopback -s 16M --zero-fraction 0.5
[ "$(member zero_pages)" -gt 1900 ] || fault "half of 4096 pages are zero: $(member zero_pages)"
[ "$(member zero_pages)" -lt 2200 ] || fault "half of 4096 pages are zero: $(member zero_pages)"
is hole_pages 0
moved --loopback -s 16M --zero-fraction 1
is zero_pages 4096
# new memory is zero, so nobody says so
is unsaid_pages 4096
[ "$(member bytes_on_wire)" -lt 4096 ] || fault "$(member bytes_on_wire) bytes for nothing"
moved --loopback -s 16M --zero-fraction 0.5 --zero-holes
[ "$(member hole_pages)" -gt 1000 ] || fault "holes were read: $(member hole_pages)"
moved --loopback -s 16M --zero-fraction 0.5 --shared
moved --loopback -s 16M --zero-fraction 0.5 --prealloc
moved --loopback -s 16M --shared --prealloc --blocks 3
moved --loopback -s 16M --blocks 7
is blocks 7
moved --loopback -s 4100K --blocks 1025
is blocks 1025

# a file, the holes of which are kept
head -c 1048576 /dev/urandom >"$scratch/ram"
truncate -s 8M "$scratch/ram"
moved --loopback --ram "$scratch/ram" --blocks 2
is ram_bytes 8388608
is normal_pages 256
is hole_pages 1792

# a limit is kept to: 8 MiB at 16 MB/s take half a second
began=$(seconds)
moved --loopback -s 8M --max-bandwidth 16
awk -v from="$began" -v to="$(seconds)" 'BEGIN { exit !(to - from > 0.35) }' || fault "faster than the limit"

# several runs: one object each
moved --loopback -s 4M --runs 3
[ "$(wc -l <"$scratch/json")" -eq 3 ] || fault "3 runs, $(wc -l <"$scratch/json") objects"
is run 3

# a limit on the goodput: 8 MB/s are less than 0.1 Gbit/s, and any rate is more than next to none
expect 7 --loopback -s 4M --transport=tcp --max-bandwidth 8 --runs 2 --min-gbps 0.1 --json="$scratch/json"
one_line "$scratch/err"
said "$scratch/err" 'goodput of 0\.[0-9]+ Gbit/s, the median, is below the 0\.1 Gbit/s of --min-gbps'
is exit_status 0
expect 0 --loopback -s 4M --transport=tcp --min-gbps 0.000001

# to standard output: nothing else goes there
expect 0 --loopback -s 4M --transport=tcp --json
one_line "$scratch/out"
said "$scratch/out" '^\{.*"verified":true.*\}$'
said "$scratch/err" '^tcp '

# a server goes from client to client; a name, an IPv6 address and a URI reach it
start_server
moved -p "$port" -s 4M 127.0.0.1
moved -s 4M "tcp:127.0.0.1:$port"
[ "$(grep -c 'verified$' "$scratch/server.out")" -eq 2 ] || fault "2 clients: $(cat "$scratch/server.out")"
kill "$server"
end_server
start_server --once
moved -p "$port" -s 4M 127.0.0.1
end_server
[ "$status" -eq 0 ] || fault "--once: ended with $status"
verdict "over TCP"
