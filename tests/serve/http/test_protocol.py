"""The connection, with clients that are slow, greedy, rude, or gone; the application behind it is a few lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from repsr_serve.http.errors import problem_response
from repsr_serve.http.protocol import Limits, Protocol
from repsr_serve.problems import Problem
from tests.serve.http.raw_http import Answer, Wire

MEBIBYTE = 2**20
SHORT = {"head_s": 0.2, "write_s": 0.3, "linger_s": 1.0, "stopping_s": 0.1, "head_bytes": 2000}


class Behind:
    """`/echo` says how long the body is, `/early` refuses without reading it, `/large` and `/once` send a lot."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refused: list[str] = []
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        try:
            match scope["path"]:
                case "/early":
                    await problem_response(Problem("too-many-bytes", "No."))(scope, receive, send)
                case "/large":
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    for _ in range(64):
                        await send({"type": "http.response.body", "body": bytes(MEBIBYTE), "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
                case "/once":
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    await send({"type": "http.response.body", "body": bytes(32 * MEBIBYTE)})
                case _:
                    length = 0
                    while True:
                        message = await receive()
                        length += len(message.get("body", b""))
                        if not message.get("more_body", False):
                            break
                    if message["type"] == "http.disconnect":
                        return
                    body = str(length).encode()
                    headers = [(b"content-length", str(len(body)).encode())]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    await send({"type": "http.response.body", "body": body})
        finally:
            self.ended.set()


class Running:
    """The application, its address and its server."""

    def __init__(self, behind: Behind, server: uvicorn.Server, port: int) -> None:
        self.behind, self.server, self.port = behind, server, port

    def wire(self) -> Wire:
        """A connection to it."""
        return Wire("127.0.0.1", self.port)


@asynccontextmanager
async def running(**limits: float) -> AsyncGenerator[Running]:
    """Serve `Behind` with our protocol on a free port."""
    behind = Behind()
    given = Limits(**cast("Any", {**SHORT, **limits}))

    def protocol(**options: Any) -> Protocol:
        return Protocol(limits=given, refused=behind.refused.append, **options)

    config = uvicorn.Config(
        cast("Any", behind),
        port=0,
        http=cast("Any", protocol),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="error",
        h11_max_incomplete_event_size=given.head_bytes,
        timeout_keep_alive=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield Running(behind, server, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)


def run(scenario: Callable[[Running], Awaitable[None]], **limits: float) -> None:
    """Run a scenario against a server."""

    async def main() -> None:
        async with running(**limits) as there:
            await scenario(there)

    asyncio.run(main())


async def ask(there: Running, body: bytes = b"abc") -> Answer:
    """A good request on a connection of its own."""
    async with there.wire() as wire:
        await wire.request("POST", "/echo", body)
        return await wire.answer()


def test_requests_follow_each_other_on_one_connection() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            for length in (0, 3, 100_000):
                await wire.request("POST", "/echo", bytes(length))
                answer = await wire.answer()
                assert (answer.status, answer.body) == (200, str(length).encode())
                assert "connection" not in answer.headers

    run(scenario)


def test_requests_sent_ahead_are_answered_in_turn() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            await wire.send(b"".join(head % length + bytes(length) for length in (1, 2, 3)))
            assert [(await wire.answer()).body for _ in range(3)] == [b"1", b"2", b"3"]

    run(scenario)


@pytest.mark.parametrize("sent", [b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: y"])
def test_slow_headers_are_answered_408(sent: bytes) -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            started = time.monotonic()
            await wire.send(sent)
            answer = await wire.answer()
            assert answer.status == 408
            assert answer.cause == "slow-upload"
            assert answer.headers["connection"] == "close"
            assert 0.15 < time.monotonic() - started < 5
            assert await wire.closed()
        assert there.behind.seen == []
        assert there.behind.refused == ["slow-upload"]

    run(scenario)


def test_headers_byte_by_byte_do_not_extend_the_deadline() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            answering = asyncio.create_task(wire.answer())
            for byte in b"GET / HTTP/1.1\r\nHost: a-rather-long-name.example\r\n":
                if answering.done():
                    break
                await wire.send(bytes([byte]))
                await asyncio.sleep(0.05)
            assert (await answering).status == 408

    run(scenario)


def test_slow_headers_of_a_second_request_are_answered_408() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.request("POST", "/echo", b"1")
            assert (await wire.answer()).status == 200
            await wire.send(b"POST /ec")
            assert (await wire.answer()).cause == "slow-upload"

    run(scenario)


def test_a_connection_without_a_request_is_closed_in_silence() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            assert await wire.closed(5)
        assert there.behind.refused == []

    run(scenario)


@pytest.mark.parametrize(
    "head",
    [
        (b"GET /echo HTTP/1.1", b"X: " + b"y" * 9000),
        (b"GET /echo HTTP/1.1", *(b"X-%d: %s" % (number, b"y" * 90) for number in range(100))),
        (b"GET /echo?" + b"y" * 9000 + b" HTTP/1.1",),
    ],
    ids=["one", "many", "target"],
)
def test_large_headers_are_answered_431(head: tuple[bytes, ...]) -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.send(b"\r\n".join([*head, b"Host: x", b"", b""]))
            answer = await wire.answer()
            assert answer.status == 431
            assert answer.cause == "headers-too-large"
            assert await wire.closed()
        assert there.behind.seen == []

    run(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4 + b"\r\n\r\n",  # TLS
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_400(sent: bytes) -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.send(sent)
            answer = await wire.answer()
            assert answer.status == 400
            assert answer.cause == "bad-request"
            assert await wire.closed()
        assert there.behind.seen == []
        assert (await ask(there)).status == 200

    run(scenario)


def test_a_broken_body_is_answered_400_and_the_application_told() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await asyncio.sleep(0.05)
            await wire.send(b"no length\r\n")
            assert (await wire.answer()).cause == "bad-request"
            await asyncio.wait_for(there.behind.ended.wait(), 5)

    run(scenario)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_early_refusal_reaches_a_client_that_sends_50_megabytes(*, chunked: bool) -> None:
    async def scenario(there: Running) -> None:
        size = 50 * MEBIBYTE
        async with there.wire() as wire:
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
            await wire.send(b"POST /early HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
            piece = bytes(MEBIBYTE)
            for _ in range(50):  # like a client that reads only when it has sent everything
                await wire.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            answer = await wire.answer()
            assert answer.status == 413
            assert answer.headers["connection"] == "close"
            assert await wire.closed()
        assert (await ask(there)).status == 200

    run(scenario, linger_s=20)


def test_lingering_is_bounded_in_bytes() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
            with pytest.raises(ConnectionError):
                await wire.send(bytes(256 * MEBIBYTE))

    run(scenario, linger_bytes=4 * MEBIBYTE, linger_s=60)


def test_lingering_is_bounded_in_time() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            await wire.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
            assert (await wire.answer()).status == 413
            while there.server.server_state.connections:
                await asyncio.sleep(0.02)

    run(scenario, linger_s=0.3)


def test_a_client_that_does_not_read_is_cut() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined] - of a socket's transport
            await wire.request("GET", "/large")
            await asyncio.wait_for(there.behind.ended.wait(), 10)
            while there.server.server_state.connections:
                await asyncio.sleep(0.02)

    run(scenario)


def test_a_client_that_does_not_read_the_last_of_its_answer_is_cut() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined] - of a socket's transport
            await wire.request("GET", "/once", Connection="close")
            await asyncio.wait_for(there.behind.ended.wait(), 10)
            assert there.server.server_state.connections
            started = time.monotonic()
            while there.server.server_state.connections:
                await asyncio.sleep(0.02)
            assert time.monotonic() - started > 0.1

    run(scenario, linger_s=0.4, write_s=60)


def test_too_many_connections_are_refused_and_health_is_not() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as first, there.wire() as second:
            for wire in (first, second):
                await wire.request("POST", "/echo")
                await wire.answer()
            async with there.wire() as third:
                await third.request("POST", "/echo")
                answer = await third.answer()
                assert answer.cause == "overloaded"
                assert answer.headers["retry-after"] == "1"
                assert await third.closed()
            async with there.wire() as third:
                await third.request("GET", "/healthz")
                assert (await third.answer()).status == 200
        await asyncio.sleep(0.05)
        assert (await ask(there)).status == 200

    run(scenario, connections=2)


def test_when_stopping_idle_connections_are_told_and_the_request_under_way_finishes() -> None:
    async def scenario(there: Running) -> None:
        async with there.wire() as busy, there.wire() as idle, there.wire() as unused:
            await idle.request("POST", "/echo")
            await idle.answer()
            await busy.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
            await asyncio.sleep(0.05)
            there.server.should_exit = True
            await asyncio.sleep(0.25)
            await idle.request("POST", "/echo")
            assert (await idle.answer()).cause == "stopping"
            await unused.request("POST", "/echo")
            assert (await unused.answer()).cause == "stopping"
            await busy.send(b"cd")
            answer = await busy.answer()
            assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"4", "close")
            assert await busy.closed()

    run(scenario, stopping_s=1.0, head_s=5)
