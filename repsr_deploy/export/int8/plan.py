"""What int8 means here, and where: the one definition for the export and for fine-tuning in int8.

Symmetric int8, zero point 0, as TensorRT wants it: a number x becomes q = clip(round(x / scale), -128, 127), half to
even, and stands for q * scale (ONNX QuantizeLinear and DequantizeLinear). Weights have one scale for each output
channel, the input of a convolution one for the whole tensor. Biases and what convolutions give stay float. So does a
value that convolutions read in int8 for all its other readers, such as a skip.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
"""The largest number; -128 is used by activations that overshoot alone."""

Array = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class QuantLayer:
    """A convolution that is computed in int8."""

    name: str
    """Of its node."""
    input: str
    """Name of the value that it reads in int8."""
    weight: str
    """Name of its weights, O x I/groups x kh x kw; their scales follow from them (`weight_scales`)."""
    input_scale: float
    """What one step of the input is worth; a float32 number."""

    def __post_init__(self) -> None:
        if not (self.input_scale > 0 and float(np.float32(self.input_scale)) == self.input_scale):
            raise ValueError(f"{self.name}: scale is {self.input_scale}; expected a positive float32 number")


@dataclass(frozen=True, kw_only=True)
class QuantPlan:
    """The convolutions of a network that are computed in int8; all others are not."""

    layers: tuple[QuantLayer, ...]

    def __post_init__(self) -> None:
        scales: dict[str, float] = {}
        for layer in self.layers:
            if scales.setdefault(layer.input, layer.input_scale) != layer.input_scale:
                one, other = scales[layer.input], layer.input_scale
                raise ValueError(f"{layer.input!r} has scales {one} and {other}; expected one for all its readers")

    def without(self, names: Collection[str]) -> QuantPlan:
        """The plan without some layers, which stay float."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name not in names))


def input_scale(largest: float) -> float:
    """Scale at which `largest`, an absolute value, is the largest number; 1 for a tensor of zeros."""
    return float(np.float32(largest / LEVELS)) or 1.0


def weight_scales(weight_oihw: Array) -> NDArray[np.float32]:
    """Scale of every output channel, O: its largest weight becomes the largest number; 1 for a channel of zeros."""
    largest = np.abs(weight_oihw).reshape(len(weight_oihw), -1).max(axis=1)
    scales = (largest / LEVELS).astype(np.float32)
    return np.where(scales > 0, scales, np.float32(1))


def quantize_weights(weight_oihw: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as whole numbers, O x I x kh x kw, and their scales, O."""
    scales = weight_scales(weight_oihw)
    steps = np.rint(weight_oihw / scales.reshape(-1, *[1] * (weight_oihw.ndim - 1)).astype(np.float64))
    return np.clip(steps, -LEVELS, LEVELS).astype(np.int8), scales


def rounded_weights(weight_oihw: Array) -> NDArray[np.float64]:
    """Weights as int8 has them."""
    steps, scales = quantize_weights(weight_oihw)
    return steps * scales.reshape(-1, *[1] * (weight_oihw.ndim - 1)).astype(np.float64)
