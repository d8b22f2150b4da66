"""What an image file says before it is decoded: format, size, samples, orientation, profile; and whether it is whole.

Decoders fill what is missing from a cut-off file with gray and carry on, so the container is walked to its end first.
"""

from __future__ import annotations

import mmap
import struct

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats import jpeg, png, webp
from repsr_deploy.imaging.formats.base import Container, Format, cut_off, starts_with

__all__ = ["Container", "Data", "Format", "UnknownFormatError", "decodable", "read_container"]

Data = bytes | bytearray | memoryview | mmap.mmap
"""Bytes of a file, wherever they are."""


class UnknownFormatError(ImageFileError):
    """A file is no PNG, JPEG or WebP."""


def decodable(data: Data, container: Container) -> Data:
    """What the decoder needs of a file that `read_container` has read."""
    return png.still_png(memoryview(data)) if container.format == "png" else data


def read_container(data: Data) -> Container:
    """Walk a file to its end, in time that grows with its size and with the parts that it has, which are bounded.

    Raises:
        UnknownFormatError: empty, or of another format; the message names no file.
        ImageFileError: cut off or damaged.
    """
    view = memoryview(data)
    try:
        if starts_with(view, png.SIGNATURE):
            return png.read_png(view)
        if starts_with(view, jpeg.SIGNATURE):
            return jpeg.read_jpeg(view)
        if webp.is_webp(view):
            return webp.read_webp(view)
    except (struct.error, IndexError) as error:
        raise cut_off(view) from error
    if not view:
        raise UnknownFormatError("it is empty; expected a PNG, JPEG or WebP image")
    raise UnknownFormatError(f"it starts with {bytes(view[:8])!r}; expected a PNG, JPEG or WebP image")
