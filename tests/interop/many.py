# SPDX-License-Identifier: BSD-3-Clause
"""Many moves in a row, and what they leave behind."""
import os
import re
import subprocess
import time

from bench import Skip, digest, fill, store
from qemu import QemuError


def rdma_objects(bench):
    """What the kernel holds for RDMA: objects by kind. Of the fabric, what rmigs have registered."""
    if bench.trace:
        with open(bench.trace, encoding="utf-8") as file:
            trace = file.read()
        return (sum(int(n) for n in re.findall(r" reg_mr (\d+) access \S+ ok", trace)) -
                sum(int(n) for n in re.findall(r" dereg_mr (\d+)", trace)))
    found = subprocess.run(["rdma", "resource", "show"], stdout=subprocess.PIPE, check=False)
    if found.returncode != 0:
        raise Skip("rdma(8) shows no resources here")
    return re.sub(" ctx [0-9]+", "", found.stdout.decode())  # a QEMU keeps the device open


def pinned_pages():
    """Pages of memory that the kernel has pinned for devices, of all processes."""
    with open("/proc/vmstat", encoding="ascii") as file:
        count = dict(line.split() for line in file)
    return int(count["nr_foll_pin_acquired"]) - int(count["nr_foll_pin_released"])


def children():
    """Names of our processes, the ended ones that nobody waited for included."""
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                name, rest = re.fullmatch(r"\d+ \((.*)\) (.*)\n", file.read(), re.DOTALL).groups()
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid():
            names.append(name)
    return sorted(names)


def leftovers(bench, kind):
    found = {"files": sorted(name for name in os.listdir(bench.folder) if not name.endswith(".log")),
             "fds": len(os.listdir("/proc/self/fd")), "processes": children()}
    if kind == "rdma":
        found |= {"rdma": rdma_objects(bench), "pinned pages": pinned_pages()}
    return found


def check_leftovers(bench, kind, before, *guests):
    """QEMU may take a moment to let go, and a kick that comes when it has begun to wait for one."""
    end = time.monotonic() + 10
    while (after := leftovers(bench, kind)) != before:
        if time.monotonic() > end:
            raise QemuError("left behind: " + ", ".join(
                f"{what}: {before[what]} became {after[what]}" for what in before
                if before[what] != after[what]))
        for guest in guests:
            guest.kick()
        time.sleep(0.1)


def end_of(tool, dest):
    """Without waiting for long for a destination that runs and does not let go."""
    while tool.process.poll() is None:
        dest.kick()
        time.sleep(0.05)
    tool.end()


def many_receives(bench, kind):
    source = bench.qemu("q35")
    stream = bench.file("received")
    before = leftovers(bench, kind)
    for _ in range(bench.options.moves):
        uri = bench.uri(kind)
        tool = bench.rmig("receive", uri, f"--output={stream}")
        source.start_migration(uri)
        source.wait_migration("completed")
        tool.end()
        source.run("cont")
        os.unlink(stream)
    check_leftovers(bench, kind, before, source)


def many_sends(bench, kind):
    source = bench.qemu("microvm")
    stream = bench.file("stored")
    store(source, stream)
    source.kill()
    before = leftovers(bench, kind)
    for _ in range(bench.options.moves):
        uri = bench.uri(kind)
        dest = bench.qemu("microvm", "-incoming", uri)
        tool = bench.rmig("send", stream, uri)
        dest.wait_status("running")
        end_of(tool, dest)
        dest.kill()
    check_leftovers(bench, kind, before)


def many_relays(bench, kind):
    source = bench.qemu("q35")
    before = leftovers(bench, kind)
    for _ in range(bench.options.moves):
        uri_in, uri_out = bench.uri(kind), bench.uri(kind)
        dest = bench.qemu("q35", "-incoming", uri_out)
        tool = bench.rmig("relay", uri_in, uri_out)
        source.start_migration(uri_in)
        source.wait_migration("completed")
        dest.wait_status("running")
        end_of(tool, dest)
        dest.kill()
        source.run("cont")
    check_leftovers(bench, kind, before, source)


# --- memory -----------------------------------------------------------------------------------------

RELAY_RAM_MIB = 128
RELAY_EXTRA_MIB = 64


def peak_mib(process):
    """Most memory that a process has had, from now to its end."""
    peak = 0
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            found = re.search(r"VmHWM:\s*(\d+) kB", file.read())
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.005)
    return peak / 1024


def relay_memory(bench, kinds):
    """A relay has no more memory than the guest and a little."""
    uri_in, uri_out = (bench.uri(kind) for kind in kinds)
    source = bench.qemu("q35", "-S", mem_mib=RELAY_RAM_MIB)
    fill(source)
    dest = bench.qemu("q35", "-S", "-incoming", uri_out, mem_mib=RELAY_RAM_MIB)
    tool = bench.rmig("relay", uri_in, uri_out)
    source.start_migration(uri_in)
    peak = peak_mib(tool.process)
    tool.end()
    dest.wait_status("paused", "prelaunch")
    if digest(source.ram) != digest(dest.ram):
        raise QemuError("the RAM is not the source's")
    if not 1 < peak <= RELAY_RAM_MIB + RELAY_EXTRA_MIB:
        raise QemuError(f"{peak:.1f} MiB for a guest of {RELAY_RAM_MIB} MiB")
