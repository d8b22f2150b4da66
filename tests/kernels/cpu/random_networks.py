"""Random plain networks and pictures: everything that a seed decides, realistic and nasty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tests.kernels.cpu.reference_network import Codes, Io, Layer, PlainNetwork, Skip, convolved
from tests.kernels.cpu.reference_onnx import SkipSpelling, Spelling, onnx_bytes

WIDTHS = (1, 1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 113, 145)
HEIGHTS = (1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 19, 33)
MOST_MACS = (500_000, 2_000_000, 8_000_000)
"""Of a picture: most are small, so that thousands can be judged."""
CHANNELS = (8, 16, 16, 24, 32, 48, 64)
Weights = Literal["dense", "sparse", "tiny", "large", "zeros", "constant"]
"""`dense`: independent and normal, as of a network before training, so that activations keep their size; `sparse`:
three taps of an output are not zero, so that errors grow no faster than signals and bounds stay tight at any depth;
`tiny`, `large`: as `dense`, 1e-12 or 1e4 times; `zeros`: half of the outputs and nine of ten taps; `constant`: all
equal."""
ODDS: dict[Weights, float] = {"dense": 0.4, "sparse": 0.4, "tiny": 0.05, "large": 0.05, "zeros": 0.05, "constant": 0.05}
Activation = Literal["prelu", "steep", "shared", "relu", "leaky", "none"]


@dataclass(frozen=True)
class Case:
    """A network as a file, and a picture for it."""

    network: PlainNetwork
    content: bytes
    weights: Weights
    image_hwc: NDArray[np.uint8]

    image_chw: NDArray[np.float32]
    """The same for jobs of floats; numbers between the levels of 8 bits and beyond 0..1 among them."""

    @property
    def is_int8(self) -> bool:
        """Whether a layer computes with codes."""
        return any(layer.input is not None for layer in self.network.layers)

    @property
    def is_realistic(self) -> bool:
        """Whether activations keep their size, as those of trained networks."""
        return self.weights in ("dense", "sparse")

    def __str__(self) -> str:
        layers, network = self.network.layers, self.network
        codes = "".join("f" if layer.input is None else "c" for layer in layers)
        slopes = "".join("-" if layer.slope is None else "p" for layer in layers)
        sizes = "-".join(str(layer.kernel_oihw.shape[0]) for layer in layers)
        height, width, colours = self.image_hwc.shape
        return (
            f"{self.weights} {colours}-{sizes} {codes} {slopes} x{network.scale} skip {network.skip} io {network.io} "
            f"{'clamped' if network.clamps else 'open'}, picture {height}x{width}"
        )


def random_case(seed: int, *, int8: bool) -> Case:
    """A network, its spelling and its picture."""
    rng = np.random.default_rng(seed)
    weights: Weights = rng.choice(list(ODDS), p=list(ODDS.values()))
    network = random_network(rng, weights)
    height, width = int(rng.choice(HEIGHTS)), int(rng.choice(WIDTHS))
    macs = sum(layer.kernel_oihw.size for layer in network.layers)
    most = rng.choice(MOST_MACS, p=[0.7, 0.25, 0.05])
    while macs * height * width > most and height * width > 1:
        height, width = (height, width // 2) if width > height and rng.random() < 0.5 else (-(-height // 2), width)
        if height == 1:
            width = max(1, int(most // macs))
            break
    image = random_image(rng, height, width, network.colours)
    if int8:
        network = quantized(rng, network, image)
    spelling = Spelling(
        nearest=rng.choice(get_args(SkipSpelling)), skip_first=bool(rng.random() < 0.5), short=bool(rng.random() < 0.5)
    )
    return Case(network, onnx_bytes(network, spelling), weights, image, random_planes(rng, image))


def random_network(rng: np.random.Generator, weights: Weights, depth: int | None = None) -> PlainNetwork:
    """In floats: so many layers and a last one; None for any number, up to that of M = 6."""
    colours, scale = int(rng.choice([1, 3])), int(rng.integers(1, 5))
    channels = int(rng.choice(CHANNELS)) if rng.random() < 0.7 else int(rng.integers(1, 65))
    depth = int(rng.choice([0, 1, 2, 2, 3, 3, 4, 5, 6, 7])) if depth is None else depth
    sides = [channels] * depth
    if rng.random() < 0.2:
        sides = [int(rng.integers(1, channels + 1)) for _ in sides]
    counts = [colours, *sides, colours * scale**2]
    layers = [
        random_layer(rng, inputs, outputs, weights, is_last=index == depth)
        for index, (inputs, outputs) in enumerate(pairwise(counts))
    ]
    io: Io = rng.choice(["float", "image", "features"], p=[0.45, 0.45, 0.1])
    skip: Skip = rng.choice(["none", "nearest", "bilinear"], p=[0.2, 0.5, 0.3])
    if scale == 1:  # then features are a picture, and a bilinear enlargement is the nearest one
        io, skip = "image" if io == "features" else io, "nearest" if skip == "bilinear" else skip
    if io == "features":
        skip = "none"
    clamps = io != "features" and (io == "image" or bool(rng.random() < 0.5))
    return PlainNetwork(layers=tuple(layers), scale=scale, skip=skip, io=io, clamps=clamps)


def random_layer(rng: np.random.Generator, inputs: int, outputs: int, weights: Weights, *, is_last: bool) -> Layer:
    """Of floats. The last one has no slopes."""
    shape, terms = (outputs, inputs, 3, 3), 9 * inputs
    if weights == "sparse":
        kernel = np.zeros((outputs, terms))
        taps = rng.random((outputs, terms)).argpartition(2)[:, :3]
        np.put_along_axis(kernel, taps, rng.uniform(0.3, 0.9, taps.shape) * rng.choice([-1, 1], taps.shape), axis=1)
        kernel = kernel.reshape(shape)
    elif weights == "constant":
        kernel = np.full(shape, rng.choice([-1.2, 0.9]) / terms)
    else:
        kernel = rng.normal(0, (2 / terms) ** 0.5, shape)
    kernel *= {"tiny": 1e-12, "large": 1e4}.get(weights, 1) * (0.3 if is_last else 1)
    if weights == "zeros":
        kernel *= (rng.random(shape) < 0.1) * (rng.random((outputs, 1, 1, 1)) < 0.5)
    bias = rng.normal(0, 0.1, outputs) * (rng.random(outputs) < 0.9)
    slope = None if is_last else random_slope(rng, outputs)
    return Layer(kernel_oihw=kernel.astype(np.float32), bias=bias.astype(np.float32), slope=slope)


def random_slope(rng: np.random.Generator, outputs: int) -> NDArray[np.float32] | None:
    """For each output, or equal for all, or none."""
    kind: Activation = rng.choice(get_args(Activation), p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    if kind == "none":
        return None
    if kind == "prelu":
        slope = rng.uniform(-0.4, 0.6, outputs) * (rng.random(outputs) < 0.9)
    elif kind == "steep":
        slope = rng.uniform(-1.5, 1.5, outputs)
    else:
        slope = np.full(outputs, {"shared": -0.25, "relu": 0.0, "leaky": 0.1}[kind])
    return slope.astype(np.float32)


def random_image(rng: np.random.Generator, height: int, width: int, colours: int) -> NDArray[np.uint8]:
    """H x W x C: noise, or flat with few levels, or black and white."""
    shape = (height, width, colours)
    kind = rng.random()
    if kind < 0.7:
        return rng.integers(0, 256, shape, np.uint8)
    if kind < 0.85:
        return np.broadcast_to(rng.integers(0, 256, colours, np.uint8), shape) + rng.integers(0, 2, shape, np.uint8)
    return rng.choice(np.array([0, 255], np.uint8), shape)


def random_planes(rng: np.random.Generator, image_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """C x H x W: the levels of a picture as they are, moved off their places, or spread over -1..2."""
    planes = image_hwc.transpose(2, 0, 1) / 255.0
    kind = rng.random()
    if kind < 0.7:
        planes += rng.normal(0, 0.01, planes.shape)
    if kind < 0.2:
        planes = 3 * planes - 1
    return planes.astype(np.float32)


def quantized(rng: np.random.Generator, network: PlainNetwork, image_hwc: NDArray[np.uint8]) -> PlainNetwork:
    """The same with most of its layers in codes: steps fit what reaches the layer, or cut it off, or are coarse."""
    value = image_hwc.transpose(2, 0, 1) / 255.0
    layers: list[Layer] = []
    chosen = rng.random(len(network.layers)) < rng.choice([0.6, 1.0])
    chosen[0] &= rng.random() < 0.4
    if not chosen.any():
        chosen[-1] = True
    for index, (layer, is_int8) in enumerate(zip(network.layers, chosen, strict=True)):
        finest = 1e-10 if index > 0 and layers[-1].input is None else 1e-4
        new = _in_codes(rng, layer, float(value.min()), float(value.max()), finest) if is_int8 else layer
        layers.append(new)
        value = convolved(new, value)
    return replace(network, layers=tuple(layers))


def _in_codes(rng: np.random.Generator, layer: Layer, low: float, high: float, finest: float) -> Layer:
    """`finest`: of the step that fits; the engine refuses pictures and sums of codes that are beyond 2^30 steps."""
    fit = rng.choice([1.0, 0.5, 4.0, finest], p=[0.7, 0.15, 0.1, 0.05])
    least, most = (0, 255) if rng.random() < 0.5 else (-128, 127)
    if rng.random() < 0.5 or high <= low:  # symmetric, as the exporter writes them
        step, zero = fit * max(abs(low), abs(high)) / 127, 128 if least == 0 else 0
    else:
        step = fit * (high - min(low, 0)) / 255
        zero = int(np.clip(np.rint(least - low / step if step else 0), least, most))
    if rng.random() < 0.1:
        zero = int(rng.choice([least, most, int(rng.integers(least, most + 1))]))
    peaks = np.abs(layer.kernel_oihw).reshape(len(layer.bias), -1).max(axis=1)
    if rng.random() < 0.2:
        peaks[:] = peaks.max()
    steps = np.where(peaks > 0, peaks / np.float32(127), np.float32(1)).astype(np.float32)
    codes = np.rint(layer.kernel_oihw / steps[:, None, None, None]).clip(-128, 127).astype(np.int8)
    if rng.random() < 0.1:
        codes[rng.random(codes.shape) < 0.1] = -128
    return Layer(
        kernel_oihw=codes,
        bias=layer.bias,
        slope=layer.slope,
        input=Codes(step=np.float32(step or 1.0), zero=zero, low=least, high=most),
        steps=steps,
    )
