#!/bin/bash
# make-ram-image.sh -- makes the memory image of a real Debian guest that ran for a while, as input for tests
# SPDX-License-Identifier: BSD-3-Clause
set -u
top=$(cd "$(dirname "$0")/.." && pwd -P)
self=$top/tools/make-ram-image.sh
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/rmig-softroce

usage()
{
    cat <<'END'
usage: make-ram-image.sh [--size=MIB] [--seconds=N] [--fresh] [FILE]

Boots a Debian kernel on this machine's files in a guest of MIB (default 512, or RMIG_RAM_IMAGE_MIB),
lets it read files and run programs for N seconds (default 20), stops it, and leaves its memory in
FILE. Without FILE the image is made once and kept in the cache. --fresh makes it anew. Prints the
path, then one line of figures. Exit status 125: no guest could be started, the last line says why.
END
}

say()
{
    printf 'make-ram-image.sh: %s\n' "$*" >&2
}

bad_usage()
{
    say "$*"
    usage >&2
    exit 2
}

# What the guest does: page cache from the machine's own files, processes with memory of their own, freed
# pages, tmpfs. It returns in the middle of work, and the lane cuts the power: the memory stays as it is.
session()
{
    local total end=$((SECONDS + $1))
    exec >/dev/null 2>&1
    cd /usr || exit 1
    # Processes that stay, each with tables of its own.
    for _ in 1 2 3; do
        awk 'BEGIN { for (i = 0; i < 60000; i++) t[i] = "row " i " of the table"; while (1) system("sleep 1") }' &
    done
    # Working files, some of them given back.
    find lib share bin -type f -size -200k | head -n 4000 >/dev/shm/list
    (
        head -n 300 /dev/shm/list | xargs -d '\n' cat >/dev/shm/work
        gzip -1 -k /dev/shm/work
        rm /dev/shm/work
    ) &
    # Page cache, a third of the memory: programs, libraries, texts.
    total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    find bin lib/x86_64-linux-gnu share/doc share/perl -type f -print0 | xargs -0 cat |
        head -c "$((total / 3))K" >/dev/null &
    while [ $SECONDS -lt $end ]; do
        sort /dev/shm/list | md5sum >/dev/null
        sleep 0.5
    done
    exit 0
}

make_image()
{
    mkdir -p "$(dirname "$image")" || exit 1
    rm -f "$image.new"
    # Sparse: what the guest never touched takes no room.
    truncate -s "${size_mib}M" "$image.new" || { say "cannot write $image.new"; exit 1; }
    "$top/tests/softroce/run" "--mem=${size_mib}M" "--ram=$image.new" "--timeout=$((seconds + 120))" -- \
        "$self" --session "$seconds" >&2 || exit
    mv "$image.new" "$image"
}

# One line of figures; a page is 4096 bytes.
statistics()
{
    perl -e '
        open(my $f, "<:raw", $ARGV[0]) or die "$ARGV[0]: $!\n";
        my ($pages, $zero, $page) = (0, 0);
        my $blank = "\0" x 4096;
        while (read($f, $page, 4096)) {
            $pages++;
            $zero++ if $page eq $blank;
        }
        printf "%d MiB, %d pages, %d zero (%.1f %%), on disk %d MiB\n",
            $pages / 256, $pages, $zero, 100 * $zero / $pages, (stat $f)[12] / 2048;' "$1"
}

size_mib=${RMIG_RAM_IMAGE_MIB:-512} seconds=20 fresh=0 image=''
while [ $# -gt 0 ]; do
    case $1 in
    --session) session "$2" ;;
    --size=*) size_mib=${1#*=} ;;
    --seconds=*) seconds=${1#*=} ;;
    --fresh) fresh=1 ;;
    --help) usage; exit 0 ;;
    -*) bad_usage "unknown option '$1'" ;;
    *) [ -z "$image" ] || bad_usage "one FILE only"; image=$1; fresh=1 ;;
    esac
    shift
done
case $size_mib$seconds in
*[!0-9]*) bad_usage "--size and --seconds want whole numbers" ;;
esac
[ "$size_mib" -ge 256 ] || bad_usage "--size is at least 256 MiB"
[ -n "$image" ] || image=$cache/ram-$size_mib.img
mkdir -p "$cache" || exit 1
exec {lock}>"$cache/lock-ram-$size_mib"
flock -w 1800 "$lock" || { say "another run has been making the image for 30 minutes"; exit 1; }
trap 'rm -f "$image.new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ "$fresh" = 1 ] || [ ! -e "$image" ]; then
    make_image
fi
exec {lock}>&-
printf '%s\n' "$image"
statistics "$image"
