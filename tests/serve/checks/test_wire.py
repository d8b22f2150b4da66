"""The client: what it makes of every kind of answer, and of none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from checks.wire import Address, Answer, NoAnswerError, Piece, exchange, hang_up, message, post

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = [message("GET", "/x")]


def ask(handler: Handler, pieces: list[Piece] | None = None, *, timeout_s: float = 5, no_body: bool = False) -> Answer:
    """What the client gets from a server that does `handler` once."""

    async def main() -> Answer:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            finally:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address: Address = server.sockets[0].getsockname()[:2]
            return await exchange(address, pieces or REQUEST, timeout_s=timeout_s, no_body=no_body)

    return asyncio.run(main())


def says(*parts: bytes) -> Handler:
    """A server that waits for a head, and says something in parts."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)

    return handler


@pytest.mark.parametrize(
    ("parts", "status", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"cde"), 200, b"abcde"),
        (
            (b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", b"c\r\n1;x=y\r\nd\r\n0\r\n\r\n"),
            404,
            b"abcd",
        ),
        ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"00 OK\r\n\r\nto the end"), 200, b"to the end"),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, b""),
        ((b"HTTP/1.0 503 \r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",), 503, b""),
    ],
)
def test_every_way_to_end_a_body(parts: tuple[bytes, ...], status: int, body: bytes) -> None:
    answer = ask(says(*parts))
    assert (answer.status, answer.body) == (status, body)


def test_head_has_a_length_and_no_body() -> None:
    answer = ask(says(b"HTTP/1.1 405 No\r\nContent-Length: 500\r\nContent-Type: a/b; c=d\r\n\r\n"), no_body=True)
    assert (answer.status, answer.body, answer.media_type) == (405, b"", "a/b")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((), "without one"),
        ((b"HTTP/1.1 200 OK\r\nContent-Le",), "within an answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",), "within an answer"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",), "within an answer"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",), "within an answer"),
        ((b"220 mail.example ESMTP\r\n\r\n",), "no HTTP"),
        ((b"x" * 300_000,), "no HTTP"),
    ],
)
def test_no_whole_answer_is_told_as_such(parts: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(NoAnswerError, match=reason):
        ask(says(*parts))


def test_waiting_ends() -> None:
    with pytest.raises(NoAnswerError, match="no answer within") as caught:
        ask(says(b"HTTP/1.1 200 OK\r\n", b""), pieces=[*REQUEST, 9.0], timeout_s=0.0001)
    assert caught.value.too_late


def test_nobody_listens() -> None:
    with pytest.raises(NoAnswerError, match="ConnectionRefusedError"):
        asyncio.run(exchange(("127.0.0.1", 1), REQUEST))


def test_an_answer_that_comes_before_everything_is_sent_is_read() -> None:
    body = bytes(20_000_000)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0.1)  # then the connection is reset, with most of the body unread

    answer = ask(handler, [post("/x", body)])
    assert (answer.status, answer.body) == (413, b"big")


def test_pieces_are_sent_apart_and_leaving_is_seen() -> None:
    async def main() -> bytes:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(100)
            got.set_result(first + b"|" + await reader.read())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            await hang_up(server.sockets[0].getsockname()[:2], [b"one", 0.05, b"two"])
            return await got

    assert asyncio.run(main()) == b"one|two"
