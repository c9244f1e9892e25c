#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# test-json.sh -- each object that --json writes is as docs/rdma_migrate_bench.schema.json says.
set -eu
# shellcheck source=tests/tools/functions.sh
. "${abs_top_srcdir:?run it by make check}/tests/tools/functions.sh"
need "$python"
"$python" -c 'import jsonschema' 2>/dev/null ||
    { echo "skipped: python3-jsonschema is missing"; exit 77; }

cat >"$scratch/validate.py" <<'END'
import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
objects = [json.loads(line) for line in open(sys.argv[2])]
faults = [e.message for o in objects for e in validator.iter_errors(o)]
for o in objects:
    both = o["source_user_cpu_s"] + o["destination_user_cpu_s"]
    if abs(o["user_cpu_s"] - both) > 1e-6:
        faults.append("user_cpu_s is not the sum of its parts")
    if o["exit_status"] == 0 and abs(o["goodput_bytes_per_s"] * o["total_ns"] / 1e9 - o["ram_bytes"]) > 1:
        faults.append("goodput_bytes_per_s is not ram_bytes over total_ns")
    if o["setup_ns"] + o["downtime_ns"] > o["total_ns"] and o["exit_status"] == 0:
        faults.append("setup and downtime are longer than everything")
# the schema is strict: take any member away, or add one, and the object is refused
if "--strict" in sys.argv:
    for name in o:
        if validator.is_valid({k: v for k, v in o.items() if k != name}):
            faults.append(name + " is not required")
    if validator.is_valid(dict(o, extra=1)):
        faults.append("unknown members are let through")
print("\n".join(faults))
sys.exit(len(faults) > 0 or not objects)
END

# valid COUNT [--strict] -- the objects in $scratch/json
valid()
{
    [ "$(wc -l <"$scratch/json")" -eq "$1" ] || fault "$1 objects wanted, $(wc -l <"$scratch/json") there"
    "$python" "$scratch/validate.py" "$top/docs/rdma_migrate_bench.schema.json" "$scratch/json" "${2-}" ||
        fault "not as the schema says"
}

expect 0 --loopback -s 4M --transport=tcp --runs 2 --json="$scratch/json"
valid 2 --strict
expect 0 --loopback -s 4M --json="$scratch/json"
valid 1
expect 0 --loopback -s 8M --transport=tcp --dirty-rate 20 --json="$scratch/json"
valid 1
expect 7 --loopback -s 8M --transport=tcp --dirty-rate 100 --max-bandwidth 4 --downtime-limit 1 --time-limit 1 --json="$scratch/json"
valid 1
# a run that failed has an object too
RMIG_TRANSPORT_DIR=$scratch expect 3 --loopback -s 4M --transport=rdma --json="$scratch/json"
valid 1
said "$scratch/json" '"exit_status":3,.*"error":"'

# standard output by another name
bench --loopback -s 4K --transport=tcp --json=/dev/stdout 2>"$scratch/err" | cat >"$scratch/json"
valid 1
said "$scratch/err" '^tcp .* yes$'
expect 2 --loopback -s 4K --transport=tcp --json-stream --json=/dev/stdout
said "$scratch/err" 'standard output is for --json-stream'

# --json-stream: each object as its own schema says, in the order in which things happen
cat >"$scratch/stream.py" <<'END'
import json
import pathlib
import re
import sys

import jsonschema

path = pathlib.Path(sys.argv[1]).resolve()
schema = json.loads(path.read_text())
jsonschema.Draft7Validator.check_schema(schema)
resolver = jsonschema.RefResolver(path.as_uri(), schema)
validator = jsonschema.Draft7Validator(schema, resolver=resolver)
objects = [json.loads(line) for line in open(sys.argv[2])]
faults = [f"{o.get('event')}: {e.message}" for o in objects for e in validator.iter_errors(o)]
events = " ".join(o["event"] for o in objects)
if not re.fullmatch(sys.argv[3], events):
    faults.append("the events are " + events)
# strict: each kind without any one member, or with another one, is refused
for o in {o["event"]: o for o in objects}.values():
    for name in o:
        if validator.is_valid({k: v for k, v in o.items() if k != name}):
            faults.append(f"{o['event']}: {name} is not required")
    if validator.is_valid(dict(o, extra=1)):
        faults.append(o["event"] + ": unknown members are let through")
runs = [o["result"] for o in objects if o["event"] == "run"]
final = objects[-1]
if final["runs"] != len(runs) or final["verified_runs"] != sum(r["verified"] for r in runs):
    faults.append(f"final counts {final['runs']} runs, {final['verified_runs']} verified")
if final["exit_status"] != int(sys.argv[4]) or (final["error"] is None) != (final["exit_status"] == 0):
    faults.append(f"final has status {final['exit_status']}, {final['error']}")
for o in objects:
    if o["event"] == "interval" and abs(o["bytes_per_s"] * o["interval_ns"] / 1e9 - o["moved_bytes"]) > 1:
        faults.append("bytes_per_s is not moved_bytes over interval_ns")
print("\n".join(faults))
sys.exit(len(faults) > 0)
END

# streamed STATUS EVENTS ARG... -- events as a pattern
streamed()
{
    wanted_status=$1
    events=$2
    shift 2
    expect "$wanted_status" --json-stream "$@"
    cp "$scratch/out" "$scratch/stream"
    "$python" -W ignore "$scratch/stream.py" "$top/docs/rdma_migrate_bench_stream.schema.json" "$scratch/stream" "$events" \
        "$wanted_status" || fault "--json-stream $*"
}

streamed 0 'start interval( interval)* run final' --loopback -s 16M --transport=tcp --max-bandwidth 20 -i 0.1
said "$scratch/err" '^tcp .* yes$'
streamed 0 'start run run final' --loopback -s 4M --transport=tcp --runs 2 --json="$scratch/json"
valid 2
streamed 7 'start run final' --loopback -s 4M --transport=tcp --min-gbps 1000000
RMIG_TRANSPORT_DIR=$scratch streamed 3 'start run final' --loopback -s 4M --transport=rdma
# no session at all
streamed 4 'final' --loopback -s 8M --transport=tcp 192.0.2.1
RMIG_TRANSPORT_DIR=$scratch streamed 3 'final' -s 8M --transport=rdma -d none 127.0.0.1
streamed 2 'final' --loopback --ram "$scratch/none"
streamed 2 'final' --loopback -s 4K --json="$scratch/none/file"
expect 2 --loopback --ram "$scratch/none" --json="$scratch/nothing"
[ ! -e "$scratch/nothing" ] || fault "a --json without an object in it"
# what has no room is not there by halves
run_out()
{
    ( trap '' XFSZ; ulimit -f "$1"; shift; bench --loopback -s 4K --transport=tcp --json="$scratch/json" "$@" 2>&1 ||
        echo "status $?" ) | cat >"$scratch/err"
    said "$scratch/err" 'json: .*File too large'
    said "$scratch/err" '^status 2$'
}
run_out 8 --runs 9
valid "$(wc -l <"$scratch/json")"
"$python" -W ignore - "$scratch/json" <<'END' || fault "half an object is left"
import sys
data = open(sys.argv[1]).read()
sys.exit(not data.endswith("\n"))
END
status=0
bench --loopback -s 4K --transport=tcp --json-stream >/dev/full 2>"$scratch/err" || status=$?
[ "$status" -eq 2 ] || fault "a full standard output: exit status $status, not 2"
said "$scratch/err" 'json-stream: cannot write: No space left on device'
status=0
bench --loopback -s 4K --transport=tcp >/dev/full 2>"$scratch/err" || status=$?
[ "$status" -eq 2 ] || fault "a table on a full standard output: exit status $status, not 2"
said "$scratch/err" 'standard output: cannot write: No space left on device'
verdict "as the schema says"
