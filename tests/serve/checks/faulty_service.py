"""A service with a fault, to see that the checks find it: `python faulty_service.py FAULT`, with a fault of `FAULTS`.

It answers on a free port of loopback, whose address it prints: every request with the same refusal, or as its fault is.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress

FAULTS = ("none", "500", "html", "drops", "leaks")
PROBLEM = {"type": "urn:repsr:problem:damaged", "title": "Unprocessable", "status": 422, "detail": "It is damaged."}
LEAK_BYTES = 2**19
EVERY = 20
"""A process is left behind for so many requests."""
kept: list[object] = []
leaks = itertools.count(1)


def answer(connection: socket.socket, fault: str) -> None:
    """Read one request, as far as it comes at once, and answer it."""
    with connection, suppress(OSError):
        connection.settimeout(0.2)
        with suppress(TimeoutError):
            connection.recv(2**20)
        if fault == "leaks":
            leak()
        if fault == "drops":
            return
        status = 500 if fault == "500" else 422
        body = b"<h1>No</h1>" if fault == "html" else json.dumps(PROBLEM | {"status": status}).encode()
        kind = "text/html" if fault == "html" else "application/problem+json"
        head = (
            f"HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(2**20):
            pass


def leak() -> None:
    """Keep something of every kind."""
    kept.append(b"x" * LEAK_BYTES)
    descriptor = os.memfd_create("leak")
    os.write(descriptor, b"x" * LEAK_BYTES)
    kept.append(tempfile.mkstemp(dir=os.environ["TMPDIR"]))
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    if next(leaks) % EVERY == 0:
        os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
    print("Traceback \x1b[31m", flush=True)  # noqa: T201


def main() -> None:
    """Serve for ever, each connection in a thread that ends with it."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)  # noqa: T201
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=answer, args=(connection, sys.argv[1]), daemon=True).start()


if __name__ == "__main__":
    main()
