"""Video colours in NumPy: between red, green, blue and code values, and chroma at half size. All in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.yuv import Siting, YuvColour

Floats = NDArray[np.float32]

SITED_ON: dict[Siting, tuple[bool, bool]] = {"left": (False, True), "center": (False, False), "top-left": (True, True)}
"""Whether chroma samples lie on the even rows and on the even columns; else between these and the next."""


def codes_of(rgb_n3hw: Floats, colour: YuvColour, bits: int) -> Floats:
    """Y, Cb, Cr code values, neither rounded nor clamped, N x 3 x H x W, of red, green, blue in 0..1."""
    matrix, offset = (numbers.astype(np.float32) for numbers in colour.codes(bits))
    red, green, blue = np.moveaxis(rgb_n3hw, 1, 0)
    return np.stack(
        [((m[0] * red + m[1] * green) + m[2] * blue) + black for m, black in zip(matrix, offset, strict=True)], 1
    )


def rgb_of(codes_n3hw: Floats, colour: YuvColour, bits: int) -> Floats:
    """Red, green, blue, N x 3 x H x W, of Y, Cb, Cr code values; beyond 0..1 where codes are of no colour."""
    matrix = colour.colours(bits).astype(np.float32)
    offset = colour.codes(bits)[1].astype(np.float32)
    luma, blue, red = np.moveaxis(codes_n3hw - offset[:, None, None], 1, 0)
    return np.stack([(m[0] * luma + m[1] * blue) + m[2] * red for m in matrix], 1)


def halved(
    planes: Floats, siting: Siting, top: int = 0, left: int = 0, rows: int | None = None, columns: int | None = None
) -> Floats:
    """Chroma samples ... x ceil(rows / 2) x ceil(columns / 2) of a part of values at every pixel, ... x H x W.

    The part begins at `top`, `left` and reaches to the end where it is not said how far. Pixels around it count too;
    beyond the planes the last one is repeated.
    """
    height, width = planes.shape[-2:]
    on_rows, on_columns = SITED_ON[siting]
    down = _halved(planes, -2, on_rows, top, height - top if rows is None else rows)
    return _halved(down, -1, on_columns, left, width - left if columns is None else columns)


def _halved(values: Floats, axis: int, sited_on: bool, start: int, count: int) -> Floats:
    even = start + np.arange(0, count, 2)
    before, first, second = (_taken(values, even + step, axis) for step in (-1, 0, 1))
    if sited_on:
        return np.asarray((before * 0.25 + first * 0.5) + second * 0.25, np.float32)
    return np.asarray(first * 0.5 + second * 0.5, np.float32)


def doubled(planes: Floats, siting: Siting, height: int, width: int) -> Floats:
    """Values at every pixel, ... x H x W, of chroma samples ... x ceil(H / 2) x ceil(W / 2)."""
    on_rows, on_columns = SITED_ON[siting]
    return _doubled(_doubled(planes, -2, on_rows, height), -1, on_columns, width)


def _doubled(samples: Floats, axis: int, sited_on: bool, count: int) -> Floats:
    position = np.arange(count) / 2 - (0 if sited_on else 0.25)  # in samples
    first = np.floor(position).astype(int)
    t = np.expand_dims((position - first).astype(np.float32), tuple(range(1, -axis)))
    return np.asarray(_taken(samples, first, axis) * (1 - t) + _taken(samples, first + 1, axis) * t, np.float32)


def _taken(values: Floats, indices: NDArray[np.intp], axis: int) -> Floats:
    return np.take(values, np.clip(indices, 0, values.shape[axis] - 1), axis)
