#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# quickstart.sh -- from a clone to a result: build, boot a guest for its memory, move that by TCP and by RDMA
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
top=${here%/*}
self=$here/${0##*/}

usage()
{
    cat <<'END'
usage: tools/quickstart.sh [OPTION...]

Installs missing packages (as root), builds, boots a Debian guest once for an image of its memory, moves
that by TCP and by the best RDMA there is, verifies every byte, and prints a table. RDMA is that of a device
of this host, or of soft-RoCE in its kernel. Where there is neither it is done twice: here, on the fabric of
tests/fabric, and in a guest with soft-RoCE.

  --size=MIB     memory of the guest, at least 256 (default 512)
  --lane=LANE    where verbs are a kernel's: host, guest or uml (default: host if there is a device, else guest)
  --build=DIR    build there (default: build/, or the tree itself where ./configure ran in it)
  --help         this text
END
}

# --- in the place where it moves -----------------------------------------------------------------

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

# measure IMAGE OUT BUILD RUNS PLACE ROW:TRANSPORT...: rows of the table, in OUT
measure()
{
    local image=$1 out=$2 build=$3 runs=$4 place=$5 transport row
    shift 5
    for transport; do
        row=${transport%:*} transport=${transport#*:}
        echo "moving by $transport, $place" >"$out/stage"
        "$build/run" rdma_migrate_bench --loopback --ram="$image" --transport="$transport" --runs="$runs" \
            --json="$out/$row.json" "$SELF" >"$out/move.log" 2>&1 || {
            cat "$out/move.log"
            return 1
        }
        if [ "$transport" = tcp ]; then
            echo "loopback, $place" >"$out/$row.link"
            continue
        fi
        echo "$DEVICE, $place" >"$out/$row.link"
        echo "measuring the link, $place" >"$out/stage"
        write_bw >"$out/$row.ceiling"
        # RXE hangs on a network device, the fabric on nothing; hardware sits on a bus.
        [ -e "/sys/class/infiniband/$DEVICE/device" ] || : >"$out/software"
    done
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
    [ "$tty" = 1 ] || printf '%-52s ' "$text"
    echo "=== $text" >>"$log"
    set -m # a process group of its own, to be ended as one
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    set +m
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
        [ "$tty" = 1 ] || echo
        echo "failed: $text (status $rc); the end of $log:"
        tail -n 25 "$log" | sed 's/^/  | /'
        exit 1
    fi
    [ "$tty" = 0 ] || printf '%-52s ' "$text"
    printf '%4d s\n' $((SECONDS - begun))
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
    make -s "-j$(nproc)" all tests/fabric/librdmafabric.la
}

make_image()
{
    "$here/make-ram-image.sh" "--size=$size_mib" >"$out/image"
}

# From the tool's reports; of several runs the one in the middle.
table()
{
    echo
    echo "The memory of a Debian guest ($(sed -n 2p "$out/image")), moved:"
    echo
    python3 - "$out" <<'END' || return 1
import glob, json, os, sys

def cells(*texts):
    print("{:<5} {:<22}{:>9}{:>9}{:>13}{:>11}{:>10}{:>14}".format(*texts).rstrip())

def ceiling(name):
    text = open(name).read().strip() if os.path.exists(name) else ""
    return f"{float(text):.1f} MB/s" if text else ""

out = sys.argv[1]
cells("", "link", "set-up", "total", "goodput", "CPU s/GiB", "verified", "ib_write_bw")
for row in range(len(glob.glob(f"{out}/*.json"))):
    runs = sorted((json.loads(line) for line in open(f"{out}/{row}.json")), key=lambda run: run["total_ns"])
    run = runs[len(runs) // 2]
    cells(run["transport"], open(f"{out}/{row}.link").read().strip(), f"{run['setup_ns'] / 1e6:.0f} ms",
          f"{run['total_ns'] / 1e9:.2f} s", f"{run['goodput_bytes_per_s'] / 1e6:.1f} MB/s",
          f"{run['cpu_s_per_gib']:.2f}", "yes" if all(run["verified"] for run in runs) else "NO",
          ceiling(f"{out}/{row}.ceiling"))
print("\ngoodput: RAM a second, zero pages included, which are not sent; 1 MB is 10^6 bytes."
      "\nCPU: both ends together. ib_write_bw: what the link carries at most.")
END
    [ ! -e "$out/software" ] || cat <<'END'
RDMA is done by software here, on the processors that TCP has for itself: this shows that it works, not
what an RDMA device gains. The fabric copies from process to process; soft-RoCE is the kernel's, in a guest
that may be emulated.
END
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
    trap '' INT TERM HUP
    [ -z "$child" ] || kill -- "-$child" 2>/dev/null
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

case $lane in
'' | host | guest | uml) ;;
*)
    echo "tools/quickstart.sh: --lane=$lane: host, guest or uml" >&2
    exit 2
    ;;
esac

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
[ "$lane" = host ] || steps=$((steps + 2))
run_step "build in $build" build_all
run_step "memory of a guest of $size_mib MiB" make_image
image=$(head -n 1 "$out/image")
if [ "$lane" = host ]; then
    place=here runs=3 rows='0:rdma 1:tcp'
else
    run_step "moves by TCP, here" env SELF=127.0.0.1 "$self" --measure "$image" "$out" "$build" 3 here 0:tcp
    run_step "moves by RDMA, on the fabric" env SELF=127.0.0.1 DEVICE=fab0 abs_top_builddir="$build" \
        "$top/tests/fabric/run" -- "$self" --measure "$image" "$out" "$build" 3 "the fabric" 1:rdma
    place="in a guest" runs=1 rows='2:rdma 3:tcp'
fi
# shellcheck disable=SC2086 # two rows
run_step "moves by RDMA and by TCP, $place" "$top/tests/softroce/run" "--lane=$lane" --timeout=240 \
    --out="$out" -- "$self" --measure "$image" "$out" "$build" "$runs" "$place" $rows
table || exit 1
echo "$SECONDS s in all; log: $log"
echo "next, for example: $build/run rdma_migrate_bench --loopback --ram=$image --compare"
