"""The shape of pixels in Matroska and WebM files (RFC 9559), which cannot be told to FFmpeg's writer through PyAV.

The video is given a name with `RESERVE` at its end. When the file is finished, these bytes make room for the shape, so
that nothing else in it moves.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from repsr_deploy.errors import VideoFileError

FORMATS = ("matroska", "webm")
RESERVE = "." * 32

Element = tuple[int, bytes]
"""Identifier, with the bits that say its length, and content."""

_SEGMENT, _TRACKS, _TRACK = 0x18538067, 0x1654AE6B, 0xAE
_NAME, _VIDEO, _CRC, _VOID = 0x536E, 0xE0, 0xBF, 0xEC
_DISPLAY = (0x54B0, 0x54BA, 0x54B2)
"""Width, height, and their unit."""
_ASPECT_RATIO = 3
"""Unit: width and height are those of the picture's shape, not pixels."""
_TRACK_LENGTH = 8
"""Bytes that FFmpeg takes for the size of a track."""


def write_pixel_shape(path: Path, shape: tuple[int, int, int]) -> None:
    """Say how the video whose name ends in `RESERVE` is to be shown, in a finished file.

    Args:
        shape: see `display_shape`.

    Raises:
        VideoFileError: no such track.
    """
    with path.open("r+b") as file:
        place, size = _find_tracks(file)
        file.seek(place)
        content = file.read(size)
        tracks = [element for element in elements(content) if element[0] != _CRC]
        body = b"".join(_track(track, shape) for track in tracks)
        changed = encode(_CRC, crc32(body).to_bytes(4, "little")) + body if content[0] == _CRC else body
        if len(changed) != size or changed == content:
            raise VideoFileError(f"cannot write the shape of pixels into {path}; choose a name ending in .mp4")
        file.seek(place)
        file.write(changed)


def display_shape(form: str, size: tuple[int, int], sample_aspect_ratio: Fraction) -> tuple[int, int, int]:
    """Display width, height and unit (0: pixels, 3: aspect ratio) of a video of `size` (width, height).

    WebM has pixels only; there the shape is exact where one of the sides is then one of whole pixels.
    """
    width, height = size
    if form == "matroska":
        shape = width * sample_aspect_ratio / height
        return shape.numerator, shape.denominator, _ASPECT_RATIO
    if (width * sample_aspect_ratio).denominator > 1 and (height / sample_aspect_ratio).denominator == 1:
        return width, int(height / sample_aspect_ratio), 0
    return round(width * sample_aspect_ratio), height, 0


def elements(content: bytes) -> Iterator[Element]:
    """The elements one after the other in the content of another one."""
    place = 0
    while place < len(content):
        length = _length(content[place])
        identifier = int.from_bytes(content[place : place + length], "big")
        place += length
        length = _length(content[place])
        size = int.from_bytes(content[place : place + length], "big") - (1 << 7 * length)
        place += length
        yield identifier, content[place : place + size]
        place += size


def encode(identifier: int, content: bytes, length: int = 0) -> bytes:
    """An element, with a size of `length` bytes; 0 for as few as it takes."""
    length = length or next(count for count in range(1, 9) if len(content) < (1 << 7 * count) - 1)
    size = (len(content) + (1 << 7 * length)).to_bytes(length, "big")
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + size + content


def _track(element: Element, shape: tuple[int, int, int]) -> bytes:
    """A track as it was, or with the shape in place of the reserved bytes; its size stays."""
    identifier, content = element
    parts = list(elements(content)) if identifier == _TRACK else []
    name = dict(parts).get(_NAME, b"").decode()
    if not name.endswith(RESERVE):
        return encode(identifier, content, _TRACK_LENGTH)
    title = name.removesuffix(RESERVE).encode()
    changed = [encode(part, data) for part, data in parts if part not in (_NAME, _VIDEO, _VOID)]
    changed += [encode(_NAME, title)] if title else []
    changed += [encode(_VIDEO, _with_shape(data, shape)) for part, data in parts if part == _VIDEO]
    whole = b"".join(changed)
    return encode(identifier, whole + encode(_VOID, bytes(len(content) - len(whole) - 2)), _TRACK_LENGTH)


def _with_shape(video: bytes, shape: tuple[int, int, int]) -> bytes:
    kept = [encode(part, data) for part, data in elements(video) if part not in _DISPLAY]
    added = [encode(part, number.to_bytes(4, "big")) for part, number in zip(_DISPLAY, shape, strict=True)]
    return b"".join(kept + added)


def _find_tracks(file: BinaryIO) -> tuple[int, int]:
    """Where the content of the element with all tracks is, and its size."""
    while head := file.read(1):
        identifier = int.from_bytes(head + file.read(_length(head[0]) - 1), "big")
        first = file.read(1)
        length = _length(first[0])
        size = int.from_bytes(first + file.read(length - 1), "big") - (1 << 7 * length)
        if identifier == _TRACKS:
            return file.tell(), size
        if identifier != _SEGMENT:
            file.seek(size, 1)
    raise VideoFileError(f"{file.name} has no tracks")


def _length(first: int) -> int:
    """Bytes of a number that says its length by the zeros at its start."""
    return 9 - first.bit_length()
