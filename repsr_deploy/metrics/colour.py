"""Studio-range BT.601 colour as MATLAB's `rgb2ycbcr` defines it: Y 16..235, Cb and Cr 16..240.

The one definition for scores on Y and for networks that see Y alone. Each pixel is computed by itself, in the same
order of operations wherever it lies, so that an image converted in tiles equals the image converted whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows Y, Cb, Cr: output in 0..255 from R, G, B in 0..1 (ITU-R BT.601, section 2.5; MATLAB rgb2ycbcr).
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
OFFSET = np.array([16.0, 128.0, 128.0])
INVERSE = np.linalg.inv(MATRIX)


def luma(image_hwc: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y of an RGB image H x W x 3 of uint8, H x W float64, 16..235, not rounded: what PSNR-Y is measured on."""
    red, green, blue = (image_hwc[..., channel].astype(np.float64) for channel in range(3))
    weights = MATRIX[0] / 255
    return red * weights[0] + green * weights[1] + blue * weights[2] + OFFSET[0]


def ycbcr_from_rgb(image_hwc: NDArray[Any]) -> NDArray[Any]:
    """RGB H x W x 3, float 0..1, to studio-range YCbCr / 255 of the same shape and type (Y 16/255..235/255)."""
    return _affine(image_hwc, MATRIX / 255, OFFSET / 255)


def rgb_from_ycbcr(image_hwc: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `ycbcr_from_rgb`, same shape and type; not clipped: YCbCr holds colours outside RGB's 0..1."""
    return _affine(image_hwc, INVERSE * 255, -INVERSE @ OFFSET)


def _affine(image_hwc: NDArray[Any], matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[Any]:
    output = np.empty_like(image_hwc)
    weights, offsets = matrix.astype(image_hwc.dtype), offset.astype(image_hwc.dtype)
    first, second, third = (image_hwc[..., channel] for channel in range(3))
    for channel, row in enumerate(weights):
        output[..., channel] = first * row[0] + second * row[1] + third * row[2] + offsets[channel]
    return output
