#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# smoke.sh -- one move of 128 MiB over RDMA between two processes
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/softroce/cases/lib.sh
. "$here/lib.sh"
name="rdma_migrate_bench moves 128 MiB over RXE, verified"
if ! serve --bind "$SELF"; then
    fail "$name" "the server did not listen within 30 s: $(cat "$scratch/server")"
elif bench 0 "$name" --transport=rdma -s 128M -p "$port" "$SELF"; then
    wait "$server"
    rc=$?
    cat "$scratch/server" >>"$scratch/out"
    holds "$name" "$rc $(json transport) $(json verified)" = "0 rdma true"
    [ ! -e "$scratch/json" ] || echo "# $(json total_ns) ns, $(json goodput_bytes_per_s) B/s"
else
    kill "$server" 2>/dev/null
    wait "$server"
    sed 's/^/# server: /' "$scratch/server"
fi
finish
