# SPDX-License-Identifier: BSD-3-Clause
"""Ends that nobody wanted: either side cancels, is killed, or does not take what comes."""
import os
import random
import signal
import subprocess
import time

from bench import PATIENCE_S, Skip, check_count, digest, fill, store, wait_count
from qemu import QemuError, DEADLINE_S

STEPS = ("set-up", "first-round", "last-round")


def at_step(source, tool, step):
    """Wait until a slowed-down migration is there."""
    tool.wait_for("the source is there", "destination are there")
    if step == "set-up":
        return
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and source.migration() in ("setup", "none"):
        time.sleep(0.005)
    if step == "last-round":
        source.run("migrate-set-parameters", **{"max-bandwidth": 10 ** 11, "downtime-limit": 20000})


def nothing_is_left(bench, stream):
    names = [name for name in os.listdir(bench.folder) if "received" in name]
    if names:
        raise QemuError(f"files are left: {names}")
    if os.path.exists(stream):
        raise QemuError("a file is there that looks whole")


def source_runs_on(source):
    source.wait_status("running")
    wait_count(source, 2)
    check_count(source.serial)


def slow(source, uri):
    """A migration that takes some seconds, and does not end by itself."""
    source.start_migration(uri, max_bandwidth=8 << 20, downtime_limit=1)


def rmig_ends(bench, kind, step, signo):
    """The receiver is told to stop, or killed: the source says so and its guest runs on."""
    source, uri, stream = bench.qemu("q35"), bench.uri(kind), bench.file("received")
    tool = bench.rmig("receive", uri, f"--output={stream}")
    slow(source, uri)
    at_step(source, tool, step)
    tool.kill(signo)
    began = time.monotonic()
    if signo == signal.SIGTERM:
        tool.process.wait(DEADLINE_S)
    else:
        assert tool.process.wait() != 0
    if tool.process.returncode == 0:
        raise Skip("the move was over before")
    took = time.monotonic() - began
    source.wait_migration("failed", deadline_s=DEADLINE_S)
    noticed = time.monotonic() - began
    if took > PATIENCE_S:
        raise QemuError(f"rmig took {took:.1f} s to end")
    if noticed > PATIENCE_S + bench.options.slack:
        raise QemuError(f"the source noticed after {noticed:.1f} s")
    nothing_is_left(bench, stream)
    source_runs_on(source)


def tool_ends(tool, began, name, *guests):
    """rmig ends by itself, in time, with one clear line. Guests whose source does not let go of a
    connection while they run are kicked."""
    while tool.process.poll() is None:
        if time.monotonic() > began + PATIENCE_S:
            raise QemuError(f"rmig goes on after {PATIENCE_S} s: {tool.messages()}")
        for guest in guests:
            guest.kick()
        time.sleep(0.02)
    if tool.process.returncode == 0:
        raise Skip("the move was over before")
    tool.end(5)
    lines = tool.messages().strip().split("\n")
    if len(lines) > 4 or not all(line.startswith(f"{name}: ") for line in lines):
        raise QemuError(f"that is not one clear line: {tool.messages()!r}")


def source_ends(bench, kind, step, how):
    """The source cancels its migration, or is killed: rmig says so and leaves nothing."""
    source, uri, stream = bench.qemu("q35"), bench.uri(kind), bench.file("received")
    tool = bench.rmig("receive", uri, f"--output={stream}")
    slow(source, uri)
    at_step(source, tool, step)
    began = time.monotonic()
    if how == "kill":
        source.process.kill()
    else:
        source.run("migrate_cancel")
        source.wait_migration()  # that it takes its time in its last round is its own affair
        began = time.monotonic()
    tool_ends(tool, began, "rmig receive", *([source] if how != "kill" else []))
    nothing_is_left(bench, stream)
    if how != "kill":
        source.wait_migration("cancelled", "failed")
        source_runs_on(source)


def moments(bench, most_s):
    """Where a case of its own number of random moments strikes; the seed is in its name."""
    chance = random.Random(bench.options.seed)
    return [chance.uniform(0, most_s) for _ in range(bench.options.kills)]


def random_kills(bench, kind, victim):
    """One side is killed at any moment of a slow move: the other ends, and nothing is left."""
    for moment in moments(bench, 1.5):
        source, uri, stream = bench.qemu("q35"), bench.uri(kind), bench.file("received")
        tool = bench.rmig("receive", uri, f"--output={stream}")
        slow(source, uri)
        time.sleep(moment)
        met = "the source is there" in tool.messages()
        if victim == "source":
            source.process.kill()
            try:
                tool.process.wait(PATIENCE_S)
                tool.end(5)
            except subprocess.TimeoutExpired:
                if met:
                    raise QemuError(f"killed after {moment:.3f} s; rmig goes on") from None
        else:
            tool.kill(signal.SIGKILL)
            source.wait_migration("failed")
            source_runs_on(source)
        tool.kill()
        nothing_is_left(bench, stream)
        source.kill()


def qemu_ends(bench, qemu, began):
    """A destination QEMU gives up by itself, in time."""
    try:
        qemu.process.wait(began + PATIENCE_S + bench.options.slack - time.monotonic())
    except subprocess.TimeoutExpired:
        raise QemuError(f"{qemu.name} goes on") from None
    if qemu.process.returncode == 0:
        raise QemuError(f"{qemu.name} ended as if all were well")


def relay_ends(bench, kind, step, victim, how):
    """One of the three is killed or told to stop: the other two end, and the guest runs on."""
    uri_in, uri_out = bench.uri(kind), bench.uri(kind)
    source, dest = bench.qemu("q35"), bench.qemu("q35", "-incoming", uri_out)
    tool = bench.rmig("relay", uri_in, uri_out)
    slow(source, uri_in)
    at_step(source, tool, step)
    process = {"source": source, "rmig": tool, "dest": dest}[victim].process
    if how == "cancel" and victim == "source":
        source.run("migrate_cancel")
        source.wait_migration()  # that it takes its time in its last round is its own affair
    else:
        process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    began = time.monotonic()
    if victim == "rmig":
        process.wait(PATIENCE_S)
        if process.returncode == 0:
            raise Skip("the move was over before")
    else:
        tool_ends(tool, began, "rmig relay", *([source] if how == "cancel" else []))
    if victim != "dest":
        qemu_ends(bench, dest, began)
    if process is not source.process:
        source.wait_migration("cancelled", "failed", deadline_s=PATIENCE_S + bench.options.slack)
        source_runs_on(source)


SEND_RAM_MIB = 128


def big_store(bench):
    """A stored guest whose sending takes a moment. Returns its path and the digest of its RAM."""
    source, stream = bench.qemu("q35", "-S", mem_mib=SEND_RAM_MIB), bench.file("stored")
    fill(source)
    wanted = digest(source.ram)
    store(source, stream)
    source.kill()
    return stream, wanted


def send_ends(bench, kind, victim, how):
    """rmig or its destination ends while pages are on their way."""
    (stream, _), uri = big_store(bench), bench.uri(kind)
    dest = bench.qemu("q35", "-incoming", uri, mem_mib=SEND_RAM_MIB)
    # so that it cannot be over: a TCP connection is there without its process, one of RDMA is made slow
    if kind != "rdma":
        dest.process.send_signal(signal.SIGSTOP)
    tool = bench.rmig("send", stream, uri, RDMA_FABRIC_RATE="1G")
    tool.wait_for("the destination is there")
    dest.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    process = tool.process if victim == "rmig" else dest.process
    process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    began = time.monotonic()
    dest.process.send_signal(signal.SIGCONT)
    if victim == "rmig":
        process.wait(PATIENCE_S)
        assert process.returncode != 0
        qemu_ends(bench, dest, began)
    else:
        tool_ends(tool, began, "rmig send")


def whole_or_ended(bench, dest, wanted, connected, began):
    """After its rmig was killed a destination has the whole guest, or ends, or was never reached."""
    while time.monotonic() < began + PATIENCE_S + bench.options.slack:
        if dest.process.poll() is not None:
            assert dest.process.returncode != 0
            return
        try:
            if dest.status() in ("paused", "prelaunch"):
                assert digest(dest.ram) == wanted
                return
        except QemuError:
            pass  # it is about to end
        time.sleep(0.02)
    if connected:
        raise QemuError(f"{dest.name} goes on")


# A host whose listening program is gone says nothing to the request that was on its way: until there
# is a connection what ends a wait is its time limit.
CONNECT_S = 3.0 + PATIENCE_S


def random_send_kills(bench, kind, victim):
    """At any moment of a send; success is said of no guest that the destination has not."""
    stream, wanted = big_store(bench)
    for moment in moments(bench, 0.5):
        uri = bench.uri(kind)
        dest = bench.qemu("q35", "-S", "-incoming", uri, mem_mib=SEND_RAM_MIB)
        tool = bench.rmig("send", stream, uri)
        time.sleep(moment)
        (tool if victim == "rmig" else dest).process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        connected = "the destination is there" in tool.messages()
        try:
            tool.process.wait(PATIENCE_S if connected else CONNECT_S)
        except subprocess.TimeoutExpired:
            raise QemuError(f"killed after {moment:.3f} s; rmig goes on") from None
        if victim == "rmig":
            whole_or_ended(bench, dest, wanted, connected, began)
        elif tool.process.returncode == 0:
            assert digest(dest.ram) == wanted
        dest.kill()


def damaged(bench, kind):
    """A destination that does not take a device's state: rmig does not say success."""
    source, stream, uri = bench.qemu("q35"), bench.file("stored"), bench.uri(kind)
    store(source, stream)
    with open(stream, "r+b") as file:
        data = file.read()
        at = data.rindex(b"globalstate", 0, data.rindex(b'{"page_size":')) + len("globalstate") + 4
        file.seek(at)
        file.write(b"\0\0\0\x09")  # its version
    bench.qemu("q35", "-incoming", uri)
    bench.rmig("send", stream, uri).end(5)


def dest_ends(bench, kind):
    """A QEMU destination is killed while rmig sends to it."""
    source, stream, uri = bench.qemu("q35"), bench.file("stored"), bench.uri(kind)
    store(source, stream)
    dest = bench.qemu("q35", "-incoming", uri)
    if kind != "rdma":  # a kernel accepts connections for a process that stands still
        os.kill(dest.process.pid, signal.SIGSTOP)
    tool = bench.rmig("send", stream, uri, RDMA_FABRIC_RATE="20M")
    tool.wait_for("the destination is there")
    dest.process.kill()
    tool.end(5, PATIENCE_S)
