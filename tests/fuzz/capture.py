#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""capture.py DIRECTORY -- makes the seeds that come of a stock QEMU, in DIRECTORY/fuzz_*/qemu-*.

Small machines, stopped before their first instruction, are migrated to a file. Of their RAM one page
record of each kind is kept, with content of our own; the rest of a stream is as QEMU wrote it.
"""
import os
import struct
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from qemu import Qemu  # noqa: E402 (the path comes first)

# name: machine, arguments, capabilities
OLD = ("-global", "migration.send-configuration=off",
       "-global", "migration.send-section-footer=off")
STREAMS = {
    "q35": ("q35", (), ()),
    "microvm": ("microvm", (), ()),
    "isapc": ("isapc", (), ()),
    "ignore-shared": ("microvm", (), ("x-ignore-shared",)),
    "compress": ("microvm", (), ("compress",)),
    "no-footers": ("microvm", OLD, ()),
}
ZERO, MEM_SIZE, PAGE, EOS, CONTINUE, COMPRESS = 2, 4, 8, 16, 32, 0x100
PAGE_BYTES = 4096
CONTENT = b"\xa5" * PAGE_BYTES
PACKED = zlib.compress(CONTENT)
RECORDS = {ZERO: b"\0", PAGE: CONTENT, COMPRESS: struct.pack(">I", len(PACKED)) + PACKED}


class Stream:
    """Bytes that are read from front to back."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def get(self, nbytes):
        self.at += nbytes
        if self.at > len(self.data):
            raise ValueError("the stream ends too early")
        return self.data[self.at - nbytes:self.at]

    def number(self, nbytes):
        return int.from_bytes(self.get(nbytes), "big")

    def text(self):
        return self.get(self.number(1))


def block_list(stream, total, addresses):
    """The list as it is."""
    begin = stream.at
    while total > 0:
        stream.text()
        total -= stream.number(8)
        stream.get(8 if addresses else 0)
    return stream.data[begin:stream.at]


def strip_body(stream, seen, addresses):
    """One body of the ram section, with the first page record of each kind that there is."""
    out = b""
    while True:
        word = stream.number(8)
        flags, head = word & (PAGE_BYTES - 1), struct.pack(">Q", word)
        if flags & EOS:
            return out + head
        if flags & MEM_SIZE:
            out += head + block_list(stream, word - flags, addresses)
            continue
        if not flags & CONTINUE:
            seen["block"] = stream.text()
        kind = flags & ~CONTINUE
        stream.get(stream.number(4) if kind == COMPRESS else len(RECORDS[kind]))
        if kind not in seen:
            seen[kind] = True
            name = seen["block"]
            out += struct.pack(">Q", word & ~CONTINUE) + bytes([len(name)]) + name + RECORDS[kind]


def strip(data, footers, addresses):
    """The stream, with little RAM; and where its devices begin."""
    stream, seen = Stream(data), {}
    at = data.index(b"\x01\0\0\0\x02\x03ram")  # the first section, always
    stream.get(at)
    out = data[:at]
    while data[stream.at] in (1, 2, 3):
        begin = stream.at
        kind = stream.number(1)
        stream.get(4 + (4 + 8 if kind == 1 else 0))
        out += data[begin:stream.at] + strip_body(stream, seen, addresses)
        out += stream.get(5 if footers else 0)
    return out + data[stream.at:], len(out)


def as_fuzz_guest(stripped, begin):
    """The devices of a QEMU behind the RAM of the guest that fuzz_load has."""
    ram = stripped.index(b"\x01\0\0\0\x02\x03ram")
    names = (b"mem", b"rom", b"anonymous")
    out = stripped[:ram] + b"\x01\0\0\0\x02\x03ram" + struct.pack(">IIQ", 0, 4, 0x6000 | MEM_SIZE)
    for name in names:
        out += bytes([len(name)]) + name + struct.pack(">Q", 0x2000)
    out += struct.pack(">QBI", EOS, 0x7e, 2) + struct.pack(">BI", 3, 2)
    for name in names:
        out += struct.pack(">QB", ZERO, len(name)) + name + b"\0"
    out += struct.pack(">QB", 0x1000 | PAGE, 3) + b"rom" + CONTENT
    return out + struct.pack(">QBI", EOS, 0x7e, 2) + stripped[begin:]


def capture(folder, name):
    """The stream of one machine."""
    machine, args, capabilities = STREAMS[name]
    path = os.path.join(folder, name)
    qemu = Qemu(folder, "guest", machine, None, 1, ("-S", *args))
    try:
        if capabilities:
            qemu.capability(*capabilities)
        qemu.start_migration(f"exec:cat >{path}")
        qemu.wait_migration("completed")
    finally:
        qemu.kill()
    with open(path, "rb") as file:
        return file.read()


def write(*path, data):
    """One seed."""
    name = os.path.join(*path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)
    print(f"{len(data):7} {name}")


def main():
    """Returns the exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for name in STREAMS:
            data, begin = strip(capture(folder, name), name != "no-footers", name == "ignore-shared")
            write(sys.argv[1], "fuzz_inspect", f"qemu-{name}", data=data)
            if name in ("q35", "microvm", "isapc"):
                write(sys.argv[1], "fuzz_vmdesc", f"qemu-{name}",
                      data=data[data.rindex(b'{"page_size":'):])
            if name in ("microvm", "isapc"):
                write(sys.argv[1], "fuzz_load", f"qemu-{name}", data=as_fuzz_guest(data, begin))
    return 0


if __name__ == "__main__":
    sys.exit(main())
