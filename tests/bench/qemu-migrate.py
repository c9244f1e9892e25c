#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""qemu-migrate.py RAM COPY SIZE_BYTES -- migrate a stopped guest between two stock QEMUs over TCP.

The source's RAM is the file RAM, the destination's the file COPY, which is made. Prints one JSON
object: total_ns and downtime_ns as QEMU reports them, ram_bytes, goodput_bytes_per_s = RAM over the
total time, cpu_s_per_gib of both processes during the migration.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
DEADLINE_S = 600


class Qemu:
    """A QEMU that runs no guest code, and its QMP connection."""

    def __init__(self, folder, name, ram, size, *extra):
        path = os.path.join(folder, name + ".qmp")
        self.process = subprocess.Popen(
            [QEMU, "-accel", "tcg", "-machine", "q35,memory-backend=mem", "-m", f"{size >> 20}M",
             "-object", f"memory-backend-file,id=mem,size={size},mem-path={ram},share=on",
             "-nodefaults", "-display", "none", "-S", "-qmp", f"unix:{path},server=on,wait=off",
             *extra], stdin=subprocess.DEVNULL)
        self.file = self.connect(path).makefile("rw")
        self.read()
        self.run("qmp_capabilities")

    def connect(self, path):
        deadline = time.monotonic() + 30
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
                return sock
            except OSError:
                sock.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def read(self):
        line = self.file.readline()
        if not line:
            raise EOFError("QEMU hung up")
        return json.loads(line)

    def run(self, command, **arguments):
        json.dump({"execute": command, "arguments": arguments}, self.file)
        self.file.write("\n")
        self.file.flush()
        while True:
            reply = self.read()
            if "error" in reply:
                raise RuntimeError(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.kill()
        self.process.wait()


def wait_for(qemu, state):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        info = qemu.run("query-migrate")
        if info.get("status") == state:
            return info
        if info.get("status") in ("failed", "cancelled"):
            raise RuntimeError("migration " + info["status"] + ": " + info.get("error-desc", ""))
        time.sleep(0.1)
    raise TimeoutError("migration takes too long")


def migrate(source, target):
    target.run("migrate-incoming", uri="tcp:127.0.0.1:0")
    address = target.run("query-migrate")["socket-address"][0]
    source.run("migrate-set-parameters", **{"max-bandwidth": 100 << 30})
    source.run("migrate", uri=f"tcp:127.0.0.1:{address['port']}")
    info = wait_for(source, "completed")
    wait_for(target, "completed")
    return info


def main():
    ram, copy, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    qemus = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            qemus.append(Qemu(folder, "source", ram, size))
            qemus.append(Qemu(folder, "target", copy, size, "-incoming", "defer"))
            cpu_s = -sum(qemu.cpu_s() for qemu in qemus)
            info = migrate(*qemus)
            cpu_s += sum(qemu.cpu_s() for qemu in qemus)
        finally:
            for qemu in qemus:
                qemu.stop()
    total_ms = info["total-time"]
    print(json.dumps({"ram_bytes": size, "total_ns": total_ms * 10**6,
                      "downtime_ns": info["downtime"] * 10**6,
                      "goodput_bytes_per_s": size * 1000 / total_ms,
                      "cpu_s_per_gib": cpu_s * (1 << 30) / size}))


main()
