"""TIFF files of samples: deflated strips behind a predictor, which every reader knows. Sources: as in `tiff`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats import exif as exif_tags
from repsr_deploy.imaging.formats import tiff
from repsr_deploy.imaging.formats.ifd import (
    BYTE,
    RATIONAL,
    UNDEFINED,
    Block,
    Value,
    directory_bytes,
    longs,
    shorts,
)
from repsr_deploy.imaging.samples import Image

STRIP_BYTES = 2**18
MAX_BYTES = 2**32 - 1
"""Of a file whose places have 32 bits."""
_LEVEL = 6
_DENSITY_UNITS = 10_000
_INCH = 2


def tiff_pieces(
    image: Image,
    *,
    profile: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    density: tuple[float, float] | None,
) -> list[bytes]:
    """A TIFF file in pieces.

    An EXIF block stands at its start, and the file's own directory points into it: nothing in it moves.

    Args:
        image: H x W, H x W x 2 (gray, alpha), x 3 or x 4, alpha not premultiplied.
        exif: a block with orientation 1.

    Raises:
        ImageFileError: the file would have more than `MAX_BYTES`.
    """
    head, values = _described(exif)
    order = "<" if head[:1] == b"I" else ">"
    pieces = [head]
    position, places, lengths = len(head), list[int](), list[int]()
    height, width = image.shape[:2]
    samples = 1 if image.ndim == 2 else image.shape[2]
    rows = max(1, STRIP_BYTES // (width * samples * image.itemsize))
    for strip in _strips(image.reshape(height, width, samples), rows, order):
        places.append(position)
        lengths.append(len(strip))
        pieces.append(strip + bytes(len(strip) % 2))
        position += len(pieces[-1])
    if position > MAX_BYTES:
        raise ImageFileError("TIFF of 4 GiB and more is not written in one piece; choose PNG or a smaller image")
    colours = 1 if samples < 3 else 3
    values |= {
        256: longs(order, width),
        257: longs(order, height),
        258: shorts(order, *(8 * image.itemsize,) * samples),
        259: shorts(order, tiff.DEFLATE),
        262: shorts(order, tiff.MIN_IS_BLACK if colours == 1 else tiff.RGB),
        273: longs(order, *places),
        exif_tags.ORIENTATION: shorts(order, 1),
        277: shorts(order, samples),
        278: longs(order, rows),
        279: longs(order, *lengths),
        284: shorts(order, 1),
        317: shorts(order, 2),
    }
    if samples > colours:
        values[338] = shorts(order, tiff.UNASSOCIATED)
    if density is not None:
        for tag, pixels in zip((282, 283), density, strict=True):
            fraction = round(min(pixels, 400_000) * _DENSITY_UNITS), _DENSITY_UNITS
            values[tag] = Value(RATIONAL, 1, struct.pack(f"{order}II", *fraction))
        values[296] = shorts(order, _INCH)
    if xmp is not None:
        values[exif_tags.XMP] = Value(BYTE, len(xmp), xmp)
    if profile is not None:
        values[exif_tags.ICC] = Value(UNDEFINED, len(profile), profile)
    pieces[0] = head[:4] + struct.pack(f"{order}I", position) + head[8:]
    pieces.append(directory_bytes(values, position, order))
    return pieces


def _described(exif: bytes | None) -> tuple[bytes, dict[int, Value]]:
    """What the file starts with, and the tags of its directory that an EXIF block gives."""
    if exif is None:
        return b"II*\0" + bytes(4), {}
    block = Block.of(memoryview(exif))
    entries = block.directory(block.first).entries
    kept = {tag: entry for tag, entry in entries.items() if tag not in exif_tags.STORAGE}
    kept |= {tag: entries[tag] for tag in (exif_tags.EXIF_IFD, exif_tags.GPS_IFD) if tag in entries}
    return exif + bytes(len(exif) % 2), {tag: block.value(entry) for tag, entry in kept.items()}


def _strips(image: Image, rows: int, order: str) -> Iterator[bytes]:
    for top in range(0, len(image), rows):
        strip = image[top : top + rows].copy()
        strip[:, 1:] -= image[top : top + rows, :-1]
        if strip.itemsize == 2:
            strip = strip.astype(f"{order}u2")
        yield zlib.compress(strip.data, _LEVEL)
