"""PNG: chunks with checksums. Source: PNG 1.2 and 3 (W3C), sections 5 and 11."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from repsr_deploy.imaging.formats.base import (
    INCH_M,
    MAX_METADATA_BYTES,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    Chunk,
    Container,
    damaged,
    is_gray,
    kept_bytes,
    too_many_parts,
)
from repsr_deploy.imaging.formats.exif import orientation_of, without_prefix

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 25  # the signature and IHDR, which is always first and of one size
_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_READ = _PICTURE | {b"iCCP", b"eXIf", b"acTL", b"pHYs", b"cICP"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_KEPT = _TEXTS | {b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"}
"""What a larger picture may say, too, and only a PNG can; what other formats can say has its own place."""
_ONCE = {b"IHDR", b"PLTE", b"tRNS"}
_ANCILLARY = 0x20  # a small letter comes first
_LONGEST_CHUNK = 2**31 - 1
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}  # by colour type
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # gray, RGB, palette, gray and alpha, RGB and alpha
_XMP = b"XML:com.adobe.xmp\0"
_RAW_EXIF = b"Raw profile type exif\0"  # as ImageMagick wrote it before PNG had eXIf
_RAW = b"Raw profile type "


def read_png(data: memoryview) -> Container:
    """Walk a PNG to its end.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error: cut off.
    """
    first: dict[bytes, memoryview] = {}
    kept: list[tuple[bytes, memoryview]] = []
    for kind, body, _ in _chunks(data):
        if kind in first and kind in _ONCE:
            raise damaged(f"it has two PNG chunks {kind!r}")
        if kind not in _PICTURE and not kind[0] & _ANCILLARY:
            raise damaged(f"PNG chunk {kind!r} is none that must be understood")
        if kind in _READ:
            first.setdefault(kind, body)
        elif kind in _KEPT:
            kept.append((kind, body))
    width, height, depth, colour = _header(first)
    texts = [(kind, body) for kind, body in kept if kind in _TEXTS]
    exif = _exif(first, texts)
    chunks, losses = _kept_chunks(kept)
    return Container(
        format="png",
        width=width,
        height=height,
        channels=_channels(first, colour),
        sample_bytes=2 if depth == 16 else 1,
        orientation=orientation_of(memoryview(exif or b"")),
        animated=b"acTL" in first,
        palette=colour == 3,
        icc_profile=_profile(first[b"iCCP"]) if b"iCCP" in first else None,
        exif=exif,
        xmp=next((_international_text(body) for kind, body in texts if _is_xmp(kind, body)), None),
        density=_density(first.get(b"pHYs", memoryview(b""))),
        cicp=_code_points(first.get(b"cICP", memoryview(b""))),
        png_chunks=chunks,
        losses=losses,
    )


def transparent_gray(data: memoryview) -> int | None:
    """The stored sample of a gray PNG that is transparent, as the decoder gives it; None when no gray is."""
    first: dict[bytes, memoryview] = {}
    for kind, body, _ in _chunks(data, check=False):
        if kind == b"IDAT":
            break
        first.setdefault(kind, body)
    _, _, depth, colour = _header(first)
    body = first.get(b"tRNS", memoryview(b""))
    if colour != 0 or len(body) != 2:
        return None
    (sample,) = struct.unpack(">H", body)
    sample &= 2**depth - 1
    return sample if depth == 16 else sample * 255 // (2**depth - 1)


def png_with(
    encoded: memoryview,
    *,
    profile: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    density: tuple[float, float] | None,
    cicp: tuple[int, int] | None,
    chunks: tuple[Chunk, ...],
) -> bytes:
    """A PNG of a picture alone as one with what describes it."""
    pieces: list[bytes] = []
    if cicp is not None:
        pieces.append(_chunk(b"cICP", bytes((*cicp, 0, 1))))
    pieces += [_chunk(kind, body) for kind, body in chunks]
    if profile is not None:
        pieces.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if density is not None and max(density) / INCH_M < 2**31:
        pieces.append(_chunk(b"pHYs", struct.pack(">IIB", *(max(1, round(value / INCH_M)) for value in density), 1)))
    if exif is not None:
        pieces.append(_chunk(b"eXIf", exif))
    if xmp is not None:
        pieces.append(_chunk(b"iTXt", _XMP + bytes(4) + xmp))
    return b"".join((encoded[:_HEADER_END], *pieces, encoded[_HEADER_END:]))


def png_of_samples(rows: bytes, width: int, height: int, depth: int, colour: int) -> bytes:
    """A PNG of rows that are filtered already: a byte of the filter, and samples, for each."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"".join((SIGNATURE, header, _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


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


def _channels(first: dict[bytes, memoryview], colour: int) -> int:
    """That the decoder gives: tRNS makes an alpha."""
    channels = _CHANNELS[colour]
    if colour == 3:
        palette = first.get(b"PLTE", memoryview(b""))
        channels = 1 if palette and is_gray(bytes(palette[::3]), bytes(palette[1::3]), bytes(palette[2::3])) else 3
    return channels + _has_transparency(first, colour)


def _has_transparency(first: dict[bytes, memoryview], colour: int) -> bool:
    """Whether tRNS, which comes behind the palette and before the pixels, says what is transparent."""
    kinds = list(first)
    before = kinds[: kinds.index(b"tRNS")] if b"tRNS" in first else []
    if not before or b"IDAT" in before:
        return False
    length, colours = len(first[b"tRNS"]), len(first[b"PLTE"]) // 3 if b"PLTE" in before else 0
    return length == {0: 2, 2: 6}.get(colour) or (colour == 3 and 0 < length <= colours)


def _profile(body: memoryview) -> bytes | None:
    """The profile of an iCCP chunk: a name of up to 79 bytes, 0, method 0, deflated."""
    name, separator, _ = bytes(body[:80]).partition(b"\0")
    profile = _inflated(body[len(name) + 2 :], MAX_PROFILE_BYTES)
    return profile if separator else None


def _inflated(body: memoryview, most: int) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(body, most)
    except zlib.error:
        return None
    return content if stream.eof else None


def _density(body: memoryview) -> tuple[float, float] | None:
    if len(body) != 9:
        return None
    across, down, unit = struct.unpack(">IIB", body)
    return (across * INCH_M, down * INCH_M) if unit == 1 and across and down else None


def _code_points(body: memoryview) -> tuple[int, int] | None:
    return (body[0], body[1]) if len(body) == 4 else None


def _is_xmp(kind: bytes, body: memoryview) -> bool:
    return kind == b"iTXt" and bytes(body[: len(_XMP)]) == _XMP


def _international_text(body: memoryview) -> bytes | None:
    """The text of an iTXt chunk: keyword, 0, whether deflated, method, language, 0, translation, 0, text."""
    start = bytes(body[:1024]).split(b"\0", 1)
    if len(start) < 2 or len(start[1]) < 2:
        return None
    deflated, rest = start[1][0], body[len(start[0]) + 3 :]
    for _ in range(2):
        end = bytes(rest[:4096]).find(b"\0")
        if end < 0:
            return None
        rest = rest[end + 1 :]
    return kept_bytes(_inflated(rest, MAX_METADATA_BYTES) if deflated else rest)


def _exif(first: dict[bytes, memoryview], texts: list[tuple[bytes, memoryview]]) -> bytes | None:
    if b"eXIf" in first:
        return kept_bytes(without_prefix(first[b"eXIf"]))
    for kind, body in texts:
        if kind in (b"tEXt", b"zTXt") and bytes(body[: len(_RAW_EXIF)]) == _RAW_EXIF:
            rest = body[len(_RAW_EXIF) :]
            text = _inflated(rest[1:], 3 * MAX_METADATA_BYTES) if kind == b"zTXt" else bytes(rest)
            try:  # "\nexif\n", the length, and the bytes as hexadecimal digits
                exif = bytes.fromhex((text or b"").split(maxsplit=2)[2].decode("ascii"))
            except (IndexError, ValueError):
                return None
            return kept_bytes(without_prefix(memoryview(exif)))
    return None


def _kept_chunks(kept: list[tuple[bytes, memoryview]]) -> tuple[tuple[Chunk, ...], tuple[str, ...]]:
    """Chunks that stay, and what is lost."""
    chunks = [
        (kind, body) for kind, body in kept if not _is_xmp(kind, body) and bytes(body[: len(_RAW)]) != _RAW
    ]  # fmt: skip
    total = sum(len(body) for _, body in chunks)
    if total > MAX_METADATA_BYTES:
        return (), (f"has {total} bytes of texts, above {MAX_METADATA_BYTES}, which are left out",)
    return tuple((kind, bytes(body)) for kind, body in chunks), ()
