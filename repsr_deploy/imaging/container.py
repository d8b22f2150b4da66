"""What a PNG, JPEG or WebP file says before it is decoded: format, size, orientation; and whether it is whole.

Decoders fill what is missing from a cut-off file with gray and carry on, so the container is walked to its end first.
Sources: PNG 1.2 (W3C), sections 5 and 11; JPEG (ITU-T T.81), annex B; WebP (RFC 9649), section 2; Exif 2.3, 4.6.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from repsr_deploy.errors import ImageFileError

Format = Literal["png", "jpeg", "webp"]

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION_TAG = 0x0112
_JPEG_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length: TEM, RST0 to RST7
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG, DAC
_JPEG_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan, FF 00 is data and FF D0 to FF D7 are restarts


@dataclass(frozen=True, kw_only=True)
class Container:
    """A whole image file."""

    format: Format
    width: int
    """As stored, before the orientation."""
    height: int
    orientation: int = 1
    """Exif orientation, 1 (as stored) to 8."""
    animated: bool = False


def read_container(data: bytes) -> Container:
    """Walk a file to its end.

    Raises:
        ImageFileError: empty, of another format, cut off or damaged; the message names no file.
    """
    if not data:
        raise ImageFileError("it is empty; expected a PNG, JPEG or WebP image")
    try:
        if data.startswith(_PNG):
            return _read_png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _read_webp(data)
    except (struct.error, IndexError) as error:
        raise ImageFileError(_cut_off(data)) from error
    raise ImageFileError(f"it starts with {data[:8]!r}; expected a PNG, JPEG or WebP image")


def _read_png(data: bytes) -> Container:
    width, height, orientation, animated = 0, 0, 1, False
    position = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        body = memoryview(data)[position + 8 : position + 8 + length]
        (expected,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(body, zlib.crc32(kind)) != expected:
            raise ImageFileError(f"it is damaged: the checksum of PNG chunk {kind!r} is wrong; copy it again")
        match kind:
            case b"IHDR":
                width, height = struct.unpack_from(">II", body)
            case b"eXIf":
                orientation = _orientation(bytes(body))
            case b"acTL":
                animated = True
            case b"IEND":
                break
            case _:
                pass
        position += 12 + length
    return Container(format="png", width=width, height=height, orientation=orientation, animated=animated)


def _read_jpeg(data: bytes) -> Container:
    width, height, orientation = 0, 0, 1
    position = 2
    while True:
        if data[position] != 0xFF:
            raise ImageFileError(f"it is damaged: no JPEG marker at byte {position}; copy it again")
        while data[position] == 0xFF:  # a marker may be preceded by fill bytes
            position += 1
        marker = data[position]
        position += 1
        if marker == 0xD9:
            return Container(format="jpeg", width=width, height=height, orientation=orientation)
        if marker in _JPEG_ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
        elif marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0":
            orientation = _orientation(data[position + 8 : position + length])
        position += length
        if marker == 0xDA:
            end = _JPEG_SCAN_END.search(data, position)
            if end is None:
                raise ImageFileError(_cut_off(data))
            position = end.start()


def _read_webp(data: bytes) -> Container:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise ImageFileError(_cut_off(data))
    width, height, orientation, animated = 0, 0, 1, False
    for kind, body in _riff_chunks(data[: size + 8]):
        match kind:
            case b"VP8X":
                animated = bool(body[0] & 0x02)
                width, height = (int.from_bytes(body[start : start + 3], "little") + 1 for start in (4, 7))
            case b"VP8 " if not width:
                width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
            case b"VP8L" if not width:
                (bits,) = struct.unpack_from("<I", body, 1)
                width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            case b"EXIF":
                orientation = _orientation(body.removeprefix(b"Exif\0\0"))
            case _:
                pass
    return Container(format="webp", width=width, height=height, orientation=orientation, animated=animated)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > len(data):
            raise ImageFileError(_cut_off(data))
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _orientation(exif: bytes) -> int:
    """Orientation from a TIFF block; 1 when there is none, or when the block makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _cut_off(data: bytes) -> str:
    return f"it is cut off after {len(data)} bytes; copy or download it again"
