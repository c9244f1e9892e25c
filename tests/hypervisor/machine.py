# SPDX-License-Identifier: BSD-3-Clause
"""A process of rmig-kvm with its console and its control socket, and the payload that it runs."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

here = os.path.dirname(os.path.abspath(__file__))
scratch = None
alive = []
count = 0
khz = 0


class Fault(Exception):
    pass


def why_no_kvm():
    if not shutil.which("rmig-kvm"):
        return "rmig-kvm is not in PATH; use ./run of a build on x86_64"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened"
    return None


def prepare(folder):
    """Build the payload, and find how fast the time stamp counter goes."""
    global scratch, khz
    scratch = folder
    flags = ("-m64 -O2 -ffreestanding -fno-stack-protector -fno-pic -mno-red-zone -fcf-protection=none "
             "-mno-sse -fno-asynchronous-unwind-tables").split()
    subprocess.run(["cc", *flags, "-c", "-o", f"{folder}/payload.o", f"{here}/payload.c"], check=True)
    subprocess.run(["ld", "--no-warn-rwx-segments", "-T", f"{here}/payload.ld", "-o", f"{folder}/payload.elf",
                    f"{folder}/payload.o"], check=True)
    subprocess.run(["objcopy", "-O", "binary", f"{folder}/payload.elf", f"{folder}/payload"],
                   check=True)
    khz = measure_khz()


def measure_khz():
    """The guest's counter against our clock: lines come each 100 ms of what it takes for 1 GHz."""
    m = Machine.payload(pages=0, rate=0, given_khz=1000000)
    m.wait_lines(3)
    began, first = time.monotonic(), counted(m.console)[-1][1]
    m.wait_lines(m.nlines() + 12)
    took, last = time.monotonic() - began, counted(m.console)[-1][1]
    m.kill()
    return int((last - first) * 1000000 / (took * 1000))


def counted(console):
    """The whole lines of the counter in what was said: (number, milliseconds of the guest's clock)."""
    return [tuple(int(figure) for figure in line.split())
            for line in console.decode(errors="replace").splitlines(keepends=True)
            if line.endswith("\n") and not line.startswith("checked")]


def kill_all():
    for m in list(alive):
        m.kill()


class Machine:
    def __init__(self, *args):
        global count
        count += 1
        self.name = f"m{count}"
        self.control_path = f"{scratch}/{self.name}.control"
        self.process = subprocess.Popen(
            ["rmig-kvm", "--control", self.control_path, *args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.console = b""
        self.errors = b""
        self.came = threading.Condition()
        self.readers = [threading.Thread(target=self._read, args=(self.process.stdout, "console")),
                        threading.Thread(target=self._read, args=(self.process.stderr, "errors"))]
        for reader in self.readers:
            reader.daemon = True
            reader.start()
        alive.append(self)

    @classmethod
    def payload(cls, pages, rate, memory="64M", given_khz=None):
        return cls("--payload", f"{scratch}/payload", "-m", memory, "--append",
                   f"{pages} {rate} {given_khz or khz}")

    def _read(self, stream, where):
        while True:
            data = os.read(stream.fileno(), 65536)
            if not data:
                return
            with self.came:
                setattr(self, where, getattr(self, where) + data)
                self.came.notify_all()

    def wait_until(self, done, what, seconds=20):
        end = time.monotonic() + seconds
        with self.came:
            while not done():
                if self.process.poll() is not None and not self.came.wait(0.2) and not done():
                    raise Fault(f"{what}: the process ended: {self.errors.decode().strip()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise Fault(f"{what}: not within {seconds} s; {self.errors.decode().strip()} "
                                f"{self.console[-200:]!r}")
                self.came.wait(min(left, 0.2))

    def nlines(self):
        """How many lines were said; the first may have begun where the guest was before."""
        return self.console.count(b"\n")

    def wait_lines(self, n, seconds=20):
        self.wait_until(lambda: self.nlines() >= n, f"{n} lines of the counter", seconds)

    def ask(self, command, **args):
        end = time.monotonic() + 10
        s = socket.socket(socket.AF_UNIX)
        while True:
            try:
                s.connect(self.control_path)
                break
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise Fault(f"{self.name}: no control socket: {self.errors.decode()}")
                time.sleep(0.02)
        s.settimeout(10)
        s.sendall(json.dumps({"command": command, **args}).encode() + b"\n")
        answer = s.makefile().readline()
        s.close()
        if not answer:
            raise Fault(f"{self.name}: no answer to {command}")
        return json.loads(answer)

    def status(self):
        return self.ask("status")

    def wait_ended(self, seconds=30):
        """Until its move has ended. Returns its figures."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.status()
            if status["migration"]["state"] in ("done", "failed", "in-doubt"):
                return status["migration"]
            time.sleep(0.02)
        raise Fault(f"{self.name}: the move did not end in {seconds} s: {self.status()}")

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def check_pages(self):
        """The guest checks its own pages. Returns: the sum of their sequence numbers, and for how many
        microseconds it stood still at most."""
        verdict = re.compile(rb"checked (\d+) of (\d+), (\d+) bad, stood still (\d+) us\n")
        before = len(verdict.findall(self.console))
        self.type("c")
        self.wait_until(lambda: len(verdict.findall(self.console)) > before,
                        "the guest's check of its pages")
        total, pages, bad, still_us = (int(figure) for figure in verdict.findall(self.console)[-1])
        if bad:
            raise Fault(f"the guest finds {bad} of {pages} pages stale, torn or lost")
        return total, still_us

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        if self in alive:
            alive.remove(self)

    def quit(self):
        """In order, and nothing is left of it. Returns: the exit status."""
        self.ask("quit")
        status = self.process.wait(10)
        if os.path.exists(self.control_path):
            raise Fault(f"{self.name}: left its control socket behind")
        self.kill()
        return status
