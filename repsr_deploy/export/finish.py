"""What is left to be done with a network's features, in NumPy: the reference of every kernel that does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.model_info import Skip


def finish(features_nchw: NDArray[Any], image_nchw: NDArray[Any], scale: int, skip: Skip) -> NDArray[Any]:
    """PixelShuffle, skip and clamp to 0..1: N x C s s x H x W and the image N x C x H x W become N x C x sH x sW.

    PixelShuffle: output[n, c, s y + i, s x + j] = features[n, c s s + i s + j, y, x] (Shi et al., CVPR 2016).
    """
    count, channels, height, width = image_nchw.shape
    parts = features_nchw.reshape(count, channels, scale, scale, height, width).transpose(0, 1, 4, 2, 5, 3)
    picture_nchw = parts.reshape(count, channels, scale * height, scale * width)
    if skip != "none":
        picture_nchw = picture_nchw + enlarged(image_nchw, scale, skip)
    return np.clip(picture_nchw, 0, 1)


def enlarged(image_nchw: NDArray[Any], scale: int, skip: Skip) -> NDArray[Any]:
    """An image N x C x H x W as N x C x sH x sW: every pixel repeated, or bilinear with pixel centres aligned."""
    if skip == "nearest":
        return image_nchw.repeat(scale, axis=2).repeat(scale, axis=3)
    return _lines(_lines(image_nchw, scale, 2), scale, 3)


def _lines(image: NDArray[Any], scale: int, axis: int) -> NDArray[Any]:
    """Linear interpolation along an axis; beyond the border the last pixel is repeated."""
    side = image.shape[axis]
    centres = (np.arange(side * scale) + 0.5) / scale - 0.5
    low = np.floor(centres).astype(np.int64)
    shape = [-1 if index == axis else 1 for index in range(image.ndim)]
    share = (centres - low).astype(image.dtype).reshape(shape)
    before, after = (image.take(np.clip(low + step, 0, side - 1), axis=axis) for step in (0, 1))
    return before * (1 - share) + after * share
