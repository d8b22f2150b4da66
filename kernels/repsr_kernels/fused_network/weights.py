"""The numbers of a plain network, and how the kernel wants them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError

WIDTH = 16
"""Channels between the layers."""
SCALES = (2, 4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A convolution of 3 x 3, zero-padded, and the PReLU behind it."""

    kernel_oihw: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: NDArray[np.float32] | None
    """Of PReLU, for each output channel; None without."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkWeights:
    """3 -> 16, M times 16 -> 16, 16 -> 3 s^2, all 3 x 3; PReLU between; the picture repeated before PixelShuffle.

    Pictures are 0..1; RepSR-M4C16 has M = 4 (Wang et al., ACM MM 2022).

    Raises:
        UsageError: layers of other shapes, or a weight that half precision cannot hold.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if len(self.layers) < 3:
            raise UsageError(f"network has {len(self.layers)} layers; expected a head, one or more between, and a tail")
        tail = self.layers[-1].kernel_oihw.shape[0]
        if tail not in [3 * scale**2 for scale in SCALES]:
            raise UsageError(f"last layer makes {tail} channels; expected 12 (scale 2) or 48 (scale 4)")
        inputs = [3] + [WIDTH] * (len(self.layers) - 1)
        outputs = [WIDTH] * (len(self.layers) - 1) + [tail]
        for index, (layer, i, o) in enumerate(zip(self.layers, inputs, outputs, strict=True)):
            _check(f"layer {index}", layer, (o, i, 3, 3), has_slope=index < len(self.layers) - 1)

    @property
    def scale(self) -> int:
        """2 or 4."""
        return {3 * scale**2: scale for scale in SCALES}[self.layers[-1].kernel_oihw.shape[0]]

    @property
    def body(self) -> int:
        """M: layers between the first and the last."""
        return len(self.layers) - 2

    @cached_property
    def packed(self) -> NDArray[np.uint32]:
        """What csrc/fused_network.cuh reads: for each layer, and each 16 output channels of it, the B operands of
        mma.m16n8k16 by rows of taps, fragments of a row, halves of 8 channels, lanes; then 16 biases, 16 slopes.

        A fragment of the first layer is a row of taps: four pixels of four channels, the last ones 0; of the others it
        is one tap. The first layer sees codes 0..255 and divides its sums by 255: its bias is 255 times larger.
        """
        head, *others = self.layers
        passes = [_packed(_head_operands(head.kernel_oihw), head.bias * np.float32(255), head.slope)]
        for layer in others:
            kernel = layer.kernel_oihw.transpose(2, 3, 1, 0)  # 3 x 3 x I x O
            for first in range(0, kernel.shape[-1], WIDTH):
                part = slice(first, first + WIDTH)
                slope = None if layer.slope is None else layer.slope[part]
                passes.append(_packed(kernel[..., part], layer.bias[part], slope))
        return np.concatenate(passes)


def _check(name: str, layer: Layer, shape: tuple[int, ...], *, has_slope: bool) -> None:
    if layer.kernel_oihw.shape != shape:
        raise UsageError(f"{name} has a kernel of shape {layer.kernel_oihw.shape}; expected {shape}")
    for what, values in (("bias", layer.bias), ("slope", layer.slope)):
        expected = (shape[0],) if what == "bias" or has_slope else None
        found = None if values is None else values.shape
        if found != expected:
            raise UsageError(f"{name} has a {what} of shape {found}; expected {expected}")
    largest = float(np.abs(layer.kernel_oihw).max())
    if not largest <= float(np.finfo(np.float16).max):
        raise UsageError(f"{name} has a weight of size {largest}; expected what half precision holds, up to 65504")


def _head_operands(kernel_oihw: NDArray[np.float32]) -> NDArray[np.float32]:
    """3 x 1 x (4 pixels x 4 channels) x 16."""
    padded = np.zeros((3, 4, 4, WIDTH), np.float32)
    padded[:, :3, :3] = kernel_oihw.transpose(2, 3, 1, 0)
    return padded.reshape(3, 1, 16, WIDTH)


def _packed(
    operands: NDArray[np.float32], bias: NDArray[np.float32], slope: NDArray[np.float32] | None
) -> NDArray[np.uint32]:
    """Words of 16 output channels or fewer, from rows of taps x fragments x 16 x channels."""
    full = np.zeros((*operands.shape[:3], WIDTH), np.float16)
    full[..., : operands.shape[3]] = operands
    lane = np.arange(32)
    k = 2 * (lane % 4)[:, None, None] + 8 * np.arange(2)[:, None] + np.arange(2)  # lane x word x half
    n = (lane // 4)[:, None, None]
    words = np.stack([full[:, :, k, n + 8 * part] for part in range(2)], axis=2)  # 3 x F x 2 x lane x word x half
    numbers = np.zeros((2, WIDTH), np.float32)
    numbers[0, : len(bias)] = bias
    if slope is not None:
        numbers[1] = slope
    return np.concatenate(
        [np.ascontiguousarray(words).reshape(-1).view(np.uint32), numbers.reshape(-1).view(np.uint32)]
    )
