#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-one-host.sh -- the main job over real RDMA between two processes of one host
set -u
here=$(cd "$(dirname "$0")" && pwd)
command -v rdma_migrate_bench >/dev/null || { echo "rdma_migrate_bench is not in PATH; use ./run"; exit 77; }
command -v qemu-system-x86_64 >/dev/null || { echo "needs qemu-system-x86_64"; exit 77; }
image=$("$here/../../tools/make-ram-image.sh" | tail -n 2 | head -n 1) || exit 1
exec "$here/run" --lane="${RMIG_TEST_LANE:-guest}" -- "$here/cases/one-host.sh" "$image"
