# SPDX-License-Identifier: BSD-3-Clause
"""Moves by rdma_migrate_bench that are measured, and what keeps the machine's memory out of the figures."""
import json
import mmap
import os
import subprocess
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
FABRIC = os.path.join(HERE, "..", "fabric", "run")
SPARE_BYTES = 384 << 20  # for all but the RAM of the two ends
SLACK_BYTES = 192 << 20  # left to the machine whatever is kept
DEADLINE_S = 600


class MoveError(Exception):
    """A move failed, or its result is not what its source was."""


def free_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, value = line.split(":")
            if name == "MemFree":
                return int(value.split()[0]) << 10
    return 0


def touched(size):
    """So much memory that is there, as far as there is any: in huge pages, which are given back in no time."""
    if size < mmap.PAGESIZE:
        return None
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    for offset in range(0, size, mmap.PAGESIZE):
        memory[offset] = 1
    return memory


class Keeper:
    """Holds what the machine has free but for what a move takes, and that too until it is wanted. Where a host takes
    back what a virtual machine frees, the first touch of a page costs several times what moving it does, whoever moves
    it: so all that a move is given has been there just before."""

    def __init__(self, ram_bytes):
        self.ram_bytes = ram_bytes  # of one end
        self.rest = touched(free_bytes() - 2 * ram_bytes - SPARE_BYTES - SLACK_BYTES)
        self.destination = None

    def begin(self):
        """Gives what the source takes, and what the programs do."""
        self.release()
        source = touched(min(free_bytes() - SLACK_BYTES, self.ram_bytes + SPARE_BYTES))
        self.destination = touched(min(free_bytes() - SLACK_BYTES, self.ram_bytes))
        if source:
            source.close()

    def release(self):
        """Gives what the destination takes; to be called just before the move begins."""
        if self.destination:
            self.destination.close()
        self.destination = None


def run_filled(command, keeper=None, **environment):
    """Runs a program that says when its RAM is filled; then its standard input ends, for one that waits. With a keeper,
    which has begun, its destination's memory is given before. Returns what it says after that."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        with subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=errors, text=True, env={**os.environ, **environment}) as process:
            alarm = threading.Timer(DEADLINE_S, process.kill)
            alarm.start()
            try:
                for line in process.stdout:
                    if "filled" in line:
                        break
                if keeper:
                    keeper.release()
                rest = process.communicate()[0]  # which ends the input
            finally:
                alarm.cancel()
        errors.seek(0)
        if process.returncode != 0:
            raise MoveError(f"{command[0]}: status {process.returncode}: {errors.read().strip()}")
    return rest


def bench(build, keeper, *options, prefix=(), **environment):
    """A move by rdma_migrate_bench into memory that nobody has touched: what it reports."""
    keeper.begin()
    with tempfile.NamedTemporaryFile(prefix="bench.") as report:
        run_filled([*prefix, os.path.join(build, "run"), "rdma_migrate_bench", "--loopback", "--shared",
                    f"--json={report.name}", *options], keeper, **environment)
        result = json.load(report)
    if not result["verified"]:
        raise MoveError("rdma_migrate_bench: not verified")
    return result
