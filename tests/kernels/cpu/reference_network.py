"""Plain networks in float64, and how far from them each value that the engine computes may lie.

The bounds are derived in docs/design/native_bounds.md. Nothing here follows the engine's code, layouts or order of
sums: convolutions are matrix products of shifted pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Skip = Literal["none", "nearest", "bilinear"]
Io = Literal["float", "image", "features"]

OTHER_ROUNDINGS = 8
"""Of a term of a sum, beside those of the sum itself: its weight, divided by 255 and by the step of the codes that are
made of it; the picture, multiplied by 255; the product, where it is not fused with the sum; an exact sum of codes as a
float, its gain and its bias; the slope; the last addition with the skip."""
SMALLEST = 2.0**-126
"""What an operation may lose where its result is denormal."""


@dataclass(frozen=True, kw_only=True)
class Codes:
    """8 bits for each number: value = step * (code - zero)."""

    step: np.float32
    zero: int
    low: int
    high: int

    def round(self, values: Array) -> Array:
        """Whole numbers code - zero, half to even."""
        return np.clip(np.rint(values / np.float64(self.step)) + self.zero, self.low, self.high) - self.zero


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A zero-padded 3x3 convolution and what follows it. With `input`, what it reads is rounded to codes first."""

    kernel_oihw: NDArray[np.float32] | NDArray[np.int8]
    """Codes where `steps` is there: weight = step * code."""
    bias: NDArray[np.float32]
    slope: NDArray[np.float32] | None
    """For each output; None where nothing follows."""
    input: Codes | None = None
    steps: NDArray[np.float32] | None = None
    """For each output."""

    @property
    def terms(self) -> int:
        """Products in a sum."""
        return int(self.kernel_oihw[0].size)


@dataclass(frozen=True, kw_only=True)
class PlainNetwork:
    """From a picture of 0..1 to one of s times its sides, or to what its last convolution gives."""

    layers: tuple[Layer, ...]
    scale: int
    skip: Skip
    io: Io
    clamps: bool

    @property
    def colours(self) -> int:
        """3 (RGB) or 1 (Y)."""
        return self.layers[0].kernel_oihw.shape[1]


@dataclass(frozen=True)
class Arithmetic:
    """How sums are computed: unit roundoffs, and how many roundings there are in a sum for each product."""

    stored: float
    """Of weights and activations as they are kept; 0 where they are kept as they are computed."""
    summed: float
    roundings: int
    roundings_of_codes: int = 0

    def of_sum(self, terms: int) -> float:
        """What roundings make of a sum of products, relative to the sum of their absolutes."""
        return _gamma(self.roundings * terms + OTHER_ROUNDINGS, self.summed)

    def of_codes(self, terms: int) -> float:
        """The same of products of codes."""
        return _gamma(self.roundings_of_codes * terms + OTHER_ROUNDINGS, SINGLE)


def _gamma(count: int, roundoff: float) -> float:
    """Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1."""
    return count * roundoff / (1 - count * roundoff)


SINGLE = 2.0**-24
FP32 = Arithmetic(0.0, SINGLE, 1)
BF16 = Arithmetic(2.0**-8, 2.0**-23, 2)
"""Sums of bf16 products: two roundings each, and by Arm's rules to odd, so that a unit is twice as large."""
FP32_WITHIN = 1e-5
"""Of full scale, or of the largest number if that is more, in networks whose activations keep their size."""
DEVIATIONS = 6
"""So many standard deviations of what independent roundings to bf16 add up to, no value of such a network is off."""


@dataclass(frozen=True)
class Enclosure:
    """What the network gives, and the least and the most that the engine may give."""

    value: Array
    low: Array
    high: Array

    def map(self, function: Callable[[Array], Array]) -> Enclosure:
        """Of a function that never falls, or that moves numbers about."""
        return Enclosure(function(self.value), function(self.low), function(self.high))


def enclosed_planes(
    network: PlainNetwork, image_chw: NDArray[np.float32], arithmetic: Arithmetic = FP32, *, likely: bool = False
) -> Enclosure:
    """Planes of 0..1 to planes, clamped where the network clamps; or to features, where these are its output.

    Args:
        likely: also what independent roundings can be expected to add up to. Of networks without codes whose
            activations keep their size.
    """
    result = _enclosed(network, image_chw.astype(np.float64), arithmetic, likely, is_exact=False)
    return result.map(lambda values: values.clip(0, 1)) if network.clamps else result


def enclosed_features(
    network: PlainNetwork, image_chw: NDArray[np.float32], arithmetic: Arithmetic = FP32, *, likely: bool = False
) -> Enclosure:
    """Planes of 0..1 to what the last convolution gives."""
    return enclosed_planes(replace(network, io="features", clamps=False), image_chw, arithmetic, likely=likely)


def enclosed_bytes(
    network: PlainNetwork, image_hwc: NDArray[np.uint8], arithmetic: Arithmetic = FP32, *, likely: bool = False
) -> Enclosure:
    """8-bit pictures H x W x C to such: whole numbers 0..255."""
    result = _enclosed(network, image_hwc.transpose(2, 0, 1) / 255.0, arithmetic, likely, is_exact=True)
    return result.map(lambda values: np.rint(255 * values).clip(0, 255).transpose(1, 2, 0))


def convolved(layer: Layer, value: Array) -> Array:
    """What a layer gives: O x H x W."""
    return _activated(layer, _linear(layer, value))


def _enclosed(
    network: PlainNetwork, image: Array, arithmetic: Arithmetic, likely: bool, *, is_exact: bool
) -> Enclosure:
    """`is_exact`: the picture's numbers are those of 8 bits, which every arithmetic holds."""
    value, error, variance = image, np.zeros_like(image), np.zeros_like(image)
    for layer in network.layers:
        stored = 0 if is_exact and value is image else arithmetic.stored
        if layer.input is not None and value is image:
            error = arithmetic.of_codes(0) * np.abs(value)
        elif layer.input is None:
            error = error + stored * (np.abs(value) + error) + SMALLEST
        linear = _linear(layer, value)
        error = _linear_error(layer, value, error, linear, arithmetic)
        known = variance + _variance(stored) * value**2
        variance = _linear_variance(layer, value, known, arithmetic) if likely else np.zeros_like(linear)
        value = _activated(layer, linear)
        variance = _steepest(layer, linear, np.minimum(error, DEVIATIONS * np.sqrt(variance))) ** 2 * variance
        error = _steepest(layer, linear, error) * error
    if network.io != "features":
        skip, skip_error = _enlarged(image, network.scale, network.skip)
        value, error, variance = (_shuffled(array, network.scale) for array in (value, error, variance))
        error = error + skip_error + FP32.of_sum(0) * (np.abs(value) + error + np.abs(skip))
        value = value + skip
    if likely:
        error = np.minimum(error, FP32_WITHIN * max(1.0, np.abs(value).max()) + DEVIATIONS * np.sqrt(variance))
    return Enclosure(value, value - error, value + error)


def _linear(layer: Layer, value: Array) -> Array:
    """Before the activation. Sums of codes are exact here as in the engine."""
    kernel, bias = layer.kernel_oihw.astype(np.float64), _for_each_output(layer.bias)
    if layer.input is None:
        return _sums(kernel, value) + bias
    return _step(layer) * _sums(kernel, layer.input.round(value)) + bias


def _linear_error(layer: Layer, value: Array, error: Array, linear: Array, arithmetic: Arithmetic) -> Array:
    """How far it may be from the engine's, where that reads numbers with errors."""
    kernel, bias = np.abs(layer.kernel_oihw.astype(np.float64)), np.abs(_for_each_output(layer.bias))
    if layer.input is None:
        of_sum = arithmetic.of_sum(layer.terms)
        of_term = (1 + arithmetic.stored) * (1 + of_sum) - 1
        return _sums(kernel, error + of_term * (np.abs(value) + error)) + of_sum * bias + layer.terms * SMALLEST
    codes = layer.input
    whole = codes.round(value)
    wrong = np.maximum(codes.round(value + error) - whole, whole - codes.round(value - error))  # rounding never falls
    products = _step(layer) * _sums(kernel, wrong)
    return products + arithmetic.of_codes(layer.terms) * (products + np.abs(linear) + 2 * bias) + SMALLEST


def _linear_variance(layer: Layer, value: Array, variance: Array, arithmetic: Arithmetic) -> Array:
    """Of sums, where numbers with independent errors are read, and weights rounded."""
    return _sums(layer.kernel_oihw.astype(np.float64) ** 2, variance + _variance(arithmetic.stored) * value**2)


def _variance(roundoff: float) -> float:
    """Of the relative error, which is anywhere between -roundoff and roundoff, at most."""
    return roundoff**2 / 3


def _activated(layer: Layer, linear: Array) -> Array:
    return linear if layer.slope is None else np.where(linear < 0, _for_each_output(layer.slope) * linear, linear)


def _steepest(layer: Layer, linear: Array, error: Array) -> Array | float:
    """The steepest slope of the activation between numbers that are no further away than an error."""
    if layer.slope is None:
        return 1
    slope = np.abs(_for_each_output(layer.slope))
    return np.where(linear < -error, slope, np.where(linear > error, 1, np.maximum(1, slope)))


def _for_each_output(numbers: NDArray[np.float32]) -> Array:
    return numbers.astype(np.float64)[:, None, None]


def _step(layer: Layer) -> Array:
    """Of a sum of codes, for each output."""
    assert layer.input is not None
    assert layer.steps is not None
    return np.float64(layer.input.step) * _for_each_output(layer.steps)


def _sums(kernel_oihw: Array, image: Array) -> Array:
    """O x H x W: the zero-padded convolution as one matrix product."""
    channels, height, width = image.shape
    padded = _padded(image)
    shifted = np.empty((channels, 3, 3, height, width))
    for row in range(3):
        for column in range(3):
            shifted[:, row, column] = padded[:, row : row + height, column : column + width]
    return (kernel_oihw.reshape(len(kernel_oihw), -1) @ shifted.reshape(9 * channels, -1)).reshape(-1, height, width)


def _padded(image: Array) -> Array:
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = image
    return padded


def _shuffled(features: Array, scale: int) -> Array:
    """PixelShuffle: channel c s s + dy s + dx is colour c of the pixel at (dy, dx)."""
    height, width = features.shape[1:]
    split = features.reshape(-1, scale, scale, height, width)
    return split.transpose(0, 3, 1, 4, 2).reshape(-1, scale * height, scale * width)


def _enlarged(image: Array, scale: int, skip: Skip) -> tuple[Array, Array]:
    """What is added to the picture, and how far the engine's own may lie from it."""
    if skip == "none":
        nothing = np.zeros((1, 1, 1))
        return nothing, nothing
    if skip == "nearest":
        return image.repeat(scale, axis=1).repeat(scale, axis=2), np.zeros((1, 1, 1))
    rows, columns = _interpolation(image.shape[1], scale), _interpolation(image.shape[2], scale)
    return rows @ image @ columns.T, FP32.of_sum(2) * (rows @ np.abs(image) @ columns.T)


def _interpolation(count: int, scale: int) -> Array:
    """(s n) x n: linear between pixels, centres at (i + 0.5) / s - 0.5, the outermost pixel repeated."""
    places = ((np.arange(scale * count) + 0.5) / scale - 0.5).clip(0, count - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)))
