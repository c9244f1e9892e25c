# SPDX-License-Identifier: BSD-3-Clause
"""What rmig takes of a source's capabilities, and what it refuses, and how."""
import re
import signal

from ends import nothing_is_left, slow, source_runs_on
from qemu import QemuError, DEADLINE_S


def fail(source, uri):
    """Start a migration that fails, or does not even start; over RDMA connecting is part of that."""
    try:
        slow(source, uri)
        source.wait_migration("failed")
    except QemuError as error:
        if "connecting to destination" not in str(error):
            raise


def pin_all_refused(bench):
    source, uri, stream = bench.qemu("q35"), bench.uri("rdma"), bench.file("received")
    source.capability("rdma-pin-all")
    tool = bench.rmig("receive", uri, f"--output={stream}", "--pin-budget=8M")
    fail(source, uri)
    source_runs_on(source)
    tool.wait_for("pin budget of 8.0 MiB")
    tool.kill(signal.SIGTERM)
    tool.end(5)
    nothing_is_left(bench, stream)


def assert_refused(bench, source, tool, stream, words):
    """rmig ends with a message that matches words, nothing is left, and the source's guest runs on."""
    tool.process.wait(DEADLINE_S)
    tool.end(5)
    if not re.search(words, tool.messages()):
        raise QemuError(f"the message does not match {words}: {tool.messages()}")
    nothing_is_left(bench, stream)
    source_runs_on(source)


def refused(bench, kind, capability, words):
    """A source with this capability is refused with a message that names it, and survives."""
    source, uri, stream = bench.qemu("q35"), bench.uri(kind), bench.file("received")
    source.capability(capability)
    tool = bench.rmig("receive", uri, f"--output={stream}")
    fail(source, uri)
    assert_refused(bench, source, tool, stream, words)


def blocks_refused(bench, kind):
    """A source that moves its disks along."""
    disk, uri, stream = bench.file("disk"), bench.uri(kind), bench.file("received")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    source = bench.qemu("q35", "-drive", f"file={disk},format=raw,if=none")
    tool = bench.rmig("receive", uri, f"--output={stream}")
    source.run("migrate", uri=uri, blk=True)
    source.wait_migration("failed")
    assert_refused(bench, source, tool, stream, r"START of block: .*without blk \(capability block\)")


def bitmaps_refused(bench, kind):
    """A source that moves the dirty bitmaps of its disks along."""
    disk, uri, stream = bench.file("disk"), bench.uri(kind), bench.file("received")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    source = bench.qemu("q35", "-blockdev", f"driver=file,node-name=disk,filename={disk}")
    source.run("block-dirty-bitmap-add", node="disk", name="changes")
    source.capability("dirty-bitmaps")
    tool = bench.rmig("receive", uri, f"--output={stream}")
    fail(source, uri)
    assert_refused(bench, source, tool, stream, "capability .*dirty-bitmaps.* switch (it|these) off")


def taken(bench, kind, capability):
    """A capability that changes nothing that we see."""
    source, uri, stream = bench.qemu("q35"), bench.uri(kind), bench.file("received")
    source.capability(capability)
    tool = bench.rmig("receive", uri, f"--output={stream}")
    source.start_migration(uri)
    source.wait_migration("completed")
    tool.end()
