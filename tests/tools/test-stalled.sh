#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-stalled.sh -- a network that swallows everything: both ends end with 5 at the idle deadline.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"

broken stall 45 'moved in|idle|within|time'
verdict "noticed"
