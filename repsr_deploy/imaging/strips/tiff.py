"""Directories of the TIFF files that are written: little-endian, classic or BigTIFF.

Sources: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF (libtiff's specification).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

import numpy as np

from repsr_deploy.imaging.formats.ifd import LONG, LONG8, RATIONAL, SHORT, Value

_NUMBERS = {SHORT: "<u2", LONG: "<u4", RATIONAL: "<u4", LONG8: "<u8"}


class Tag(IntEnum):
    """Fields of a picture's directory, by their numbers."""

    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    IMAGE_DESCRIPTION = 270
    SAMPLES_PER_PIXEL = 277
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339


def numbers(kind: int, *values: int) -> Value:
    """Whole numbers from 0 as the value of a tag; a fraction is two."""
    return Value(kind, len(values) // (2 if kind == RATIONAL else 1), np.array(values, _NUMBERS[kind]).tobytes())


def position(at: int, *more: int, big: bool) -> Value:
    """Places in the file, or lengths."""
    return numbers(LONG8 if big else LONG, at, *more)


def pack_header(first: int, *, big: bool) -> bytes:
    """The first bytes of a file whose first directory stands at `first`."""
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHI", b"II", 42, first)


def pack_directory(values: Mapping[int, Value], at: int, *, big: bool) -> bytes:
    """A directory that will stand `at` an even place, with no other behind it, and the values that it refers to."""
    count_code, entry_code, offset_code = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    word = struct.calcsize(offset_code)
    data_at = at + struct.calcsize(count_code) + len(values) * (struct.calcsize(entry_code) + word) + word
    entries, data = [struct.pack(count_code, len(values))], bytearray()
    for tag, value in sorted(values.items()):
        entries.append(struct.pack(entry_code, tag, value.kind, value.count))
        if len(value.data) <= word:
            entries.append(value.data.ljust(word, b"\0"))
        else:
            entries.append(struct.pack(offset_code, data_at + len(data)))
            data += value.data + bytes(len(value.data) % 2)
    return b"".join((*entries, bytes(word), data))
