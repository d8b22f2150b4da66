"""Random multi-branch networks: a recipe that hypothesis draws, shrinks and prints, and the ONNX graph of a recipe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

import numpy as np
import onnx
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
INPUT, OUTPUT = "image", "result"

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""
Weights = Literal["random", "zero", "dirac", "dead", "sobel", "sparse"]
"""`dirac`: output i is input i; `dead`: a random half of the output channels is zero; `sparse`: half of all numbers."""
Arithmetic = Literal["Add", "Sub", "Mul", "Div"]
Shape = Literal["()", "1", "111", "C11", "1C11", "1111"]
"""Of a constant, a letter or digit for each dimension, C being the channels."""
Via = Literal["Split", "Slice", "Gather"]
Join = Literal["Add", "Sum", "Mean", "Sub", "Mul", "Concat"]
SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)


@dataclass(frozen=True)
class Image:
    """A value of the graph."""

    name: str
    channels: int


@dataclass
class Builder:
    """The ONNX graph that is being written."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: dict[str, onnx.TensorProto] = field(default_factory=dict[str, onnx.TensorProto])
    outputs: list[Image] = field(default_factory=list[Image])

    def node(self, kind: str, inputs: Sequence[str], channels: int, **attributes: Any) -> Image:
        """A node with one output."""
        return self.nodes_of(kind, inputs, [channels], **attributes)[0]

    def nodes_of(self, kind: str, inputs: Sequence[str], channels: Sequence[int], **attributes: Any) -> list[Image]:
        """A node with an output for each of `channels`."""
        stem = f"{kind.lower()}{len(self.nodes)}"
        images = [Image(f"{stem}.{index}", count) for index, count in enumerate(channels)]
        self.nodes.append(helper.make_node(kind, inputs, [image.name for image in images], name=stem, **attributes))
        return images

    def constant(self, numbers: NDArray[Any], shared: str | None = None) -> str:
        """A weight; those with the same `shared` and shape are one tensor."""
        name = f"weight{len(self.weights)}" if shared is None else f"{shared}{numbers.shape}"
        self.weights.setdefault(name, numpy_helper.from_array(numbers, name))
        return name

    def random(self, *shape: int, deviation: float = 1.0) -> NDArray[np.float32]:
        """Normal numbers."""
        return (deviation * self.rng.normal(size=shape)).astype(np.float32)

    def sizes(self, *numbers: int) -> str:
        """A constant of integers."""
        return self.constant(np.array(numbers, np.int64))

    def chain(self, layers: Sequence[Layer], image: Image) -> Image:
        """Layers in the order in which they are applied."""
        for layer in layers:
            image = layer.write(self, image)
        return image

    def joined(self, images: Sequence[Image], how: Join) -> Image:
        """Branches become one value."""
        names = [image.name for image in images]
        if how == "Concat":
            return self.node("Concat", names, sum(image.channels for image in images), axis=1)
        if how in ("Sum", "Mean"):
            return self.node(how, names, images[0].channels)
        total = images[0]
        for image in images[1:]:
            total = self.node(how, [total.name, image.name], total.channels)
        return total


@dataclass(frozen=True, repr=False)
class Layer:
    """One step of a chain."""

    def __repr__(self) -> str:
        """What differs from the simplest layer of its kind."""
        said = (item for item in fields(self) if getattr(self, item.name) != item.default)
        return f"{type(self).__name__}({', '.join(f'{item.name}={getattr(self, item.name)!r}' for item in said)})"

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        """What hypothesis prints."""
        printer.text(repr(self))

    def write(self, build: Builder, image: Image) -> Image:
        """Append its nodes."""
        raise NotImplementedError

    @property
    def reach(self) -> int:
        """How far a border's trace spreads in it, pixels of its input."""
        return 0

    @property
    def step(self) -> float:
        """Pixels of its input for one of its output."""
        return 1.0


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """A convolution; `pads` may be an `auto_pad` of ONNX."""

    out: int
    kernel: Pair = (1, 1)
    pads: Pads | str = (0, 0, 0, 0)
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    weights: Weights = "random"
    shared: bool = False

    def write(self, build: Builder, image: Image) -> Image:
        inputs = [image.name, build.constant(self._numbers(build, image.channels), "kernel" if self.shared else None)]
        if self.bias:
            inputs.append(build.constant(build.random(self.out), "bias" if self.shared else None))
        pads = {"auto_pad": self.pads} if isinstance(self.pads, str) else {"pads": self.pads}
        attributes = {"strides": self.strides, "dilations": self.dilations, "group": self.groups}
        return build.node("Conv", inputs, self.out, kernel_shape=self.kernel, **pads, **attributes)

    def _numbers(self, build: Builder, channels: int) -> NDArray[np.float32]:
        shape = (self.out, channels // self.groups, *self.kernel)
        numbers = build.random(*shape, deviation=1 / math.sqrt(math.prod(shape[1:])))
        if self.weights == "sobel":
            numbers[...] = SOBEL[: self.kernel[0], : self.kernel[1]] * build.random(self.out, 1, 1, 1)
        elif self.weights == "dirac":
            numbers[...] = 0
            middle = self.kernel[0] // 2, self.kernel[1] // 2
            for row in range(self.out):
                numbers[row, row % shape[1], *middle] = 1
        elif self.weights == "zero":
            numbers[...] = 0
        elif self.weights == "dead":
            numbers[build.rng.random(self.out) < 0.5] = 0
        elif self.weights == "sparse":
            numbers[build.rng.random(shape) < 0.5] = 0
        return numbers

    @property
    def reach(self) -> int:
        extents = [(size - 1) * step for size, step in zip(self.kernel, self.dilations, strict=True)]
        return 2 * max(*extents, 1 if isinstance(self.pads, str) else max(self.pads))

    @property
    def step(self) -> float:
        return max(self.strides)


@dataclass(frozen=True, repr=False)
class Norm(Layer):
    """BatchNorm with statistics as after training, or, if `dead`, with a random half of its factors zero."""

    dead: bool = False

    def write(self, build: Builder, image: Image) -> Image:
        count = image.channels
        gamma, beta, mean = build.random(count), build.random(count), build.random(count)
        if self.dead:
            gamma[build.rng.random(count) < 0.5] = 0
        var = build.rng.uniform(0.2, 3.0, count).astype(np.float32)
        weights = [build.constant(numbers) for numbers in (gamma, beta, mean, var)]
        return build.node("BatchNormalization", [image.name, *weights], count, epsilon=1e-3)


@dataclass(frozen=True, repr=False)
class Constant(Layer):
    """An image and a constant: `op` with the constant on the `left` or right."""

    op: Arithmetic
    left: bool = False
    shape: Shape = "C11"
    zero: bool = False
    shared: bool = False

    def write(self, build: Builder, image: Image) -> Image:
        sizes = [] if self.shape == "()" else [image.channels if item == "C" else 1 for item in self.shape]
        numbers = build.random(*sizes)
        if self.op == "Div":  # away from zero
            numbers = np.copysign(np.abs(numbers) + np.float32(0.5), numbers)
        elif self.zero:
            numbers = numbers * (build.rng.random(sizes) < 0.5).astype(np.float32)
        numbers = np.asarray(numbers, np.float32)
        constant = build.constant(numbers, f"constant{self.op == 'Div'}" if self.shared else None)
        inputs = [constant, image.name] if self.left and self.op != "Div" else [image.name, constant]
        return build.node(self.op, inputs, image.channels)


@dataclass(frozen=True, repr=False)
class Negative(Layer):
    """-x."""

    def write(self, build: Builder, image: Image) -> Image:
        return build.node("Neg", [image.name], image.channels)


@dataclass(frozen=True, repr=False)
class Branches(Layer):
    """Branches of the same image; none is the identity."""

    branches: tuple[tuple[Layer, ...], ...]
    join: Join = "Add"

    def write(self, build: Builder, image: Image) -> Image:
        return build.joined([build.chain(branch, image) for branch in self.branches], self.join)

    @property
    def reach(self) -> int:
        return max(reach(branch)[0] for branch in self.branches)

    @property
    def step(self) -> float:
        return reach(self.branches[0])[1]


@dataclass(frozen=True, repr=False)
class Parts(Layer):
    """Branches of parts of the channels, joined in any order."""

    sizes: tuple[int, ...]
    branches: tuple[tuple[Layer, ...], ...]
    order: tuple[int, ...]
    via: Via = "Split"
    join: Join = "Concat"

    def write(self, build: Builder, image: Image) -> Image:
        parts = self._parts(build, image)
        done = [build.chain(branch, part) for branch, part in zip(self.branches, parts, strict=True)]
        return build.joined([done[index] for index in self.order], self.join)

    def _parts(self, build: Builder, image: Image) -> list[Image]:
        if self.via == "Split":
            return build.nodes_of("Split", [image.name, build.sizes(*self.sizes)], self.sizes, axis=1)
        limits = itertools.accumulate(self.sizes, initial=0)
        ranges = [list(range(start, end)) for start, end in itertools.pairwise(limits)]
        return [Select(tuple(index), self.via).write(build, image) for index in ranges]

    @property
    def reach(self) -> int:
        return max(reach(branch)[0] for branch in self.branches)


@dataclass(frozen=True, repr=False)
class Select(Layer):
    """Some channels; by a Slice they are a range."""

    index: tuple[int, ...]
    via: Literal["Slice", "Gather"] = "Gather"

    def write(self, build: Builder, image: Image) -> Image:
        if self.via == "Gather":
            return build.node("Gather", [image.name, build.sizes(*self.index)], len(self.index), axis=1)
        start, end = self.index[0], self.index[-1] + 1
        limits = [build.sizes(start), build.sizes(end if end < image.channels else np.iinfo(np.int64).max)]
        return build.node("Slice", [image.name, *limits, build.sizes(1)], len(self.index))


@dataclass(frozen=True, repr=False)
class Average(Layer):
    """AveragePool."""

    kernel: Pair
    pads: Pads
    strides: Pair = (1, 1)
    include_pad: bool = True

    def write(self, build: Builder, image: Image) -> Image:
        attributes = {"pads": self.pads, "strides": self.strides, "count_include_pad": int(self.include_pad)}
        return build.node("AveragePool", [image.name], image.channels, kernel_shape=self.kernel, **attributes)

    @property
    def reach(self) -> int:
        return 2 * max(*self.kernel, *self.pads)

    @property
    def step(self) -> float:
        return max(self.strides)


@dataclass(frozen=True, repr=False)
class Pad(Layer):
    """Pixels of `value` around the image; with a negative number of them, a crop."""

    pads: Pads
    value: float = 0.0
    mode: Literal["constant", "reflect"] = "constant"

    def write(self, build: Builder, image: Image) -> Image:
        top, left, bottom, right = self.pads
        inputs = [image.name, build.sizes(0, 0, top, left, 0, 0, bottom, right)]
        if self.value:
            inputs.append(build.constant(np.array(self.value, np.float32)))
        return build.node("Pad", inputs, image.channels, mode=self.mode)

    @property
    def reach(self) -> int:
        return 2 * max(map(abs, self.pads))


@dataclass(frozen=True, repr=False)
class Crop(Layer):
    """Pixels cut off by a Slice."""

    pads: Pads

    def write(self, build: Builder, image: Image) -> Image:
        top, left, bottom, right = self.pads
        ends = [-side if side else np.iinfo(np.int64).max for side in (bottom, right)]
        inputs = [image.name, build.sizes(top, left), build.sizes(*ends), build.sizes(2, 3), build.sizes(1, 1)]
        return build.node("Slice", inputs, image.channels)

    @property
    def reach(self) -> int:
        return 2 * max(self.pads)


@dataclass(frozen=True, repr=False)
class BiasPad(Layer):
    """ECB's padding by the bias of the convolution before: Sub, Pad with zeros, Add."""

    pads: Pads

    def write(self, build: Builder, image: Image) -> Image:
        bias = build.constant(build.random(1, image.channels, 1, 1))
        image = build.node("Sub", [image.name, bias], image.channels)
        image = Pad(self.pads).write(build, image)
        return build.node("Add", [image.name, bias], image.channels)

    @property
    def reach(self) -> int:
        return 2 * max(self.pads)


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """What no fold can cross."""

    kind: Literal["Relu", "PRelu", "Sigmoid"] = "Relu"

    def write(self, build: Builder, image: Image) -> Image:
        slope = [build.constant(build.random(image.channels, 1, 1))] if self.kind == "PRelu" else []
        return build.node(self.kind, [image.name, *slope], image.channels)


@dataclass(frozen=True, repr=False)
class Shuffle(Layer):
    """DepthToSpace by 2."""

    def write(self, build: Builder, image: Image) -> Image:
        return build.node("DepthToSpace", [image.name], image.channels // 4, blocksize=2, mode="CRD")

    @property
    def step(self) -> float:
        return 0.5


@dataclass(frozen=True, repr=False)
class Nearest(Layer):
    """Each pixel becomes 2 x 2."""

    def write(self, build: Builder, image: Image) -> Image:
        scales = build.constant(np.array([1, 1, 2, 2], np.float32))
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return build.node("Resize", [image.name, "", scales], image.channels, **attributes)

    @property
    def step(self) -> float:
        return 0.5


@dataclass(frozen=True, repr=False)
class Output(Layer):
    """The value is an output of the graph, too."""

    def write(self, build: Builder, image: Image) -> Image:
        if image.name != INPUT and image not in build.outputs:
            build.outputs.append(image)
        return image


@dataclass(frozen=True)
class Network:
    """A recipe; the weights follow from `seed`."""

    channels: int
    layers: tuple[Layer, ...]
    seed: int = 0

    @property
    def is_regular(self) -> bool:
        """Whether weights have zeros only where the structure of the graph says so, so that costs are known from it."""
        return not any(sign in repr(self) for sign in ("weights=", "dead=", "zero=", "shared="))

    def build(self) -> onnx.ModelProto:
        """Its ONNX graph."""
        build = Builder(np.random.default_rng(self.seed))
        last = build.chain(self.layers, Image(INPUT, self.channels))
        build.node("Identity", [last.name], last.channels)
        build.nodes[-1].output[0] = OUTPUT
        outputs = [*(image.name for image in build.outputs), OUTPUT]
        graph = helper.make_graph(
            build.nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", self.channels, "h", "w"])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            list(build.weights.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def reach(layers: Sequence[Layer]) -> tuple[int, float]:
    """How far a border's trace spreads in a chain, pixels of its input, and what one pixel of its output covers."""
    total, step = 0.0, 1.0
    for layer in layers:
        total += step * layer.reach
        step *= layer.step
    return math.ceil(total), step


KERNELS: tuple[Pair, ...] = ((1, 1), (3, 3), (1, 3), (3, 1), (2, 2), (5, 5), (2, 3))
FIVE = (5, 5)


def pick(draw: Draw, *items: T) -> T:
    """One of several, the first being the simplest."""
    return cast("T", draw(st.sampled_from(items)))


def chance(draw: Draw, share: float) -> bool:
    """True with about this probability; the simplest is False."""
    return cast("int", draw(st.integers(0, 99))) >= 100 * (1 - share)


def number(draw: Draw, least: int, most: int) -> int:
    """An integer."""
    return cast("int", draw(st.integers(least, most)))


def divided(draw: Draw, amount: int) -> Pair:
    """Two parts of an amount, half and half most of the time."""
    half = amount // 2
    first = half if not chance(draw, 0.3) else number(draw, 0, amount)
    return first, amount - first


@st.composite
def networks(draw: Draw) -> Network:
    """Networks of one or two regions, with what is not linear inside and between them."""
    channels = number(draw, 1, 4)
    layers: list[Layer] = []
    count = channels
    for _ in range(number(draw, 1, 2)):
        out = number(draw, 1, 6)
        change = pick(draw, 0, 0, -2, 1)
        layers += chain(draw, count, out, (change, change), depth=2)
        count = out
        kind = pick(draw, "", "Relu", "PRelu", "Sigmoid", "Mul", "Residual", "Shuffle", "Nearest", "Output", "Strided")
        if kind == "Output":
            layers.append(Output())
        elif kind in ("Relu", "PRelu", "Sigmoid"):
            layers.append(Activation(cast(Any, kind)))
        elif kind == "Mul":
            layers.append(Branches(branches(draw, count, count, (0, 0), 1, 2), "Mul"))
        elif kind == "Residual":
            inner = (*chain(draw, count, count, (0, 0), 1), Activation(), *chain(draw, count, count, (0, 0), 1))
            layers.append(Branches(((), inner)))
        elif kind == "Nearest" and reach(layers)[1] >= 1:
            layers.append(Nearest())
        elif kind == "Shuffle" and reach(layers)[1] >= 1:
            layers += [Conv(4 * count, (3, 3), (1, 1, 1, 1)), Shuffle()]
        elif kind == "Strided":
            layers.append(strided(draw, count, count))
    return Network(channels, tuple(layers), number(draw, 0, 1 << 16))


def branches(
    draw: Draw, channels: int, out: int, change: Pair, depth: int, count: int, stride: int = 1
) -> tuple[tuple[Layer, ...], ...]:
    """Chains that give images of the same size and number of channels."""
    return tuple(chain(draw, channels, out, change, depth, stride) for _ in range(count))


def strided(draw: Draw, channels: int, out: int) -> Layer:
    """Branches of stride 2."""
    return Branches(branches(draw, channels, out, (0, 0), 0, number(draw, 1, 3), 2), pick(draw, "Add", "Sum", "Mean"))


def chain(draw: Draw, channels: int, out: int, change: Pair, depth: int = 0, stride: int = 1) -> tuple[Layer, ...]:
    """Layers from `channels` to `out` channels, by `change` pixels larger, of which the last one has the stride."""
    layers: list[Layer] = []
    left = list(change)
    for _ in range(number(draw, 0, 3 if depth else 2)):
        layer, channels, grown = step(draw, channels, depth)
        layers.append(layer)
        left = [side - more for side, more in zip(left, grown, strict=True)]
    if stride > 1:
        last, grown = window(draw, channels, out, stride)
        layers.append(last)
    elif channels != out:
        last, grown = window(draw, channels, out)
        layers.append(last)
        left = [side - more for side, more in zip(left, grown, strict=True)]
    return tuple(resized(draw, layers, (left[0], left[1]), at_end=stride == 1))


def resized(draw: Draw, layers: list[Layer], change: Pair, *, at_end: bool) -> list[Layer]:
    """The layers and, before or after them, what makes the image larger by `change`."""
    if change == (0, 0):
        return layers
    fix: list[Layer] = []
    grow = tuple(max(0, side) for side in change)
    if any(grow):
        (top, bottom), (first, last) = divided(draw, grow[0]), divided(draw, grow[1])
        pads = (top, first, bottom, last)
        kind = pick(draw, "zeros", "value", "bias", "reflect")
        if kind == "bias":
            fix.append(BiasPad(pads))
        elif kind == "reflect" and max(pads) < 3:
            fix.append(Pad(pads, mode="reflect"))
        else:
            fix.append(Pad(pads, 0.75 if kind == "value" else 0.0))
    cut = tuple(max(0, -side) for side in change)
    if any(cut):
        (top, bottom), (first, last) = divided(draw, cut[0]), divided(draw, cut[1])
        pads = (top, first, bottom, last)
        fix.append(Crop(pads) if chance(draw, 0.7) else Pad(cast("Pads", tuple(-side for side in pads))))
    return [*layers, *fix] if at_end and chance(draw, 0.3) else [*fix, *layers]


def window(draw: Draw, channels: int, out: int, stride: int = 1) -> tuple[Layer, Pair]:
    """A convolution, and by how much the image grows in it; with a stride it keeps ceil(side / stride)."""
    kernel = pick(draw, *KERNELS)
    dilations = (2, 2) if kernel != FIVE and chance(draw, 0.15) else (1, 1)
    extents = [(size - 1) * gap for size, gap in zip(kernel, dilations, strict=True)]
    automatic = () if dilations == (2, 2) else ("SAME_UPPER", "SAME_LOWER")  # ONNX Runtime does not know both
    scheme = "same" if stride > 1 else pick(draw, "same", "same", "valid", "full", "VALID", *automatic)
    pads: Pads | str = scheme
    if scheme == "same":
        (top, bottom), (left, right) = divided(draw, extents[0]), divided(draw, extents[1])
        pads = (top, left, bottom, right)
    elif scheme == "valid":
        pads = (0, 0, 0, 0)
    elif scheme == "full":
        pads = (extents[0], extents[1], extents[0], extents[1])
    sign = {"full": 1, "valid": -1, "VALID": -1}.get(scheme, 0)
    common = math.gcd(channels, out)
    groups = 1 if not chance(draw, 0.3) else pick(draw, *(item for item in range(1, common + 1) if common % item == 0))
    weights: Weights = "random"
    if chance(draw, 0.2):
        weights = pick(draw, "zero", "dirac", "dead", "sparse", *(("sobel",) if kernel == (3, 3) else ()))
    bias, shared = not chance(draw, 0.3), chance(draw, 0.1)
    layer = Conv(out, kernel, pads, (stride, stride), dilations, groups, bias, weights, shared)
    return layer, (sign * extents[0], sign * extents[1])


def step(draw: Draw, channels: int, depth: int) -> tuple[Layer, int, Pair]:
    """Any layer, its channels, and by how much the image grows."""
    simple = ("conv", "conv", "conv", "norm", "constant", "negative", "select", "average", "activation", "output")
    kind = pick(draw, *simple, *(("branches", "branches", "concat", "parts") if depth else ()))
    if kind == "conv":
        out = number(draw, 1, 6)
        layer, grown = window(draw, channels, out)
        return layer, out, grown
    if kind in ("branches", "concat"):
        return parallel(draw, channels, depth, kind)
    if kind == "parts" and channels > 1:
        return divided_channels(draw, channels, depth)
    if kind == "select":
        return selection(draw, channels)
    if kind == "average":
        kernel = pick(draw, (3, 3), (2, 2), (1, 3))
        (top, bottom), (left, right) = divided(draw, kernel[0] - 1), divided(draw, kernel[1] - 1)
        return Average(kernel, (top, left, bottom, right), include_pad=not chance(draw, 0.3)), channels, (0, 0)
    return plain(draw, kind), channels, (0, 0)


def parallel(draw: Draw, channels: int, depth: int, kind: str) -> tuple[Layer, int, Pair]:
    """Branches of the same image, added up or side by side."""
    if kind == "concat":
        sizes = [number(draw, 1, 3) for _ in range(number(draw, 1, 3))]
        parts = tuple(chain(draw, channels, size, (0, 0), depth - 1) for size in sizes)
        return Branches(parts, "Concat"), sum(sizes), (0, 0)
    join: Join = pick(draw, "Add", "Add", "Sum", "Mean", "Sub")
    parts = branches(draw, channels, channels, (0, 0), depth - 1, number(draw, 1, 4))
    return Branches(parts, join), channels, (0, 0)


def plain(draw: Draw, kind: str) -> Layer:
    """A layer that keeps channels and size."""
    if kind == "norm":
        return Norm(dead=chance(draw, 0.2))
    if kind == "negative":
        return Negative()
    if kind == "activation":
        return Activation(pick(draw, "Relu", "PRelu", "Sigmoid"))
    if kind == "output":
        return Output()
    shape: Shape = pick(draw, "C11", "1C11", "()", "1", "111", "1111")
    op: Arithmetic = pick(draw, "Add", "Sub", "Mul", "Div")
    return Constant(op, chance(draw, 0.4), shape, chance(draw, 0.2), chance(draw, 0.3))


def divided_channels(draw: Draw, channels: int, depth: int) -> tuple[Layer, int, Pair]:
    """Parts of the channels, each with its own chain."""
    first = number(draw, 1, channels - 1)
    sizes = (first, channels - first)
    order = pick(draw, (0, 1), (1, 0), (1, 0, 1))
    via: Via = pick(draw, "Split", "Slice", "Gather")
    join: Join = pick(draw, "Concat", "Concat", "Add")
    outs = sizes if join == "Concat" else (first, first)
    inner = tuple(chain(draw, size, out, (0, 0), depth - 1) for size, out in zip(sizes, outs, strict=True))
    total = sum(outs[index] for index in order) if join == "Concat" else first
    return Parts(sizes, inner, order, via, join), total, (0, 0)


def selection(draw: Draw, channels: int) -> tuple[Layer, int, Pair]:
    """Some of the channels."""
    if chance(draw, 0.5):
        index = tuple(number(draw, 0, channels - 1) for _ in range(number(draw, 1, channels)))
        return Select(index), len(index), (0, 0)
    start = number(draw, 0, channels - 1)
    end = number(draw, start + 1, channels)
    return Select(tuple(range(start, end)), "Slice"), end - start, (0, 0)
