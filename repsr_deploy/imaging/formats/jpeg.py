"""JPEG: segments and scans. Sources: ITU-T T.81, annex B; ICC.1:2010, annex B.4 (profiles in APP2 segments)."""

from __future__ import annotations

import re
import struct

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats.base import (
    MAX_PARTS,
    Container,
    cut_off,
    damaged,
    starts_with,
    too_many_parts,
)
from repsr_deploy.imaging.formats.exif import orientation_of

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 200
"""Progressive files have about 10. Each scan goes over the whole picture, so many make a small file slow."""

_EOI, _SOS, _APP0, _APP1, _APP2 = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length: TEM, RST0 to RST7
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG, DAC
_FILL = re.compile(rb"\xff++")  # a marker may be preceded by more than its own FF
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan, FF 00 is data and FF D0 to FF D7 are restarts
_EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"
_MOST_ICC_PARTS = 255
_ICC_PART_BYTES = 65533 - len(_ICC) - 2  # what a segment holds beside its length, the name and two numbers


def read_jpeg(data: memoryview) -> Container:
    """Walk a JPEG to its end.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error, IndexError: cut off.
    """
    frame: tuple[int, int, int] | None = None
    exif: memoryview | None = None
    parts: list[memoryview] = []
    scans, position = 0, 2
    for _ in range(MAX_PARTS):
        marker, position = _next_marker(data, position)
        if marker == _EOI:
            return _container(frame, exif, parts)
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            raise damaged(f"a JPEG segment claims {length} bytes")
        body = data[position + 2 : position + length]
        position += length
        if marker in _FRAMES:
            if frame is not None:
                raise damaged("it has two JPEG frames")
            frame = _frame(body)
        elif marker == _APP1 and exif is None and starts_with(body, _EXIF):
            exif = body[len(_EXIF) :]
        elif marker == _APP2 and starts_with(body, _ICC):
            parts.append(body[len(_ICC) :])
        elif marker == _SOS:
            scans += 1
            position = _end_of_scan(data, position, scans)
    raise too_many_parts("JPEG segments")


def jpeg_with_profile(encoded: memoryview, profile: bytes) -> bytes:
    """A JPEG without a profile as one with it, behind JFIF's segment, which must be first."""
    parts = [profile[start : start + _ICC_PART_BYTES] for start in range(0, len(profile), _ICC_PART_BYTES)]
    position = 2
    if encoded[3] == _APP0:
        position += 2 + struct.unpack_from(">H", encoded, 4)[0]
    segments = [
        struct.pack(">BBH", 0xFF, _APP2, 2 + len(_ICC) + 2 + len(part)) + _ICC + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, 1)
    ]
    return b"".join((encoded[:position], *segments, encoded[position:]))


def _next_marker(data: memoryview, position: int) -> tuple[int, int]:
    """The marker that starts here, and the position behind it.

    Raises:
        IndexError: cut off.
    """
    if position >= len(data):
        raise cut_off(data)
    fill = _FILL.match(data, position)
    if fill is None or not data[fill.end()]:
        raise damaged(f"no JPEG marker at byte {position}")
    return data[fill.end()], fill.end() + 1


def _frame(body: memoryview) -> tuple[int, int, int]:
    """Width, height and components."""
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    if precision != 8:
        raise ImageFileError(f"it has {precision} bits a sample; expected JPEG of 8, so save it as PNG")
    return width, height, components


def _end_of_scan(data: memoryview, position: int, scans: int) -> int:
    if scans > MAX_SCANS:
        raise ImageFileError(f"it has more than {MAX_SCANS} scans; expected fewer, so save it again")
    end = _SCAN_END.search(data, position)
    if end is None:
        raise cut_off(data)
    return end.start()


def _container(frame: tuple[int, int, int] | None, exif: memoryview | None, parts: list[memoryview]) -> Container:
    if frame is None:
        raise damaged("it has no JPEG frame")
    width, height, components = frame
    return Container(
        format="jpeg",
        width=width,
        height=height,
        channels=1 if components == 1 else 3,
        cmyk=components == 4,
        orientation=1 if exif is None else orientation_of(exif),
        icc_profile=_profile(parts),
    )


def _profile(parts: list[memoryview]) -> bytes | None:
    """The profile from its segments, each with its number, from 1, and their count; None when one is missing."""
    if not parts or len(parts) > _MOST_ICC_PARTS or any(len(part) < 2 for part in parts):
        return None
    numbered = sorted(parts, key=lambda part: part[0])
    if [(part[0], part[1]) for part in numbered] != [(number, len(parts)) for number in range(1, len(parts) + 1)]:
        return None
    return b"".join(part[2:] for part in numbered)
