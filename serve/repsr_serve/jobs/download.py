"""A file as an answer, or one range of it, so that a download can go on where it broke: RFC 9110, section 14."""

from __future__ import annotations

import asyncio
import os
import re

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from repsr_serve.buffers import CHUNK_BYTES, Buffer
from repsr_serve.problems import Problem

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Download(Response):
    """Sends a file; its buffer is closed when that is done, or fails.

    Args:
        content: taken over.
        media_type, name: of the file.
        etag: its strong validator, quoted.
        wanted: the header Range.
        if_range: the header If-Range.

    Raises:
        Problem: `range`: there is no such range in it.
    """

    def __init__(
        self, content: Buffer, *, media_type: str, name: str, etag: str, wanted: str | None, if_range: str | None
    ) -> None:
        self._content, size = content, content.size
        part = parse_range(wanted, size) if if_range in (None, etag) else None
        self._part = part or range(size)
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(len(self._part)),
            "ETag": etag,
        }
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        super().__init__(status_code=200 if part is None else 206, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            position = self._part.start
            while chunk := await self._read(position):
                position += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._content.close()

    async def _read(self, position: int) -> bytes:
        size_bytes = min(CHUNK_BYTES, self._part.stop - position)
        return await asyncio.to_thread(os.pread, self._content.fd, size_bytes, position) if size_bytes else b""


def parse_range(header: str | None, size: int) -> range | None:
    """Bytes that a client wants of a file; None for all of it, as for several ranges and what makes no sense.

    Raises:
        Problem: `range`, nothing of it is there; `headers` of the answer say how long the file is.
    """
    found = _RANGE.fullmatch((header or "").replace(" ", "").lower())
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if first == "":
        part = range(max(0, size - int(last)), size)
    else:
        if last and int(last) < int(first):
            return None
        part = range(int(first), min(int(last) + 1 if last else size, size))
    if len(part) == 0:
        raise Problem("range", f"The result has {size} bytes; expected a range within.", extra={"size": size})
    return part
