"""GIF, taken apart into its frames; Pillow decodes each. Source: GIF89a (CompuServe, 1990).

Where programs disagree this does what browsers do: there is no background colour, and Netscape's number of repetitions
comes on top of the first time.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.animation.base import ENDLESS, Animation, Disposal, Piece, frame_errors
from repsr_deploy.imaging.container import Data, read_container
from repsr_deploy.imaging.formats.gif import SIGNATURES
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box

log = logging.getLogger(__name__)

CENTISECONDS = 100
EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
CONTROL, APPLICATION = 0xF9, 0xFF
NETSCAPE = b"NETSCAPE2.0"
TABLE, TRANSPARENT = 0x80, 0x01  # flags of a picture, and of a control
_INTERLACED = 0x40
_HEADER = 13
_DISPOSALS: tuple[Disposal, ...] = ("keep", "keep", "clear", "restore")


@dataclass(kw_only=True, eq=False)
class Frame:
    """A frame as a file has it."""

    box: Box
    palette: bytes
    """2 to 256 colours, 3 bytes each; empty where the file has none for it."""
    interlaced: bool = False
    transparent: int | None = None
    """Index of the colour that is none."""
    delay_s: Fraction = Fraction(0)
    disposal: Disposal = "keep"
    data: bytes = b""
    """Compressed: the size of its codes, blocks, and the empty block at their end."""

    @property
    def image_bytes(self) -> bytes:
        """The picture's header, palette and data."""
        box = self.box
        flags = _INTERLACED if self.interlaced else 0
        if self.palette:
            flags |= TABLE | (len(self.palette) // 3).bit_length() - 2
        header = struct.pack("<BHHHHB", IMAGE, box.left, box.top, box.right - box.left, box.bottom - box.top, flags)
        return header + self.palette + self.data


def control_bytes(flags: int, delay: int, transparent: int | None) -> bytes:
    """What comes before a frame: its disposal and other flags, its duration in hundredths of a second."""
    flags |= 0 if transparent is None else TRANSPARENT
    return struct.pack("<BBBBHBB", EXTENSION, CONTROL, 4, flags, delay, transparent or 0, 0)


def screen_bytes(width: int, height: int) -> bytes:
    """The start of a file without a palette for all frames."""
    return SIGNATURES[1] + struct.pack("<HHBBB", width, height, 0, 0, 0)


def has_several_frames(data: bytes) -> bool:
    """Whether a GIF reaches a second frame."""
    found = 0
    try:
        for _ in _frames(memoryview(data), _Plays()):
            found += 1
            if found > 1:
                return True
    except ImageFileError:
        pass  # whoever reads it will say so
    return False


def read_gif(data: Data, name: str) -> Animation:
    """Take a GIF apart.

    Args:
        name: of the file, for the log.

    Raises:
        ImageFileError: cut off, damaged, or without frames.
    """
    view, plays = memoryview(data), _Plays()
    frames = list(_frames(view, plays))  # before the container, to name the frame where it is cut off
    container = read_container(data)
    if not frames:
        raise ImageFileError(f"it is cut off after {len(view)} bytes; copy or download it again")
    if not plays.ended:
        log.warning("%s has no end mark: it may have had more than its %d frames", name, len(frames))
    for number, frame in enumerate(frames, 1):
        if frame.box.right > container.width or frame.box.bottom > container.height:
            raise ImageFileError(f"frame {number} of {len(frames)} reaches out of the picture; save it again")

    def pieces() -> Iterator[Piece]:
        for number, frame in enumerate(frames, 1):
            with frame_errors(number, len(frames)):
                image = decode_frame(frame)
            yield Piece(image=image, box=frame.box, over=True, disposal=frame.disposal)

    return Animation(
        container=container,
        durations_s=tuple(frame.delay_s for frame in frames),
        plays=plays.count,
        pieces=pieces,
    )


def only_frame(data: bytes) -> Frame:
    """The first frame of a GIF that is whole."""
    return next(_frames(memoryview(data), _Plays()))


def decode_frame(frame: Frame) -> Image:
    """uint8 H x W x 4 of a frame alone.

    Raises:
        ImageFileError: damaged.
    """
    from PIL.GifImagePlugin import GifImageFile

    height, width = frame.box.bottom - frame.box.top, frame.box.right - frame.box.left
    alone = Frame(
        box=Box(0, 0, height, width), palette=frame.palette, interlaced=frame.interlaced, data=frame.data
    )  # fmt: skip
    control = control_bytes(0, 0, frame.transparent)
    still = screen_bytes(width, height) + control + alone.image_bytes + bytes((END,))
    try:
        # not Image.open, whose limit of pixels is one for the whole process
        with GifImageFile(io.BytesIO(still)) as picture:
            return np.asarray(picture.convert("RGBA"))
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, struct.error) as error:
        raise ImageFileError(f"{error}; copy or download it again") from error


@dataclass
class _Plays:
    """What a walk finds beside frames."""

    count: int = 1
    ended: bool = False


def _frames(data: memoryview, plays: _Plays) -> Iterator[Frame]:
    """Walk a GIF to its end mark, or to its last byte between two blocks.

    Raises:
        ImageFileError: cut off or damaged; names the frame.
    """
    number = 1
    try:
        (flags,) = struct.unpack_from("<B", data, 10)
        common, position = _table(data, _HEADER, flags)
        control = Frame(box=Box(0, 0, 0, 0), palette=common)
        while position < len(data):
            kind = data[position]
            if kind == END:
                plays.ended = True
                return
            if kind == EXTENSION:
                _read_extension(data, position + 1, control, plays)
                position = _behind_blocks(data, position + 2)
            elif kind == IMAGE:
                position = _read_image(data, position + 1, control)
                yield control
                number += 1
                control = Frame(box=Box(0, 0, 0, 0), palette=common)
            else:
                raise ImageFileError(
                    f"it is damaged at frame {number}: GIF has no block {kind:#04x}; copy or download it again"
                )
    except (struct.error, IndexError) as error:
        raise ImageFileError(
            f"it is cut off in frame {number}, after {len(data)} bytes; copy or download it again"
        ) from error


def _read_extension(data: memoryview, position: int, control: Frame, plays: _Plays) -> None:
    label, length = data[position], data[position + 1]
    body = position + 2
    if label == CONTROL and length >= 4:
        flags, delay, transparent = struct.unpack_from("<BHB", data, body)
        control.delay_s = Fraction(delay, CENTISECONDS)
        control.disposal = _DISPOSALS[min(flags >> 2 & 7, 3)]
        control.transparent = transparent if flags & TRANSPARENT else None
    elif label == APPLICATION and bytes(data[body : body + length]) == NETSCAPE:
        size, kind, repetitions = struct.unpack_from("<BBH", data, body + length)
        if size >= 3 and kind == 1:
            plays.count = repetitions + 1 if repetitions else ENDLESS


def _read_image(data: memoryview, position: int, frame: Frame) -> int:
    """Fill in a frame; the position behind it."""
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, position)
    if not width * height:
        raise ImageFileError(f"it is damaged: a frame has {width} x {height} pixels; copy or download it again")
    own, start = _table(data, position + 9, flags)
    end = _behind_blocks(data, start + 1)
    frame.box = Box(top, left, top + height, left + width)
    frame.palette = own or frame.palette
    frame.interlaced = bool(flags & _INTERLACED)
    frame.data = bytes(data[start:end])
    return end


def _table(data: memoryview, position: int, flags: int) -> tuple[bytes, int]:
    """A table of colours, empty where flags announce none, and the position behind it."""
    end = position + (3 << (flags & 7) + 1 if flags & TABLE else 0)
    if end > len(data):
        raise IndexError(end)
    return bytes(data[position:end]), end


def _behind_blocks(data: memoryview, position: int) -> int:
    """Behind a row of blocks, each of which starts with its length; the last one is empty."""
    while data[position]:
        position += 1 + data[position]
    return position + 1
