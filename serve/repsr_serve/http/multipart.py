"""`multipart/form-data` (RFC 7578) with one picture and a few short fields, as it arrives: nothing is kept twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from repsr_serve.buffers import Buffer
from repsr_serve.problems import Problem
from repsr_serve.validation import shown

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

IMAGE = "image"
FIELD_BYTES = 1024
"""Longest value of a field; none that makes sense is near."""
OVERHEAD_BYTES = 2**16
"""Of boundaries, headers and fields around a picture."""

# it warns of every malformed body, quoting it; the client is told anyway
logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)


class MultipartReader:
    """Takes a body apart, piece by piece.

    Args:
        content_type: of the request, with the boundary.
        names: fields that are taken besides `image`.
        image: where the picture is written.

    Raises:
        Problem: no boundary.
    """

    def __init__(self, content_type: str, names: tuple[str, ...], image: Buffer) -> None:
        self.fields: dict[str, str] = {}
        """Values by name, so far."""
        self.has_image = False
        self._names, self._image = names, image
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        self._ended = False
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
            raise _malformed("its Content-Type has no boundary of 1 to 70 characters")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._add_content,
            "on_part_end": self._end_content,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            Problem: no such body, an unknown, repeated or long field, a second picture.
            OSError: no memory.
        """
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise _malformed(str(error)[:100]) from error

    def close(self) -> None:
        """See that it was whole.

        Raises:
            Problem: its last boundary or its picture is missing.
        """
        if not self._ended:
            raise _malformed("its last boundary is missing")
        if not self.has_image:
            raise Problem("parameters", f"The form has no field {IMAGE}; expected the picture there.")

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name.extend(data[start:end])

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value.extend(data[start:end])

    def _end_header(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _begin_content(self) -> None:
        disposition, options = parse_options_header(self._headers.get("content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise _malformed("a part has no `Content-Disposition: form-data; name=...`")
        encoding = self._headers.get("content-transfer-encoding", b"binary").lower()
        if encoding not in (b"binary", b"8bit", b"7bit"):
            raise _malformed(f"a part is encoded as {shown(encoding)}; expected binary")
        name = options[b"name"].decode("utf-8", "replace")
        known = (IMAGE, *self._names)
        if name not in known:
            raise Problem("parameters", f"The field {shown(name)} is unknown; expected {', '.join(known)}.")
        if name in self.fields or (name == IMAGE and self.has_image):
            raise Problem("parameters", f"The field {name} is there twice; expected it once.")
        self._field = name
        self.has_image = self.has_image or name == IMAGE

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._field == IMAGE:
            self._image.write(data[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > FIELD_BYTES:
            raise Problem("parameters", f"The field {self._field} is too long; expected at most {FIELD_BYTES} bytes.")

    def _end_content(self) -> None:
        if self._field is not None and self._field != IMAGE:
            try:
                self.fields[self._field] = self._value.decode()
            except UnicodeDecodeError as error:
                raise Problem("parameters", f"The field {self._field} is not UTF-8; expected text.") from error
        self._field = None
        self._value.clear()

    def _end(self) -> None:
        self._ended = True


def _malformed(why: str) -> Problem:
    return Problem("bad-request", f"The body is not multipart/form-data: {why}.")
