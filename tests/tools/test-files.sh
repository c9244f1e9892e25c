#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-files.sh -- what rmig does to the files that it is given: none is lost, none is half written, and
# what it cannot use it says before it begins.
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"
streams=$abs_top_srcdir/tests/fuzz/corpus/fuzz_inspect
cp "$streams/qemu-microvm" "$scratch/guest"
cp "$streams/qemu-q35" "$scratch/other"
cd "$scratch" || exit 1
ln -s guest link

# tried STATUS WORDS ARGUMENT... -- rmig ends with the status and says the words; the two guests are as they were
tried()
{
    wanted=$1 words=$2 status=0
    shift 2
    "$abs_top_builddir/run" rmig "$@" >out 2>said </dev/null || status=$?
    [ "$status" = "$wanted" ] || fault "rmig $*: status $status, not $wanted: $(cat said)"
    grep -qE -e "$words" said || fault "rmig $*: it does not say '$words': $(cat said)"
    cmp -s guest "$streams/qemu-microvm" || fault "rmig $*: it wrote over the guest"
    cmp -s other "$streams/qemu-q35" || fault "rmig $*: it wrote over another guest"
}

# one file twice
tried 2 'URI and --output name one file' receive file:guest -o guest
tried 2 'URI and --ram-image name one file' receive file:guest -o new --ram-image=link
tried 2 '--output and --ram-image name one file' receive file:guest -o new --ram-image=./new
tried 2 '--output and --json name one file' receive file:guest -o "$scratch/new" --json=new
tried 2 'IN-URI and OUT-URI name one file' relay file:guest file:link
tried 2 'FILE and URI name one file' send guest "file:$scratch/guest"
tried 2 'FILE and --json name one file' inspect guest --json=guest
ln -s new dangling
ln -s "$scratch/dangling" twice
tried 2 '--output and --json name one file' receive file:guest -o new --json=dangling
tried 2 '--output and --json name one file' receive file:guest -o dangling --json=twice
[ ! -e new ] || fault "a file was made"
ln -s no/such nowhere
tried 2 '--json: nowhere: No such file' receive file:guest -o new --json=nowhere
tried 2 'no/such: No such file' receive file:guest -o nowhere
rm nowhere
tried 0 '' receive file:guest -o twice
if [ ! -L twice ] || [ ! -L dangling ] || [ ! -f new ]; then
    fault "a link to what is not there yet was replaced"
fi
rm -f new dangling twice

# descriptors that are closed are not the next files: nothing that is printed goes into these
"$abs_top_builddir/run" rmig send guest file:closed <&- >&- 2>&- || fault "without descriptors: status $?"
"$abs_top_builddir/run" rmig send guest file:open >out 2>said </dev/null || fault "with descriptors: $(cat said)"
cmp -s open closed || fault "what is printed is in a file where no descriptor is open"
status=0
"$abs_top_builddir/run" rmig receive file:guest -o - 2>said <&- >&- || status=$?
if [ "$status" != 2 ] || ! grep -q 'standard output: Bad file descriptor' said; then
    fault "a guest for a closed standard output: status $status: $(cat said)"
fi
"$abs_top_builddir/run" rdma_migrate_bench --loopback -s 4K --transport=tcp --json=closed <&- >&- 2>&-
"$python" -c 'import json; json.load(open("closed"))' || fault "what is printed is in the JSON"
rm -f closed

# what cannot be used
tried 2 'nowhere: open for reading: No such file' receive file:nowhere -o new
tried 2 '--json: no/such: No such file' receive file:guest -o new --json=no/such
tried 2 '--json: no/such: No such file' send guest file:new --json=no/such
tried 4 'No such file' send guest unix:nowhere
tried 4 'No such file' receive unix:no/such -o new
tried 2 'no/such: No such file' relay unix:nobody file:no/such
tried 2 '--gid-index: of which --device' receive file:guest -o new -x 7
tried 2 '--ib-port: of which --device' send guest file:new -i 2
tried 2 '--device is for RDMA' receive file:guest -o new -d fab0
tried 2 '--pin-budget is for RDMA' send guest file:new --pin-budget=16M
tried 2 '--pin-all is for RDMA' relay rdma::0 file:new --pin-all
tried 2 '--pin-all: the guest has 1.5 MiB of RAM, --pin-budget allows 1.0 MiB' send other rdma:127.0.0.1:1 \
    --pin-all --pin-budget=1M
tried 5 'exit status 7' send guest 'exec:exit 7'
[ ! -e new ] || fault "a file was made"

# whole or not at all, and in place of what is there only then
echo precious >new
head -c 5000 guest >short
tried 5 'file:.*short ended after 5000' receive file:short -o new
tried 5 'ended after 5000' send short file:new
tried 5 '' relay file:short file:new
# a command that is ended because of it has no say in why
head -c 300 guest >shorter
tried 5 'shorter ended after 300' relay file:shorter 'exec:cat >/dev/null; exit 3'
# a command that fails has not sent a guest, whatever came
echo precious >kept
tried 5 'status 3' receive 'exec:cat guest; exit 3' -o kept
grep -qx precious kept || fault "a command that failed wrote over a file"
# what can be known at the start is said then
long=$(printf '%0250d' 0)
tried 0 '' receive file:guest -o "$long"
# standard output, where nothing else goes then; a link stays one
tried 0 'RAM blocks' receive file:guest -o -
mv out stored
cmp -s stored "$long" || fault "what is stored on standard output is not what a file gets"
tried 2 '--output and --json both go to standard output' receive file:guest -o - --json
# whatever the name by which it goes there
tried 0 '' send guest file:open
tried 0 '' send guest file:-
cmp -s open ./- || fault "file:- is not the file of that name"
for place in file:/dev/stdout fd:1 fd:3; do
    : >out
    "$abs_top_builddir/run" rmig send guest "$place" 2>said 3>&1 </dev/null | cat >out
    cmp -s open out || fault "send to $place: something else is in the stream: $(cat said)"
    grep -q 'RAM blocks' said || fault "send to $place: no summary: $(cat said)"
    for json in --json --json=/dev/stdout --json=/dev/fd/3; do
        "$abs_top_builddir/run" rmig relay file:guest "$place" "$json" 2>said 3>&1 </dev/null | cat >out
        grep -q 'and --json both go to standard output' said || fault "$place and $json: $(cat said)"
        [ ! -s out ] || fault "$place and $json: something was written"
    done
done
for place in 'receive file:guest --output=/dev/stdout' 'send guest file:/dev/stdout' 'relay file:guest file:row'; do
    # shellcheck disable=SC2086 # words
    { echo header; "$abs_top_builddir/run" rmig $place 2>said; echo trailer; } >row </dev/null
    if [ "$(head -c 6 row)" != header ] || [ "$(tail -c 8 row)" != trailer ]; then
        fault "$place: what others wrote to standard output is lost"
    fi
    tail -c +8 row | head -c -8 | "$abs_top_builddir/run" rmig inspect - >out 2>&1 || fault "$place: $(tail -n1 out)"
done
tried 2 'standard error goes there too' send guest fd:2
tried 2 'standard error goes there too' relay file:guest file:/dev/stderr
"$abs_top_builddir/run" rmig receive file:guest -o - >both 2>&1 </dev/null && fault "a stream with notes in it"
grep -q 'standard error goes there too' both || fault "a stream with notes in it: $(cat both)"
"$abs_top_builddir/run" rmig receive file:guest -o open2 --json=/dev/stdout 2>said </dev/null | cat >out
"$python" -c 'import json; json.load(open("out"))' || fault "the JSON is not alone on standard output: $(cat out)"
tried 0 '' send guest file:/dev/null --json=/dev/null
ln -s "$long" led
echo precious >"$long"
tried 0 '' receive file:guest -o led
if [ ! -L led ] || ! cmp -s stored "$long"; then
    fault "a link to a file was not followed"
fi
tried 2 'File name too long' receive file:guest -o "x$long$long"
tried 2 'ram-image=/dev/null: .*regular file' receive file:guest -o new2 --ram-image=/dev/null
tried 2 'Not a directory' send guest/x unix:nowhere
[ ! -e new2 ] || fault "a file was made"
# a failure is an object, too
tried 4 '' send guest unix:nowhere --json=failed
grep -q '"ok": false' failed || fault "--json of a destination that is not there: $(cat failed)"
# what fails when the other side has taken the guest is said to
tried 5 'the destination has taken the guest' relay 'exec:cat guest; exit 3' file:reached
grep -qx precious new || fault "a move that failed wrote over a file"
# one that was sent everything and says nothing may have it, and so may one that hangs up
tried 0 '' send guest file:sent
cat >silent.py <<'END'
import os
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("silent")
server.listen(1)
for most in (1 << 30, 1 << 30, 1 << 30, os.path.getsize("sent")):
    peer, _ = server.accept()
    while most > 0 and (data := peer.recv(min(most, 1000))):
        most -= len(data)
    peer.close()
END
"$python" silent.py &
until [ -S silent ]; do sleep 0.05; done
tried 5 'destination may have taken the guest: .*nothing received for 1000 ms' send guest unix:silent --progress-deadline=1
tried 5 'may have taken the guest: end it before the guest runs on' relay file:guest unix:silent --progress-deadline=1
# a source that waits for an answer is not let go while it may have it
"$abs_top_builddir/run" rmig relay unix:in unix:silent --progress-deadline=1 >out 2>relayed &
relay=$!
pids="$pids $relay"
until [ -S in ]; do sleep 0.05; done
"$abs_top_builddir/run" rmig send guest unix:in >out 2>said &
sender=$!
pids="$pids $sender"
wait_line relayed 'nothing received for 1000 ms.*the source is kept waiting: end the destination'
kill -0 "$sender" || fault "a source was let go while the destination may have the guest: $(cat said)"
kill -INT "$relay"
status=0
wait "$relay" || status=$?
[ "$status" -eq 5 ] || fault "a relay in doubt that was told to end: status $status"
wait "$sender" && fault "a guest that nobody acknowledged was sent"
said said 'may have taken the guest'
tried 5 'destination may have taken the guest: .*(ended after|reset by peer)' send guest unix:silent
tried 5 'destination has not taken the guest.*No space left' send guest file:/dev/full
tried 5 'destination may have taken the guest.*exit status 7' send guest 'exec:cat >/dev/null; exit 7'
tried 5 'destination may have taken the guest.*exit status 7' relay file:guest 'exec:cat >/dev/null; exit 7'
wait
tried 0 '' send guest file:new
tried 0 '' receive file:new -o again
cmp -s new again || fault "what was sent is not what is received"
"$abs_top_builddir/run" rmig send - file:piped <guest >out 2>said || fault "standard input: $(cat said)"
cmp -s new piped || fault "of standard input comes something else"
tail -c +1 guest | "$abs_top_builddir/run" rmig send /dev/stdin file:piped >out 2>said || fault "a pipe: $(cat said)"
cmp -s new piped || fault "of a pipe comes something else"
find . -name '.*.??????' | grep . && fault "a temporary file is left"

# whoever reads the JSON may take any time: the peers are let go before
mkfifo pipe
cat >source.py <<'END'
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.settimeout(30)
try:
    peer.sendall(open("guest", "rb").read())
    while peer.recv(1000):
        pass
except TimeoutError:
    sys.exit("held")
except OSError:
    pass
assert b'"ok": false' in open("pipe", "rb").read()
END
"$abs_top_builddir/run" rmig relay tcp:127.0.0.1:0 'exec:exit 3' --json=pipe >out 2>said </dev/null &
relay=$!
pids="$pids $relay"
wait_line said 'listening at'
"$python" source.py "$(sed -n 's/.*port //p' said)" || 
    fault "a relay that waits for a reader of its JSON holds its source"
kill "$relay" 2>/dev/null

# catches_term PID -- is it a tool that takes a SIGTERM for a word?
catches_term()
{
    grep -qE 'rmig|rdma' "/proc/$1/comm" && grep -q 'SigCgt:.*[4-7c-f]...$' "/proc/$1/status"
}

# a pipe waits for its reader, as long as nobody ends it
tried 2 'ram-image=pipe: .*regular file' receive file:guest -o new --ram-image=pipe
for arguments in 'rmig receive file:guest --output=pipe' 'rmig send guest file:pipe' 'rmig relay file:guest file:pipe' \
    'rmig inspect guest --json=pipe' 'rdma_migrate_bench --loopback --transport=tcp -s 4K --json=pipe'; do
    for reader in none late; do
        # shellcheck disable=SC2086 # words
        "$abs_top_builddir/run" $arguments >out 2>said </dev/null &
        waiting=$!
        pids="$pids $waiting"
        while kill -0 "$waiting" && ! catches_term "$waiting"; do sleep 0.05; done
        sleep 0.3
        if [ $reader = late ]; then
            timeout 20 cat pipe >taken_in
            wait "$waiting" || fault "$arguments: $(cat said)"
            [ -s taken_in ] || fault "$arguments: nothing is in the pipe"
        else
            kill "$waiting" 2>/dev/null || fault "$arguments: it did not wait for a reader: $(cat said)"
            wait "$waiting"
            grep -qE 'pipe: (cancelled|nobody has)' said || fault "$arguments: it does not say that it was cancelled: $(cat said)"
        fi
    done
done
expect 2 --loopback --transport=tcp --ram=pipe
said err 'pipe is not a regular file'

# a name can be had on disk only from a folder that can be read
mkdir blind
root=
[ "$(id -u)" != 0 ] || root='setpriv --bounding-set=-all'
if [ -z "$root" ] || $root true 2>/dev/null; then
    for argument in '-o blind/guest' '-o new --ram-image=blind/guest'; do
        chmod 0300 blind
        # shellcheck disable=SC2086 # words
        $root "$abs_top_builddir/run" rmig receive file:guest $argument --sync >out 2>said </dev/null
        [ $? = 2 ] || fault "--sync to a folder that cannot be read: $(cat said)"
        grep -q 'sync: blind/: Permission denied' said || fault "--sync to a folder that cannot be read: $(cat said)"
        chmod 0700 blind
        [ -z "$(ls -A blind)" ] || fault "--sync failed, and something is there: $(ls -A blind)"
    done
fi

# a stream and its RAM image come together: a folder appears where the guest was to be
# by a descriptor of its own: a shell gives what runs in the background an empty standard input
folder_meanwhile() # NAME IMAGE
{
    (while [ ! -e "$1/ready" ]; do sleep 0.05; done; cat guest) | {
        exec 4<&0
        "$abs_top_builddir/run" rmig receive fd:4 -o "$1" --ram-image="$2" >out 2>said &
        receiver=$!
        until grep -q 'waiting at' said; do sleep 0.05; done
        mkdir "$1" && touch "$1/ready"
        wait "$receiver" && fault "a folder was replaced by a guest"
        [ -e "$1/ready" ] || fault "what was in a folder where a guest should be is gone"
        grep -q "$1: Is a directory" said || fault "a folder where a guest should be: $(cat said)"
        exit "$faults"
    } || faults=1
    find . -name '.*.??????' | grep . && fault "a temporary file is left"
}
folder_meanwhile later image
[ ! -e image ] || fault "the RAM image of a guest that was not stored is left"
echo precious >image2
folder_meanwhile later2 image2
grep -qx precious image2 || fault "a guest that was not stored has taken an older RAM image along"
tried 0 '' receive file:guest -o new --ram-image=image2
grep -qx precious image2 && fault "an older RAM image was not replaced"
find . -name '.*.??????' | grep . && fault "a temporary file is left"

# a relay says of every page what it is: the destination's memory may be of any content
tried 0 '' relay file:guest file:relayed
"$abs_top_builddir/run" rmig inspect relayed --json >json
"$python" - <<'END' || fault "not every page was said"
import json
blocks = json.load(open("json"))["ram"]["blocks"]
assert blocks
for block in blocks:
    assert block["zero_pages"] + block["normal_pages"] >= block["len_bytes"] // 4096, block
END
verdict "files are as they were, or whole"
