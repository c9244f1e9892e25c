#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-quick.sh -- a few guests of a stock QEMU through rmig, over the RDMA of tests/fabric
[ -e "${abs_top_builddir:?run it by make check}/rdma/rmig-transport-rdma.la" ] || { echo "skipped: built without RDMA"; exit 77; }
exec "${abs_top_srcdir:?run it by make check}/tests/interop/run" --seed=1 \
    receive/rdma/q35/running send/rdma/q35/stopped/pin-all relay/rdma-tcp/q35/running \
    chain/tcp-file-rdma/stopped refuse/rdma/pin-all take/rdma/xbzrle
