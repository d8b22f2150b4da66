"""Animated WebP, taken apart into still WebPs and put together from them. Source: RFC 9649, section 2.7."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.animation.base import Animation, Piece, Shown, frame_errors, whole_units
from repsr_deploy.imaging.animation.canvas import changed_box
from repsr_deploy.imaging.container import Data, read_container
from repsr_deploy.imaging.image_bytes import decode_image, encode_picture
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box

_MS = 1000
_RIFF_HEADER = 12
_FRAME_HEADER = 16
_CLEAR, _NOT_OVER = 0x01, 0x02  # flags of ANMF
_ANIMATED, _XMP, _EXIF, _ALPHA, _PROFILE = 0x02, 0x04, 0x08, 0x10, 0x20  # flags of VP8X
_MAX_DURATION_MS, _MAX_PLAYS, _MAX_BYTES = 2**24 - 1, 2**16 - 1, 2**32 - 10


def is_animated_webp(start: bytes) -> bool:
    """Whether the first 21 bytes of a file are those of a WebP that says that it is animated."""
    return start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X" and len(start) > 20 and bool(start[20] & _ANIMATED)


def read_webp(data: Data) -> Animation:
    """Take an animated WebP apart.

    Raises:
        ImageFileError: cut off, damaged, or frames are missing or outside the picture.
    """
    header = read_container(data)
    (size,) = struct.unpack_from("<I", data, 4)
    chunks = list(_chunks(memoryview(data)[_RIFF_HEADER : 8 + size]))
    first = dict(reversed(chunks))
    bodies = [body for kind, body in chunks if kind == b"ANMF"]
    if not bodies or any(len(body) < _FRAME_HEADER for body in bodies) or len(first.get(b"ANIM", b"")) < 6:
        raise ImageFileError("it is damaged: it is marked as animated and has no frames; copy or download it again")
    boxes = [_box(body) for body in bodies]
    for number, box in enumerate(boxes, 1):
        if box.bottom > header.height or box.right > header.width:
            raise ImageFileError(f"frame {number} of {len(boxes)} reaches out of the picture; save it again")

    def pieces() -> Iterator[Piece]:
        for number, (body, box) in enumerate(zip(bodies, boxes, strict=True), 1):
            with frame_errors(number, len(bodies)):
                image = decode_image(_still(body, box), max_pixels=None).image_hwc
                if image.shape[:2] != (box.bottom - box.top, box.right - box.left):
                    raise ImageFileError("its size is not the one that is claimed; copy or download it again")
            flags = body[15]
            yield Piece(
                image=image,
                box=box,
                over=not flags & _NOT_OVER,
                disposal="clear" if flags & _CLEAR else "keep",
            )

    return Animation(
        container=header,
        durations_s=tuple(Fraction(_u24(body, 12), _MS) for body in bodies),
        plays=int.from_bytes(first[b"ANIM"][4:6], "little"),
        pieces=pieces,
    )


def write_webp(file: BinaryIO, pictures: Iterable[Image], shown: Shown) -> None:
    """Write an animated WebP, frame by frame; of each frame what differs from the one before.

    A frame that equals the one before is stored like that one, so that both decode to the same samples.

    Raises:
        ImageFileError: too large for the format, or for the memory.
    """
    before: Image | None = None
    stored = b""
    trailing: list[tuple[bytes, memoryview]] = []
    file.write(b"RIFF\0\0\0\0WEBP")
    for image, duration_ms in zip(pictures, whole_units(shown, _MS, _MAX_DURATION_MS), strict=True):
        box = Box(0, 0, *image.shape[:2]) if before is None else _even(changed_box(before, image))
        if box is not None:
            described = shown.described if before is None else Picture(image_hwc=image)
            part = replace(described, image_hwc=image[box.slices])
            chunks = list(_chunks(encode_picture(part, "webp", quality=shown.quality, name=shown.name)[_RIFF_HEADER:]))
            stored = _place(box) + bytes((0, 0, 0, _NOT_OVER)) + _picture_chunks(chunks)
            if before is None:
                trailing = _write_start(file, chunks, shown)
        file.write(_chunk(b"ANMF", stored[:12] + duration_ms.to_bytes(3, "little") + stored[15:]))
        before = image
    for kind, body in trailing:
        file.write(_chunk(kind, body))
    size = file.tell() - 8
    if size > _MAX_BYTES:
        raise ImageFileError(f"{shown.name} would have {size} bytes; WebP holds at most {_MAX_BYTES}: choose PNG")
    file.seek(4)
    file.write(struct.pack("<I", size))


def _write_start(
    file: BinaryIO, chunks: list[tuple[bytes, memoryview]], shown: Shown
) -> list[tuple[bytes, memoryview]]:
    """What comes before the first frame; gives what comes after the last one."""
    found = dict(chunks)
    flags = _ANIMATED | (0 if shown.opaque else _ALPHA)
    for kind, flag in ((b"ICCP", _PROFILE), (b"EXIF", _EXIF), (b"XMP ", _XMP)):
        flags |= flag if kind in found else 0
    sides = (shown.width - 1).to_bytes(3, "little") + (shown.height - 1).to_bytes(3, "little")
    file.write(_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides))
    if b"ICCP" in found:
        file.write(_chunk(b"ICCP", found[b"ICCP"]))
    plays = shown.plays if shown.plays <= _MAX_PLAYS else 0
    file.write(_chunk(b"ANIM", struct.pack("<IH", 0, plays)))
    return [(kind, found[kind]) for kind in (b"EXIF", b"XMP ") if kind in found]


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of every chunk that is whole."""
    position = 0
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join((kind, struct.pack("<I", len(body)), body, bytes(len(body) % 2)))


def _picture_chunks(chunks: list[tuple[bytes, memoryview]]) -> bytes:
    """Those that hold samples."""
    return b"".join(_chunk(kind, body) for kind, body in chunks if kind in (b"ALPH", b"VP8 ", b"VP8L"))


def _u24(data: memoryview, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "little")


def _box(body: memoryview) -> Box:
    """Place of a frame, from the head of its ANMF."""
    left, top, width, height = 2 * _u24(body, 0), 2 * _u24(body, 3), _u24(body, 6) + 1, _u24(body, 9) + 1
    return Box(top, left, top + height, left + width)


def _place(box: Box) -> bytes:
    numbers = box.left // 2, box.top // 2, box.right - box.left - 1, box.bottom - box.top - 1
    return b"".join(number.to_bytes(3, "little") for number in numbers)


def _even(box: Box | None) -> Box | None:
    """A box that starts where a frame can."""
    return None if box is None else Box(box.top // 2 * 2, box.left // 2 * 2, box.bottom, box.right)


def _still(body: memoryview, box: Box) -> bytes:
    """A frame as a WebP of its own."""
    chunks = list(_chunks(body[_FRAME_HEADER:]))
    sides = _place(Box(0, 0, box.bottom - box.top, box.right - box.left))[6:]
    flags = _ALPHA if any(kind in (b"ALPH", b"VP8L") for kind, _ in chunks) else 0
    riff = b"WEBP" + _chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides) + _picture_chunks(chunks)
    return b"RIFF" + struct.pack("<I", len(riff)) + riff
