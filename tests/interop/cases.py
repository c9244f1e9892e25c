#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""cases.py --build=DIR [--only=native|rdma] [--without=CASE] [--address=A] [--moves=N] [--seed=N] [--list] [CASE...]

Moves guests of a stock QEMU through rmig, one line a case: PASS, FAIL or SKIP, its name, and why; the
last line counts them. --address is where rdma and tcp listen. A CASE is a part of a name.
"""
import argparse
import fnmatch
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position # the path comes first
from bench import BIG, FULL, MACHINES, Bench, Skip
from ends import (STEPS, damaged, dest_ends, random_kills, random_send_kills, relay_ends, rmig_ends,
                  send_ends, source_ends)
from many import many_receives, many_relays, many_sends, relay_memory
from moves import chain, counting, receive, relay, send
from qemu import QemuError
from refusals import bitmaps_refused, blocks_refused, pin_all_refused, refused, taken

def add_ends(add, kind):
    """Each side of each tool, cancelled and killed."""
    for step in STEPS:
        for how, signo in (("cancel", signal.SIGTERM), ("kill", signal.SIGKILL)):
            add(f"{how}/rmig/{kind}/{step}", rmig_ends, kind, step, signo)
            add(f"{how}/source/{kind}/{step}", source_ends, kind, step, how)
            for victim in ("source", "rmig", "dest"):
                add(f"{how}/relay/{victim}/{kind}/{step}", relay_ends, kind, step, victim, how)
    for how in ("cancel", "kill"):
        for victim in ("rmig", "dest"):
            add(f"{how}/send/{victim}/{kind}", send_ends, kind, victim, how)
    add(f"kill/dest/{kind}", dest_ends, kind)
    add(f"damaged/{kind}", damaged, kind)
    for victim in ("source", "rmig"):
        add(f"kill/random/{kind}/{victim}", random_kills, kind, victim)
    for victim in ("rmig", "dest"):
        add(f"kill/random/send/{kind}/{victim}", random_send_kills, kind, victim)


def add_capabilities(add, kind):
    """What a source may have switched on."""
    if kind == "rdma":
        add("refuse/rdma/pin-all", pin_all_refused)
        for capability in ("return-path", "postcopy-ram", "x-ignore-shared"):
            add(f"refuse/rdma/{capability}", refused, "rdma", capability, capability)
        for capability in ("xbzrle", "compress"):
            add(f"take/rdma/{capability}", taken, "rdma", capability)
    else:
        add("take/tcp/return-path", taken, "tcp", "return-path")
        for capability, words in (("x-ignore-shared", "x-ignore-shared"), ("postcopy-ram", "postcopy-ram"),
                                  ("compress", "compress"), ("xbzrle", "xbzrle"),
                                  ("multifd", "multifd")):
            add(f"refuse/tcp/{capability}", refused, "tcp", capability, words)
    add(f"refuse/{kind}/blk", blocks_refused, kind)
    add(f"refuse/{kind}/dirty-bitmaps", bitmaps_refused, kind)


KINDS = ("tcp", "unix", "exec", "rdma")


def add_big(add):
    """As much RAM as machines have; it takes its time."""
    for kind, pin in (("tcp", False), ("rdma", False), ("rdma", True)):
        end = f"{kind}/{BIG}/running{'/pin-all' if pin else ''}"
        add(f"receive/{end}", receive, kind, BIG, True, pin)
        add(f"send/{end}", send, kind, BIG, True, pin)
    add(f"relay/rdma-rdma/{BIG}/running", relay, ("rdma", "rdma"), BIG, True, False)


def add_moves(add, kind):
    """What is stored, and what is replayed."""
    for machine in (*MACHINES, FULL):
        for state in ("stopped", "running"):
            for pin in (False, True) if kind == "rdma" else (False,):
                end = f"{kind}/{machine}/{state}{'/pin-all' if pin else ''}"
                add(f"receive/{end}", receive, kind, machine, state == "running", pin)
                add(f"send/{end}", send, kind, machine, state == "running", pin)


def add_relays(add, kind_in, kind_out):
    """What is passed on; each machine where both sides are of a kind."""
    both = f"{kind_in}-{kind_out}"
    for machine in (*MACHINES, FULL) if kind_in == kind_out else ("q35",):
        for state in ("stopped", "running"):
            for pin in (False, True) if kind_in == kind_out == "rdma" else (False,):
                add(f"relay/{both}/{machine}/{state}{'/pin-all' if pin else ''}", relay, (kind_in, kind_out),
                    machine, state == "running", pin)
    add(f"count/{both}", counting, (kind_in, kind_out))


def all_cases():
    """(name, function, arguments), in the order of running."""
    cases = []

    def add(name, function, *args):
        cases.append((name, function, args))

    for kind in KINDS:
        add_moves(add, kind)
    add_big(add)
    live = [kind for kind in KINDS if kind != "exec"]
    for kind_in in live:
        for kind_out in live:
            add_relays(add, kind_in, kind_out)
    for state in ("stopped", "running"):
        add(f"chain/tcp-file-rdma/{state}", chain, "tcp", "rdma", state == "running")
        add(f"chain/rdma-file-tcp/{state}", chain, "rdma", "tcp", state == "running")
    add("memory/relay/rdma-tcp", relay_memory, ("rdma", "tcp"))
    for kind in ("tcp", "rdma"):
        add(f"memory/relay/{kind}-{kind}", relay_memory, (kind, kind))
        add(f"many/receive/{kind}", many_receives, kind)
        add(f"many/send/{kind}", many_sends, kind)
        add(f"many/relay/{kind}", many_relays, kind)
        add_ends(add, kind)
        add_capabilities(add, kind)
    return cases


def wanted(options, name):
    """Is the case asked for?"""
    if options.only and (options.only == "rdma") != ("rdma" in name):
        return False
    if any(fnmatch.fnmatch(name, f"*{part}*") for part in options.without):
        return False
    return not options.cases or any(fnmatch.fnmatch(name, f"*{part}*") for part in options.cases)


def run_case(options, name, function, args):
    """Returns PASS, FAIL or SKIP."""
    bench, began, said = Bench(options), time.monotonic(), ""
    try:
        function(bench, *args)
        word, why = "PASS", ""
    except Skip as reason:
        word, why = "SKIP", str(reason)
    except (QemuError, AssertionError, OSError, subprocess.SubprocessError) as reason:
        word, why = "FAIL", f"{type(reason).__name__} {reason}".replace("\n", " | ")
        said = bench.said()
    finally:
        bench.close()
    print(f"{word}: {name} {why} ({time.monotonic() - began:.1f} s){said}", flush=True)
    return word


def main():
    """Returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.environ.get("abs_top_builddir", os.getcwd()))
    parser.add_argument("--only", choices=("native", "rdma"))
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--qemu-dst", help="of destinations")
    parser.add_argument("--moves", type=int, default=5)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--delay", type=int, default=5000)
    parser.add_argument("--slack", type=float, default=1.0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    options.qemu_dst = options.qemu_dst or options.qemu
    cases = [case for case in all_cases() if wanted(options, case[0])]
    if options.list:
        print("\n".join(name for name, *_ in cases))
        return 0
    if not cases:
        print(f"cases.py: no such case: {' '.join(options.cases)}", file=sys.stderr)
        return 2
    print(f"random moments: --seed={options.seed}")
    words = [run_case(options, *case) for case in cases]
    print(", ".join(f"{words.count(word)} {said}" for word, said in
                    (("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped"))))
    return 1 if "FAIL" in words else 0


if __name__ == "__main__":
    sys.exit(main())
