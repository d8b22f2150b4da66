"""EXIF: the orientation, and blocks that describe another picture than the one they come from.

Nothing in a block moves: values that change are written in place, so that makers' notes, whose insides point to places
in the block, stay right. Source: Exif 2.32, sections 4.5 and 4.6.
"""

from __future__ import annotations

import struct

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats.ifd import LONG, SHORT, Block, Directory, Value, directory_bytes, longs

ORIENTATION, WIDTH, HEIGHT = 0x0112, 0x0100, 0x0101
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
PIXEL_X, PIXEL_Y = 0xA002, 0xA003
XMP, IPTC, PHOTOSHOP, ICC = 700, 33723, 34377, 34675
_THUMBNAIL_AT, _THUMBNAIL_BYTES = 0x0201, 0x0202
_PREFIX = b"Exif\0\0"  # of JPEG's segment; some writers of other formats keep it

STORAGE = frozenset(
    {*range(254, 267), 273, 274, *range(277, 282), 284, *range(288, 294), 297, 301, *range(317, 348), *range(512, 533)}
    | {XMP, PHOTOSHOP, ICC, EXIF_IFD, GPS_IFD, 32995, 32996, 32997, 32998, 33421, 33422}
    | {33550, 33920, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
)
"""Tags of a TIFF's directory that say how samples are stored or where on Earth each lies, not what the picture is."""


def without_prefix(exif: memoryview) -> memoryview:
    """The TIFF block itself."""
    return exif[len(_PREFIX) :] if bytes(exif[: len(_PREFIX)]) == _PREFIX else exif


def orientation_of(exif: memoryview) -> int:
    """Orientation from a TIFF block, 1 to 8; 1 when there is none, or when the block makes no sense."""
    try:
        block = Block.of(exif)
        value = block.number(block.directory(block.first), ORIENTATION, 1)
    except (struct.error, ImageFileError):
        return 1
    return value if 1 <= value <= 8 else 1


def renewed(exif: bytes, width: int, height: int) -> bytes | None:
    """The block of a picture as one of an upright picture of another size; None for a block that makes no sense.

    The orientation becomes 1 and sizes that are given become the new ones; the thumbnail (IFD1) is left out.
    """
    try:
        block = Block.of(memoryview(exif))
        main = block.directory(block.first)
        inner = block.directory(block.number(main, EXIF_IFD)) if EXIF_IFD in main.entries else None
        thumbnail = block.directory(main.following) if main.following else None
    except (struct.error, ImageFileError):
        return None
    if block.big:
        return None
    result = bytearray(exif)
    for directory, tag, number in (
        (main, ORIENTATION, 1), (main, WIDTH, width), (main, HEIGHT, height), (inner, PIXEL_X, width),
        (inner, PIXEL_Y, height),
    ):  # fmt: skip
        if directory is not None and tag in directory.entries:
            kind, code = (SHORT, "HH") if number < 2**16 else (LONG, "I")
            padded = (number, 0) if code == "HH" else (number,)
            entry_at = directory.entries[tag].entry_at
            struct.pack_into(f"{block.order}HI{code}", result, entry_at + 2, kind, 1, *padded)
    if thumbnail is not None:
        struct.pack_into(f"{block.order}I", result, main.following_at, 0)
        del result[_end_without(block, thumbnail) :]
    return bytes(result)


def without_orientation(exif: bytes) -> bytes:
    """The block without the tag; only the entries behind it move, by one place, and nothing that they point to.

    Raises:
        ImageFileError, struct.error: it is damaged, which blocks that `renewed` has made are not.
    """
    block = Block.of(memoryview(exif))
    main = block.directory(block.first)
    if ORIENTATION not in main.entries:
        return exif
    start, end = main.entries[ORIENTATION].entry_at, main.following_at + 4
    (count,) = struct.unpack_from(f"{block.order}H", exif, block.first)
    result = bytearray(exif.ljust(end, b"\0"))
    result[start:end] = result[start + 12 : end] + bytes(12)
    struct.pack_into(f"{block.order}H", result, block.first, count - 1)
    return bytes(result)


def _end_without(block: Block, thumbnail: Directory) -> int:
    """Where the block may end: before its thumbnail when that comes last."""
    try:
        start, length = (block.number(thumbnail, tag) for tag in (_THUMBNAIL_AT, _THUMBNAIL_BYTES))
    except (struct.error, ImageFileError):
        return len(block.data)
    return start if thumbnail.following_at + 4 <= start and start + length >= len(block.data) else len(block.data)


def block_of_tiff(block: Block, main: Directory) -> bytes | None:
    """An EXIF block of what a TIFF file says about its picture; None where it says nothing.

    Raises:
        ImageFileError, struct.error: it is damaged.
    """
    order, result = block.order, bytearray(b"II*\0" if block.order == "<" else b"MM\0*") + bytes(4)
    values = {tag: value for tag, value in _values(block, main).items() if tag not in STORAGE}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in main.entries:
            directory = block.directory(block.number(main, tag))
            inner = _values(block, directory)
            if INTEROPERABILITY_IFD in inner:
                deepest = _values(block, block.directory(block.number(directory, INTEROPERABILITY_IFD)))
                inner[INTEROPERABILITY_IFD] = _append(result, deepest, order)
            values[tag] = _append(result, inner, order)
    if not values:
        return None
    struct.pack_into(f"{order}I", result, 4, len(result))
    _append(result, values, order)
    return bytes(result)


def _append(result: bytearray, values: dict[int, Value], order: str) -> Value:
    """Put a directory at the end of a block; what points to it."""
    result += bytes(len(result) % 2)
    at = len(result)
    result += directory_bytes(values, at, order)
    return longs(order, at)


def _values(block: Block, directory: Directory) -> dict[int, Value]:
    """Values by tag, without those that only BigTIFF has."""
    return {
        tag: block.value(entry) for tag, entry in directory.entries.items() if 1 <= entry.kind <= 13 and entry.count
    }
