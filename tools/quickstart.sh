#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# quickstart.sh -- from a clone to a result: build, boot a guest for its memory, move that by RDMA and by TCP
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*}
self=$here/${0##*/}

usage()
{
    cat <<'END'
usage: tools/quickstart.sh [OPTION...]

Installs missing packages (as root), builds, boots a Debian guest once for an image of its
memory, takes the best RDMA there is here (a device of this host, else a guest with soft-RoCE),
moves the image by RDMA and by TCP in that one place, verifies both, and prints a table.

  --size=MIB     memory of the guest, at least 256 (default 512)
  --lane=LANE    where RDMA runs: host, guest or uml (default: host if there is a device, else guest)
  --build=DIR    build there (default: build/, or the tree itself where ./configure ran in it)
  --help         this text
END
}

# --- in the place where RDMA works ----------------------------------------------------------------

# What one ib_write_bw says, in MB/s, or nothing: the ceiling of this link.
write_bw()
{
    local server
    command -v ib_write_bw >/dev/null || return 0
    # By rdma_cm, which finds the GID of the address.
    timeout 60 ib_write_bw -R -d "$DEVICE" -s 65536 -D 3 -F >/dev/null 2>&1 &
    server=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.5
        # shellcheck disable=SC2153 # the lane sets SELF
        # A line of figures: size, iterations, peak, average, rate. perftest counts in MiB; where its
        # own clock is off it says 0, so take what it did in its 3 seconds.
        timeout 30 ib_write_bw -R -d "$DEVICE" -s 65536 -D 3 -F "$SELF" 2>/dev/null |
            awk '$1 == 65536 && NF >= 4 { v = $4 > 0 ? $4 : $2 * $1 / 3 / 1048576
                printf "%.1f\n", v * 1.048576; ok = 1 } END { exit !ok }' && break
        kill -0 "$server" 2>/dev/null || break
    done
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
}

# measure IMAGE OUT BUILD LANE: ends with the results in OUT
measure()
{
    local image=$1 out=$2 build=$3 lane=$4 transport
    for transport in rdma tcp; do
        echo "moving by $transport" >"$out/stage"
        "$build/run" rdma_migrate_bench --loopback --ram="$image" --transport="$transport" \
            --json="$out/$transport.json" "$SELF" >"$out/$transport.log" 2>&1 || {
            cat "$out/$transport.log"
            return 1
        }
    done
    echo "measuring the link" >"$out/stage"
    write_bw >"$out/ceiling"
    echo "$DEVICE, $lane" >"$out/place"
    # RXE hangs on a network device; hardware sits on a bus.
    [ -e "/sys/class/infiniband/$DEVICE/device" ] || : >"$out/software"
}

# --- on the way there -----------------------------------------------------------------------------

# bar TEXT: the line that says where we are, on a terminal only
bar()
{
    local width=24 filled
    [ "$tty" = 1 ] || return 0
    filled=$((width * (step - 1) / steps)) # the steps that are done
    printf '\r\033[K[%s%s] %d/%d %s, %d s' "$(printf '%*s' "$filled" '' | tr ' ' '#')" \
        "$(printf '%*s' $((width - filled)) '' | tr ' ' '.')" "$step" "$steps" "$1" \
        $((SECONDS - begun))
}

# run_step TEXT COMMAND...: run it with its output in the log, show that time passes
run_step()
{
    local text=$1 pid rc stage
    shift
    step=$((step + 1)) begun=$SECONDS
    echo "=== $text" >>"$log"
    "$@" >>"$log" 2>&1 &
    pid=$!
    child=$pid
    while kill -0 "$pid" 2>/dev/null; do
        stage=$(cat "$out/stage" 2>/dev/null)
        bar "${stage:-$text}"
        sleep 0.2
    done
    wait "$pid"
    rc=$?
    child=
    [ "$tty" = 0 ] || printf '\r\033[K'
    if [ "$rc" -ne 0 ]; then
        echo "failed: $text (status $rc); the end of $log:"
        tail -n 25 "$log" | sed 's/^/  | /'
        exit 1
    fi
    printf '%-52s %4d s\n' "$text" $((SECONDS - begun))
}

packages()
{
    local missing
    missing=$("$here/install-deps.sh" --build --test --list 2>/dev/null | xargs)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "packages are missing; as root: tools/install-deps.sh --build --test"
        echo "  ($missing)"
        # what is there may do all the same
        return 0
    fi
    steps=$((steps + 1))
    echo "installing packages: $missing"
    run_step "installation of packages" "$here/install-deps.sh" --build --test
}

build_all()
{
    [ -x "$top/configure" ] || "$top/autogen.sh" || return 1
    mkdir -p "$build" && cd "$build" || return 1
    [ -f Makefile ] || "$top/configure" --quiet || return 1
    make -s "-j$(nproc)"
}

make_image()
{
    "$here/make-ram-image.sh" "--size=$size_mib" >"$out/image"
}

# One row a transport, from the tool's reports, and the link's own limit beneath.
table()
{
    echo
    echo "The memory of a Debian guest ($(sed -n 2p "$out/image"))"
    echo "moved on $(cat "$out/place"):"
    echo
    python3 - "$out" <<'END' || return 1
import json, sys

def row(*cells):
    print("{:<12}{:>10}{:>10}{:>14}{:>12}{:>15}{:>10}".format(*cells))

out = sys.argv[1]
row("", "setup", "total", "goodput", "wire", "CPU s/GiB", "verified")
for name in "rdma", "tcp":
    run = json.loads(open(f"{out}/{name}.json").readline())
    total_s = run["total_ns"] / 1e9
    row(name, f"{run['setup_ns'] / 1e6:.0f} ms", f"{total_s:.2f} s",
        f"{run['goodput_bytes_per_s'] / 1e6:.1f} MB/s",
        f"{run['bytes_on_wire'] / total_s / 1e6:.1f} MB/s", f"{run['cpu_s_per_gib']:.2f}",
        "yes" if run["verified"] else "NO")
ceiling = open(f"{out}/ceiling").read().strip()
if ceiling:
    row("ib_write_bw", "", "", "", f"{float(ceiling):.1f} MB/s", "", "")
print("\ngoodput: RAM a second; wire: bytes a second, zero pages are not sent; 1 MB is 10^6 bytes;"
      "\nCPU: both ends together.")
END
    [ ! -e "$out/software" ] || cat <<'END'
RDMA is done by software here, on the processors that TCP has for itself: this shows that it works,
not what an RDMA device gains.
END
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
    trap '' INT TERM HUP
    [ -z "$child" ] || kill "$child" 2>/dev/null
    wait
    rm -rf "$out"
}

if [ "${1:-}" = --measure ]; then
    shift
    measure "$@"
    exit
fi

size_mib=512 build=$top/build lane=
[ ! -e "$top/config.status" ] || build=$top # configure refuses a second tree then
while [ $# -gt 0 ]; do
    case $1 in
    --size=*) size_mib=${1#*=} ;;
    --lane=*) lane=${1#*=} ;;
    --build=*) build=${1#*=} ;;
    --help) usage; exit 0 ;;
    *) echo "tools/quickstart.sh: unknown argument $1; try --help" >&2; exit 2 ;;
    esac
    shift
done

case $size_mib in
'' | *[!0-9]* | ?????????*) bad_size=1 ;;
*) [ "$size_mib" -ge 256 ] && bad_size=0 || bad_size=1 ;;
esac
[ "$bad_size" = 0 ] || {
    echo "tools/quickstart.sh: --size=$size_mib: 256 MiB or more, as a number" >&2
    exit 2
}

tty=0
[ ! -t 1 ] || tty=1
step=0 steps=3 begun=0 child=
log=${TMPDIR:-/tmp}/rmig-quickstart.$$.log
: >"$log" || exit 1
out=$(mktemp -d "${TMPDIR:-/tmp}/rmig-quickstart.XXXXXX") || exit 1
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

packages
if [ -z "$lane" ]; then
    lane=guest
    ! "$top/tests/softroce/run" --lane=host -- true 2>/dev/null || lane=host
fi
run_step "build in $build" build_all
run_step "memory of a guest of $size_mib MiB" make_image
run_step "moves by RDMA and by TCP" "$top/tests/softroce/run" "--lane=$lane" --timeout=240 \
    --out="$out" -- "$self" --measure "$(head -n 1 "$out/image")" "$out" "$build" "$lane"
table || exit 1
echo "$SECONDS s in all; log: $log"
