#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# soak.sh -- the tests that count something, with long counts: before a release. [FACTOR] [SECTION...]
set -eu
factor=10
case ${1:-} in
[1-9] | [1-9][0-9] | [1-9][0-9][0-9]) factor=$1; shift ;;
esac
[ $# -gt 0 ] || set -- build check hypervisor interop
export RMIG_TEST_FACTOR=$factor
exec "$(dirname "$0")/run.sh" "$@"
