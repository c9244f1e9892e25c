# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU of stock make, driven by QMP: started with a file behind its RAM, moved, looked at."""
import json
import os
import socket
import subprocess
import time

DEADLINE_S = 60


class QemuError(Exception):
    """QEMU refused a command, or is gone."""


class Qemu:
    """One QEMU. Its serial port is a file in the folder; its RAM, too, or a file that stays; a file a NUMA
    node. The prefix is a command that runs it."""

    def __init__(self, folder, name, machine, firmware=None, mem_mib=16, args=(), program=None,
                 prefix=(), ram=None, prealloc=False, nodes=1):
        self.name, self.machine = name, machine
        self.move_s = DEADLINE_S + mem_mib / 16  # to touch a page for the first time may take long
        self.rams = [ram] if ram else [os.path.join(folder, f"{name}.ram{node}") for node in range(nodes)]
        self.ram = self.rams[0]
        self.serial = os.path.join(folder, name + ".serial")
        self.log = os.path.join(folder, name + ".log")
        self.qmp = os.path.join(folder, name + ".qmp")
        self.own = [self.serial, self.qmp] + ([] if ram else self.rams)
        command = [program or os.environ.get("QEMU", "qemu-system-x86_64"),
                   "-machine", f"{machine},accel=tcg" + (",memory-backend=mem0" if nodes == 1 else ""),
                   "-m", str(mem_mib), *self._memory(mem_mib // nodes, prealloc), "-rtc", "base=2020-01-01,clock=vm",  # stands still with the guest
                   "-nodefaults", "-display", "none", "-vga", "none",
                   "-chardev", f"file,id=serial,path={self.serial}", "-serial", "chardev:serial",
                   "-qmp", f"unix:{self.qmp},server=on,wait=off"]
        if firmware:
            command += ["-bios", firmware]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*prefix, *command, *args], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        self.file = None
        try:
            self.file = self._connect(self.qmp).makefile("rw")
            self._read()
            self.run("qmp_capabilities")
        except Exception:
            self.kill()
            raise

    def _memory(self, mib, prealloc):
        """What stands behind the guest's RAM."""
        for node, path in enumerate(self.rams):
            yield "-object"
            yield (f"memory-backend-file,id=mem{node},size={mib}M,mem-path={path},share=on"
                   f"{',prealloc=on' if prealloc else ''}")
            if len(self.rams) > 1:
                yield from ("-numa", f"node,memdev=mem{node}")

    def _connect(self, path):
        end = time.monotonic() + DEADLINE_S
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
                sock.settimeout(DEADLINE_S)
                return sock
            except OSError:
                sock.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise QemuError(f"{self.name} does not start: {self.messages()}") from None
                time.sleep(0.02)

    def _read(self):
        line = self.file.readline()
        if not line:
            raise QemuError(f"{self.name} hung up: {self.messages()}")
        return json.loads(line)

    def run(self, command, **arguments):
        """Run a command; names have _ for -. Returns what it answers."""
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self.file.flush()
            while True:
                reply = self._read()
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise QemuError(reply["error"]["desc"])
        except OSError as error:
            raise QemuError(f"{self.name}: {error}") from None

    def messages(self):
        """What it wrote to standard error."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return " ".join(log.read().split())[-500:]

    def capability(self, *names):
        """Switch capabilities of migration on."""
        self.run("migrate-set-capabilities",
                 capabilities=[{"capability": name, "state": True} for name in names])

    def start_migration(self, uri, **parameters):
        """Begin, at full speed unless told otherwise, and with a stop allowed at once."""
        self.run("migrate-set-parameters",
                 **{"max_bandwidth": 10 ** 11, "downtime_limit": 20000, **parameters})
        self.run("migrate", uri=uri)

    def migration(self):
        """The state of the migration in a word."""
        return self.run("query-migrate").get("status", "none")

    def wait_migration(self, *wanted, deadline_s=None):
        """Wait until it has ended. Returns the word; fails if it is not one of wanted. The word comes
        a moment before the run state changes, and until then QEMU refuses to go on."""
        end = time.monotonic() + (deadline_s or self.move_s)
        while time.monotonic() < end:
            word = self.migration()
            if word in ("completed", "failed", "cancelled") and self.status() != "finish-migrate":
                if wanted and word not in wanted:
                    info = self.run("query-migrate")
                    raise QemuError(f"{self.name}: migration {word}: {info.get('error-desc')}; "
                                    f"{self.messages()}")
                return word
            time.sleep(0.02)
        raise QemuError(f"{self.name}: the migration has no end: {word}")

    def status(self):
        """The run state in a word."""
        return self.run("query-status")["status"]

    def wait_status(self, *wanted, deadline_s=DEADLINE_S):
        """Wait for a run state."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            word = self.status()
            if word in wanted:
                return word
            time.sleep(0.02)
        raise QemuError(f"{self.name}: {word}, not {' or '.join(wanted)}; {self.messages()}")

    def kick(self):
        """Get the emulated processor out of its loop. QEMU lets go of an RDMA connection only when
        it has left it once, and a guest without a timer, as ours is, gives it no reason to."""
        if self.status() == "running":
            self.run("stop")
            self._cont()

    def _cont(self):
        """Have the guest run again: refused as long as a migration that has come to its last round
        meanwhile has not ended."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.run("cont")
                return
            except QemuError as refusal:
                if "not finalized" not in str(refusal) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def kill(self):
        """End it the hard way; fine if it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.file:
            try:
                self.file.close()
            except OSError:  # a command that it never read is still in there
                pass
        for path in self.own:
            if os.path.exists(path):
                os.unlink(path)
