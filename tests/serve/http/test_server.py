"""The real process and its connections: limits, clients that leave, and the end."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from repsr_deploy.imaging.image_file import write_image
from tests.serve.conftest import Served, serving
from tests.serve.http.raw_http import Answer, Wire

MEBIBYTE = 2**20
QUEUE = 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """A server that takes two requests at a time, and soon loses its patience."""
    folder = tmp_path_factory.mktemp("small")
    with serving(folder, model="photo-x2", queue=QUEUE, read_timeout=1, workers=1, grace=10) as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small one, and one that takes a second or more."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found: dict[str, bytes] = {}
    for name, side in (("small", 40), ("large", 1500)):
        write_image(folder / f"{name}.png", rng.integers(0, 256, (side, side, 3), np.uint8))
        found[name] = (folder / f"{name}.png").read_bytes()
    return found


def gauge(server: Served, name: str) -> float:
    """A value from /metrics; labels as they are written there."""
    found = re.search(rf"^repsr_serve_{re.escape(name)} (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


REQUESTS, MEMORY = 'queue_depth{model="",queue="requests"}', "memory_reserved_bytes"


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for something that others do."""
    end_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end_s
        await asyncio.sleep(0.02)


async def idle(server: Served) -> None:
    """Until everything has been given back."""
    await until(lambda: gauge(server, REQUESTS) == gauge(server, MEMORY) == 0)


def head(length: int, more: str = "") -> bytes:
    """Headers of an upload."""
    return f"POST /v1/upscale HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


@asynccontextmanager
async def occupied(server: Served) -> AsyncGenerator[None]:
    """As many uploads as it takes, all of them slow."""

    async def drip() -> None:
        async with Wire(server.host, server.port) as wire:
            await wire.send(head(1000))
            while True:
                await wire.send(b"x")
                await asyncio.sleep(0.2)

    drips = [asyncio.create_task(drip()) for _ in range(QUEUE)]
    await until(lambda: gauge(server, REQUESTS) == QUEUE)
    yield
    for task in drips:
        task.cancel()
    await asyncio.gather(*drips, return_exceptions=True)
    await idle(server)


async def upscale(server: Served, body: bytes) -> Answer:
    """A good request on a connection of its own."""
    async with Wire(server.host, server.port) as wire:
        await wire.request("POST", "/v1/upscale", body)
        return await wire.answer()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_a_full_queue_is_said_to_a_client_that_goes_on_sending_50_megabytes(
    small: Served, pictures: dict[str, bytes]
) -> None:
    async def scenario() -> None:
        async with occupied(small), Wire(small.host, small.port) as wire:
            await wire.send(head(50 * MEBIBYTE) + bytes(50 * MEBIBYTE))
            answer = await wire.answer()
            assert (answer.status, answer.cause) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await upscale(small, pictures["small"])).cause == "overloaded"
        assert (await upscale(small, pictures["small"])).status == 200

    run(scenario)


@pytest.mark.parametrize("announced", [False, True])
def test_too_many_bytes_are_said_to_a_client_that_goes_on_sending(small: Served, *, announced: bool) -> None:
    async def scenario() -> None:
        async with Wire(small.host, small.port) as wire:
            if announced:
                await wire.send(head(80 * MEBIBYTE))
            else:
                await wire.send(b"POST /v1/upscale HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(80):
                await wire.send(bytes(MEBIBYTE) if announced else b"%x\r\n%s\r\n" % (MEBIBYTE, bytes(MEBIBYTE)))
            answer = await wire.answer()
            assert (answer.status, answer.cause) == (413, "too-many-bytes")
        await idle(small)

    run(scenario)


def test_a_client_that_asks_first_is_not_made_to_send(small: Served, pictures: dict[str, bytes]) -> None:
    async def scenario() -> None:
        async with Wire(small.host, small.port) as wire:
            await wire.send(head(80 * MEBIBYTE, "Expect: 100-continue\r\n"))
            assert (await wire.answer()).cause == "too-many-bytes"
        async with Wire(small.host, small.port) as wire:
            body = pictures["small"]
            await wire.send(head(len(body), "Expect: 100-continue\r\n"))
            assert (await wire.answer_head())[0] == 100
            await wire.send(body)
            assert (await wire.answer()).status == 200

    run(scenario)


def test_an_upload_that_stops_is_answered_408(small: Served) -> None:
    async def scenario() -> None:
        async with Wire(small.host, small.port) as wire:
            started = time.monotonic()
            await wire.send(head(1000) + b"abc")
            answer = await wire.answer()
            assert (answer.status, answer.cause) == (408, "slow-upload")
            assert 0.9 < time.monotonic() - started < 5
        await idle(small)

    run(scenario)


@pytest.mark.parametrize("form", [False, True])
def test_a_client_that_leaves_in_the_middle_of_its_upload(small: Served, *, form: bool) -> None:
    async def scenario() -> None:
        for _ in range(3):
            async with Wire(small.host, small.port) as wire:
                kind = "Content-Type: multipart/form-data; boundary=b\r\n" if form else ""
                part = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' if form else b""
                await wire.send(head(MEBIBYTE, kind) + part + bytes(1000))
                await until(lambda: gauge(small, REQUESTS) == 1)
            await idle(small)

    run(scenario)


def test_a_client_that_leaves_while_its_picture_is_enlarged(small: Served, pictures: dict[str, bytes]) -> None:
    async def scenario() -> None:
        async with Wire(small.host, small.port) as wire:
            await wire.request("POST", "/v1/upscale", pictures["large"])
            await until(lambda: gauge(small, MEMORY) > 0)
        await idle(small)
        assert gauge(small, 'http_requests_total{method="POST",path="/v1/upscale",status="499"}') >= 1
        assert (await upscale(small, pictures["small"])).status == 200

    run(scenario)


async def readiness(wire: Wire) -> Answer:
    """What /readyz says on a connection that is kept."""
    await wire.request("GET", "/readyz")
    return await wire.answer()


def test_sigterm_loses_no_request_that_was_accepted(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    async def scenario(server: Served) -> None:
        host, port, body = server.host, server.port, pictures["small"]
        async with Wire(host, port) as working, Wire(host, port) as uploading, Wire(host, port) as kept:
            assert (await readiness(kept)).status == 200
            await uploading.send(head(len(body)) + body[:500])
            await working.request("POST", "/v1/upscale", pictures["large"])
            await until(lambda: gauge(server, REQUESTS) == 2)
            server.process.send_signal(signal.SIGTERM)
            answer = await readiness(kept)
            while answer.status == 200:
                answer = await readiness(kept)
            assert (answer.status, answer.cause, answer.headers["connection"]) == (503, "stopping", "close")
            with pytest.raises(ConnectionError):
                await Wire(host, port).__aenter__()
            await uploading.send(body[500:])
            assert (await uploading.answer()).status == 200
            assert (await working.answer()).status == 200

    with serving(tmp_path, model="photo-x2", workers=1) as server:
        asyncio.run(scenario(server))
        assert server.process.wait(15) == 0
    assert (tmp_path / "stderr").read_text() == ""


def test_who_is_not_done_within_the_grace_is_told(tmp_path: Path) -> None:
    async def scenario(server: Served) -> None:
        async with Wire(server.host, server.port) as uploading:
            await uploading.send(head(1000) + b"x")
            await until(lambda: gauge(server, REQUESTS) == 1)
            server.process.send_signal(signal.SIGTERM)
            answer = await uploading.answer()
            assert (answer.status, answer.cause) == (503, "stopping")

    with serving(tmp_path, model="photo-x2", workers=1, grace=1) as server:
        started = time.monotonic()
        asyncio.run(scenario(server))
        assert server.process.wait(15) == 0
        assert 0.9 < time.monotonic() - started < 8


def test_the_second_signal_ends_it_at_once_and_its_workers_too(tmp_path: Path) -> None:
    def workers(pid: int) -> list[int]:
        return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def scenario(server: Served) -> None:
        children = workers(server.process.pid)
        assert children
        async with Wire(server.host, server.port) as uploading:
            await uploading.send(head(1000) + b"x")
            await until(lambda: gauge(server, REQUESTS) == 1)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(server.process.wait, 5) == 128 + signal.SIGINT
        await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children), 5)

    with serving(tmp_path, model="photo-x2", workers=1) as server:
        asyncio.run(scenario(server))
