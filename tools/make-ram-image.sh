#!/bin/bash
# make-ram-image.sh -- makes the memory image of a real Debian guest that ran for a while, as input for tests
# SPDX-License-Identifier: BSD-3-Clause
set -u
top=$(cd "$(dirname "$0")/.." && pwd -P)
here=$top/tests/softroce
# shellcheck source=tests/softroce/lib/common.sh
. "$here/lib/common.sh"
# shellcheck source=tests/softroce/lib/kernel.sh
. "$here/lib/kernel.sh"

usage()
{
    cat <<'EOF'
usage: make-ram-image.sh [--size=MIB] [--seconds=N] [--fresh] [FILE]

Boots a Debian kernel on this machine's files in a guest of MIB (default 512, or RMIG_RAM_IMAGE_MIB), lets it read files
and run programs for N seconds (default 20), stops it, and leaves its memory in FILE. Without FILE the image is made once
and kept in the cache. --fresh makes it anew. Prints the path, then one line of figures.
EOF
}

bad_usage()
{
    say "$*"
    usage >&2
    exit "$EXIT_USAGE"
}

# shellcheck disable=SC2317  # called by the trap
cleanup()
{
    trap '' INT TERM HUP
    if [ -n "$guest" ]; then
        kill -KILL "$guest" 2>/dev/null
        wait "$guest" 2>/dev/null
    fi
    [ -z "$job" ] || rm -rf "$job"
    [ -z "$image" ] || rm -f "$image.new"
}

# What the guest does: page cache from the machine's own files, processes with memory of their own, freed pages, tmpfs.
write_session()
{
    cat <<'EOF'
#!/bin/bash
# The end is a power cut by the runner: the memory is wanted as it is in the middle of work.
export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
job=/run/softroce/job
: >"$job/begun"
mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm
cd /usr
# Processes that stay, each with tables of its own.
for i in 1 2 3; do
    awk 'BEGIN { for (i = 0; i < 60000; i++) t[i] = "row " i " of the table"; while (1) system("sleep 1") }' &
done
# Working files, some of them given back.
find lib share bin -type f -size -200k 2>/dev/null | head -n 4000 >/dev/shm/list
(head -n 300 /dev/shm/list | xargs -d '\n' cat >/dev/shm/work; gzip -1 -k /dev/shm/work; rm /dev/shm/work) 2>/dev/null &
# Page cache, a third of the memory: programs, libraries, texts.
total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
find bin lib/x86_64-linux-gnu share/doc share/perl -type f 2>/dev/null | xargs -d '\n' cat 2>/dev/null |
    head -c "$((total / 3))K" >/dev/null &
for round in 1 2 3; do
    sort /dev/shm/list | md5sum >/dev/null
    sleep 0.5
done
: >"$job/working"
while :; do sleep 1; done
EOF
}

start_guest()
{
    local shared=${job//,/,,}
    qemu_base
    # shellcheck disable=SC2054
    qemu+=(-name ram-image -smp 2 -m "$size_mib" -machine q35,memory-backend=mem
           -object "memory-backend-file,id=mem,share=on,mem-path=${image//,/,,}.new,size=${size_mib}M"
           -kernel "$kernel_dir/vmlinux" -initrd "$initramfs" -serial "file:$shared/serial"
           -append 'console=ttyS0 quiet loglevel=4 mitigations=off tsc=reliable audit=0'
           -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
           -device virtio-9p-pci,fsdev=root,mount_tag=host
           -fsdev "local,id=job,path=$shared,security_model=none" -device virtio-9p-pci,fsdev=job,mount_tag=job)
    setpriv --pdeathsig KILL "${qemu[@]}" </dev/null >"$job/vmm" 2>&1 &
    guest=$!
}

# wait_for FILE SECONDS: whether the guest made FILE in time.
wait_for()
{
    local end=$(($(now_ms) + $2 * 1000))
    until [ -e "$job/$1" ]; do
        kill -0 "$guest" 2>/dev/null || broken "the guest ended: $(tail -n 3 "$job/vmm" "$job/serial")"
        [ "$(now_ms)" -lt $end ] || return 1
        pause 0.1
    done
}

make_image()
{
    local end
    job=$(mktemp -d "${TMPDIR:-/tmp}/ram-image.XXXXXX") || broken "cannot make a folder in ${TMPDIR:-/tmp}"
    write_session >"$job/session"
    chmod 755 "$job/session"
    mkdir -p "$(dirname "$image")"
    rm -f "$image.new"
    # Sparse: what the guest never touched takes no room.
    truncate -s "${size_mib}M" "$image.new" || broken "cannot write $image.new"
    start_guest
    wait_for begun 60 || broken "the guest did not come up within 60 s: $(tail -n 3 "$job/serial")"
    end=$(($(now_ms) + seconds * 1000))
    wait_for working 90 || broken "the guest did not do its work within 90 s: $(tail -n 3 "$job/serial")"
    while [ "$(now_ms)" -lt $end ] && kill -0 "$guest" 2>/dev/null; do
        pause 0.2
    done
    kill -0 "$guest" 2>/dev/null || broken "the guest ended early: $(tail -n 3 "$job/vmm" "$job/serial")"
    # The file is the memory, shared: killed in the middle of work, nothing tidies it up.
    kill -KILL "$guest"
    wait "$guest" 2>/dev/null
    guest=
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

build_locked()
{
    if [ "$fresh" = 1 ] || [ ! -e "$image" ]; then
        make_image
    fi
}

size_mib=${RMIG_RAM_IMAGE_MIB:-512} seconds=20 fresh=0 image='' guest='' job=''
while [ $# -gt 0 ]; do
    case $1 in
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
add_sbin
find_cache
guest_prepare
[ -n "$image" ] || image=$cache/ram-$size_mib.img
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
with_lock "ram-$size_mib" build_locked
printf '%s\n' "$image"
statistics "$image"
