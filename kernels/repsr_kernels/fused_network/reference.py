"""The network in NumPy: the same numbers as the kernel's text gives on a processor, bit for bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.fused_network.operation import FusedNetwork
from repsr_kernels.fused_network.weights import Layer, NetworkWeights

Floats = NDArray[np.float32]


def run(operation: FusedNetwork) -> None:
    """Write `out`, in memory of the host.

    Raises:
        UsageError: memory of a GPU.
    """
    operation.out.numpy()[:] = upscaled(operation.network.weights, operation.image.numpy())


def upscaled(weights: NetworkWeights, image_nchw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """N x 3 x H x W -> N x 3 x s H x s W."""
    codes = image_nchw.astype(np.float32)
    head, *body, tail = weights.layers
    values = _activated(_sums(codes, head, bias_gain=255) * np.float32(1 / 255), head)
    for layer in body:
        values = _activated(_sums(values, layer), layer)
    count, channels, height, width = codes.shape
    s = weights.scale
    sums = _sums(values, tail).reshape(count, channels, s, s, height, width)
    value = sums + (codes / np.float32(255))[:, :, None, None]
    value = np.where(value > 0, np.minimum(value, np.float32(1)), np.float32(0)) * np.float32(255)
    shuffled = np.rint(value).transpose(0, 1, 4, 2, 5, 3)  # N x 3 x H x s x W x s
    return shuffled.reshape(count, channels, s * height, s * width).astype(np.uint8)


def _sums(values_nchw: Floats, layer: Layer, *, bias_gain: float = 1) -> Floats:
    """A convolution, products added one after the other."""
    kernel = layer.kernel_oihw.astype(np.float16).astype(np.float32)
    height, width = values_nchw.shape[2:]
    padded = np.pad(values_nchw, ((0, 0), (0, 0), (1, 1), (1, 1)))
    bias = layer.bias * np.float32(bias_gain)
    sums = np.broadcast_to(bias[:, None, None], (len(values_nchw), len(bias), height, width)).copy()
    for dy, dx, channel in np.ndindex(3, 3, kernel.shape[1]):
        seen = padded[:, channel, None, dy : dy + height, dx : dx + width]
        sums += kernel[:, channel, dy, dx, None, None] * seen
    return sums


def _activated(sums_nchw: Floats, layer: Layer) -> Floats:
    """PReLU, as halves."""
    assert layer.slope is not None
    value = np.where(sums_nchw > 0, sums_nchw, sums_nchw * layer.slope[:, None, None])
    with np.errstate(over="ignore"):
        return value.astype(np.float16).astype(np.float32)
