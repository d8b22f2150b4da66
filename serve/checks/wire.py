"""A small HTTP/1.1 client on plain sockets.

It is light, because it shares the cores with the service that it measures; it can send what is no HTTP, and reads an
answer that comes before everything is sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]
"""Host and port."""
Piece = bytes | float
"""What is sent, or seconds to wait before the next."""

TIMEOUT_S = 90.0
"""Longer than the service takes before it gives up by itself (`Settings.timeout`)."""
_READ_BYTES = 2**18
_MOST_HEAD_BYTES = 2**18
_BODILESS = (204, 304)


class NoAnswerError(Exception):
    """A request got no whole HTTP answer: the connection was refused, reset or closed, or it took too long."""

    too_late = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request got."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters; of several of one name the last."""
    body: bytes
    seconds: float
    """From before connecting until the last byte."""

    @property
    def media_type(self) -> str:
        """Without parameters; empty without one."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The document in the body.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)


def post(target: str, body: bytes, media_type: str = "application/octet-stream", **headers: str) -> bytes:
    """A request with a body; `headers` with underscores for hyphens."""
    return message("POST", target, body, **{"Content_Type": media_type, **headers})


def message(method: str, target: str, body: bytes | None = None, **headers: str) -> bytes:
    """A whole request, after whose answer the connection is closed."""
    fields = {"Host": "loopback", "Connection": "close", **headers}
    if body is not None:
        fields["Content_Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def get(address: Address, target: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask for a document."""
    return await exchange(address, [message("GET", target)], timeout_s=timeout_s)


async def exchange(
    address: Address,
    pieces: Sequence[Piece],
    *,
    timeout_s: float = TIMEOUT_S,
    no_body: bool = False,
    sent: Callable[[], None] | None = None,
) -> Answer:
    """Send a request over a connection of its own, and read the answer meanwhile.

    Args:
        no_body: the answer has none whatever it says, as after HEAD.
        sent: called when the last byte is with the system.

    Raises:
        NoAnswerError: no whole answer; says why.
    """
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout_s):
            await loop.sock_connect(connection, address)
            sending = asyncio.ensure_future(_send(connection, pieces, sent))
            try:
                status, headers, body = await _read_answer(_Reader(connection), no_body)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await sending
    except TimeoutError as error:
        late = NoAnswerError(f"no answer within {timeout_s:g} s")
        late.too_late = True
        raise late from error
    except OSError as error:
        raise NoAnswerError(f"{type(error).__name__} after {time.perf_counter() - started:.2f} s") from error
    finally:
        connection.close()
    return Answer(status=status, headers=headers, body=body, seconds=time.perf_counter() - started)


async def hang_up(address: Address, pieces: Sequence[Piece], read_bytes: int = 0, timeout_s: float = TIMEOUT_S) -> None:
    """Send something, wait for so many bytes of an answer, and go away without a word."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection, suppress(OSError):
        connection.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await loop.sock_connect(connection, address)
            await _send(connection, pieces, None)
            while read_bytes > 0 and (got := len(await loop.sock_recv(connection, min(read_bytes, _READ_BYTES)))):
                read_bytes -= got


async def _send(connection: socket.socket, pieces: Sequence[Piece], sent: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    for piece in pieces:
        if isinstance(piece, bytes):
            await loop.sock_sendall(connection, piece)
        else:
            await asyncio.sleep(piece)
    if sent is not None:
        sent()


class _Reader:
    """The bytes that arrive, taken by count or up to a mark."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()
        self._begun = False

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._connection, _READ_BYTES)
        if not data:
            raise NoAnswerError(f"the connection was closed {'within an answer' if self._begun else 'without one'}")
        self._held += data
        self._begun = True

    async def until(self, mark: bytes) -> bytes:
        """All before a mark, which is dropped."""
        while (end := self._held.find(mark)) < 0:
            if len(self._held) > _MOST_HEAD_BYTES:
                raise NoAnswerError(f"no {mark!r} in {len(self._held)} bytes: that is no HTTP")
            await self._more()
        return self._take(end, len(mark))

    async def exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._held) < count:
            await self._more()
        return self._take(count)

    async def rest(self) -> bytes:
        """All until the connection ends."""
        while data := await asyncio.get_running_loop().sock_recv(self._connection, _READ_BYTES):
            self._held += data
        return bytes(self._held)

    def _take(self, count: int, drop: int = 0) -> bytes:
        data = bytes(memoryview(self._held)[:count])
        del self._held[: count + drop]
        return data


async def _read_answer(reader: _Reader, no_body: bool) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; informational answers are skipped."""
    status = 100
    headers: dict[str, str] = {}
    while status < 200:
        first, *lines = (await reader.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise NoAnswerError(f"the answer begins with {first[:40]!r}: that is no HTTP")
        status = int(rest[:3])
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if no_body or status in _BODILESS:
        return status, headers, b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        chunks: list[bytes] = []
        while size := int((await reader.until(b"\r\n")).partition(b";")[0], 16):
            chunks.append(await reader.exactly(size))
            await reader.exactly(2)
        return status, headers, b"".join(chunks)
    if "content-length" in headers:
        return status, headers, await reader.exactly(int(headers["content-length"]))
    return status, headers, await reader.rest()
