#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""seeds.py DIRECTORY -- makes the seeds that are written by hand, in DIRECTORY/fuzz_*.

URIs, RAM images, compressed blocks and a few programs; `run.sh --seeds` finds more of these.
"""
import os
import struct
import sys
import zlib

URIS = {
    "tcp": "tcp:host.example:4444",
    "tcp-any": "tcp::0",
    "tcp-v6": "tcp:[fe80::1%eth0]:65535",
    "tcp-v6-bare": "tcp:::1:4444",
    "tcp-no-port": "tcp:[::1]",
    "tcp-port-too-large": "tcp:a:65536",
    "tcp-bracket-in-host": "tcp:[[a]:1",
    "rdma": "rdma:192.0.2.1:4907",
    "host-longest": "tcp:" + "h" * 255 + ":1",
    "host-too-long": "tcp:" + "h" * 256 + ":1",
    "unix": "unix:/run/vm.sock",
    "unix-longest": "unix:" + "u" * 107,
    "unix-too-long": "unix:" + "u" * 108,
    "fd": "fd:2147483647",
    "fd-too-large": "fd:2147483648",
    "file": "file:/tmp/a,b",
    "file-offset": "file:guest.mig,offset=4096",
    "file-offset-unit": "file:guest.mig,offset=8388607T",
    "file-offset-too-large": "file:guest.mig,offset=8388608T",
    "file-offset-wraps": "file:guest.mig,offset=16777217T",
    "file-offset-largest": "file:g,offset=9223372036854775807",
    "file-offset-twice": "file:g,offset=1K,offset=2",
    "file-no-path": "file:,offset=1",
    "path-longest": "file:" + "p" * 4091,
    "exec": "exec:cat >/dev/null",
    "exec-nothing": "exec:",
    "other": "http://host/",
}

BUILT, HOLES, ZERO, LIMIT, TOTALS, CUT, REVERSE = 1, 2, 4, 8, 16, 32, 64
PAGE = 4096


def image(how, blocks, pieces=b"", first=PAGE, gap=0, **header):
    """What fuzz_image makes an image of: blocks of (name, pages)."""
    table, at = b"", first
    for name, pages in blocks:
        table += struct.pack(">B", len(name)) + name + struct.pack(">QQQ", pages * PAGE, PAGE, at)
        at = (at + pages * PAGE + gap) % (1 << 64)
    field = {"magic": b"RMIG-RAM", "version": 1, "complete": 1, "page": PAGE, "nblocks": len(blocks),
             "table_bytes": len(table), "ram_bytes": sum(pages for _, pages in blocks) * PAGE,
             "image_bytes": at - gap + 16, "rest": b""}
    field.update(header)
    head = struct.pack(">8sIIIIIIQQ16s", *(field[name] for name in (
        "magic", "version", "complete", "page", "nblocks", "table_bytes")), 0, field["ram_bytes"],
        field["image_bytes"], field["rest"])
    return bytes([how, len(pieces) // 2]) + pieces + head + table


def images():
    """name: bytes."""
    one, two = [(b"m", 3)], [(b"pc.ram", 4), (b"rom", 1)]
    many = [(b"b%d" % i, 1) for i in range(20)]
    some = bytes([1, 0x11, 3, 0x89, 5, 0xff])
    out = {
        "one": image(BUILT, one),
        "content": image(BUILT, one, some),
        "holes": image(BUILT | HOLES, two, some),
        "holes-zero": image(BUILT | HOLES | ZERO, two, some),
        "half-pages": image(BUILT, one, bytes([2, 0x08, 0x40, 0x10])),
        "reverse": image(BUILT | REVERSE, two, some),
        "many": image(BUILT | HOLES | REVERSE, many, some),
        "gaps": image(BUILT | HOLES, two, some, first=3 * PAGE, gap=5 * PAGE),
        "totals": image(BUILT | TOTALS, two, some, ram_bytes=0, image_bytes=0),
        "limit": image(BUILT | LIMIT, [(b"m", 256)]),
        "over-the-limit": image(BUILT | LIMIT, [(b"m", 257)]),
        "cut": image(BUILT | CUT, one),
        "overlap": image(BUILT, two, gap=-PAGE),
        "no-page": image(BUILT, [(b"m", 0)]),
        "same-name": image(BUILT | TOTALS, [(b"m", 1), (b"m", 1)]),
        "no-name": image(BUILT, [(b"", 1)]),
        "odd-name": image(BUILT, [(b"a\x7f", 1)]),
        "nul-in-name": image(BUILT, [(b"a\0b", 1)]),
        "unfinished": image(BUILT, one, complete=0),
        "version": image(BUILT, one, version=2),
        "page-size": image(BUILT, one, page=8192),
        "no-blocks": image(BUILT, []),
        "too-many-blocks": image(BUILT, one, nblocks=16384),
        "table-too-large": image(BUILT, one, table_bytes=16383 * 280 + 1),
        "table-not-there": image(BUILT, one, table_bytes=16383 * 280),
        "too-large": image(BUILT, one, image_bytes=1 << 63),
        "rest": image(BUILT, one, rest=b"\1"),
    }
    # each sum is right in 64 bits
    out["wraps"] = image(BUILT, [(b"a", (1 << 52) - 1), (b"b", 1)], first=2 * PAGE, gap=3 * PAGE,
                         ram_bytes=0)
    out["raw"] = bytes([0]) + out["one"][1:]
    return out


def blocks():
    """For fuzz_inflate: how, length of the room, of a step, the deflate stream; and programs."""
    text = b"a block that is compressed, a block that is compressed" * 3
    packed = zlib.compress(text)
    fixed = bytes([1, len(text), 0])
    return {
        "fits": fixed + packed,
        "own": bytes([5, len(text), 3]) + packed,
        "tail": bytes([9, len(text), 1]) + packed,
        "too-long": bytes([1, len(text) - 1, 0]) + packed,
        "bytes-left": fixed + packed + b"x",
        "bytes-left-own": bytes([5, len(text), 1]) + packed + b"x",
        "cut": fixed + packed[:-1],
        "sum": fixed + packed[:-4] + b"\0\0\0\0",
        "no-deflate": fixed + text[:100],
        "empty": bytes([1, 0, 0]) + zlib.compress(b""),
        "raw": bytes([0, len(text), 0]) + struct.pack(">I", len(packed)) + packed,
        "raw-too-long": bytes([0, len(text), 0]) + b"\xff" * 4 + packed,
        "raw-cut": bytes([0, len(text), 0]) + struct.pack(">I", 200) + packed,
        "there-and-back": bytes([2, 0, 0, 200]) + text[:54],
        "own-level": bytes([0x3a, 8, 5, 200]) + text[:54],
        "level-beyond": bytes([0x3a, 12, 5, 200]) + text[:54],
        "noise": bytes([0x42, 0, 0, 200]),
        "no-room": bytes([0xc2, 0, 0, 0xfb]),
        "just-fits": bytes([0xc2, 0, 0, 0xf6]),
        "just-no-room": bytes([0xc2, 0, 0, 0xfd]),
        "flushed-before": bytes([0xc2, 0, 0xf8, 0xf1]),
        "odd-deflate": bytes([0x52, 0, 0, 200]),
        "long": bytes([0xc3, 0, 0, 0, 0, 0, 0xff]),
        "damaged": bytes([0x83, 0, 9, 0, 7, 0x10, 200]) + text[:54],
    }


# of fuzz_buffer: a write, a shorter length, and a write behind that
BUFFERS = {"gap": bytes([0, 0, 0x80, 0, 0, 200, 1, 3, 0, 0x80, 0, 10, 0, 0x80, 0, 100, 5, 1])}


def main():
    """Returns the exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    made = {"fuzz_uri": {name: text.encode() for name, text in URIS.items()},
            "fuzz_image": images(), "fuzz_inflate": blocks(), "fuzz_buffer": BUFFERS}
    for target, seeds in made.items():
        os.makedirs(os.path.join(sys.argv[1], target), exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(sys.argv[1], target, name), "wb") as file:
                file.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
