"""JPEG: segments and scans.

Sources: ITU-T T.81, annex B; T.871 (JFIF); ICC.1:2010, annex B.4 (profiles in APP2 segments); Exif 2.32, section 4.7.2;
XMP specification, part 3, section 1.1.3.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats.base import (
    MAX_PARTS,
    Container,
    cut_off,
    damaged,
    kept_bytes,
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
_JFIF = b"JFIF\0"
_EXIF = b"Exif\0\0"
_XMP, _MORE_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_SEGMENT_BYTES = 65533  # what a segment holds beside its length
_CENTIMETRES = 2.54
_MOST_ICC_PARTS = 255
_ICC_PART_BYTES = _SEGMENT_BYTES - len(_ICC) - 2  # what a segment holds beside the name and two numbers
MAX_EXIF_BYTES = _SEGMENT_BYTES - len(_EXIF)
MAX_XMP_BYTES = _SEGMENT_BYTES - len(_XMP)


@dataclass
class _Parts:
    """What segments say besides the picture."""

    exif: memoryview | None = None
    xmp: memoryview | None = None
    more_xmp: bool = False
    profile: list[memoryview] = field(default_factory=list[memoryview])
    density: tuple[float, float] | None = None

    def read(self, marker: int, body: memoryview) -> None:
        if marker == _APP1 and self.exif is None and starts_with(body, _EXIF):
            self.exif = body[len(_EXIF) :]
        elif marker == _APP1 and self.xmp is None and starts_with(body, _XMP):
            self.xmp = body[len(_XMP) :]
        elif marker == _APP1 and starts_with(body, _MORE_XMP):
            self.more_xmp = True
        elif marker == _APP2 and starts_with(body, _ICC):
            self.profile.append(body[len(_ICC) :])
        elif marker == _APP0 and starts_with(body, _JFIF) and len(body) >= 12:
            unit, across, down = struct.unpack_from(">BHH", body, 7)
            scale = {1: 1.0, 2: _CENTIMETRES}.get(unit)
            if scale is not None and across and down:
                self.density = (across * scale, down * scale)


def read_jpeg(data: memoryview) -> Container:
    """Walk a JPEG to its end.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error, IndexError: cut off.
    """
    frame: tuple[int, int, int] | None = None
    parts = _Parts()
    scans, position = 0, 2
    for _ in range(MAX_PARTS):
        marker, position = _next_marker(data, position)
        if marker == _EOI:
            return _container(frame, parts)
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
        elif marker == _SOS:
            scans += 1
            position = _end_of_scan(data, position, scans)
        else:
            parts.read(marker, body)
    raise too_many_parts("JPEG segments")


def jpeg_with(
    encoded: memoryview,
    *,
    profile: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    density: tuple[float, float] | None,
) -> bytes:
    """A JPEG as OpenCV writes it (with a JFIF segment) as one with what else describes it.

    Args:
        exif, xmp: up to `MAX_EXIF_BYTES` and `MAX_XMP_BYTES`.
    """
    body = bytearray(encoded[6 : 4 + struct.unpack_from(">H", encoded, 4)[0]])
    rest = encoded[6 + len(body) :]
    if density is not None and max(density) < 2**16:
        struct.pack_into(">BHH", body, 7, 1, *(max(1, round(value)) for value in density))
    segments = [_segment(_APP0, bytes(body))]
    if exif is not None:
        segments.append(_segment(_APP1, _EXIF + exif))
    if xmp is not None:
        segments.append(_segment(_APP1, _XMP + xmp))
    pieces = [] if profile is None else _profile_pieces(profile)
    segments += [_segment(_APP2, piece) for piece in pieces]
    return b"".join((encoded[:2], *segments, rest))


def _profile_pieces(profile: bytes) -> list[bytes]:
    pieces = [profile[start : start + _ICC_PART_BYTES] for start in range(0, len(profile), _ICC_PART_BYTES)]
    return [_ICC + bytes((number, len(pieces))) + piece for number, piece in enumerate(pieces, 1)]


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


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


def _container(frame: tuple[int, int, int] | None, parts: _Parts) -> Container:
    if frame is None:
        raise damaged("it has no JPEG frame")
    width, height, components = frame
    return Container(
        format="jpeg",
        width=width,
        height=height,
        channels=1 if components == 1 else 3,
        cmyk=components == 4,
        orientation=1 if parts.exif is None else orientation_of(parts.exif),
        icc_profile=_profile(parts.profile),
        exif=kept_bytes(parts.exif),
        xmp=kept_bytes(parts.xmp),
        density=parts.density,
        losses=("has further XMP, which is left out",) if parts.more_xmp else (),
    )


def _profile(parts: list[memoryview]) -> bytes | None:
    """The profile from its segments, each with its number, from 1, and their count; None when one is missing."""
    if not parts or len(parts) > _MOST_ICC_PARTS or any(len(part) < 2 for part in parts):
        return None
    numbered = sorted(parts, key=lambda part: part[0])
    if [(part[0], part[1]) for part in numbered] != [(number, len(parts)) for number in range(1, len(parts) + 1)]:
        return None
    return b"".join(part[2:] for part in numbered)
