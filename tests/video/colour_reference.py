"""Colours of video in float64, straight from the equations of ITU-T H.273 and apart from the code under test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RED_AND_BLUE = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Luma weights by code of the matrix."""
POSITIONS = {
    "left": (0.0, 0.5), "center": (0.5, 0.5), "topleft": (0.0, 0.0), "top": (0.5, 0.0), "bottomleft": (0.0, 1.0),
    "bottom": (0.5, 1.0),
}  # fmt: skip


def codes_from(rgb: Floats, matrix: int, full: bool, bits: int) -> Floats:
    """Y, Cb, Cr code values (not rounded) of R, G, B in 0..1, ... x 3."""
    red, blue = RED_AND_BLUE[matrix]
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    chroma_blue = (rgb[..., 2] - luma) / (2 * (1 - blue))
    chroma_red = (rgb[..., 0] - luma) / (2 * (1 - red))
    middle, unit = 2 ** (bits - 1), 2 ** (bits - 8)
    if full:
        gain = 2**bits - 1
        return np.stack([gain * luma, gain * chroma_blue + middle, gain * chroma_red + middle], -1)
    return np.stack([unit * (219 * luma + 16), unit * 224 * chroma_blue + middle, unit * 224 * chroma_red + middle], -1)


def rgb_from(codes: Floats, matrix: int, full: bool, bits: int) -> Floats:
    """R, G, B of Y, Cb, Cr code values, ... x 3: the inverse of the affine map above, by linear algebra."""
    zero = codes_from(np.zeros(3), matrix, full, bits)
    columns = np.stack([codes_from(unit, matrix, full, bits) - zero for unit in np.eye(3)], 1)
    return (codes - zero) @ np.linalg.inv(columns).T


def enlarged(plane: Floats, factors: tuple[int, int], location: str, size: tuple[int, int]) -> Floats:
    """A chroma plane at every pixel of H x W, bilinear.

    Args:
        factors: columns and rows for a sample.
        size: height, width.
    """
    rows = _between(plane, factors[1], POSITIONS[location][1], size[0])
    return _between(rows.T, factors[0], POSITIONS[location][0], size[1]).T


def _between(plane: Floats, factor: int, position: float, count: int) -> Floats:
    at = (np.arange(count) - position * (factor - 1)) / factor
    return np.stack([np.interp(at, np.arange(len(plane)), column) for column in plane.T], 1)


def reduced(plane: Floats, factors: tuple[int, int], location: str) -> Floats:
    """The mean of H x W values over the area that each chroma sample stands for."""
    rows = _means(plane, factors[1], POSITIONS[location][1])
    return _means(rows.T, factors[0], POSITIONS[location][0]).T


def _means(plane: Floats, factor: int, position: float) -> Floats:
    """Of a curve that is constant over every pixel, by its integral: exact for any place."""
    reach = 4 * factor
    longer = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
    integral = np.vstack([np.zeros(plane.shape[1]), np.cumsum(longer, 0)])
    samples = -(-len(plane) // factor)
    middle = np.arange(samples) * factor + position * (factor - 1) + 0.5 + reach
    edges = np.arange(len(integral))
    upper, lower = (
        [np.interp(middle + side, edges, line) for line in integral.T] for side in (factor / 2, -factor / 2)
    )
    return (np.array(upper) - np.array(lower)).T / factor


def rounded(values: Any, top: int) -> NDArray[np.int64]:
    """To the nearest whole number in 0..top."""
    return np.clip(np.rint(values), 0, top).astype(np.int64)
