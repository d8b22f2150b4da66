"""WebP: RIFF chunks. Source: RFC 9649, sections 2 and 3."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from repsr_deploy.imaging.formats.base import (
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    Container,
    cut_off,
    damaged,
    kept_bytes,
    starts_with,
    too_many_parts,
)
from repsr_deploy.imaging.formats.exif import orientation_of, without_prefix

_RIFF_HEADER = 12
_ANIMATED, _XMP, _EXIF, _ALPHA, _PROFILE = 0x02, 0x04, 0x08, 0x10, 0x20  # flags of VP8X
_READ = {b"VP8X", b"VP8L", b"VP8 ", b"EXIF", b"ICCP", b"XMP "}


def is_webp(data: memoryview) -> bool:
    """Whether a file starts as WebP."""
    return starts_with(data, b"RIFF") and starts_with(data[8:], b"WEBP")


def read_webp(data: memoryview) -> Container:
    """Walk a WebP to its end.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error, IndexError: cut off.
    """
    first: dict[bytes, memoryview] = {}
    for kind, body in _chunks(data):
        if kind in _READ:
            first.setdefault(kind, body)
    width, height, alpha, animated = _picture(first)
    exif, profile = without_prefix(first.get(b"EXIF", memoryview(b""))), first.get(b"ICCP", b"")
    return Container(
        format="webp",
        width=width,
        height=height,
        channels=4 if alpha else 3,
        animated=animated,
        orientation=orientation_of(exif),
        icc_profile=bytes(profile) if 0 < len(profile) <= MAX_PROFILE_BYTES else None,
        exif=kept_bytes(exif),
        xmp=kept_bytes(first.get(b"XMP ")),
    )


def webp_with(encoded: memoryview, *, profile: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    """A WebP of a picture alone as one with what describes it, which takes the extended form."""
    if profile is None and exif is None and xmp is None:
        return bytes(encoded)
    container = read_webp(encoded)
    flags = _ALPHA if container.channels == 4 else 0
    before: list[tuple[bytes, bytes | memoryview]] = []
    behind: list[tuple[bytes, bytes | memoryview]] = []
    for flag, kind, body, place in (
        (_PROFILE, b"ICCP", profile, before), (_EXIF, b"EXIF", exif, behind), (_XMP, b"XMP ", xmp, behind),
    ):  # fmt: skip
        if body is not None:
            flags |= flag
            place.append((kind, body))
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (container.width, container.height))
    picture = [(kind, body) for kind, body in _chunks(encoded) if kind != b"VP8X"]
    pieces: list[bytes | memoryview] = []
    for kind, body in [(b"VP8X", bytes((flags, 0, 0, 0)) + sides), *before, *picture, *behind]:
        pieces += [kind, struct.pack("<I", len(body)), body, bytes(len(body) % 2)]
    return b"".join((b"RIFF", struct.pack("<I", 4 + sum(map(len, pieces))), b"WEBP", *pieces))


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise cut_off(data)
    data = data[: size + 8]
    position = _RIFF_HEADER
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > len(data):
            raise cut_off(data)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise too_many_parts("WebP chunks")


def _picture(first: dict[bytes, memoryview]) -> tuple[int, int, bool, bool]:
    """Width, height, whether there is alpha, and whether it is animated: as libwebp finds them."""
    extended, lossless, lossy = (first.get(kind) for kind in (b"VP8X", b"VP8L", b"VP8 "))
    if extended is not None and next(iter(first)) == b"VP8X":
        width, height = (int.from_bytes(extended[start : start + 3], "little") + 1 for start in (4, 7))
        return width, height, bool(extended[0] & _ALPHA), bool(extended[0] & _ANIMATED)
    if lossless is not None:
        return *_lossless_header(lossless), False
    if lossy is not None:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF, False, False
    raise damaged("it has no picture")


def _lossless_header(body: memoryview) -> tuple[int, int, bool]:
    """Width, height, and whether there is alpha."""
    (bits,) = struct.unpack_from("<I", body, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
