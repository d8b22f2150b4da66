"""EXIF blocks and XMP packets as cameras and programs write them, made byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAKER_NOTE = b"MAKER\0\x01\x02" + bytes(range(200))
THUMBNAIL = b"\xff\xd8" + b"the small old picture" + b"\xff\xd9"


def _directory(order: str, at: int, tags: list[tuple[int, int, int, bytes]], following: int) -> bytes:
    entries, values = b"", b""
    data_at = at + 2 + 12 * len(tags) + 4
    for tag, kind, count, value in tags:
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) > 4:
            entries += struct.pack(f"{order}I", data_at + len(values))
            values += value + bytes(len(value) % 2)
        else:
            entries += value.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following) + values


Tag = tuple[int, int, int, bytes]
"""Number, kind, count and value."""


def exif_block(order: str = "<", orientation: int = 6, more: Sequence[Tag] = ()) -> bytes:
    """A camera's: size, orientation, a maker's note, a position on Earth, and a thumbnail behind all else.

    Args:
        more: tags of the main directory.
    """

    def short(number: int) -> bytes:
        return struct.pack(f"{order}H", number)

    def long(number: int) -> bytes:
        return struct.pack(f"{order}I", number)

    room = 400 + sum(12 + len(value) + 1 for _, _, _, value in more)
    exif_at, gps_at, small_at, thumbnail_at = (room + start for start in (0, 400, 600, 700))
    main = [
        (0x0100, 4, 1, long(37)), (0x0101, 3, 1, short(41)), (0x010F, 2, 6, b"Maker\0"), (0x0110, 2, 6, b"Model\0"),
        (0x0112, 3, 1, short(orientation)), (0x011A, 5, 1, long(300) + long(1)), (0x011B, 5, 1, long(300) + long(1)),
        (0x0128, 3, 1, short(2)), (0x8769, 4, 1, long(exif_at)), (0x8825, 4, 1, long(gps_at)), *more,
    ]  # fmt: skip
    main.sort()
    inner = [
        (0x829A, 5, 1, long(1) + long(250)), (0x9003, 2, 20, b"2026:01:02 03:04:05\0"),
        (0x927C, 7, len(MAKER_NOTE), MAKER_NOTE), (0xA002, 3, 1, short(37)), (0xA003, 3, 1, short(41)),
    ]  # fmt: skip
    gps = [(0x0001, 2, 2, b"N\0"), (0x0002, 5, 3, b"".join(long(n) + long(1) for n in (47, 22, 8)))]
    small = [(0x0103, 3, 1, short(6)), (0x0201, 4, 1, long(thumbnail_at)), (0x0202, 4, 1, long(len(THUMBNAIL)))]
    block = (b"II*\0" if order == "<" else b"MM\0*") + long(8) + _directory(order, 8, main, small_at)
    for at, tags in ((exif_at, inner), (gps_at, gps), (small_at, small)):
        block = block.ljust(at, b"\0") + _directory(order, at, tags, 0)
    return block.ljust(thumbnail_at, b"\0") + THUMBNAIL


def turned_tiff(image_hwc: NDArray[np.uint8], xmp: bytes | None, profile: bytes | None) -> bytes:
    """The same tags in a TIFF, whose size and thumbnail they say, too."""
    height, width = image_hwc.shape[:2]

    def numbers(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}H", *values)

    more = [
        (258, 3, 3, numbers(8, 8, 8)), (259, 3, 1, numbers(1)), (262, 3, 1, numbers(2)), (277, 3, 1, numbers(3)),
        (273, 4, 1, bytes(4)), (278, 3, 1, numbers(height)), (279, 4, 1, struct.pack("<I", image_hwc.nbytes)),
    ]  # fmt: skip
    more += [(700, 1, len(xmp), xmp)] if xmp is not None else []
    more += [(34675, 7, len(profile), profile)] if profile is not None else []
    assert (width, height) == (37, 41)
    data = bytearray(exif_block("<", 6, more))
    struct.pack_into("<I", data, data.index(struct.pack("<HHI", 273, 4, 1)) + 8, len(data))
    return bytes(data) + image_hwc.tobytes()


def packet(attributes: str = "", elements: str = "") -> bytes:
    """An XMP packet with attributes and elements of one description."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" {attributes}>{elements}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()
