#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# check-shell.sh -- shellcheck has nothing to say about any script of the tree.
set -eu
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need shellcheck

cd "$top"
# what is named so, and what begins as a script does
find .ci tests tools autogen.sh run.in -type f ! -name '*.[ch]' ! -name '*.awk' ! -path '*/.libs/*' \
    ! -path '*/corpus/*' -print | LC_ALL=C sort >"$scratch/files"
while IFS= read -r file; do
    case $file in
    *.sh) ;;
    *) head -c 64 "$file" | head -n 1 | grep -aqE '^#! ?/bin/(ba)?sh' || continue ;;
    esac
    # libtool makes scripts of this kind beside the programs it links
    ! grep -aq 'libtool wrapper' "$file" || continue
    echo "$file" >>"$scratch/scripts"
done <"$scratch/files"
xargs shellcheck -x -P SCRIPTDIR:. <"$scratch/scripts" >"$scratch/said" 2>&1 || fault "$(cat "$scratch/said")"
verdict "$(wc -l <"$scratch/scripts") shell scripts"
