# SPDX-License-Identifier: BSD-3-Clause
"""Moves that succeed: what arrives is what was there, and the guest runs on."""
from bench import FULL_MIB, check_count, digest, same_devices, scatter, store, wait_count
from qemu import QemuError


def start_source(bench, machine, running, pin_all):
    qemu = bench.qemu(machine)
    wait_count(qemu, 2)
    if machine in FULL_MIB:
        scatter(qemu)
    if not running:
        qemu.run("stop")
    if pin_all:
        qemu.capability("rdma-pin-all")
    return qemu


def look(qemu):
    """What QEMU shows of processor and interrupt controllers."""
    return [qemu.run("human-monitor-command", command_line=line)
            for line in ("info registers", "info pic")]


def check_arrival(bench, source, dest, running, stored=None):
    """The destination was started with -S: it holds the guest as it came."""
    dest.wait_status("paused")
    if digest(*source.rams) != digest(*dest.rams):
        raise QemuError("the RAM is not the source's")
    if look(source) != look(dest):
        raise QemuError(f"processor or interrupts differ: {look(source)} {look(dest)}")
    store(dest, bench.file("arrived"))
    if stored:
        same_devices(stored, bench.file("arrived"))
    dest.run("cont")
    dest.wait_status("running")
    wait_count(dest, 2)
    if running:
        check_count(source.serial, dest.serial)


def receive(bench, kind, machine, running, pin_all):
    source = start_source(bench, machine, running, pin_all)
    stream, image = bench.file("received"), bench.file("image")
    if kind == "exec":
        source.start_migration(f"exec:{bench.options.build}/run rmig receive fd:0 "
                               f"--output={stream} --ram-image={image}")
        source.wait_migration("completed")
    else:
        uri = bench.uri(kind)
        tool = bench.rmig("receive", uri, f"--output={stream}", f"--ram-image={image}")
        source.start_migration(uri)
        source.wait_migration("completed")
        tool.end()
    if digest(image) not in [digest(ram) for ram in source.rams]:
        raise QemuError("the RAM image is not the source's RAM")
    dest = bench.qemu(machine, "-S", "-incoming", f"exec:cat {stream}")
    check_arrival(bench, source, dest, running, stream)


def send(bench, kind, machine, running, pin_all):
    source = start_source(bench, machine, running, False)
    stream = bench.file("stored")
    store(source, stream)
    if kind == "exec":
        dest = bench.qemu(machine, "-S", "-incoming",
                          f"exec:{bench.options.build}/run rmig send {stream} fd:1")
    else:
        uri = bench.uri(kind)
        dest = bench.qemu(machine, "-S", "-incoming", uri)
        bench.rmig("send", stream, uri, *(["--pin-all"] if pin_all else [])).end()
    check_arrival(bench, source, dest, running, stream)


def relay(bench, kinds, machine, running, pin_all):
    source, stored = start_source(bench, machine, running, pin_all), None
    if not running:  # once more from a file, so that its device state is known
        stored = bench.file("stored")
        store(source, stored)
        source = bench.qemu(machine, "-S", "-incoming", f"exec:cat {stored}")
        source.wait_status("paused")
        source.capability(*(["rdma-pin-all"] if pin_all else []))
    uri_in, uri_out = (bench.uri(kind) for kind in kinds)
    dest = bench.qemu(machine, "-S", "-incoming", uri_out)
    tool = bench.rmig("relay", uri_in, uri_out, *(["--pin-all"] if pin_all else []))
    source.start_migration(uri_in)
    source.wait_migration("completed")
    tool.end()
    check_arrival(bench, source, dest, running, stored)


def chain(bench, kind_in, kind_out, running):
    """A guest taken by one way is stored, and goes on by another."""
    source = start_source(bench, "q35", running, False)
    stream, uri = bench.file("received"), bench.uri(kind_in)
    tool = bench.rmig("receive", uri, f"--output={stream}")
    source.start_migration(uri)
    source.wait_migration("completed")
    tool.end()
    uri = bench.uri(kind_out)
    dest = bench.qemu("q35", "-S", "-incoming", uri)
    bench.rmig("send", stream, uri).end()
    check_arrival(bench, source, dest, running, stream)


def counting(bench, kinds):
    """A guest that counts goes through three relays without ever being stopped by hand."""
    hosts = [bench.qemu("q35")]
    for _ in range(3):
        wait_count(hosts[-1], 5)
        uri_in, uri_out = (bench.uri(kind) for kind in kinds)
        hosts.append(bench.qemu("q35", "-incoming", uri_out))
        tool = bench.rmig("relay", uri_in, uri_out)
        hosts[-2].start_migration(uri_in)
        hosts[-2].wait_migration("completed")
        tool.end()
        hosts[-1].wait_status("running")
    wait_count(hosts[-1], 5)
    check_count(*(host.serial for host in hosts))
