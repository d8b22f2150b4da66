"""A proxy in front of the real service that answers some requests itself, wrongly."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import urlsplit

HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "date", "server")


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on, but for those whose turn it is in `faults`.

    Args:
        target: base URL of the service.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.faults: deque[tuple[str, int, dict[str, str], bytes]] = deque()
        """Of the next requests with a method: (method, status, headers, body); status 0 cuts the answer off."""
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Any method."""
        self._pass()

    do_POST = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy = cast("FaultyProxy", self.server)
        faults = proxy.faults
        if faults and faults[0][0] == self.command:
            _, status, headers, answer = faults.popleft()
            if status == 0:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
                self.close_connection = True
            else:
                self._answer(status, list(headers.items()), answer)
            return
        upstream = http.client.HTTPConnection(proxy.target, timeout=60)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            found = upstream.getresponse()
            self._answer(found.status, found.getheaders(), found.read())
        finally:
            upstream.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def faulty_proxy(target: str) -> Generator[FaultyProxy]:
    """Run one for as long as the block lasts."""
    with FaultyProxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
