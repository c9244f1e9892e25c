# SPDX-License-Identifier: BSD-3-Clause
"""inspected.py STREAM SCHEMA CUTS FLIPS FOLDER COMMAND... -- what COMMAND says of a stream: whole, cut at
CUTS positions, and with FLIPS bytes changed; each object is as SCHEMA says. Prints the faults."""
import json
import random
import re
import subprocess
import sys

import jsonschema

FAULTS = []


def fault(text):
    FAULTS.append(text)
    print(text)


class Inspector:
    """Runs the tool on bytes that it stores in a file."""

    def __init__(self, schema, folder, command):
        self.validator, self.path, self.command = schema, f"{folder}/stream", command

    def run(self, data, *args):
        """Returns the exit status, standard output and standard error."""
        with open(self.path, "wb") as file:
            file.write(data)
        done = subprocess.run([*self.command, self.path, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False, timeout=60)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def json(self, data):
        """The same with the object in place of the output; None where it is none."""
        status, out, said = self.run(data, "--json")
        try:
            report = json.loads(out)
        except ValueError:
            fault(f"no JSON, status {status}: {said}")
            return status, None, said
        for error in self.validator.iter_errors(report):
            fault(f"not as the schema says: {error.json_path}: {error.message}")
        if report["ok"] != (status == 0):
            fault(f"ok is {report['ok']} with status {status}")
        return status, report, said


def whole(inspector, data):
    """Returns the object."""
    status, report, said = inspector.json(data)
    if status != 0 or said:
        fault(f"the whole stream: status {status}, {said}")
    if report["len_bytes"] != len(data):
        fault(f"{report['len_bytes']} bytes, not {len(data)}")
    end = 0
    for device in report["devices"]:
        if device["found_by"] != "description" or not device["fields"]:
            fault(f"{device['name']}: found by {device['found_by']}")
        if device["offset"] < end:
            fault(f"{device['name']}: begins before the last one ends")
        end = device["state_offset"] + device["state_bytes"]
    for name in report:  # the schema is strict
        if inspector.validator.is_valid({k: v for k, v in report.items() if k != name}):
            fault(f"{name} is not required")
    if inspector.validator.is_valid(dict(report, extra=1)):
        fault("unknown members are let through")
    status, text, said = inspector.run(data, "--fields")
    if status != 0 or said or f" {report['run_state']}\n" not in text:
        fault(f"the text: status {status}, {said}")
    return report


def cut(inspector, data, ncuts, end):
    """The byte that is named is the one that is missing."""
    for at in sorted(random.sample(range(len(data)), ncuts)):
        if at == end:
            continue  # no description, which a stream may leave out
        status, report, said = inspector.json(data[:at])
        if status != 5 or not re.fullmatch(f"rmig inspect: [^ ]*: byte {at}: [^\n]*\n", said):
            fault(f"cut at {at}: status {status}: {said}")
        if report["error_offset"] != at:
            fault(f"cut at {at}: error_offset {report['error_offset']}")


def flip(inspector, data, nflips):
    """Whatever it is, it ends with a status of its own and at most one line."""
    for at in random.sample(range(len(data)), nflips):
        changed = bytearray(data)
        changed[at] ^= random.randrange(1, 256)
        status, _, said = inspector.json(bytes(changed))
        if status not in (0, 5) or said.count("\n") != (status == 5):
            fault(f"byte {at} is {changed[at]:#x}: status {status}: {said}")


def main():
    """Returns the exit status."""
    stream, schema, ncuts, nflips, folder = sys.argv[1:6]
    with open(stream, "rb") as file:
        data = file.read()
    with open(schema, encoding="ascii") as file:
        schema = json.load(file)
    jsonschema.Draft7Validator.check_schema(schema)
    inspector = Inspector(jsonschema.Draft7Validator(schema), folder, sys.argv[6:])
    report = whole(inspector, data)
    random.seed(stream)
    cut(inspector, data, int(ncuts), report["description"]["offset"] - 5)
    flip(inspector, data, int(nflips))
    return len(FAULTS) > 0


if __name__ == "__main__":
    sys.exit(main())
