"""`FusedUpsample` as its docstring says it, step by step."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.operations import FusedUpsample, Skip
from repsr_kernels.reference.samples import load, store
from repsr_kernels.reference.yuv import Floats, codes_of, halved
from repsr_kernels.tensors import Tensor
from repsr_kernels.yuv import YuvFrame


def upsample(operation: FusedUpsample) -> None:
    """Do it, in the memory of the host.

    Raises:
        UsageError: its tensors lie in the memory of a GPU.
    """
    low, high = (np.float32(value) for value in operation.range)
    part, scale = operation.part, operation.scale
    top, left, rows, columns = (scale * side for side in (part.top, part.left, part.rows, part.columns))
    with np.errstate(all="ignore"):  # NaN and infinities are part of what is specified
        span = high - low
        image_nchw = None if operation.image is None else _as_seen(operation.image, low, span)
        sums = summed(load(operation.features), image_nchw, scale, operation.skip)
        pictures = (sums - low) * (np.float32(1) / span)
    pictures = np.where(pictures <= 0, np.float32(0), np.where(pictures >= 1, np.float32(1), pictures))
    if isinstance(operation.out, YuvFrame):
        _store_video(np.nan_to_num(pictures, nan=0.0), operation.out, top, left)
    else:
        made = pictures[:, :, top : top + rows, left : left + columns]
        is_bytes = operation.out.type == "uint8"
        store(np.nan_to_num(made, nan=0.0) * np.float32(255) if is_bytes else made, operation.out)
    if operation.nonfinite is not None:
        counted = sums[:, :, top : top + rows, left : left + columns]
        ctypes.c_uint64.from_address(operation.nonfinite).value += int(np.count_nonzero(~np.isfinite(counted)))


def summed(features_nchw: NDArray[Any], image_nchw: NDArray[Any] | None, scale: int, skip: Skip) -> NDArray[Any]:
    """PixelShuffle and skip, before the clamp: N x C s s x H x W and N x C x H x W as N x C x sH x sW."""
    pictures = shuffled(features_nchw, scale)
    return pictures if skip == "none" or image_nchw is None else pictures + enlarged(image_nchw, scale, skip)


def shuffled(features_nchw: NDArray[Any], scale: int) -> NDArray[Any]:
    """PixelShuffle: features N x C s s x H x W as pictures N x C x sH x sW.

    pictures[n, c, s y + i, s x + j] = features[n, c s s + i s + j, y, x] (Shi et al., CVPR 2016).
    """
    count, depth, height, width = features_nchw.shape
    channels = depth // scale**2
    parts = features_nchw.reshape(count, channels, scale, scale, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(count, channels, scale * height, scale * width)


def enlarged(image_nchw: NDArray[Any], scale: int, skip: Skip) -> NDArray[Any]:
    """What a skip adds: an image N x C x H x W as N x C x sH x sW.

    Every pixel repeated (nearest), or interpolated with pixel centres aligned, first down the columns (bilinear).
    """
    if skip == "nearest":
        return image_nchw.repeat(scale, axis=2).repeat(scale, axis=3)
    return _lines(_lines(image_nchw, scale, 2), scale, 3)


def _lines(image: NDArray[Any], scale: int, axis: int) -> NDArray[Any]:
    """Linear interpolation along an axis; beyond the border the last pixel is repeated."""
    side = image.shape[axis]
    pixels, offsets = np.divmod(np.arange(side * scale), scale)
    share = np.float32(2 * offsets + 1 - scale) / np.float32(2 * scale)
    first = np.where(share < 0, pixels - 1, pixels)
    share = np.where(share < 0, share + np.float32(1), share).astype(image.dtype)
    share = share.reshape([-1 if index == axis else 1 for index in range(image.ndim)])
    before, after = (image.take(np.clip(first + step, 0, side - 1), axis=axis) for step in (0, 1))
    return before * (1 - share) + after * share


def _as_seen(image: Tensor, low: np.float32, span: np.float32) -> Floats:
    """The image as the network saw it."""
    pixels = load(image)
    return low + pixels / np.float32(255) * span if image.type == "uint8" else pixels


def _store_video(colours_nchw: Floats, frame: YuvFrame, top: int, left: int) -> None:
    """From colours in 0..1 of whole features the frame that begins at a pixel of theirs."""
    _, _, height, width = frame.shape
    made = colours_nchw[:, :, top : top + height, left : left + width]
    means = halved(colours_nchw, frame.colour.siting, top, left, height, width)
    luma, chroma = codes_of(made, frame.colour, frame.bits)[:, :1], codes_of(means, frame.colour, frame.bits)[:, 1:]
    for codes, plane in ((luma, frame.luma), (chroma, frame.chroma)):
        whole = np.clip(np.rint(codes), 0, 2**frame.bits - 1)
        store(whole if frame.bits == 8 else whole * np.float32(64), plane)  # the upper ten bits of sixteen
