"""HTTP as bytes on a socket: what no well-behaved client library sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cause(self) -> str:
        """Of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document["type"].removeprefix("urn:repsr:problem:")


class Wire:
    """One connection. Use `async with`."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    async def __aenter__(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Bytes, and wait until the system has them."""
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """A whole request."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""])
        await self.send(head.encode() + body)

    async def answer(self, timeout_s: float = 20) -> Answer:
        """The next answer."""
        async with asyncio.timeout(timeout_s):
            status, headers = await self.answer_head()
            if "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
        return Answer(status, headers, body)

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
        return int(first.split()[1]), headers

    async def closed(self, timeout_s: float = 20) -> bool:
        """Whether the other side closes without sending more."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False
