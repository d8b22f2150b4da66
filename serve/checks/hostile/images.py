"""Image files that lie about themselves, byte by byte (PNG 1.2; ITU-T T.81; RFC 9649)."""

from __future__ import annotations

import struct
import zlib
from functools import cache

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = _RGB,
    pixels: bytes | None = None,
    more: bytes = b"",
    interlace: int = 0,
) -> bytes:
    """A PNG that claims a size.

    Args:
        depth: bits of a sample.
        colour: PNG's number: 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha.
        pixels: zlib stream; black of the right length without it.
        more: chunks between header and pixels.
    """
    if pixels is None:
        pixels = black(height * (1 + (width * _CHANNELS[colour] * depth + 7) // 8))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return SIGNATURE + chunk(b"IHDR", head) + more + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def black(size: int) -> bytes:
    """So many zeros as a zlib stream, about a thousandth of their length."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [packer.compress(block[: min(2**20, size - start)]) for start in range(0, size, 2**20)]
    return b"".join([*parts, packer.flush()])


@cache
def gigapixel(*, whole: bool) -> bytes:
    """A billion black pixels of one bit: 122 kB, or cut to 1 kB within the pixels, chunks and checksums right."""
    side = 31_623
    pixels = black(side * (1 + (side + 7) // 8))
    return png(side, side, depth=1, colour=_GRAY, pixels=pixels if whole else pixels[:900])


def text_bomb(kind: bytes, size: int) -> bytes:
    """A PNG chunk zTXt or iCCP whose content unpacks to so many zeros."""
    return chunk(kind, b"name\0\0" + black(size))


def jpeg_resized(data: bytes, width: int, height: int) -> bytes:
    """A JPEG file whose frame header claims another size."""
    position = 2
    while data[position + 1] not in (0xC0, 0xC1, 0xC2):
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return data[: position + 5] + struct.pack(">HH", height, width) + data[position + 9 :]


def jpeg_of_scans(blocks_aside: int, scans: int) -> bytes:
    """A gray progressive JPEG whose picture is gone over again and again: 12 bytes a scan, each a walk over it all."""
    side, blocks = 8 * blocks_aside, blocks_aside**2
    if not 2**13 <= blocks < 2**14:
        raise ValueError(f"{blocks} blocks; expected 8192 to 16383, what one run of category 13 covers")
    frame = struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00"
    one_code = bytes([1, *[0] * 15])
    head = [
        _segment(0xDB, b"\x00" + bytes([1] * 64)),
        _segment(0xC2, frame),
        _segment(0xC4, b"\x00" + one_code + b"\x00"),  # DC: difference 0 is the bit 0
        _segment(0xC4, b"\x10" + one_code + b"\xd0"),  # AC: a run of 2^13 ends of block, and 13 bits more, after bit 0
        _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes((blocks + 7) // 8),
    ]
    run = f"0{blocks - 2**13:013b}".ljust(16, "1")
    scan = _segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + int(run, 2).to_bytes(2, "big").replace(b"\xff", b"\xff\x00")
    return b"\xff\xd8" + b"".join(head) + scan * scans + b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(data: bytes, marker: int, body: bytes, length: int | None = None) -> bytes:
    """A JPEG file with one more segment at its start, which may lie about its length."""
    claimed = len(body) + 2 if length is None else length
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", claimed) + body + data[2:]


def webp_flat(width: int, height: int) -> bytes:
    """A whole lossless WebP of one colour: no bit for a pixel, so any size up to 16384 a side takes 32 bytes."""
    fields = [(width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1), *[(1, 4)] * 5]
    bits = position = 0
    for value, length in fields:  # size, alpha, version, no transform, cache or groups; five codes of one symbol each
        bits |= value << position
        position += length
    return riff(riff_chunk(b"VP8L", b"\x2f" + bits.to_bytes(11, "little")))  # OpenCV wants 32 bytes at least


def webp_canvas(width: int, height: int, inside: bytes) -> bytes:
    """An extended WebP whose canvas claims a size, up to 2^24 a side, whatever is inside."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(riff_chunk(b"VP8X", bytes(4) + sides) + inside)


def riff(chunks: bytes, length: int | None = None) -> bytes:
    """A WebP container, which may lie about its length."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4 if length is None else length) + b"WEBP" + chunks


def riff_chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    """A chunk of a RIFF file, which may lie about its length."""
    return kind + struct.pack("<I", len(body) if length is None else length) + body + b"\0" * (len(body) % 2)


def exif(entries: bytes, count: int, start: int = 8) -> bytes:
    """An Exif block with a first directory somewhere, of so many entries as it says."""
    return b"Exif\0\0MM\0*" + struct.pack(">I", start) + struct.pack(">H", count) + entries
