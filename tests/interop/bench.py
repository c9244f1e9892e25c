# SPDX-License-Identifier: BSD-3-Clause
"""What a case works with: QEMUs and rmigs in a folder of their own; and what it looks at."""
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from qemu import Qemu, QemuError, DEADLINE_S

MACHINES = ("q35", "isapc", "microvm")
MEM_MIB = 16
# Two nodes of RAM, which goes on behind 4 GiB, and a device of each kind; big as machines are, or with less
# RAM in front of 4 GiB, as each page costs its time.
FULL, BIG = "full", "big"
FULL_MIB = {FULL: 384, BIG: 3072}
FULL_ARGS = ("-drive", "if=none,id=disk0,driver=null-co,size=64M,read-zeroes=on",
             "-drive", "if=none,id=disk1,driver=null-co,size=64M,read-zeroes=on",
             "-netdev", "user,id=net0", "-netdev", "user,id=net1",
             "-device", "virtio-blk-pci,drive=disk0", "-device", "ide-hd,drive=disk1",
             "-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "e1000,netdev=net1,romfile=",
             "-device", "VGA")
PATIENCE_S = 2.0  # how long the other side may take to notice an end


class Skip(Exception):
    """A case that cannot run here, and why."""


class Bench:
    """What a case works with: a folder, programs, ports; all of it gone at its end."""

    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="interop.", dir="/dev/shm")
        self.processes, self.count = [], 0
        self.trace = self.file("trace.log") if "RDMA_FABRIC_DIR" in os.environ else None
        if self.trace:
            with open(self.trace, "wb"):
                pass

    def firmware(self):
        path = os.path.join(self.folder, "counter.bin")
        if not os.path.exists(path):
            source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counter.S")
            obj, elf = path + ".o", path + ".elf"
            for command in (["as", "--32", "--defsym", f"END={MEM_MIB << 20}", "--defsym",
                             f"DELAY={self.options.delay}", "-o", obj, source],
                            ["ld", "-m", "elf_i386", "-Ttext=0", "-e", "0", "-o", elf, obj],
                            ["objcopy", "-O", "binary", "-j", ".text", elf, path]):
                subprocess.run(command, check=True)
        return path

    def uri(self, kind):
        """A place of its own for one move."""
        if kind == "unix":
            self.count += 1
            return f"unix:{self.folder}/{self.count}.sock"
        with socket.socket() as taken:  # QEMU takes no port 0
            taken.bind((self.options.address, 0))
            return f"{kind}:{self.options.address}:{taken.getsockname()[1]}"

    def qemu(self, machine, *args, mem_mib=MEM_MIB):
        self.count += 1
        program = self.options.qemu_dst if "-incoming" in args else self.options.qemu
        nodes = 1
        if machine in FULL_MIB:
            mem_mib, nodes, args = FULL_MIB[machine], 2, (*FULL_ARGS, *args)
            machine = "q35" if machine == BIG else "q35,max-ram-below-4g=256M"
        qemu = Qemu(self.folder, f"qemu{self.count}", machine, self.firmware(), mem_mib, args, program, nodes=nodes)
        self.processes.append(qemu)
        return qemu

    def rmig(self, *args, **environment):
        """Start the tool; returns once it listens, where it does."""
        self.count += 1
        tool = Tool(self, [os.path.join(self.options.build, "run"), "rmig", *args], environment)
        self.processes.append(tool)
        if args[0] in ("receive", "relay") and not args[1].startswith(("exec", "file")):
            tool.wait_for("listening", "waiting")
        return tool

    def file(self, name):
        return os.path.join(self.folder, name)

    def said(self):
        """What each program wrote to standard error, for a case that failed."""
        return "".join(f"\n  {process.log}: {words}" for process in self.processes
                       if (words := process.messages().strip()))

    def close(self):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder)


class Tool:
    """One run of rmig."""

    def __init__(self, bench, command, environment):
        self.log = bench.file(f"rmig{bench.count}.log")
        if bench.trace:
            environment = {**environment, "RDMA_FABRIC_TRACE": bench.trace}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, **environment})

    def messages(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_for(self, *words):
        end = time.monotonic() + DEADLINE_S
        while not any(word in self.messages() for word in words):
            if self.process.poll() is not None or time.monotonic() > end:
                raise QemuError(f"rmig does not start: {self.messages()}")
            time.sleep(0.02)

    def end(self, status=0, deadline_s=DEADLINE_S):
        """Wait for its end with this status. Returns its standard output."""
        out, _ = self.process.communicate(timeout=deadline_s)
        if self.process.returncode != status:
            raise QemuError(f"rmig: status {self.process.returncode}, not {status}: "
                            f"{self.messages()}")
        return out.decode()

    def kill(self, signo=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(signo)
            if signo == signal.SIGKILL:
                self.process.wait()


def digest(*paths):
    """Of a guest's RAM; zeros and holes are the same."""
    step, sha1 = 1 << 20, hashlib.sha1()
    for path in paths:
        with open(path, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            for at in data_chunks(file, end, step):
                chunk = os.pread(file.fileno(), step, at)
                if chunk.count(0) != len(chunk):
                    sha1.update(b"%d " % at)
                    sha1.update(chunk)
            sha1.update(b"%d\n" % end)
    return sha1.hexdigest()


def data_chunks(file, end, step):
    """Where the chunks of a file begin that are not in a hole."""
    at = 0
    while at < end:
        try:
            at = max(at, os.lseek(file.fileno(), at, os.SEEK_DATA) // step * step)
        except OSError:  # a hole is all that follows
            return
        yield at
        at += step


def scatter(qemu):
    """Write what nobody can guess all over the RAM of a full machine, clear of where its guest counts."""
    for path in qemu.rams:
        with open(path, "r+b") as file:
            mib = os.path.getsize(path) >> 20
            for at in range(MEM_MIB, mib, mib // 8):
                file.seek((at << 20) + random.randrange(1 << 19))
                file.write(os.urandom(random.randrange(1, 1 << 17)))


def printed(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def check_count(*serials):
    """Over all hosts that the guest was on: each number once, in order; the move may cut a line."""
    text = "".join(printed(path) for path in serials)
    lines = text.split("\n")[:-1]
    bad = [line for line in lines if not re.fullmatch("[0-9a-f]{8}", line)]
    if bad:
        raise QemuError(f"the guest printed {bad[:3]}")
    numbers = [int(line, 16) for line in lines]
    if numbers != list(range(1, len(numbers) + 1)):
        wrong = next(i for i, number in enumerate(numbers) if number != i + 1)
        raise QemuError(f"the guest counted {numbers[wrong - 1:wrong + 2]}")
    return len(numbers)


def wait_count(qemu, more):
    """Until a guest has printed that many lines more."""
    begun = printed(qemu.serial).count("\n")
    end = time.monotonic() + DEADLINE_S
    while printed(qemu.serial).count("\n") < begun + more:
        if time.monotonic() > end:
            raise QemuError(f"{qemu.name}: the guest does not count on")
        time.sleep(0.02)


def devices(stream):
    """Device state of a stored stream, its run state left out."""
    with open(stream, "rb") as file:
        data = file.read()
    end = data.rindex(b'{"page_size":')
    begin = data.rindex(b"\x04\x00\x00\x00\x00\x05timer", 0, end)
    state = bytearray(data[begin:end])
    at = state.rindex(b"globalstate") + len("globalstate") + 8
    state[at:at + 104] = bytes(104)
    return bytes(state)


def same_devices(a, b):
    a, b = devices(a), devices(b)
    if a == b:
        return
    at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
    raise QemuError(f"device state differs at byte {at} of {len(a)} and {len(b)}: "
                    f"{a[at - 8:at + 8].hex()} {b[at - 8:at + 8].hex()}")


def fill(qemu):
    """Give a guest that has never run RAM that nobody can guess."""
    with open(qemu.ram, "r+b") as file:
        for _ in range(os.path.getsize(qemu.ram) >> 20):
            file.write(os.urandom(1 << 20))


def store(qemu, path):
    """Where QEMU itself stores the guest."""
    qemu.start_migration(f"exec:cat >{path}")
    qemu.wait_migration("completed")
