"""PNG: chunks with checksums. Source: PNG 1.2 and 3 (W3C), sections 5 and 11."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from repsr_deploy.imaging.formats.base import (
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    Container,
    damaged,
    too_many_parts,
)
from repsr_deploy.imaging.formats.exif import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 25  # the signature and IHDR, which is always first and of one size
_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_READ = _PICTURE | {b"iCCP", b"eXIf", b"acTL"}
_ONCE = {b"IHDR", b"PLTE", b"tRNS"}
_ANCILLARY = 0x20  # a small letter comes first
_LONGEST_CHUNK = 2**31 - 1
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}  # by colour type
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}  # gray, RGB, palette, gray and alpha, RGB and alpha


def read_png(data: memoryview) -> Container:
    """Walk a PNG to its end.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error: cut off.
    """
    first: dict[bytes, memoryview] = {}
    for kind, body, _ in _chunks(data):
        if kind in first and kind in _ONCE:
            raise damaged(f"it has two PNG chunks {kind!r}")
        if kind not in _PICTURE and not kind[0] & _ANCILLARY:
            raise damaged(f"PNG chunk {kind!r} is none that must be understood")
        if kind in _READ:
            first.setdefault(kind, body)
    width, height, depth, colour = _header(first)
    return Container(
        format="png",
        width=width,
        height=height,
        channels=4 if _has_transparency(first, colour) else _CHANNELS[colour],
        sample_bytes=2 if depth == 16 else 1,
        orientation=orientation_of(first.get(b"eXIf", memoryview(b""))),
        animated=b"acTL" in first,
        icc_profile=_profile(first[b"iCCP"]) if b"iCCP" in first else None,
    )


def png_with_profile(encoded: memoryview, profile: bytes) -> bytes:
    """A PNG without a profile as one with it."""
    body = b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    return b"".join((encoded[:_HEADER_END], chunk, encoded[_HEADER_END:]))


def still_png(data: memoryview) -> memoryview:
    """A PNG with nothing but its still picture, as readers see it that know neither animation nor metadata.

    OpenCV 4.11 to 5.0 crash on damaged animations (opencv issue 27744), and what is not read cannot break a reader.
    """
    pieces = [data[: len(SIGNATURE)]]
    pieces += [chunk for kind, _, chunk in _chunks(data, check=False) if kind in _PICTURE]
    return data if sum(map(len, pieces)) == len(data) else memoryview(b"".join(pieces))


def _chunks(data: memoryview, *, check: bool = True) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Kind and body of every chunk, and the chunk itself."""
    position = len(SIGNATURE)
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        if length > _LONGEST_CHUNK:
            raise damaged(f"PNG chunk {kind!r} claims {length} bytes")
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if check and zlib.crc32(data[position + 4 : end]) != checksum:
            raise damaged(f"the checksum of PNG chunk {kind!r} is wrong")
        yield kind, data[position + 8 : end], data[position : end + 4]
        if kind == b"IEND":
            return
        position = end + 4
    raise too_many_parts("PNG chunks")


def _header(first: dict[bytes, memoryview]) -> tuple[int, int, int, int]:
    """Width, height, bit depth and colour type."""
    kind, body = next(iter(first.items()))
    if kind != b"IHDR" or len(body) != 13:
        raise damaged(f"it starts with PNG chunk {kind!r} of {len(body)} bytes, expected b'IHDR' of 13")
    width, height, depth, colour = struct.unpack_from(">IIBB", body)
    if depth not in _DEPTHS.get(colour, ()):
        raise damaged(f"PNG has no colour type {colour} with {depth} bits")
    return width, height, depth, colour


def _has_transparency(first: dict[bytes, memoryview], colour: int) -> bool:
    """Whether the decoder makes an alpha of tRNS, behind the palette and before the pixels; of gray it makes none."""
    kinds = list(first)
    before = kinds[: kinds.index(b"tRNS")] if b"tRNS" in first else []
    if not before or b"IDAT" in before:
        return False
    length, colours = len(first[b"tRNS"]), len(first[b"PLTE"]) // 3 if b"PLTE" in before else 0
    return length == 6 if colour == 2 else colour == 3 and 0 < length <= colours


def _profile(body: memoryview) -> bytes | None:
    """The profile of an iCCP chunk: a name of up to 79 bytes, 0, method 0, deflated."""
    name, separator, _ = bytes(body[:80]).partition(b"\0")
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(body[len(name) + 2 :], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if separator and stream.eof else None
