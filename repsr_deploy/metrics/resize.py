"""Bicubic resizing as MATLAB's `imresize(..., 'bicubic')` does it: how the literature makes LR images and its baseline.

Not what OpenCV or PyTorch call bicubic: the kernel has a = -0.5, widens by 1/scale when reducing (antialiasing), the
image is mirrored at its borders, and an integer image is rounded after each of the two passes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError

Image = NDArray[Any]
Float = NDArray[np.float64]

KERNEL_WIDTH = 4.0
# Rows computed at once: their float64 copies stay in the processor's cache, and large photographs cost little memory.
BLOCK_ROWS = 16
# Ties are common (weights are fractions of small denominators) and their sums carry noise of about 1e-13 that depends
# on the order of summation: with this added first, every machine rounds them up.
TIE = 1e-9


def imresize(
    image: Image, scale: float | Fraction | None = None, *, output_size: tuple[int, int] | None = None
) -> Image:
    """Resize an image H x W or H x W x C; MATLAB's `imresize(image, scale, 'bicubic')`. Thread-safe.

    Args:
        image: uint8 or uint16 (each pass rounded half up and clipped to the type), or float (computed in float64,
            neither rounded nor clipped).
        scale: output pixels per input pixel along both sides. A float that means a fraction (1 / 3) is taken as it.
        output_size: (height, width). Without it, MATLAB's ceil(size * scale). Without `scale`, each side's scale is
            output size / input size. With both, `scale` places the pixels and `output_size` counts them.

    Returns:
        A new image of the same type and number of dimensions.

    Raises:
        UsageError: neither or an impossible scale or size, or an array that is no image.
    """
    if image.ndim not in (2, 3) or image.size == 0:
        raise UsageError(f"image has shape {image.shape}; expected H x W or H x W x C, not empty")
    if image.dtype.kind != "f" and image.dtype.name not in ("uint8", "uint16"):
        raise UsageError(f"image has type {image.dtype}; expected uint8, uint16 or float")
    sides = [_side(image.shape[axis], scale, output_size[axis] if output_size else None) for axis in (0, 1)]
    pixels = image if image.dtype.kind == "u" else image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda axis: sides[axis][1]):  # MATLAB's order: smaller scale first, else rows
        rows = np.ascontiguousarray(np.swapaxes(pixels, 0, axis))
        pixels = np.swapaxes(_resize_rows(rows, *sides[axis]), 0, axis)
    return np.ascontiguousarray(pixels, dtype=image.dtype)


def _side(size: int, scale: float | Fraction | None, output_size: int | None) -> tuple[int, float]:
    """Output size and scale along one side."""
    if scale is None and output_size is None:
        raise UsageError("neither scale nor output size is given; expected at least one of them")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"scale is {scale}; expected a finite number above 0")
    if output_size is not None and output_size < 1:
        raise UsageError(f"output size is {output_size}; expected at least 1 pixel")
    if scale is None:
        assert output_size is not None
        return output_size, output_size / size
    # 1 / 3 as a float may be a hair above the fraction, and ceil would then add a pixel
    exact = Fraction(scale).limit_denominator(100_000)
    return output_size or max(1, math.ceil(size * exact)), float(scale)


def _cubic(x: Float) -> Float:
    """Keys' cubic convolution kernel, a = -0.5 (IEEE TASSP 29(6), 1981, equation 15); 0 from |x| = 2 on."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _taps(output_size: int, scale: float) -> tuple[NDArray[np.intp], Float]:
    """First input index (may lie outside the image) of each output pixel, and its weights, output size x taps."""
    narrow = min(scale, 1.0)
    width = KERNEL_WIDTH / narrow
    centre = (np.arange(output_size, dtype=np.float64) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2).astype(np.intp)
    offset = np.arange(math.ceil(width) + 2)
    weights = _cubic((centre[:, None] - (first[:, None] + offset)) * narrow)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(weights.any(axis=0))
    return first + used[0], weights[:, used[0] : used[-1] + 1]


def _resize_rows(rows: Image, output_size: int, scale: float) -> Image:
    """One pass along the first axis."""
    first, weights = _taps(output_size, scale)
    taps = weights.shape[1]
    mirrored = np.concatenate([np.arange(len(rows)), np.arange(len(rows))[::-1]])
    flat = rows.reshape(len(rows), -1)
    output = np.empty((output_size, flat.shape[1]), rows.dtype)
    for start in range(0, output_size, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, output_size)
        needed = np.arange(first[start], first[stop - 1] + taps)
        source = flat[mirrored[needed % len(mirrored)]].astype(np.float64)
        block = np.empty((stop - start, flat.shape[1]))
        for row, offset in enumerate(first[start:stop] - first[start]):
            np.einsum("t,tk->k", weights[start + row], source[offset : offset + taps], out=block[row])
        if output.dtype.kind == "u":
            np.clip(np.floor(block + (0.5 + TIE)), 0, np.iinfo(output.dtype).max, out=block)
        output[start:stop] = block
    return output.reshape(output_size, *rows.shape[1:])
