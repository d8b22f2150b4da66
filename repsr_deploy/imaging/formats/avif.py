"""AVIF: boxes. Sources: AV1 Image File Format 1.1 (AOM); ISO/IEC 14496-12 and 23008-12 (HEIF); 23000-22 (MIAF)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from repsr_deploy.imaging.formats.base import (
    MAX_METADATA_BYTES,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    Container,
    cut_off,
    damaged,
    too_many_parts,
)
from repsr_deploy.imaging.formats.exif import without_prefix

_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_SRGB = (1, 13)
_ORIENTATIONS: dict[tuple[int, int | None], int] = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
"""Of Exif, by quarter turns anticlockwise (irot), and then the axis that is mirrored (imir)."""


@dataclass
class _Items:
    """What the `meta` box says: items by number."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """Type, and for `mime` the type of its content behind it."""
    properties: dict[int, list[tuple[bytes, memoryview]]] = field(
        default_factory=dict[int, list[tuple[bytes, memoryview]]]
    )
    links: list[tuple[bytes, int, int]] = field(default_factory=list[tuple[bytes, int, int]])
    """Kind of a reference, from and to."""
    extents: dict[int, list[memoryview]] = field(default_factory=dict[int, list[memoryview]])

    def property(self, item: int, kind: bytes) -> memoryview | None:
        """An item's first property of a kind."""
        return next((body for name, body in self.properties.get(item, []) if name == kind), None)

    def linked(self, kind: bytes, to: int) -> list[int]:
        """Items that refer to another."""
        return [start for name, start, end in self.links if (name, end) == (kind, to)]

    def content(self, item: int, most: int) -> bytes | None:
        """An item's bytes, up to so many."""
        parts = self.extents.get(item, [])
        size = sum(map(len, parts))
        return b"".join(parts) if 0 < size <= most else None


def is_avif(data: memoryview) -> bool:
    """Whether a file starts as AVIF."""
    if bytes(data[4:8]) != b"ftyp" or len(data) < 16:
        return False
    (length,) = struct.unpack_from(">I", data)
    brands = bytes(data[8 : min(length, 256)])
    return b"avif" in brands or b"avis" in brands


def read_avif(data: memoryview) -> Container:
    """Walk an AVIF's boxes.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error, IndexError: cut off.
    """
    boxes = dict(_boxes(data))
    if b"meta" not in boxes:
        raise damaged("it has no picture of its own")
    items = _items(boxes[b"meta"][4:], data)
    size = items.property(items.primary, b"ispe")
    if size is None:
        raise damaged("it does not say how large it is")
    width, height = struct.unpack_from(">II", size, 4)
    depth, gray = _samples(items)
    alpha = any(_is_alpha(items, item) for item in items.linked(b"auxl", items.primary))
    profile, code_points = _colour(items)
    exif, xmp = _metadata(items)
    cropped = items.property(items.primary, b"clap") is not None
    return Container(
        format="avif",
        width=width,
        height=height,
        channels=(1 if gray else 3) if not alpha else 2 if gray else 4,
        sample_bytes=1 if depth == 8 else 2,
        orientation=_orientation(items),
        animated=bytes(boxes[b"ftyp"][:4]) == b"avis",
        icc_profile=profile,
        exif=exif,
        xmp=xmp,
        cicp=code_points,
        losses=("is to be cropped when it is shown: all of it is used",) if cropped else (),
    )


def avif_depth(data: memoryview) -> int:
    """Bits of a sample: 8, 10 or 12."""
    return _samples(_items(dict(_boxes(data))[b"meta"][4:], data))[0]


def with_code_points(encoded: memoryview, code_points: tuple[int, int]) -> memoryview:
    """An AVIF as OpenCV writes it as one with other colour primaries and transfer characteristics."""
    result = bytearray(encoded)
    at = result.find(b"colrnclx")
    if at >= 0:
        struct.pack_into(">HH", result, at + 8, *code_points)
    return memoryview(result)


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of boxes, one after the other; of two of a kind, `dict` takes the last."""
    position = 0
    for _ in range(MAX_PARTS):
        if position == len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
            header = 16
        elif size == 0:
            size = len(data) - position
        if position + size > len(data):
            raise cut_off(data)
        if size < header:
            raise damaged(f"AVIF box {kind!r} claims {size} bytes")
        yield kind, data[position + header : position + size]
        position += size
    raise too_many_parts("AVIF boxes")


def _items(meta: memoryview, data: memoryview) -> _Items:
    boxes = dict(_boxes(meta))
    items = _Items()
    if b"pitm" in boxes:
        (items.primary,) = struct.unpack_from(">I" if boxes[b"pitm"][0] else ">H", boxes[b"pitm"], 4)
    if b"iinf" in boxes:
        for kind, body in _boxes(boxes[b"iinf"][8 if boxes[b"iinf"][0] else 6 :]):
            if kind == b"infe":
                _read_item(items, body)
    if b"iprp" in boxes:
        _read_properties(items, boxes[b"iprp"])
    if b"iref" in boxes:
        code, word = (">I", 4) if boxes[b"iref"][0] else (">H", 2)
        for kind, body in _boxes(boxes[b"iref"][4:]):
            (start,) = struct.unpack_from(code, body)
            (count,) = struct.unpack_from(">H", body, word)
            for index in range(count):
                items.links.append((kind, start, *struct.unpack_from(code, body, word + 2 + word * index)))
    if b"iloc" in boxes:
        _read_places(items, boxes[b"iloc"], boxes.get(b"idat", memoryview(b"")), data)
    return items


def _read_item(items: _Items, body: memoryview) -> None:
    """infe, version 2 or 3: number, protection, type, name, and for `mime` the type of the content."""
    if body[0] < 2:
        return
    code, word = (">I", 4) if body[0] > 2 else (">H", 2)
    (item,) = struct.unpack_from(code, body, 4)
    kind, names = bytes(body[6 + word : 10 + word]), bytes(body[10 + word : 1024])
    items.kinds[item] = kind + (names.split(b"\0")[1] if kind == b"mime" and names.count(b"\0") else b"")


def _read_properties(items: _Items, body: memoryview) -> None:
    """ipco, the list of all properties, and ipma, which of them each item has."""
    parts = dict(_boxes(body))
    properties = list(_boxes(parts.get(b"ipco", memoryview(b""))))
    table = parts.get(b"ipma", memoryview(bytes(8)))
    code, word = (">I", 4) if table[0] else (">H", 2)
    number, number_bytes, most = (">H", 2, 0x7FFF) if table[3] & 1 else (">B", 1, 0x7F)
    (count,) = struct.unpack_from(">I", table, 4)
    position = 8
    for _ in range(count):
        (item,) = struct.unpack_from(code, table, position)
        own = items.properties.setdefault(item, [])
        start = position + word + 1
        position = start + table[position + word] * number_bytes
        for at in range(start, position, number_bytes):
            index = struct.unpack_from(number, table, at)[0] & most
            if 0 < index <= len(properties):
                own.append(properties[index - 1])


def _read_places(items: _Items, body: memoryview, inside: memoryview, data: memoryview) -> None:
    """iloc: where the bytes of each item lie, in the file or in idat."""
    version = body[0]
    offset_bytes, length_bytes = body[4] >> 4, body[4] & 15
    base_bytes, index_bytes = body[5] >> 4, body[5] & 15 if version else 0
    word = 4 if version > 1 else 2
    position, extents = 6, 0

    def number(size: int) -> int:
        nonlocal position
        if position + size > len(body):
            raise struct.error("iloc ends")
        position += size
        return int.from_bytes(body[position - size : position], "big")

    for _ in range(number(word)):
        item = number(word)
        source = inside if version and number(2) & 15 == 1 else data
        number(2)
        base = number(base_bytes)
        parts = items.extents.setdefault(item, [])
        count = number(2)
        extents += count
        if extents > MAX_PARTS:  # they may take no bytes at all
            raise too_many_parts("AVIF extents")
        for _ in range(count):
            number(index_bytes)
            start = base + number(offset_bytes)
            length = number(length_bytes)
            if start + length > len(source):
                raise cut_off(data)
            parts.append(source[start : start + length] if length else source[start:])


def _is_alpha(items: _Items, item: int) -> bool:
    kind = items.property(item, b"auxC")
    return kind is not None and bytes(kind[4:]).split(b"\0")[0] in _ALPHA


def _samples(items: _Items) -> tuple[int, bool]:
    """Bits of a sample, and whether there is no colour: as the AV1 configuration says, in a grid that of a tile."""
    tiles = [end for name, start, end in items.links if (name, start) == (b"dimg", items.primary)]
    for item in (items.primary, *tiles[:1]):
        configuration = items.property(item, b"av1C")
        if configuration is not None:
            flags = configuration[2]
            return (8 if not flags & 0x40 else 12 if flags & 0x20 else 10), bool(flags & 0x10)
    raise damaged("its picture is no AV1")


def _orientation(items: _Items) -> int:
    """Of what MIAF says, which is what readers apply; the orientation in EXIF has no say."""
    turns, mirror = items.property(items.primary, b"irot"), items.property(items.primary, b"imir")
    return _ORIENTATIONS[0 if turns is None else turns[0] & 3, None if mirror is None else mirror[0] & 1]


def _colour(items: _Items) -> tuple[bytes | None, tuple[int, int] | None]:
    """The ICC profile, and code points other than those of sRGB."""
    profile, code_points = None, None
    for kind, body in items.properties.get(items.primary, []):
        if kind != b"colr":
            continue
        name = bytes(body[:4])
        if name in (b"prof", b"rICC") and 4 < len(body) <= 4 + MAX_PROFILE_BYTES:
            profile = bytes(body[4:])
        elif name == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            known = 2 not in (primaries, transfer) and max(primaries, transfer) < 256
            code_points = (primaries, transfer) if known and (primaries, transfer) != _SRGB else None
    return profile, code_points


def _metadata(items: _Items) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP that describe the picture."""
    exif = xmp = None
    for item in items.linked(b"cdsc", items.primary):
        kind, content = items.kinds.get(item), items.content(item, MAX_METADATA_BYTES)
        if content is None:
            continue
        if kind == b"Exif" and len(content) > 4:  # starts with what precedes the TIFF block, counted from there
            exif = bytes(without_prefix(memoryview(content)[4:]))
        elif kind == b"mimeapplication/rdf+xml":
            xmp = content
    return exif, xmp
