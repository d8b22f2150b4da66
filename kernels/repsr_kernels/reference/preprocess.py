"""`Preprocess` in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.operations import Padding, Picture, Preprocess
from repsr_kernels.reference.samples import store
from repsr_kernels.reference.yuv import Floats, doubled, rgb_of
from repsr_kernels.yuv import YuvFrame


def preprocess(op: Preprocess) -> None:
    """Write `op.out`. Tensors lie in the memory of the host."""
    low, high = (np.float32(value) for value in op.range)
    _, channels, height, width = op.source.shape
    y, x = op.top + np.arange(op.out.shape[2]), op.left + np.arange(op.out.shape[3])
    colours = colours_of(op.source, mapped(y, height, op.padding), mapped(x, width, op.padding))
    out = np.zeros(op.out.shape, np.float32)
    out[:, :channels] = low + colours * np.float32(high - low)
    if op.padding == "zero":
        out[..., (y < 0) | (y >= height), :] = 0
        out[..., (x < 0) | (x >= width)] = 0
    store(out, op.out)


def colours_of(picture: Picture, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """The pixels of these rows and columns in 0..1, N x C x rows x columns."""
    if not isinstance(picture, YuvFrame):
        return picture.numpy()[:, :, rows][..., columns].astype(np.float32) / np.float32(255)
    luma, chroma = (_codes(plane.numpy(), picture.bits) for plane in (picture.luma, picture.chroma))
    codes = np.concatenate([luma, doubled(chroma, picture.colour.siting, *luma.shape[2:])], axis=1)
    rgb = rgb_of(codes[:, :, rows][..., columns], picture.colour, picture.bits)
    return np.clip(rgb, np.float32(0), np.float32(1))


def _codes(samples: NDArray[np.uint8] | NDArray[np.uint16], bits: int) -> Floats:
    """Of 8 bits as they are, of 10 in the upper bits of 16."""
    return (samples if bits == 8 else samples >> 6).astype(np.float32)


def mapped(positions: NDArray[np.int64], side: int, padding: Padding) -> NDArray[np.int64]:
    """The pixel of an axis that stands for each position; for `zero` one that is to be replaced."""
    if padding == "wrap":
        return positions % side
    if padding == "reflect" and side > 1:  # a triangular wave
        last = side - 1
        return last - np.abs(positions % (2 * last) - last)
    return np.clip(positions, 0, side - 1)
