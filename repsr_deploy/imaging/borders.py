"""What lies beyond the border of a texture: the opposite side or the mirror image, for networks and for resizing.

A network pads with zeros, which shows as a seam where a texture repeats. So the picture is padded as far as the network
looks, and what it makes of the padding is cut off: upscaling then commutes with shifting the texture, to the bit.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from repsr_deploy.imaging.samples import Image
from repsr_deploy.metrics.resize import KERNEL_WIDTH, imresize

Seamless = Literal["no", "wrap", "mirror"]


def padded(image_hwc: Image, pixels: int, seamless: Seamless) -> Image:
    """An image with so many pixels more at each of its sides; a small one repeats (or is mirrored) until they are full.

    Args:
        seamless: `wrap` for the opposite side, `mirror` for the mirror image, in which the outermost pixel comes twice.
    """
    if seamless == "no":
        return image_hwc
    return _pad(image_hwc, (pixels, pixels), seamless)


def resized(image_hwc: Image, size: tuple[int, int], seamless: Seamless) -> Image:
    """`metrics.resize.imresize` to (height, width), which mirrors at the borders, or takes the opposite side."""
    if seamless != "wrap":
        return imresize(image_hwc, output_size=size)
    pads = [_whole_pixels(old, new) for old, new in zip(image_hwc.shape, size, strict=False)]
    large = _pad(image_hwc, (pads[0], pads[1]), seamless)
    # a multiple of the period becomes a whole number of pixels, so that what is cut off ends between two of them
    cut = [pad * new // old for pad, old, new in zip(pads, image_hwc.shape, size, strict=False)]
    made = imresize(large, output_size=(size[0] + 2 * cut[0], size[1] + 2 * cut[1]))
    return np.ascontiguousarray(made[cut[0] : cut[0] + size[0], cut[1] : cut[1] + size[1]])


def _whole_pixels(old: int, new: int) -> int:
    """Fewest pixels that the kernel of a resize reaches no further than, and that become a whole number of pixels."""
    reach = math.ceil(KERNEL_WIDTH / 2 * max(1.0, old / new)) + 1
    period = old // math.gcd(old, new)
    return math.ceil(reach / period) * period


def _pad(image_hwc: Image, pads: tuple[int, int], seamless: Seamless) -> Image:
    widths = [(pads[0], pads[0]), (pads[1], pads[1]), *[(0, 0)] * (image_hwc.ndim - 2)]
    return np.pad(image_hwc, widths, mode="wrap" if seamless == "wrap" else "symmetric")
