"""What an image file says before it is decoded: format, size, samples, metadata; and whether it is whole.

Decoders fill what is missing from a cut-off file with gray and carry on, so the container is walked to its end first.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Collection

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats import avif, bmp, gif, jpeg, png, tiff, webp
from repsr_deploy.imaging.formats.base import (
    FORMAT_NAMES,
    WEB_FORMATS,
    Container,
    Format,
    WebFormat,
    cut_off,
    starts_with,
)

__all__ = [
    "WEB_FORMATS", "Container", "Data", "Format", "UnknownFormatError", "WebFormat", "decodable", "format_of_content",
    "read_container",
]  # fmt: skip

Data = bytes | bytearray | memoryview | mmap.mmap
"""Bytes of a file, wherever they are."""
ALL_FORMATS: tuple[Format, ...] = tuple(FORMAT_NAMES)
_READERS: dict[Format, Callable[[memoryview], Container]] = {
    "png": png.read_png, "jpeg": jpeg.read_jpeg, "webp": webp.read_webp, "tiff": tiff.read_tiff, "bmp": bmp.read_bmp,
    "avif": avif.read_avif, "gif": gif.read_gif,
}  # fmt: skip


class UnknownFormatError(ImageFileError):
    """A file is of no format that is asked for."""


def decodable(data: Data, container: Container) -> Data:
    """What the decoder needs of a file that `read_container` has read."""
    return png.still_png(memoryview(data)) if container.format == "png" else data


def format_of_content(data: Data) -> Format | None:
    """The format that a file starts as, whatever its name."""
    view = memoryview(data)
    signatures: dict[Format, tuple[bytes, ...]] = {
        "png": (png.SIGNATURE,), "jpeg": (jpeg.SIGNATURE,), "tiff": tiff.SIGNATURES, "gif": gif.SIGNATURES,
        "bmp": (bmp.SIGNATURE,),
    }  # fmt: skip
    for form, starts in signatures.items():
        if any(starts_with(view, start) for start in starts):
            return form
    return "webp" if webp.is_webp(view) else "avif" if avif.is_avif(view) else None


def read_container(data: Data, formats: Collection[Format] = ALL_FORMATS) -> Container:
    """Walk a file to its end, in time that grows with its size and with the parts that it has, which are bounded.

    Args:
        formats: that are read.

    Raises:
        UnknownFormatError: empty, or of another format; the message names no file.
        ImageFileError: cut off or damaged.
    """
    view = memoryview(data)
    form = format_of_content(view)
    if form is not None and form in formats:
        try:
            return _READERS[form](view)
        except (struct.error, IndexError) as error:
            raise cut_off(view) from error
    *others, last = (FORMAT_NAMES[known] for known in ALL_FORMATS if known in formats)
    expected = f"expected a {', '.join(others)} or {last} image"
    if not view:
        raise UnknownFormatError(f"it is empty; {expected}")
    raise UnknownFormatError(f"it starts with {bytes(view[:8])!r}; {expected}")
