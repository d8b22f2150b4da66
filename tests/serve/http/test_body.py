"""Bodies of every shape and speed, given to the reader piece by piece."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from repsr_serve.http.body import FIELDS, Upload, expected_bytes, read_bytes, read_picture, while_connected
from repsr_serve.http.errors import ClientGone
from repsr_serve.http.multipart import OVERHEAD_BYTES
from repsr_serve.problems import Problem

OPEN = Path("/proc/self/fd")
BOUNDARY = "xYzZY"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def request(pieces: Sequence[bytes | float], *, whole: bool = True, **headers: str) -> Request:
    """A request that sends pieces; a number is a pause in seconds. Not whole: the client leaves after the last."""
    left = [*pieces]

    async def receive() -> dict[str, Any]:
        while left:
            piece = left.pop(0)
            if isinstance(piece, bytes):
                return {"type": "http.request", "body": piece, "more_body": bool(left) or not whole}
            await asyncio.sleep(piece)
        if whole and not pieces:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": pairs}, receive)


def read(
    asked: Request, *, max_bytes: int = 10**6, read_timeout_s: float = 5, timeout_s: float | None = None
) -> Upload:
    """What `read_picture` makes of it."""
    return asyncio.run(read_picture(asked, max_bytes=max_bytes, read_timeout_s=read_timeout_s, timeout_s=timeout_s))


def content(upload: Upload) -> bytes:
    """All of a picture."""
    with upload.encoded as encoded:
        return b"".join(encoded.chunks())


def pieces_of(data: bytes, rng: random.Random, most: int) -> list[bytes]:
    """Cut anywhere."""
    pieces: list[bytes] = []
    while data:
        length = rng.randint(1, most)
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def part(name: str, value: bytes, more: str = "") -> bytes:
    """One part of a form."""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def refusal(attempt: Callable[[], object]) -> Problem:
    """What it raises."""
    with pytest.raises(Problem) as caught:
        attempt()
    return caught.value


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Generator[None]:
    """Whatever is refused, whoever leaves: no buffer stays open."""

    def held() -> int:
        return sum(
            str(path.readlink()).startswith("/memfd:repsr-serve") for path in OPEN.iterdir() if path.is_symlink()
        )

    before = held()
    yield
    assert held() <= before


@pytest.mark.parametrize("seed", range(5))
def test_a_raw_body_is_the_picture(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.randint(1, 50_000))
    assert content(read(request(pieces_of(data, rng, 3000), content_type="application/x-www-form-urlencoded"))) == data


@pytest.mark.parametrize("seed", range(20))
def test_a_form_arrives_whole_however_it_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    tricky = [f"\r\n--{BOUNDARY[:-1]}".encode(), b"\r\n", b"\r\n--", f"\r\n-{BOUNDARY}".encode(), b"\r", b"\0" * 9]
    data = b"".join(rng.choice([*tricky, rng.randbytes(rng.randint(0, 300))]) for _ in range(rng.randint(0, 40)))
    fields = {name: rng.choice(["", "2", "photo-x2", "größer"]) for name in FIELDS if rng.random() < 0.5}
    parts = [part("image", data, '; filename="../../etc/passwd"\r\nContent-Type: image/png')]
    parts += [part(name, value.encode()) for name, value in fields.items()]
    rng.shuffle(parts)
    upload = read(request(pieces_of(b"".join(parts) + END, rng, rng.choice([1, 7, 500])), content_type=FORM))
    assert upload.fields == fields
    assert content(upload) == data


@pytest.mark.parametrize(
    ("body", "cause", "said"),
    [
        (part("image", b"x") + part("img", b"x") + END, "parameters", "'img' is unknown; expected image, model"),
        (part("image", b"x") + part("image", b"x") + END, "parameters", "image is there twice"),
        (part("scale", b"2") + part("scale", b"2") + END, "parameters", "scale is there twice"),
        (part("scale", b"2" * 1025) + END, "parameters", "scale is too long"),
        (part("model", b"\xff\xfe") + part("image", b"x") + END, "parameters", "model is not UTF-8"),
        (part("scale", b"2") + END, "parameters", "no field image"),
        (END, "parameters", "no field image"),
        (part("image", b"x"), "bad-request", "last boundary"),
        (part("image", b"x")[:-4], "bad-request", "last boundary"),
        (b"", "bad-request", "last boundary"),
        (b"\x89PNG no form", "bad-request", "not multipart/form-data"),
        (f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, "bad-request", "Content-Disposition"),
        (part("image", b"x", "\r\nContent-Transfer-Encoding: base64") + END, "bad-request", "base64"),
        (part("image", b"x", "\r\nX: " + "y" * 10_000) + END, "bad-request", "header size"),
        (part("image", b"x", "\r\nX: y" * 100) + END, "bad-request", "header count"),
        (part("x" * 300, b"y") + END, "parameters", "..."),
    ],
)
def test_a_wrong_form_is_refused_with_the_reason(body: bytes, cause: str, said: str) -> None:
    problem = refusal(lambda: read(request([body], content_type=FORM)))
    assert problem.cause == cause
    assert said in problem.detail
    assert len(problem.detail) < 400


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 71])
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    assert refusal(lambda: read(request([b"x"], content_type=content_type))).cause == "bad-request"


def test_a_body_announced_too_long_is_refused_unread() -> None:
    def asked() -> Request:
        return request([b"never read"], content_length="1000001")

    problem = refusal(lambda: read(asked()))
    assert problem.cause == "too-many-bytes"
    assert problem.extra == {"max_bytes": 1_000_000}
    assert refusal(lambda: expected_bytes(asked(), 10**6)).cause == "too-many-bytes"
    assert expected_bytes(asked(), 1_000_001) == 1_000_001
    assert expected_bytes(request([]), 77) == 77


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣", " "])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert refusal(lambda: read(request([b"x"], content_length=length))).cause == "bad-request"


def test_a_length_of_a_thousand_digits_is_too_long() -> None:
    problem = refusal(lambda: read(request([b"x"], content_length="9" * 1000)))
    assert problem.cause == "too-many-bytes"
    assert len(problem.detail) < 200


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_without_a_length_is_counted(excess: int) -> None:
    asked = request([bytes(600), bytes(400 + excess)])
    if excess:
        assert refusal(lambda: read(asked, max_bytes=1000)).cause == "too-many-bytes"
    else:
        assert len(content(read(asked, max_bytes=1000))) == 1000


@pytest.mark.parametrize(("length", "taken"), [(1000, True), (1001, False)])
def test_the_picture_in_a_form_has_the_limit_of_a_raw_one(length: int, *, taken: bool) -> None:
    asked = request([part("image", bytes(length)) + END], content_type=FORM)
    if taken:
        assert len(content(read(asked, max_bytes=1000))) == length
    else:
        assert refusal(lambda: read(asked, max_bytes=1000)).cause == "too-many-bytes"
    endless = request(
        [bytes(OVERHEAD_BYTES), bytes(2000)], content_type=FORM, content_length=str(OVERHEAD_BYTES + 2000)
    )
    assert refusal(lambda: read(endless, max_bytes=1000)).cause == "too-many-bytes"


def test_a_compressed_body_is_refused() -> None:
    problem = refusal(lambda: read(request([b"x"], content_encoding="gzip")))
    assert problem.cause == "unknown-format"
    assert "gzip" in problem.detail
    assert content(read(request([b"x"], content_encoding="identity"))) == b"x"


def test_an_upload_that_stops_is_given_up() -> None:
    started = time.monotonic()
    problem = refusal(lambda: read(request([b"abc", 30.0, b"d"]), read_timeout_s=0.1))
    assert problem.cause == "slow-upload"
    assert "3 bytes" in problem.detail
    assert time.monotonic() - started < 5


def test_an_upload_that_drips_is_given_up_in_the_end() -> None:
    drips = [piece for _ in range(100) for piece in (b"x", 0.05)]
    started = time.monotonic()
    assert refusal(lambda: read(request(drips), read_timeout_s=1, timeout_s=0.3)).cause == "slow-upload"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("content_type", ["image/png", FORM])
def test_a_client_that_leaves_is_no_problem_document(content_type: str) -> None:
    with pytest.raises(ClientGone):
        read(request([part("image", b"half of it")], whole=False, content_type=content_type))


def test_no_body_is_refused() -> None:
    assert refusal(lambda: read(request([]))).cause == "parameters"


def test_read_bytes_keeps_the_same_limits() -> None:
    async def scenario() -> None:
        with await read_bytes(request([b"ab", b"c"]), max_bytes=3, read_timeout_s=1) as encoded:
            assert b"".join(encoded.chunks()) == b"abc"
        with pytest.raises(Problem, match="too-many-bytes"):
            await read_bytes(request([b"ab", b"cd"]), max_bytes=3, read_timeout_s=1)

    asyncio.run(scenario())


def test_work_ends_when_the_client_leaves() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # what it holds takes a moment to give back
            ended.append("given back")

    async def scenario() -> None:
        with pytest.raises(ClientGone):
            await while_connected(request([0.05], whole=False), work())
        assert ended == ["given back"]

    asyncio.run(scenario())


def test_work_goes_on_while_the_client_waits() -> None:
    async def work() -> str:
        await asyncio.sleep(0.02)
        return "done"

    async def failing() -> None:
        raise Problem("damaged", "It is.")

    async def scenario() -> None:
        assert await while_connected(request([60.0], whole=False), work()) == "done"
        with pytest.raises(Problem, match="damaged"):
            await while_connected(request([60.0], whole=False), failing())
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_work_ends_when_its_waiter_is_cancelled() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def scenario() -> None:
        waiting = asyncio.create_task(while_connected(request([60.0], whole=False), work()))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert ended.is_set()

    asyncio.run(scenario())
