"""GIF, frame by frame; Pillow chooses the colours and compresses. Source: GIF89a (CompuServe, 1990)."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.animation.base import Shown, whole_units
from repsr_deploy.imaging.animation.canvas import changed_box
from repsr_deploy.imaging.animation.gif import (
    APPLICATION,
    CENTISECONDS,
    END,
    EXTENSION,
    NETSCAPE,
    Frame,
    control_bytes,
    only_frame,
    screen_bytes,
)
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box

log = logging.getLogger(__name__)

_MOST = 2**16 - 1
"""Of whatever GIF counts: pixels of a side, repetitions, hundredths of a second."""
_COLOURS = 255
"""Of a frame; the one more that a palette has room for is none, for what is transparent."""
_VISIBLE = 128
"""Smallest alpha of 8 bits that is visible: GIF knows no half."""
_SHORT = 2
"""Hundredths of a second below which browsers show a frame for ten."""
_KEEP, _CLEAR = 1 << 2, 2 << 2  # flags


def write_gif(file: BinaryIO, pictures: Iterable[Image], shown: Shown) -> None:
    """Write a GIF, each frame with 255 colours of its own and dithered (Floyd and Steinberg).

    Without transparency a frame holds what differs from the one before. What is lost is said in the log: colours, half
    transparency, metadata.

    Args:
        pictures: uint8, H x W x C; C is 1 or 3, and 2 or 4 where they are not opaque.

    Raises:
        ImageFileError: too large for the format.
    """
    if max(shown.width, shown.height) > _MOST:
        raise ImageFileError(
            f"cannot write {shown.name}: {shown.width} x {shown.height} pixels; GIF holds at most {_MOST} a side"
        )
    if any((shown.described.icc_profile, shown.described.exif, shown.described.xmp)):
        log.warning("%s: GIF holds no ICC profile, EXIF or XMP; they are left out", shown.name)
    durations = whole_units(shown, CENTISECONDS, _MOST)
    if any(0 < duration < _SHORT for duration in durations):
        log.warning("%s: browsers show frames shorter than 20 ms for 100 ms; WebP or PNG keep their times", shown.name)
    file.write(screen_bytes(shown.width, shown.height) + _repetitions(shown.plays))
    before: Image | None = None
    reduced = halved = False
    for picture, duration in zip(pictures, durations, strict=True):
        box = changed_box(before, picture) if before is not None and shown.opaque else Box(0, 0, *picture.shape[:2])
        before = picture
        if box is None:
            box, part = Box(0, 0, 1, 1), np.zeros((1, 1, 4), np.uint8)  # transparent: nothing changes
        else:
            part = picture[box.slices]
        frame, all_colours = encode_frame(part)
        reduced, halved = reduced or not all_colours, halved or _has_halves(part)
        frame.box = box
        file.write(control_bytes(_KEEP if shown.opaque else _CLEAR, duration, frame.transparent) + frame.image_bytes)
    file.write(bytes((END,)))
    if reduced:
        log.warning("%s: GIF holds 256 colours a frame; others became near ones, dithered", shown.name)
    if halved:
        log.warning("%s: GIF knows no half transparency; alpha from 128 on became opaque, below it none", shown.name)


def encode_frame(image: Image) -> tuple[Frame, bool]:
    """A frame of uint8 H x W x C with a palette for it, and whether that has all of its colours."""
    from PIL import Image as Pillow

    colours = image.shape[2] - 1 if image.shape[2] in (2, 4) else image.shape[2]
    hidden = image[..., -1] < _VISIBLE if colours < image.shape[2] else np.zeros(image.shape[:2], bool)
    visible = np.where(hidden[..., None], 0, image[..., :colours]).astype(np.uint8)
    indices, palette, exact = _indexed(np.broadcast_to(visible, (*visible.shape[:2], 3)))
    options: dict[str, Any] = {}
    if hidden.any():
        indices = np.where(hidden, np.uint8(_COLOURS), indices)
        palette = palette + bytes(3 * (_COLOURS + 1) - len(palette))
        options["transparency"] = _COLOURS
    picture = Pillow.fromarray(indices)
    picture.putpalette(palette)
    file = io.BytesIO()
    picture.save(file, "GIF", optimize=False, interlace=0, **options)
    return only_frame(file.getvalue()), exact


def _indexed(image: Image) -> tuple[Image, bytes, bool]:
    """RGB as numbers of colours, the colours, and whether these are all of the image."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(image))
    if picture.getcolors(_COLOURS) is not None:
        # Pillow's own choice merges near ones even where there is room for all
        numbers = image.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32)
        colours, indices = np.unique(numbers, return_inverse=True)
        palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1)
        return indices.reshape(numbers.shape).astype(np.uint8), palette.astype(np.uint8).tobytes(), True
    chosen = picture.quantize(_COLOURS, method=Pillow.Quantize.MEDIANCUT)
    indexed = picture.quantize(palette=chosen, dither=Pillow.Dither.FLOYDSTEINBERG)
    return np.asarray(indexed), bytes(indexed.getpalette() or [])[: 3 * _COLOURS], False


def _has_halves(image: Image) -> bool:
    alpha = image[..., -1] if image.shape[2] in (2, 4) else np.zeros(1)
    return bool(((alpha > 0) & (alpha < np.iinfo(np.uint8).max)).any())


def _repetitions(plays: int) -> bytes:
    """The loop, where there is one; more repetitions than GIF can count become endless ones."""
    if plays == 1:
        return b""
    count = plays - 1 if 1 < plays <= _MOST + 1 else 0
    return bytes((EXTENSION, APPLICATION, len(NETSCAPE))) + NETSCAPE + struct.pack("<BBHB", 3, 1, count, 0)
