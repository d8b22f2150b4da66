"""Where on Earth the pixels of a picture lie, for an enlarged one: GeoTIFF tags. Source: GeoTIFF 1.1 (OGC 19-008r4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.formats.ifd import ASCII, SHORT, Block, Directory, Value

PIXEL_SCALE, TIEPOINTS, TRANSFORMATION = 33550, 33922, 34264
KEYS, DOUBLES, TEXTS = 34735, 34736, 34737
_DOUBLE = 12
_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2


def is_georeferenced(directory: Directory) -> bool:
    """Whether a picture says where it lies."""
    return bool({PIXEL_SCALE, TIEPOINTS, TRANSFORMATION} & directory.entries.keys())


def scaled_georeference(block: Block, directory: Directory, scale: int) -> dict[int, Value]:
    """The tags, little-endian, of the same picture with `scale` times as many pixels along each side.

    Positions are counted in pixels from the outer corner of the first one, or from its centre where pixels are points.

    Raises:
        ImageFileError, struct.error: they are damaged.
    """
    values = {
        tag: block.value(directory.entries[tag])
        for tag in (PIXEL_SCALE, TIEPOINTS, TRANSFORMATION, KEYS, DOUBLES, TEXTS)
        if tag in directory.entries
    }
    keys = np.array(block.numbers(directory, KEYS)[4:]).reshape(-1, 4)  # key, where its value stands, count, value
    is_point = any(key == _RASTER_TYPE and value == _PIXEL_IS_POINT for key, _, _, value in keys)
    corner = 0.5 if is_point else 0.0
    made: dict[int, Value] = {}
    for tag, value in values.items():
        if value.kind in (SHORT, _DOUBLE):
            numbers = np.frombuffer(value.data, f"{block.order}{'u2' if value.kind == SHORT else 'f8'}")
            made[tag] = _value(value.kind, _scaled(tag, numbers, scale, corner))
        elif value.kind == ASCII:
            made[tag] = value
    return made


def _scaled(tag: int, numbers: NDArray[np.generic], scale: int, corner: float) -> NDArray[np.generic]:
    if tag == PIXEL_SCALE:
        return numbers / np.array([scale, scale, 1.0])
    if tag == TIEPOINTS:
        points = numbers.reshape(-1, 6).astype(np.float64)
        points[:, :2] = (points[:, :2] + corner) * scale - corner
        return points
    if tag == TRANSFORMATION:
        to_model = numbers.reshape(4, 4).astype(np.float64)
        shift = corner / scale - corner
        to_old = np.array([[1 / scale, 0, 0, shift], [0, 1 / scale, 0, shift], [0, 0, 1, 0], [0, 0, 0, 1]])
        return to_model @ to_old
    return numbers


def _value(kind: int, numbers: NDArray[np.generic]) -> Value:
    return Value(kind, numbers.size, numbers.astype("<u2" if kind == SHORT else "<f8").tobytes())
