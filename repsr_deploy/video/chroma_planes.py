"""Chroma planes at full and at reduced size, the samples where the video says that they lie. float32 H x W.

Enlarging is bilinear; reducing is the mean over the pixels that a sample stands for. Beyond the edges the last sample
is repeated. For 4:2:0 both are as in `repsr_kernels.reference.yuv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
"""float32"""


def padded(plane: Plane, top: int, bottom: int, left: int, right: int) -> Plane:
    """H x W (x C) of any type, the edges repeated outwards."""
    return cv2.copyMakeBorder(plane, top, bottom, left, right, cv2.BORDER_REPLICATE)


def enlarged_rows(padded_plane: Plane, factor: int, position: float) -> Plane:
    """H + 2 rows, the first and the last for what lies beyond, to factor * H rows.

    Args:
        position: row of the first of the H in the enlarged plane.
    """
    if factor == 1:
        return padded_plane[1:-1]
    height, width = padded_plane.shape[0] - 2, padded_plane.shape[1]
    result = np.empty((height, factor, width), np.float32)
    for phase, (first, weight) in enumerate(_bilinear(factor, position)):
        before, after = padded_plane[first : first + height], padded_plane[first + 1 : first + 1 + height]
        result[:, phase] = cv2.addWeighted(before, 1 - weight, after, weight, 0)
    return result.reshape(height * factor, width)


def enlarged_columns(padded_plane: Plane, factor: int, position: float) -> Plane:
    """As `enlarged_rows`, for columns."""
    if factor == 1:
        return padded_plane[:, 1:-1]
    height, width = padded_plane.shape[0], padded_plane.shape[1] - 2
    phases = [
        cv2.addWeighted(
            padded_plane[:, first : first + width], 1 - weight,
            padded_plane[:, first + 1 : first + 1 + width], weight, 0,
        )
        for first, weight in _bilinear(factor, position)
    ]  # fmt: skip
    return cv2.merge(phases).reshape(height, width * factor)


def _bilinear(factor: int, position: float) -> Iterator[tuple[int, float]]:
    """For each phase: where the first of two samples begins in the padded plane, and the weight of the second."""
    for phase in range(factor):
        at = (phase - position) / factor
        yield floor(at) + 1, at - floor(at)


def reduced_rows(padded_image: Plane, factor: int, position: float) -> Plane:
    """(H + 2) * factor rows (x W x C), the first and last `factor` for what lies beyond, to H."""
    height = padded_image.shape[0] // factor - 2
    total: Plane | None = None
    for offset, weight in _box(factor, position):
        start = factor + offset
        rows = padded_image[start : start + (height - 1) * factor + 1 : factor]
        total = _weighted(total, rows, weight)
    assert total is not None
    return total


def reduced_columns(padded_plane: Plane, factor: int, position: float) -> Plane:
    """As `reduced_rows`, for the columns of H x (W + 2) * factor."""
    if factor == 1:
        return padded_plane[:, 1:-1]
    height, width = padded_plane.shape[0], padded_plane.shape[1] // factor - 2
    phases = cv2.split(padded_plane.reshape(height, width + 2, factor))
    total: Plane | None = None
    for offset, weight in _box(factor, position):
        start = 1 + offset // factor
        total = _weighted(total, phases[offset % factor][:, start : start + width], weight)
    assert total is not None
    return total


def _weighted(total: Plane | None, values: Plane, weight: float) -> Plane:
    if total is None:
        return values * np.float32(weight)
    return cv2.scaleAdd(values, weight, total)


def _box(factor: int, position: float) -> list[tuple[int, float]]:
    """Offsets of the pixels that lie within half the distance of chroma samples of one, and their shares of it."""
    low, high = position - factor / 2, position + factor / 2
    shares = {x: min(x + 0.5, high) - max(x - 0.5, low) for x in range(floor(low), floor(high) + 2)}
    return [(x, share / factor) for x, share in shares.items() if share > 0]
