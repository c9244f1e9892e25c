#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-inspect.sh -- rmig inspect on streams of a stock QEMU: whole, cut off, changed; of files and
# pipes; what it says, and its JSON.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"
"$python" -c 'import jsonschema' 2>/dev/null ||
    { echo "skipped: python3-jsonschema is missing"; exit 77; }
streams=$top/tests/fuzz/corpus/fuzz_inspect
factor=${RMIG_TEST_FACTOR:-1}

# inspect STATUS ARG... -- output in $scratch/out and $scratch/err
inspect()
{
    wanted=$1
    shift
    status=0
    # shellcheck disable=SC2154 # abs_top_* come from make check
    "$abs_top_builddir/run" rmig inspect "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" -eq "$wanted" ] || fault "rmig inspect $*: exit status $status, not $wanted: $(cat "$scratch/err")"
}

for name in q35 microvm isapc ignore-shared compress no-footers; do
    # shellcheck disable=SC2154
    "$python" "$top/tests/tools/inspected.py" "$streams/qemu-$name" "$top/docs/rmig_inspect.schema.json" \
        "$((8 * factor))" "$((8 * factor))" "$scratch" "$abs_top_builddir/run" rmig inspect ||
        fault "$name"
done

# what a person sees
inspect 0 "$streams/qemu-ignore-shared" --fields=fw_cfg </dev/null
said "$scratch/out" '^  Machine: +microvm$'
said "$scratch/out" '^  Capabilities: +x-ignore-shared$'
said "$scratch/out" '^  Run state: +prelaunch$'
said "$scratch/out" ' 0x100000 .* mem$'
said "$scratch/out" '^ +0x[0-9a-f]+ +subsection +fw_cfg/dma, version 0$'
said "$scratch/out" '^ +0x[0-9a-f]+ +uint64 +fw_cfg/dma\.dma_addr = 0x0$'
! grep -q 'cpu_ticks_offset' "$scratch/out" || fault "fields that nobody asked for"
inspect 0 "$streams/qemu-ignore-shared" --fields='no*such' </dev/null
grep -Fqx '  No device has a name that matches no*such.' "$scratch/out" || fault "not told of a name that no device has"
inspect 2 "$streams/qemu-microvm" --fields=nope --json </dev/null
said "$scratch/err" 'fields: --json takes the place of the text'
inspect 0 "$streams/qemu-microvm" --fields=nope --json="$scratch/json" </dev/null
said "$scratch/out" '^  No device has a name that matches nope\.$'
head -c 200 "$streams/qemu-microvm" >"$scratch/early"
inspect 5 "$scratch/early" --fields=nope </dev/null
said "$scratch/out" '^No device, and so no field, was found\.$'
# a device that ends in a footer, and no description: the whole of it but the description's section
"$python" - "$streams/qemu-microvm" >"$scratch/undescribed" <<'END'
import sys
data = open(sys.argv[1], "rb").read()
sys.stdout.buffer.write(data[:data.rindex(b'{"page_size"') - 5])
END
inspect 0 "$scratch/undescribed" --fields=timer </dev/null
said "$scratch/out" '^  What matches timer has no fields that are described\.$'
inspect 0 "$streams/qemu-microvm" --json="$scratch/json" </dev/null
said "$scratch/out" 'Machine:'
said "$scratch/json" '"machine": "microvm"'

# from a pipe, and from a file that is standard input
"$abs_top_builddir/run" rmig inspect "$streams/qemu-q35" | sed 1d >"$scratch/wanted"
mkfifo "$scratch/fifo"
cat "$streams/qemu-q35" >"$scratch/fifo" &
inspect 0 "$scratch/fifo" </dev/null
sed 1d "$scratch/out" | cmp -s - "$scratch/wanted" || fault "a pipe is not told as a file is"
inspect 0 - <"$streams/qemu-q35"
sed 1d "$scratch/out" | cmp -s - "$scratch/wanted" || fault "standard input is not told as a file is"

# a large file takes little memory, and where it ends too early is named
{
    printf 'QEVM\0\0\0\003\001\0\0\0\002\003ram\0\0\0\0\0\0\0\004'
    printf '\0\0\0\0\0\0\020\004\003mem\0\0\0\0\0\0\020\0\0\0\0\0\0\0\0\020\176\0\0\0\002'
    printf '\004\0\0\0\003\003dev\0\0\0\0\0\0\0\001'
} >"$scratch/large"
truncate -s 1G "$scratch/large"
cat >"$scratch/small.py" <<'END'
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:], check=False).returncode
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
if kib > 200 << 10:
    sys.exit(f"{kib} KiB of memory")
sys.exit(status)
END
status=0
"$python" "$scratch/small.py" "$abs_top_builddir/run" rmig inspect "$scratch/large" \
    >"$scratch/out" 2>"$scratch/err" || status=$?
[ "$status" -eq 5 ] || fault "a large file: status $status: $(cat "$scratch/err")"
said "$scratch/err" 'byte 1073741824: the stream ends in device dev, instance 0, whose state begins at byte '

# a length that no host has is damage, and no number of the JSON
for length in '\200\0\0\0\0\0\0\0' '\377\377\377\377\377\377\360\0' '\1\0\0\0\0\0\0\1'; do
    {
        printf 'QEVM\0\0\0\003\001\0\0\0\002\003ram\0\0\0\0\0\0\0\004'
        printf '\0\0\0\0\0\0\020\004\003mem%b' "$length"
    } >"$scratch/long"
    inspect 5 "$scratch/long" --json
    said "$scratch/err" 'byte 33: RAM block mem has [0-9]{17,} bytes, more than any host can have$'
    ! grep -q 'len_bytes": -' "$scratch/out" || fault "a negative length"
    ! grep -q '[0-9]\{17\}$' "$scratch/out" || fault "a length that no host has"
done

# what cannot be written is no success
inspect 5 "$streams/qemu-microvm" --json=/dev/full </dev/null
said "$scratch/err" '^rmig inspect: --json: /dev/full: No space left on device$'
status=0
"$abs_top_builddir/run" rmig inspect "$streams/qemu-microvm" >/dev/full 2>"$scratch/err" || status=$?
[ "$status" -eq 5 ] || fault "a full standard output: exit status $status, not 5"
said "$scratch/err" '^rmig inspect: standard output: No space left on device$'

# what cannot be opened is another matter
inspect 2 "$scratch/none" </dev/null
said "$scratch/err" '^rmig inspect: .*/none: No such file or directory$'
inspect 2 "$scratch" </dev/null
said "$scratch/err" ': Is a directory$'
inspect 2 </dev/null
inspect 2 a b </dev/null
verdict "streams are told"
