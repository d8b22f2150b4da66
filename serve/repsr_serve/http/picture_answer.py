"""A result as an answer: the picture itself, or JSON around it, streamed from where the codec has put it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import Response
from starlette.types import Receive, Scope, Send

from repsr_serve.buffers import Buffer
from repsr_serve.http.accept import JSON
from repsr_serve.pictures import MEDIA_OF_FORMAT, Result

BASE64_CHUNK_BYTES = 3 * 2**16
"""Three bytes become four characters: only the last piece is padded."""


class PictureAnswer(Response):
    """Answers with a result; its buffer is closed when it is sent, or when that fails.

    Args:
        result: taken over.
        as_json: whether the picture is in base64, among what is known of it.
    """

    def __init__(self, result: Result, *, as_json: bool) -> None:
        self._encoded = result.encoded
        media = MEDIA_OF_FORMAT[result.format]
        before, after = _around(result, media) if as_json else (b"", b"")
        size = result.encoded.size
        length = len(before) + 4 * -(-size // 3) + len(after) if as_json else size
        super().__init__(
            headers={
                "Content-Length": str(length),
                "X-Repsr-Model": quote(result.model, safe=" !#$&'()*+,/:;=?@[]"),
                "X-Repsr-Scale": f"{result.factor:g}",
                "X-Repsr-Size": f"{result.size[0]}x{result.size[1]}",
                "Server-Timing": server_timing(result.timings_s),
                "Vary": "Accept",
            },
            media_type=JSON if as_json else media,
        )
        self._chunks = _as_json(before, result.encoded, after) if as_json else result.encoded.chunks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._encoded.close()


def server_timing(timings_s: dict[str, float]) -> str:
    """Stages in milliseconds, as browsers show them (W3C Server Timing, section 3.1)."""
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in timings_s.items())


def _around(result: Result, media: str) -> tuple[bytes, bytes]:
    """What stands before and behind the picture's base64."""
    (width, height), (source_width, source_height) = result.size, result.source_size
    document = {
        "model": result.model,
        "scale": result.factor,
        "format": result.format,
        "media_type": media,
        "width": width,
        "height": height,
        "source": {"width": source_width, "height": source_height},
        "timings_ms": {stage: round(seconds * 1000, 3) for stage, seconds in result.timings_s.items()},
        "image": "",
    }
    text = json.dumps(document).encode()
    return text[:-2], text[-2:]


def _as_json(before: bytes, encoded: Buffer, after: bytes) -> Iterator[bytes]:
    yield before
    for chunk in encoded.chunks(BASE64_CHUNK_BYTES):
        yield base64.b64encode(chunk)
    yield after
