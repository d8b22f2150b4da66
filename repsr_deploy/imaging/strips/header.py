"""Size of a picture from the first bytes of its file."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats.ifd import Block
from repsr_deploy.imaging.strips.tiff import Tag

LARGE_PIXELS = 2**27
"""Pictures above, 134 megapixels, are upscaled in strips: as a whole, their x2 alone takes 1.6 GB, their x4 6.4 GB."""

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff", b"MM\0*": "tiff", b"II+\0": "tiff", b"MM\0+": "tiff",
}  # fmt: skip
"""What files that can be read in strips start with."""

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG, DAC
_MOST_SEGMENTS = 4096


def is_large(path: Path) -> bool:
    """Whether a file claims to be a PNG, TIFF or JPEG picture of more than `LARGE_PIXELS`; quick, never an error."""
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            return False
        with _mapped(path) as data:
            width, height = _size_of(data)
    except (OSError, ValueError, IndexError, struct.error, ImageFileError):
        return False
    return width * height > LARGE_PIXELS


def form_of(start: bytes) -> str | None:
    """png, jpeg or tiff, by the first 8 bytes of a file; None for anything else."""
    return next((form for signature, form in SIGNATURES.items() if start.startswith(signature)), None)


@contextmanager
def tiff_block(path: Path) -> Generator[Block]:
    """The directories of a TIFF file.

    Raises:
        OSError, ValueError, struct.error, ImageFileError: it cannot be read, or is none.
    """
    with _mapped(path) as data:
        yield Block.of(data)


@contextmanager
def _mapped(path: Path) -> Generator[memoryview]:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        yield view


def _size_of(data: memoryview) -> tuple[int, int]:
    """(width, height) as stored.

    Raises:
        ValueError, IndexError, struct.error, ImageFileError: no such picture.
    """
    match form_of(bytes(data[:8])):
        case "png":
            return struct.unpack_from(">II", data, 16)
        case "jpeg":
            return _jpeg_size(data)
        case "tiff":
            block = Block.of(data)
            main = block.directory(block.first)
            return block.number(main, Tag.IMAGE_WIDTH), block.number(main, Tag.IMAGE_LENGTH)
        case _:
            raise ValueError(f"a file starts with {bytes(data[:8])!r}")


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    """From the frame, behind segments with metadata (ITU-T T.81, annex B)."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF:
            break
        if kind in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if kind == 0xFF else 2 + length  # a marker may be preceded by more than its own FF
    raise ValueError("a JPEG file has no frame near its start")
