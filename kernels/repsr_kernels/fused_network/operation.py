"""The operation: a picture in, a picture s times as large out; and what the kernel is told."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint64
from dataclasses import dataclass

import numpy as np

from repsr_kernels.errors import UsageError
from repsr_kernels.fused_network.plan import Tile, tiles_of
from repsr_kernels.fused_network.weights import NetworkWeights
from repsr_kernels.operations import check_memories
from repsr_kernels.params import View, view_of
from repsr_kernels.tensors import Tensor, on_host


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedWeights:
    """The weights of a network where the pictures are."""

    weights: NetworkWeights
    memory: Tensor
    """`weights.packed` as bytes, 1 x 1 x 1 x length."""

    @classmethod
    def on_host(cls, weights: NetworkWeights) -> PlacedWeights:
        """In memory of the host."""
        return cls(weights=weights, memory=on_host(weights.packed.view(np.uint8)[None, None, :], "nchw"))


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedNetwork:
    """A network on pictures, with activations and weights in half precision and sums in single precision.

    Of code x of the picture the network sees x / 255, and 0 around the picture, as around the activations of every
    layer. A layer's sum begins with its bias; then come, from the upper left tap on and from channel 0 on, products of
    halves, which are exact, each added in float32. (Tensor cores add them in another order and with another rounding:
    up to one level of difference.) The first layer's products are of codes; its bias counts 255 times, and its sum is
    multiplied by 1/255. PReLU takes the sum, or in place of one that is not above 0 the sum times the slope; the
    result is rounded to half precision, beyond 65504 to infinity. The last layer's sum, plus the repeated picture's
    x / 255, is clamped to 0..1, times 255, rounded half to even; NaN gives 0.

    Raises:
        UsageError: other types or shapes, or memories that do not go together.
    """

    network: PlacedWeights
    image: Tensor
    """N x 3 x H x W of uint8."""
    out: Tensor
    """N x 3 x s H x s W of uint8."""

    def __post_init__(self) -> None:
        count, channels, height, width = self.image.shape
        scale = self.network.weights.scale
        made = (count, 3, scale * height, scale * width)
        if self.image.type != "uint8" or channels != 3:
            raise UsageError(f"image is {self.image.type} of shape {self.image.shape}; expected uint8 with 3 channels")
        if self.out.type != "uint8" or self.out.shape != made:
            raise UsageError(f"out is {self.out.type} of shape {self.out.shape}; expected uint8 of shape {made}")
        words = self.network.weights.packed.nbytes
        if self.network.memory.shape != (1, 1, 1, words) or self.network.memory.address % 16:
            raise UsageError(
                f"weights lie at {self.network.memory.address:#x} in {self.network.memory.shape[3]} bytes; expected a "
                f"multiple of 16, and {words} bytes"
            )
        check_memories([self.image, self.network.memory], [self.out])


class FusedNetworkParams(ctypes.Structure):
    """`FusedNetwork` of csrc/fused_network.cuh."""

    _fields_ = (
        ("image", View), ("out", View), ("weights", c_uint64),
        ("count", c_int32), ("height", c_int32), ("width", c_int32), ("tile_rows", c_int32), ("down", c_int32),
        ("across", c_int32),
    )  # fmt: skip


def params_of(operation: FusedNetwork, tile: Tile) -> FusedNetworkParams:
    """The structure that tells the kernel for such tiles to do this.

    Raises:
        UsageError: more than 2^31 - 1 tiles.
    """
    count, _, height, width = operation.image.shape
    down, across = tiles_of(operation.network.weights.body, tile, height, width)
    if count * down * across >= 2**31:
        raise UsageError(f"{count} images of {height} x {width} are {count * down * across} tiles; expected below 2^31")
    return FusedNetworkParams(
        image=view_of(operation.image), out=view_of(operation.out), weights=operation.network.memory.address,
        count=count, height=height, width=width, tile_rows=tile.rows, down=down, across=across,
    )  # fmt: skip
