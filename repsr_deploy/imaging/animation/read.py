"""Animation files, known by what they start with."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.animation.apng import read_apng
from repsr_deploy.imaging.animation.base import Animation
from repsr_deploy.imaging.animation.gif import has_several_frames, read_gif
from repsr_deploy.imaging.animation.webp import is_animated_webp, read_webp
from repsr_deploy.imaging.formats.gif import SIGNATURES as GIF
from repsr_deploy.imaging.formats.png import SIGNATURE as PNG


def is_animated(path: Path) -> bool:
    """Whether a file is an animation, by its content, whatever its name; nothing is decoded.

    That is: a PNG that says it has several frames, a WebP that says it is animated, a GIF of several frames.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(32)
        if start.startswith(GIF):
            file.seek(0)
            return has_several_frames(file.read())
        return is_animated_webp(start) or (start.startswith(PNG) and _has_several_pngs(file))


def read_animation(path: Path, *, max_pixels: int | None) -> Animation:
    """Take an animation file apart; frames are decoded as they are asked for.

    Raises:
        ImageFileError: unreadable, no animation, cut off, damaged, or above `max_pixels`; names the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"cannot read {path}: {error.strerror}; expected a readable image file") from error
    try:
        animation = _read(data, str(path))
    except ImageFileError as error:
        raise ImageFileError(f"cannot read {path}: {error}") from error
    width, height = animation.container.seen_size
    if max_pixels is not None and width * height > max_pixels:
        raise ImageFileError(f"{path} claims {width} x {height} pixels; expected at most {max_pixels} in all")
    return animation


def _read(data: bytes, name: str) -> Animation:
    if data.startswith(GIF):
        return read_gif(data, name)
    if data.startswith(PNG):
        return read_apng(data)
    if is_animated_webp(data[:32]):
        return read_webp(data)
    raise ImageFileError(f"it starts with {data[:8]!r}; expected an animated PNG, WebP or GIF")


def _has_several_pngs(file: BinaryIO) -> bool:
    """What acTL says, which comes before the first picture's data."""
    position = len(PNG)
    while True:
        file.seek(position)
        head = file.read(12)
        if len(head) < 12 or head[4:8] == b"IDAT":
            return False
        length, kind, frames = struct.unpack(">I4sI", head)
        if kind == b"acTL":
            return frames > 1
        position += 12 + length
