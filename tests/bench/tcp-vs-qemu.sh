#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# tcp-vs-qemu.sh -- the plain TCP path against stock QEMU's: the same random RAM over loopback TCP, in
# turn, the median of each, memory touched before each run. 0 if ours is at least twice as fast, 1 if not, 2 usage, 77 skipped.
set -eu
size_mib=4096
runs=5
folder=/dev/shm
mark=2

usage()
{
    cat <<END
usage: tests/bench/tcp-vs-qemu.sh [--size=MIB] [--runs=N] [--dir=FOLDER] [--build=FOLDER]
  --size   RAM to move, default $size_mib MiB
  --runs   runs of each, default $runs; one more of each before them is not counted
  --dir    where the RAM files are made, default $folder; needs twice the size, and the moves once more
  --build  the build tree, default the current folder
END
    exit "$1"
}

build=.
for arg; do
    value=${arg#*=}
    case $arg in
    --size=*) size_mib=$value ;;
    --runs=*) runs=$value ;;
    --dir=*) folder=$value ;;
    --build=*) build=$value ;;
    --help) usage 0 ;;
    *) usage 2 ;;
    esac
done
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$build/run" ] || { echo "$build: no build tree; give it with --build=" >&2; exit 2; }
for tool in python3 "${QEMU:-qemu-system-x86_64}"; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is missing"; exit 77; }
done

scratch=$(mktemp -d "$folder/tcp-vs-qemu.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
dd if=/dev/urandom of="$scratch/ram" bs=1M count="$size_mib" 2>/dev/null

# field NAME FILE
field()
{
    sed -n "s/.*\"$1\": *\([0-9.e+]*\).*/\1/p" "$2"
}

# as much as either takes: its RAM, and ours keeps a copy of the file besides
warm()
{
    python3 "$here/warm.py" $((2 * size_mib))
}

run_qemu()
{
    warm
    python3 "$here/qemu-migrate.py" "$scratch/ram" "$scratch/copy" $((size_mib << 20)) >"$scratch/json"
    cmp "$scratch/ram" "$scratch/copy" || { echo "QEMU's copy differs" >&2; exit 1; }
    rm "$scratch/copy"
}

run_ours()
{
    warm
    "$build/run" rdma_migrate_bench --loopback --transport=tcp --ram="$scratch/ram" \
        --json="$scratch/json" >/dev/null
}

median()
{
    sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# KiB that the host has taken back so far, where this is a virtual machine that gives free memory back
given_back()
{
    cat /sys/module/page_reporting/parameters/reported_kib 2>/dev/null || echo 0
}

given_kib=$(given_back)
read -r load _ </proc/loadavg
awk -v load="$load" 'BEGIN { exit !(load > 0.5) }' &&
    echo "load average $load: what else runs takes from both, and most from the one that needs little"
echo "$size_mib MiB of random RAM over loopback TCP; CPU seconds are of both processes, for a GiB"
printf '%-8s %10s %10s %11s %11s\n' run 'QEMU GB/s' 'ours GB/s' 'QEMU CPU s' 'ours CPU s'
i=0
while [ "$i" -le "$runs" ]; do
    run_qemu
    qemu=$(field goodput_bytes_per_s "$scratch/json")
    qemu_cpu=$(field cpu_s_per_gib "$scratch/json")
    run_ours
    ours=$(field goodput_bytes_per_s "$scratch/json")
    if [ "$i" -eq 0 ]; then
        name='warm-up'
    else
        name=$i
        echo "$qemu" >>"$scratch/qemu"
        echo "$ours" >>"$scratch/ours"
    fi
    awk -v n="$name" -v q="$qemu" -v o="$ours" -v qc="$qemu_cpu" -v oc="$(field cpu_s_per_gib "$scratch/json")" \
        'BEGIN { printf "%-8s %10.3f %10.3f %11.3f %11.3f\n", n, q / 1e9, o / 1e9, qc, oc }'
    i=$((i + 1))
done
given_kib=$(($(given_back) - given_kib))
[ "$given_kib" -lt 1048576 ] ||
    echo "the host took $((given_kib >> 10)) MiB of free memory back meanwhile: the figures tell more of that"
awk -v q="$(median "$scratch/qemu")" -v o="$(median "$scratch/ours")" -v mark="$mark" 'BEGIN {
    met = o / q >= mark
    printf "median   %10.3f %10.3f   ratio %.2f, mark %.1f: %s\n", q / 1e9, o / 1e9, o / q, mark, met ? "met" : "MISSED"
    exit !met
}'
