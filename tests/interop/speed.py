#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""speed.py --build=DIR --address=A [--size=MIB] [--runs=N] [--mark=RATIO]

Sends a guest of random RAM to a stock QEMU over RDMA, from QEMU and with rmig send in turn, default
settings both, and compares the medians of the total times. Exit status 0 if ours is faster by the
mark.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import shutil
import subprocess

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qemu import Qemu  # noqa: E402 (the path comes first)


def source(folder, options, *args):
    """A guest that has never run, with RAM that nobody can guess."""
    qemu = Qemu(folder, "source", "q35", None, options.size, ("-S", *args))
    with open(qemu.ram, "r+b") as file:
        for _ in range(options.size):
            file.write(os.urandom(1 << 20))
    return qemu


def dest(folder, options, uri):
    """A guest that waits for it."""
    return Qemu(folder, "dest", "q35", None, options.size, ("-S", "-incoming", uri))


def arrived(one, other):
    """Is the RAM the same? Only then does a time count."""
    if subprocess.run(["cmp", one, other], check=False).returncode != 0:
        raise SystemExit("FAIL: the RAM has not arrived")


def qemu_s(folder, options, uri, guest):
    """Seconds that QEMU takes, as it says itself."""
    there = dest(folder, options, uri)
    guest.start_migration(uri)
    guest.wait_migration("completed", deadline_s=600)
    there.wait_status("paused", "prelaunch")
    arrived(guest.ram, there.ram)
    seconds = guest.run("query-migrate")["total-time"] / 1e3
    there.kill()
    guest.kill()
    return seconds


def rmig_s(folder, options, uri, stream, ram):
    """Seconds that rmig takes from before it connects to the other side's having loaded it."""
    there = dest(folder, options, uri)
    out = os.path.join(folder, "send.json")
    subprocess.run([os.path.join(options.build, "run"), "rmig", "send", stream, uri,
                    f"--json={out}"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    there.wait_status("paused", "prelaunch")
    arrived(ram, there.ram)
    there.kill()
    with open(out, encoding="ascii") as file:
        return json.load(file)["total_ns"] / 1e9


def main():
    """Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.getcwd())
    parser.add_argument("--address", required=True)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mark", type=float, default=1.5)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="speed.", dir="/dev/shm")
    theirs, ours = [], []
    try:
        stream, ram = os.path.join(folder, "stored"), os.path.join(folder, "stored.ram")
        guest = source(folder, options)
        shutil.copyfile(guest.ram, ram)
        guest.start_migration(f"exec:cat >{stream}")
        guest.wait_migration("completed", deadline_s=600)
        guest.kill()
        for run in range(options.runs):
            port = 21000 + 2 * run
            theirs.append(qemu_s(folder, options, f"rdma:{options.address}:{port}",
                                 source(folder, options)))
            ours.append(rmig_s(folder, options, f"rdma:{options.address}:{port + 1}", stream, ram))
            print(f"run {run + 1}: QEMU {theirs[-1]:.3f} s, rmig send {ours[-1]:.3f} s", flush=True)
    finally:
        shutil.rmtree(folder)
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"{options.size} MiB of random RAM to a stock QEMU over RDMA: QEMU "
          f"{statistics.median(theirs):.3f} s, rmig send {statistics.median(ours):.3f} s, "
          f"{ratio:.2f} times faster, mark {options.mark}: {'met' if ratio >= options.mark else 'MISSED'}")
    return 0 if ratio >= options.mark else 1


if __name__ == "__main__":
    sys.exit(main())
