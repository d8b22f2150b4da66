"""Cross-layer equalisation: a network with other weights that computes the same, and is easier to quantize.

Between a convolution that writes channel c and those that read it, c may be divided by s and multiplied by s again, for
any s > 0, as long as all that lies between is positively homogeneous: f(s x) = s f(x), as PReLU is (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1). There the ranges of
weights are made equal. Here it is those of activations, measured on pictures: they share one scale for the tensor,
while weights have one for each output channel, and it is activations that cost PSNR (photo-x2 on Kodak, scales from
photographs alone: -0.25 dB as it is, -0.04 dB after this).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from repsr_deploy.export.int8.observe import Channels, Observed
from repsr_deploy.folding.graph.linear import Shapes, array, is_constant
from repsr_deploy.folding.graph.rewrite import add_constant, is_crd
from repsr_deploy.folding.graph.shapes import reference_shapes

SMALLEST = 1 / 16
"""Least factor: a channel that pictures hardly use is enlarged by no more, as other pictures may use it."""
Floats = NDArray[np.float64]


def equalise(model: ir.Model, observed: Observed) -> tuple[ir.Model, Observed]:
    """The same function with channels of like ranges, and what would then be observed; `model` is not changed.

    No tensor's largest value grows: its other channels are enlarged towards it. Channels that something reads which is
    not homogeneous, and those of the graph's inputs and outputs, stay. Changed weights are float64 under the type
    float32, so that they are rounded once (`emit.round_weights`).

    Args:
        model: float32.
        observed: of values that convolutions read.
    """
    equal = model.clone()
    spaces = _Spaces(equal.graph, reference_shapes(equal))
    factors = spaces.factors(observed)
    for node in equal.graph:
        if node.op_type == "Conv" and is_constant(node.inputs[1]):
            _rescale(equal.graph, node, factors)
    seen = {
        name: Channels(largest_c=item.largest_c / factors.get(name, 1), mean_c=item.mean_c / factors.get(name, 1))
        for name, item in observed.items()
    }
    return equal, seen


def _rescale(graph: ir.Graph, node: ir.Node, factors: Mapping[str, Floats]) -> None:
    """Divide what a convolution gives by the factors of its output; undo in its weights those of its input."""
    image, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert image is not None
    assert weight is not None
    before, after = factors.get(str(image.name)), factors.get(str(output.name))
    if before is None or after is None or (np.all(before == 1) and np.all(after == 1)):
        return
    weight_oihw = array(weight)
    out_channels, reads = weight_oihw.shape[:2]
    groups = len(before) // reads
    read_oi = np.repeat(before.reshape(groups, reads), out_channels // groups, axis=0)
    _replace(graph, node, 1, weight_oihw * (read_oi / after[:, None])[..., None, None])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        _replace(graph, node, 2, array(bias) / after)


def _replace(graph: ir.Graph, node: ir.Node, index: int, numbers: Floats) -> None:
    """Give a node another constant; other nodes that share the old one keep it."""
    old = node.inputs[index]
    assert old is not None
    if len(old.uses()) == 1:
        old.const_value = ir.tensor(numbers, name=old.name)
    else:
        node.replace_input_with(index, add_constant(graph, f"{node.name}.{old.name}", numbers, old.dtype))


class _Spaces:
    """Which channels of which values can only be scaled together, and which cannot be scaled at all.

    Every channel of every value has a number; `_root` leads from it to the one that stands for its set.
    """

    def __init__(self, graph: ir.Graph, shapes: Shapes) -> None:
        self._shapes = shapes
        self._start: dict[str, int] = {}
        count = 1  # 0: what must not be scaled
        for name, shape in shapes.items():
            if len(shape) == 4:
                self._start[name] = count
                count += shape[1]
        self._parent = list(range(count))
        for value in (*graph.inputs, *graph.outputs):
            self._fix([value])
        for node in graph:
            self._read(node)
        for inner in graph.subgraphs():
            self._fix(inner.outputs)
            for node in inner:
                self._fix(value for value in node.inputs if value is not None)

    def factors(self, observed: Observed) -> dict[str, Floats]:
        """For every value, what each of its channels is to be divided by, at most 1."""
        ratio = np.zeros(len(self._parent))
        for name, channels in observed.items():
            if name not in self._start:
                continue
            largest = channels.largest_c.max()
            shares = channels.largest_c / largest if largest > 0 else np.ones_like(channels.largest_c)
            np.maximum.at(ratio, self._sets(name), shares)
        ratio = np.where(ratio > 0, np.maximum(ratio, SMALLEST), 1.0)
        ratio[self._root(0)] = 1.0
        return {name: ratio[self._sets(name)] for name in self._start}

    def _read(self, node: ir.Node) -> None:
        images = [value for value in node.inputs if value is not None and not is_constant(value)]
        rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        known = all(value.name in self._start for value in (*images, *node.outputs))
        links = rule(node, images, self._shapes) if rule is not None and known else None
        if links is None:
            self._fix([*images, *node.outputs])
            return
        for (value, channel), (other, place) in links:
            self._join(self._start[str(value.name)] + channel, self._start[str(other.name)] + place)

    def _fix(self, values: Iterable[ir.Value]) -> None:
        for value in values:
            for channel in self._sets(str(value.name)):
                self._join(0, int(channel))

    def _sets(self, name: str) -> NDArray[np.int64]:
        if name not in self._start:
            return np.zeros(0, np.int64)
        start = self._start[name]
        return np.array([self._root(start + channel) for channel in range(self._shapes[name][1])])

    def _root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def _join(self, first: int, second: int) -> None:
        self._parent[self._root(second)] = self._root(first)


Channel = tuple[ir.Value, int]
Links = list[tuple[Channel, Channel]]
"""Pairs of channels that can only be scaled together."""
Rule = Callable[[ir.Node, Sequence[ir.Value], Shapes], Links | None]
"""What a node ties together, given those of its inputs that are no constants; None where it is not homogeneous."""


def _convolution(node: ir.Node, images: Sequence[ir.Value], shapes: Shapes) -> Links | None:
    """Its weights take up any factor."""
    constant = all(value is None or is_constant(value) for value in node.inputs[1:])
    return [] if constant and len(images) == 1 else None


def _channelwise(node: ir.Node, images: Sequence[ir.Value], shapes: Shapes) -> Links | None:
    """Every channel of the output is made of the same channel of the inputs, all of one shape."""
    output = node.outputs[0]
    shape = shapes[str(output.name)]
    if len(images) != len([value for value in node.inputs if value is not None]):
        return None
    if any(shapes[str(value.name)] != shape for value in images):
        return None
    return [((output, channel), (value, channel)) for value in images for channel in range(shape[1])]


def _prelu(node: ir.Node, images: Sequence[ir.Value], shapes: Shapes) -> Links | None:
    slope = node.inputs[1]
    if not is_constant(slope) or len(images) != 1:
        return None
    output = node.outputs[0]
    return [((output, channel), (images[0], channel)) for channel in range(shapes[str(output.name)][1])]


def _shuffle(node: ir.Node, images: Sequence[ir.Value], shapes: Shapes) -> Links | None:
    """DepthToSpace: many channels become one."""
    image, output = images[0], node.outputs[0]
    count, after = shapes[str(image.name)][1], shapes[str(output.name)][1]
    place = [channel // (count // after) if is_crd(node) else channel % after for channel in range(count)]
    return [((output, place[channel]), (image, channel)) for channel in range(count)]


def _concat(node: ir.Node, images: Sequence[ir.Value], shapes: Shapes) -> Links | None:
    if node.attributes.get_int("axis", 1) not in (1, -3) or len(images) != len(node.inputs):
        return None
    channels = [(value, channel) for value in images for channel in range(shapes[str(value.name)][1])]
    return [((node.outputs[0], place), channel) for place, channel in enumerate(channels)]


_RULES: dict[str, Rule] = {
    "Add": _channelwise,
    "Concat": _concat,
    "Conv": _convolution,
    "DepthToSpace": _shuffle,
    "LeakyRelu": _channelwise,
    "PRelu": _prelu,
    "Relu": _channelwise,
    "Sub": _channelwise,
}
