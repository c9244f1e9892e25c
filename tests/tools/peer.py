#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""peer.py MODE [ARG] -- peers that misbehave, and proxies that do, for the tests of rdma_migrate_bench.

Servers (the client is the program under test) and proxies print "port N" when they listen.

  serve-garbage | serve-version | serve-silent | serve-close | serve-long
  tamper PORT        proxy to PORT: changes one byte of the first page that holds TAMPERME
  cut PORT BYTES     proxy to PORT: closes the data connection after BYTES
  kill PORT BYTES    as cut, and the control connection with it
  stall PORT BYTES   as cut, but only stops relaying
  refuse PORT        proxy to PORT: nobody listens where the data connection should go
  send PORT KIND     client of PORT that sends garbage | long | version | message | json | half | huge
"""
import json
import os
import socket
import sys
import threading
import time

MAGIC = "rdma_migrate_bench"


def listen():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(8)
    return sock


def announce(sock):
    print("port", sock.getsockname()[1], flush=True)


def line(**members):
    return json.dumps(members).encode() + b"\n"


def hello(protocol=2):
    return line(op="hello", magic=MAGIC, protocol=protocol, version="9.9.9")


def run(**members):
    return line(**{"op": "run", "pin_all": False, "queue_pairs": 1, "pin_budget_bytes": 0,
                   "dead_peer_ms": 0, "idle_timeout_ms": 0, **members})


def drain(sock):
    """Until the other end is gone, so that nothing we sent is lost in a reset."""
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


def hang_up(sock):
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(mode):
    sock = listen()
    announce(sock)
    conn = sock.accept()[0]
    if mode == "serve-garbage":
        conn.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")
    elif mode == "serve-version":
        conn.sendall(hello(protocol=9))
    elif mode == "serve-long":
        try:
            conn.sendall(b"x" * (3 << 20))
        except OSError:
            pass
    elif mode == "serve-close":
        conn.close()
        return
    drain(conn)


class Proxy:
    def __init__(self, mode, port, limit):
        self.mode, self.port, self.limit = mode, port, limit
        self.control = []

    def run(self):
        sock = listen()
        announce(sock)
        while True:
            client = sock.accept()[0]
            server = socket.create_connection(("127.0.0.1", self.port))
            self.control = [client, server]
            threading.Thread(target=self.relay_lines, args=(server, client), daemon=True).start()
            self.relay(client, server)

    def relay(self, source, to):
        try:
            while chunk := source.recv(65536):
                to.sendall(chunk)
        except OSError:
            pass
        hang_up(to)

    def relay_lines(self, source, to):
        """From the server: the port of the data connection becomes one of ours."""
        buf = b""
        try:
            while chunk := source.recv(65536):
                buf += chunk
                while b"\n" in buf:
                    text, buf = buf.split(b"\n", 1)
                    to.sendall(self.rewrite(text) + b"\n")
        except OSError:
            pass
        hang_up(to)

    def rewrite(self, text):
        msg = json.loads(text)
        if msg.get("op") != "listening":
            return text
        data = listen()
        real = msg["port"]
        msg["port"] = data.getsockname()[1]
        if self.mode == "refuse":
            data.close()
        else:
            threading.Thread(target=self.relay_data, args=(data, real), daemon=True).start()
        return json.dumps(msg).encode()

    def relay_data(self, data, real):
        source = data.accept()[0]
        data.close()
        to = socket.create_connection(("127.0.0.1", real))
        threading.Thread(target=self.relay, args=(to, source), daemon=True).start()
        if self.mode == "tamper":
            self.relay_tampered(source, to)
        else:
            self.relay_some(source, to)

    def relay_tampered(self, source, to):
        done = False
        try:
            while chunk := source.recv(65536):
                changed = chunk if done else chunk.replace(b"TAMPERME", b"TAMPERED", 1)
                done = done or changed != chunk
                to.sendall(changed)
        except OSError:
            pass
        hang_up(to)
        print("tampered" if done else "untouched", flush=True)

    def relay_some(self, source, to):
        left = self.limit
        while left > 0:
            chunk = source.recv(min(left, 65536))
            if not chunk:
                break
            to.sendall(chunk)
            left -= len(chunk)
        print("reached", flush=True)
        if self.mode == "stall":
            time.sleep(3600)
        if self.mode == "kill":
            for sock in self.control:
                sock.shutdown(socket.SHUT_RDWR)
        source.shutdown(socket.SHUT_RDWR)
        to.shutdown(socket.SHUT_RDWR)


def send(port, kind):
    sock = socket.create_connection(("127.0.0.1", port))
    texts = {
        "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + os.urandom(4096),
        "long": b"x" * (3 << 20),
        "version": hello(protocol=9),
        "message": hello() + line(op="dance"),
        "json": hello() + b"[1, 2, 3]\n",
        "half": hello()[:20],
        "huge": hello() + line(op="prepare", blocks=[1 << 62], token=[0, 0]),
        "wrap": hello() + line(op="prepare", blocks=[(1 << 62) - 4096] * 8, token=[0, 0]),
        "negative": hello() + line(op="prepare", blocks=[-4096], token=[0, 0]),
        "ragged": hello() + line(op="prepare", blocks=[4097], token=[0, 0]),
        "strange": hello() + line(op="prepare", blocks=["x", None], token="x"),
        "deep": hello() + b"[" * 100000 + b"\n",
        "nul": hello() + b'{"op":"pre\x00pare"}\n',
        "ask": hello() + line(op="prepare", blocks=[4096], token=[0, 0]) +
               run(transport="carrier pigeon"),
        "leave": hello() + line(op="prepare", blocks=[4096], token=[0, 0]) +
                 run(transport="tcp"),
        "patient": hello() + line(op="prepare", blocks=[4096], token=[0, 0]) +
                   run(transport="tcp", idle_timeout_ms=1 << 40),
    }
    try:
        sock.sendall(texts[kind])
        if kind == "half":
            return
        sock.settimeout(0.3 if kind == "leave" else 20)
        drain(sock)
    except OSError:
        pass


def main():
    mode = sys.argv[1]
    if mode.startswith("serve-"):
        serve(mode)
    elif mode == "send":
        send(int(sys.argv[2]), sys.argv[3])
    else:
        Proxy(mode, int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0).run()


main()
