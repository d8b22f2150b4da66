"""Reads a request's body: within its limits, from clients of any speed, never as one piece of Python memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request

from repsr_serve.buffers import Buffer
from repsr_serve.http.errors import ClientGone
from repsr_serve.http.multipart import OVERHEAD_BYTES, MultipartReader
from repsr_serve.problems import Problem
from repsr_serve.validation import shown

Made = TypeVar("Made")

FIELDS = ("model", "scale", "format", "quality")
"""What a form may say besides its picture."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture as it was sent. Whoever has it closes `encoded`."""

    encoded: Buffer
    fields: dict[str, str] = field(default_factory=dict[str, str])
    """Of a form; `FIELDS`, as text."""


async def read_picture(
    request: Request, *, max_bytes: int, read_timeout_s: float, timeout_s: float | None = None
) -> Upload:
    """Read a picture: the whole body, or the field `image` of a form.

    Args:
        request: of any content type; everything that is no form is taken as a picture, which its content decides.
        max_bytes: of the picture.
        read_timeout_s: without a byte.
        timeout_s: for all of it.

    Raises:
        Problem: see `receive`; `bad-request` and `parameters` for what is wrong with a form.
        ClientGone: the client has left.
        OSError: no memory.
    """
    encoded = Buffer()
    try:
        reader = MultipartReader(request.headers["content-type"], FIELDS, encoded) if is_form(request) else None
        limit = picture_body_bytes(request, max_bytes)
        body = receive(request, max_bytes=limit, read_timeout_s=read_timeout_s, timeout_s=timeout_s)
        async with aclosing(body):
            async for chunk in body:
                (reader or encoded).write(chunk)
        if encoded.size > max_bytes:
            raise too_many_bytes(encoded.size, max_bytes)
        if reader is not None:
            reader.close()
        elif encoded.size == 0:
            raise Problem("parameters", "The request has no body; send the picture as body, or in a form as `image`.")
    except BaseException:
        encoded.close()
        raise
    return Upload(encoded=encoded, fields=reader.fields if reader is not None else {})


def picture_body_bytes(request: Request, max_bytes: int) -> int:
    """Longest body that can hold a picture of `max_bytes`."""
    return max_bytes + OVERHEAD_BYTES if is_form(request) else max_bytes


def is_form(request: Request) -> bool:
    """Whether the body is multipart/form-data."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def read_bytes(
    request: Request, *, max_bytes: int, read_timeout_s: float, timeout_s: float | None = None
) -> Buffer:
    """Read a body that is no picture; whoever has it closes it.

    Raises:
        Problem, ClientGone, OSError: see `receive`.
    """
    encoded = Buffer()
    try:
        body = receive(request, max_bytes=max_bytes, read_timeout_s=read_timeout_s, timeout_s=timeout_s)
        async with aclosing(body):
            async for chunk in body:
                encoded.write(chunk)
    except BaseException:
        encoded.close()
        raise
    return encoded


async def receive(
    request: Request, *, max_bytes: int, read_timeout_s: float, timeout_s: float | None = None
) -> AsyncGenerator[bytes]:
    """A body's pieces, as they arrive.

    Raises:
        Problem: `too-many-bytes`, said before it is read where the client announces its length; `slow-upload`;
            `unknown-format` for a compressed body.
        ClientGone: the client has left.
    """
    expected_bytes(request, max_bytes)
    received, now = 0, asyncio.get_running_loop().time
    end_s = math.inf if timeout_s is None else now() + timeout_s
    while True:
        try:
            async with asyncio.timeout_at(min(end_s, now() + read_timeout_s)):
                message = await request.receive()
        except TimeoutError as error:
            seconds = timeout_s if now() >= end_s else read_timeout_s
            raise Problem(
                "slow-upload",
                f"The body stopped or was too slow: {received} bytes had come, and no end within {seconds:g} s.",
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > max_bytes:
            raise too_many_bytes(received, max_bytes)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


def expected_bytes(request: Request, max_bytes: int) -> int:
    """How long the body will be, at most: as announced, else `max_bytes`.

    Raises:
        Problem: `too-many-bytes` or `unknown-format`, by what the headers say.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise Problem("unknown-format", f"The body is compressed, {shown(encoding)}; send the picture as it is.")
    text = request.headers.get("content-length")
    if text is None:
        return max_bytes
    if not (text.isascii() and text.isdigit()):
        raise Problem("bad-request", f"Content-Length is {shown(text)}; expected a number of bytes.")
    if len(text) > 18 or int(text) > max_bytes:
        raise too_many_bytes(text[:18], max_bytes)
    return int(text)


def too_many_bytes(found: int | str, max_bytes: int) -> Problem:
    """The refusal of a body."""
    return Problem(
        "too-many-bytes",
        f"The body has {found} bytes or more; expected at most {max_bytes}.",
        extra={"max_bytes": max_bytes},
    )


async def while_connected(request: Request, work: Coroutine[Any, Any, Made]) -> Made:
    """Do what a client waits for; cancelled when it leaves. To be called once the body is read.

    Raises:
        ClientGone: it has left.
    """

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone
        return doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)
