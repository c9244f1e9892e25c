# SPDX-License-Identifier: BSD-3-Clause
"""The cases of tests/hypervisor/run. Each returns what is worth saying, or raises."""
import os
import random
import re
import signal
import socket
import subprocess
import time

import machine
from machine import Fault, Machine

PAGES = 2000
# what a guest takes at most until it says something, on a slow host
FIRST_LINES = 3


def transports():
    names = ["tcp", "unix"]
    return names + ["rdma"] if os.environ.get("RMIG_TEST_RDMA_ADDR") else names


def expect(good, text):
    if not good:
        raise Fault(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def incoming(transport, memory="64M"):
    """A machine that waits, and the URI of it."""
    if transport == "unix":
        uri = f"unix:{machine.scratch}/in{machine.count}"
    elif transport == "rdma":
        uri = f"rdma:{os.environ['RMIG_TEST_RDMA_ADDR']}:{free_port()}"
    else:
        uri = f"tcp:127.0.0.1:{free_port()}"
    m = Machine("--incoming", uri, "-m", memory)
    m.ask("status")  # it listens before it answers
    return m, uri


def assert_counted(console):
    """Nothing lost, repeated or out of order."""
    numbers = [line[0] for line in machine.counted(console)]
    expect(numbers == list(range(1, len(numbers) + 1)), f"the counter did not go on: {numbers[-8:]}")


def assert_went_on(source, dest):
    """The counter goes on there where it left off here. A line may be cut in two by the move: it began
    here and ends there."""
    dest.wait_lines(FIRST_LINES)
    assert_counted(source.console + dest.console)


def assert_silent(m):
    before = len(m.console)
    time.sleep(0.25)
    expect(len(m.console) == before, f"{m.name} runs on")


def move_once(transport, rate, **options):
    source = Machine.payload(PAGES, rate)
    source.wait_lines(FIRST_LINES)
    dest, uri = incoming(transport)
    answer = source.ask("migrate", uri=uri, **options)
    expect(answer["ok"], answer)
    figures = source.wait_ended()
    expect(figures["state"] == "done", figures)
    expect(figures["transport"] == transport, figures)
    return source, dest, figures


def move(transport, rate):
    def case():
        source, dest, figures = move_once(transport, rate)
        assert_went_on(source, dest)
        written, still_us = dest.check_pages()
        expect((written > PAGES * (PAGES + 1) // 2) == bool(rate), f"{written} is the sum of numbers")
        assert_silent(source)
        expect(not source.status()["here"] and dest.status()["here"], "both or none has it")
        expect(source.ask("resume")["ok"] is False, "a guest that has gone was resumed")
        expect(source.quit() == 0 and dest.quit() == 0, "exit status")
        return (f"downtime {figures['downtime_ns'] / 1e6:.1f} ms, {still_us / 1e3:.1f} by the guest's "
                f"clock, expected {figures['expected_downtime_ns'] / 1e6:.1f}")
    return case


def chain(transport, moves):
    """One guest, from process to process."""
    def case():
        m = Machine.payload(PAGES, 2000)
        m.wait_lines(FIRST_LINES)
        console, written = b"", 0
        for _ in range(moves):
            dest, uri = incoming(transport)
            expect(m.ask("migrate", uri=uri)["ok"], "refused")
            figures = m.wait_ended()
            expect(figures["state"] == "done", figures)
            console += m.console
            expect(m.quit() == 0, "exit status")
            m = dest
            now, _ = m.check_pages()
            expect(now > written, f"the guest's writes stand still at {now}")
            written = now
        assert_counted(console + m.console)
        return f"{moves} moves"
    return case


def too_fast():
    """More is written than a limited link takes: it ends at the deadline and the guest runs here."""
    source = Machine.payload(8000, 20000)
    source.wait_lines(FIRST_LINES)
    dest, uri = incoming("tcp")
    source.ask("migrate", uri=uri, deadline_ms=1500, downtime_limit_ms=20,
               max_bandwidth_bytes_per_s=20000000)
    figures = source.wait_ended()
    expect(figures["state"] == "failed" and re.search("did not converge|not through", figures["error"]), figures)
    source.wait_lines(source.nlines() + 3)
    source.check_pages()
    expect(dest.process.wait(10) == 5, "the destination's exit status")
    return figures["error"][:60]


def auto_converge():
    """What does not converge by itself does with the vCPU slowed."""
    for converge in (False, True):
        source = Machine.payload(3000, 12000)
        source.wait_lines(FIRST_LINES)
        dest, uri = incoming("tcp")
        source.ask("migrate", uri=uri, deadline_ms=20000 if converge else 2000, downtime_limit_ms=100,
                   auto_converge=converge, max_bandwidth_bytes_per_s=30000000)
        figures = source.wait_ended()
        expect((figures["state"] == "done") == converge, figures)
        (dest if converge else source).check_pages()
    return f"{figures['round']} rounds, downtime {figures['downtime_ns'] / 1e6:.1f} ms"


def paused():
    """A guest that its user has paused stays so where it goes, and where it does not get away."""
    source = Machine.payload(PAGES, 1000)
    source.wait_lines(FIRST_LINES)
    source.ask("pause")
    source.ask("migrate", uri="unix:/nowhere")
    expect(source.wait_ended()["state"] == "failed", source.status())
    assert_silent(source)
    dest, uri = incoming("tcp")
    source.ask("migrate", uri=uri)
    expect(source.wait_ended()["state"] == "done", source.status())
    assert_silent(dest)
    expect(dest.status()["here"] and not dest.status()["running"], dest.status())
    expect(dest.ask("resume")["ok"], "resume")
    assert_went_on(source, dest)
    dest.check_pages()


def cancel():
    source = Machine.payload(8000, 20000)
    source.wait_lines(FIRST_LINES)
    dest, uri = incoming("tcp")
    source.ask("migrate", uri=uri, downtime_limit_ms=10, max_bandwidth_bytes_per_s=10000000)
    time.sleep(0.5)
    expect(source.ask("cancel")["ok"], "no cancel")
    figures = source.wait_ended(2)
    expect(figures["state"] == "failed", figures)
    source.wait_lines(source.nlines() + 3)
    source.check_pages()
    expect(dest.process.wait(10) == 5, "the destination's exit status")


def stored():
    """To a file, and from it twice."""
    source = Machine.payload(PAGES, 1000)
    source.wait_lines(FIRST_LINES)
    path = f"{machine.scratch}/stored"
    source.ask("migrate", uri=f"file:{path}")
    expect(source.wait_ended()["state"] == "done", source.status())
    assert_silent(source)
    for _ in range(2):
        dest = Machine("--incoming", f"file:{path}", "-m", "64M")
        assert_went_on(source, dest)
        dest.check_pages()
        dest.quit()
    os.unlink(path)


def bad_input():
    for args, text in ((["-m", "1"], "--memory"), (["-s", "5"], "--smp"), ([], "one of --kernel"),
                       (["--kernel", "/dev/null"], "no bzImage"), (["--payload", "/none"], "/none"),
                       (["--incoming", "tcp:nowhere"], "tcp:"), (["--what"], "--what")):
        done = subprocess.run(["rmig-kvm", *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=20, check=False)
        expect(done.returncode in (2, 4) and text in done.stderr,
               f"{args}: status {done.returncode}: {done.stderr}")
    m = Machine.payload(0, 0)
    for args in ({"command": "migrate"}, {"command": "migrate", "uri": "x"}, {"command": "fly"},
                 {"command": "migrate", "uri": "tcp:h:1", "deadline_ms": -1},
                 {"command": "cancel"}, {"command": "reclaim"}):
        answer = m.ask(**args)
        expect(answer["ok"] is False and answer["error"], f"{args}: {answer}")
    expect(m.ask("pause")["ok"] and not m.status()["running"], "pause")
    expect(m.ask("resume")["ok"] and m.status()["running"], "resume")


def fault(transport, how, seed):
    """Something breaks at a random instant: the guest never runs on both sides, and where a living side
    holds it whole it runs on one."""
    def case():
        draw = random.Random(seed)
        source = Machine.payload(PAGES, draw.choice([500, 1000, 4000]))
        source.wait_lines(FIRST_LINES + draw.randrange(5))
        dest, uri = incoming(transport)
        # slow enough that each step is hit
        source.ask("migrate", uri=uri, max_bandwidth_bytes_per_s=40000000, downtime_limit_ms=50)
        time.sleep(draw.uniform(0, 0.35))
        if how == "kill-source":
            source.process.send_signal(signal.SIGKILL)
            return judge_source_dead(dest)
        if how == "kill-destination":
            dest.process.send_signal(signal.SIGKILL)
            return judge_dest_dead(source)
        answer = source.ask("cancel") if how == "cancel-source" else dest.ask("cancel")
        return judge_both_alive(source, dest, answer)
    return case


def runs(m):
    try:
        m.wait_lines(m.nlines() + 2, 3)
        return True
    except Fault:
        return False


def still_waits(dest):
    """No source has come, or none that got as far as its memory."""
    try:
        status = dest.status() if dest.process.poll() is None else None
    except (OSError, Fault):
        return False
    if not status or status["migration"]["state"] != "connecting":
        return False
    expect(not status["here"] and not status["running"], status)
    return True


def judge_source_dead(dest):
    """It runs there, or it had not got the word and ends, or nobody had come to it."""
    if still_waits(dest):
        return "never left"
    end = time.monotonic() + 15
    while time.monotonic() < end and dest.process.poll() is None and not runs(dest):
        continue
    if dest.process.poll() is not None:
        expect(dest.process.returncode == 5, f"exit status {dest.process.returncode}")
        expect(dest.nlines() == 0, "it ran there, and ended")
        return "gone with the source"
    dest.check_pages()
    return "runs there"


def judge_dest_dead(source):
    figures = source.wait_ended(15)
    if figures["state"] == "in-doubt":
        assert_silent(source)
        expect(source.ask("reclaim")["ok"], "reclaim")
        expect(runs(source), "it does not run after reclaim")
        source.check_pages()
        return "in doubt, reclaimed"
    if figures["state"] == "done":
        assert_silent(source)
        return "had moved, and died there"
    expect(runs(source), f"it runs nowhere: {figures}")
    source.check_pages()
    return "runs here"


def judge_both_alive(source, dest, answer):
    figures = source.wait_ended(15)
    end = time.monotonic() + 15
    if figures["state"] == "done":
        expect(runs(dest), "it runs nowhere")
        assert_silent(source)
        dest.check_pages()
        return f"too late ({answer['ok']})"
    expect(figures["state"] == "failed", figures)
    expect(runs(source), f"it runs nowhere: {figures}")
    source.check_pages()
    if still_waits(dest):
        return "never left"
    while dest.process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    expect(dest.process.returncode == 5 and dest.nlines() == 0, "the destination has it, too")
    return "runs here"


def all_cases(args):
    found = []
    for transport in transports():
        for rate in (0, 500, 5000):
            found.append((f"move/{transport}/{rate}", move(transport, rate)))
        found.append((f"chain/{transport}", chain(transport, args.moves)))
    found += [("converge/too-fast", too_fast), ("converge/auto", auto_converge), ("cancel", cancel), ("paused", paused),
              ("stored", stored), ("bad-input", bad_input)]
    ways = ("kill-source", "kill-destination", "cancel-source", "cancel-destination")
    for i in range(args.faults):
        transport, how = transports()[i % len(transports())], ways[i // len(transports()) % len(ways)]
        found.append((f"fault/{transport}/{how}/{args.seed + i}",
                      fault(transport, how, args.seed + i)))
    return found
