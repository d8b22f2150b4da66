"""Animated PNG, taken apart into still PNGs and put together from them. Source: PNG 3 (W3C), sections 4.9, 11.3.6."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.animation.base import Animation, Disposal, Piece, Shown, frame_errors
from repsr_deploy.imaging.animation.canvas import changed_box
from repsr_deploy.imaging.container import Data, read_container
from repsr_deploy.imaging.formats.png import SIGNATURE
from repsr_deploy.imaging.image_bytes import decode_image, encode_picture
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box

_DISPOSALS: tuple[Disposal, ...] = ("keep", "clear", "restore")
_CONTROL = ">IIIIHHBB"
"""Of fcTL, behind its sequence number: width, height, x, y, delay's numerator and denominator, disposal, blending."""
_OVER = 1
_PIXEL = Box(0, 0, 1, 1)
_MAX_16 = 2**16 - 1


@dataclass(eq=False)
class _Stored:
    """A picture as the file has it."""

    number: int
    """Counted from 1; 0 for the hidden one."""
    box: Box
    delay_s: Fraction = Fraction(0)
    disposal: Disposal = "clear"
    over: bool = False
    data: list[memoryview] = field(default_factory=list[memoryview])


def read_apng(data: Data) -> Animation:
    """Take an animated PNG apart.

    Raises:
        ImageFileError: cut off, damaged, frames are missing, in a wrong order, or outside the picture.
    """
    header = read_container(data)
    chunks = list(_chunks(memoryview(data)))
    first = dict(reversed(chunks))
    try:
        count, plays = struct.unpack_from(">II", first[b"acTL"])
        stored = _stored(chunks, Box(0, 0, header.height, header.width))
    except struct.error as error:
        raise ImageFileError("it is damaged: a chunk of its frames is too short; copy or download it again") from error
    frames = [picture for picture in stored if picture.number]
    if not frames or len(frames) != count:
        raise ImageFileError(f"it claims {count} frames and holds {len(frames)}; copy or download it again")

    def pieces() -> Iterator[Piece]:
        for picture in stored:
            with frame_errors(picture.number, count):
                image = decode_image(_still(first, picture), max_pixels=None).image_hwc
            yield Piece(image=image, box=picture.box, over=picture.over, disposal=picture.disposal)

    return Animation(
        container=header,
        durations_s=tuple(picture.delay_s for picture in frames),
        plays=plays,
        pieces=pieces,
        has_hidden=len(stored) > count,
    )


def write_apng(file: BinaryIO, pictures: Iterable[Image], shown: Shown) -> None:
    """Write an animated PNG, frame by frame; of each frame what differs from the one before.

    Args:
        pictures: of one type, shape and layout, as `encode_picture` takes them; the hidden one first.

    Raises:
        ImageFileError: too large for the format, or for the memory.
    """
    before: Image | None = None
    sequence = 0
    first = 0 if shown.has_hidden else 1
    for number, image in enumerate(pictures, first):
        box = Box(0, 0, *image.shape[:2]) if before is None else changed_box(before, image) or _PIXEL
        described = shown.described if number == first else Picture(image_hwc=image)
        encoded = encode_picture(replace(described, image_hwc=image[box.slices]), "png", name=shown.name)
        chunks = list(_chunks(encoded))
        if number == first:
            _write_start(file, chunks, len(shown.durations_s), shown.plays)
        if number:
            control = _control(box, shown.durations_s[number - 1])
            _write_chunk(file, b"fcTL", struct.pack(">I", sequence), control)
            sequence += 1
            before = image
        for kind, body in chunks:
            if kind == b"IDAT" and number == first:
                _write_chunk(file, b"IDAT", body)
            elif kind == b"IDAT":
                _write_chunk(file, b"fdAT", struct.pack(">I", sequence), body)
                sequence += 1
    _write_chunk(file, b"IEND")


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of every chunk of a PNG that is whole."""
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def _stored(chunks: list[tuple[bytes, memoryview]], canvas: Box) -> list[_Stored]:
    """The pictures, each with its data."""
    stored: list[_Stored] = []
    sequence = number = 0
    for kind, body in chunks:
        number += kind == b"fcTL"
        if kind in (b"fcTL", b"fdAT"):
            (found,) = struct.unpack_from(">I", body)
            if found != sequence:
                raise ImageFileError(
                    f"frame {number} is damaged: part {found} comes where {sequence} was expected; download it again"
                )
            sequence += 1
        if kind == b"fcTL":
            stored.append(_placed(number, struct.unpack_from(_CONTROL, body, 4), canvas))
        elif kind == b"IDAT":
            if not stored:
                stored.append(_Stored(0, canvas))
            stored[-1].data.append(body)
        elif kind == b"fdAT":
            if not stored or not stored[-1].number:
                raise ImageFileError("it is damaged: data of a frame come before the frame; copy or download it again")
            stored[-1].data.append(body[4:])
    return stored


def _placed(number: int, control: tuple[int, ...], canvas: Box) -> _Stored:
    width, height, left, top, numerator, denominator, disposal, blending = control
    box = Box(top, left, top + height, left + width)
    if not width * height or box.bottom > canvas.bottom or box.right > canvas.right or disposal >= len(_DISPOSALS):
        raise ImageFileError(
            f"frame {number} is damaged: {width} x {height} pixels at {left}, {top} and disposal {disposal} make no "
            "sense; copy or download it again"
        )
    delay_s = Fraction(numerator, denominator or 100)  # 0 means 100, says the standard
    return _Stored(number, box, delay_s, _DISPOSALS[disposal], over=blending == _OVER)


def _still(first: dict[bytes, memoryview], picture: _Stored) -> bytes:
    """A picture as a PNG of its own."""
    box = picture.box
    sides = struct.pack(">II", box.right - box.left, box.bottom - box.top)
    needed = [(kind, first[kind]) for kind in (b"PLTE", b"tRNS") if kind in first]
    data = [(b"IDAT", body) for body in picture.data]
    chunks = [(b"IHDR", sides + first[b"IHDR"][8:]), *needed, *data, (b"IEND", b"")]
    return SIGNATURE + b"".join(piece for kind, body in chunks for piece in _chunk(kind, body))


def _write_start(file: BinaryIO, chunks: list[tuple[bytes, memoryview]], count: int, plays: int) -> None:
    """What comes before the first frame, its own data apart."""
    file.write(SIGNATURE)
    _write_chunk(file, *chunks[0])
    _write_chunk(file, b"acTL", struct.pack(">II", count, plays))
    for kind, body in chunks[1:-1]:
        if kind != b"IDAT":
            _write_chunk(file, kind, body)


def _control(box: Box, duration_s: Fraction) -> bytes:
    width, height, delay = box.right - box.left, box.bottom - box.top, _delay(duration_s)
    return struct.pack(_CONTROL, width, height, box.left, box.top, delay.numerator, delay.denominator, 0, 0)


def _delay(duration_s: Fraction) -> Fraction:
    """The nearest duration that two numbers of 16 bits give."""
    duration_s = min(duration_s, Fraction(_MAX_16))
    limit = _MAX_16 if duration_s <= 1 else int(_MAX_16 / duration_s)
    return duration_s.limit_denominator(limit)


def _write_chunk(file: BinaryIO, kind: bytes, *body: bytes | memoryview) -> None:
    file.writelines(_chunk(kind, b"".join(body)))


def _chunk(kind: bytes, body: bytes | memoryview) -> tuple[bytes, bytes | memoryview, bytes]:
    return struct.pack(">I4s", len(body), kind), body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
