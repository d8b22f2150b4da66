"""What computing a value costs, and what is better: the model by which the planner folds or keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from repsr_deploy.folding.graph.linear import Shapes, is_constant
from repsr_deploy.folding.graph.operator import Operator

Objective = Literal["macs", "nodes"]
"""What to save first: `macs`: multiply-adds, then values moved, then nodes; `nodes`: nodes, then multiply-adds, ...

Times decided for this order: of 21 pairs measured in ONNX Runtime (`docs/folding.md`) multiply-adds alone named the
faster one in 20, and no weight for the traffic named more.
"""


@dataclass(frozen=True)
class Cost:
    """Of some nodes, for the reference input."""

    macs: int = 0
    """Multiply-adds; additions alone do not count."""
    traffic: int = 0
    """Values read and written, weights left out."""
    nodes: float = 0
    """A node with several outputs counts in parts."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.traffic + other.traffic, self.nodes + other.nodes)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Size of a whole graph, as reports give it."""

    nodes: int
    parameters: int
    macs_per_lr_pixel: float
    """Multiply-adds of convolutions and matrix products for each pixel of the first input."""
    activations_per_lr_pixel: float
    """Values that nodes give for each pixel of the first input."""


Weigh = Callable[[Cost], tuple[float, float, float]]


def weigh(objective: Objective) -> Weigh:
    """The order of costs: lower is better, a later number decides where those before it are equal."""
    if objective == "nodes":
        return lambda cost: (cost.nodes, cost.macs, cost.traffic)
    return lambda cost: (cost.macs, cost.traffic, cost.nodes)


def size(value: ir.Value, shapes: Shapes) -> int:
    """Numbers in a value; 0 where its shape is not known."""
    shape = shapes.get(value.name or "")
    return 0 if shape is None else math.prod(shape)


def written_cost(value: ir.Value, shapes: Shapes) -> Cost:
    """Of the node that gives `value`, as it stands in the graph."""
    node = value.producer()
    assert node is not None
    share = size(value, shapes) / max(1, sum(size(output, shapes) for output in node.outputs))
    read = sum(size(item, shapes) for item in node.inputs if item is not None and not is_constant(item))
    if node.op_type in ("Slice", "Split", "Gather"):
        read = size(value, shapes)
    return Cost(_node_macs(node, shapes), read + size(value, shapes), share)


def pixels(value: ir.Value, shapes: Shapes) -> int:
    """Pixels of an image, of the whole batch."""
    count, _, height, width = shapes[value.name or ""]
    return count * height * width


def emitted_cost(terms: Mapping[ir.Value, Operator], value: ir.Value, shapes: Shapes) -> Cost:
    """Of the nodes that `emit` would write for `value` as the sum of `terms`."""
    out, area = size(value, shapes), pixels(value, shapes)
    total = Cost()
    for base, operator in terms.items():
        total = total + _operator_cost(operator, size(base, shapes), out, area)
    sums = len(terms) - 1
    return total + Cost(0, 3 * out * sums, sums)


def _operator_cost(operator: Operator, read: int, written: int, area: int) -> Cost:
    if operator.kind == "identity":
        return Cost()
    if operator.kind == "diagonal":
        steps = 1 if operator.out_channels > 1 else operator.has_scale + operator.has_bias
        return Cost(operator.macs * area, steps * (read + written), steps)
    if operator.kind == "select":
        return Cost(0, 2 * written, 1)
    cost = Cost(operator.macs * area, read + written, 1)
    if operator.ones == "shift":
        cost = cost + Cost(read, 2 * read, 1)  # a depthwise 1x1
    if operator.ones == "field":  # the image of ones, a convolution of it, and its addition
        taps = operator.taps.size
        cost = cost + Cost(operator.out_channels * taps * area, 4 * written + 2 * area, 5)
    return cost


def totals(model: ir.Model, shapes: Shapes) -> Totals:
    """Count a graph; nodes whose output has no known shape count as nodes only."""
    graph = model.graph
    area = max(1, pixels(graph.inputs[0], shapes)) if len(shapes.get(graph.inputs[0].name or "", ())) == 4 else 1
    weights = (value.const_value for value in graph.initializers.values())
    floats = (item for item in weights if item is not None and item.dtype.is_floating_point() and item.shape.rank() > 0)
    return Totals(
        nodes=sum(1 for _ in graph),
        parameters=sum(tensor.size for tensor in floats),
        macs_per_lr_pixel=sum(_node_macs(node, shapes) for node in graph if node.op_type in _PRODUCTS) / area,
        activations_per_lr_pixel=sum(size(output, shapes) for node in graph for output in node.outputs) / area,
    )


def total_cost(graph: ir.Graph, shapes: Shapes) -> Cost:
    """What the planner minimises, of a whole graph."""
    nodes = list(graph)
    read = sum(
        size(item, shapes) for node in nodes for item in node.inputs if item is not None and not is_constant(item)
    )
    written = sum(size(output, shapes) for node in nodes for output in node.outputs)
    return Cost(sum(_node_macs(node, shapes) for node in nodes), read + written, len(nodes))


_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


def _node_macs(node: ir.Node, shapes: Shapes) -> int:
    """Multiply-adds of a node; 0 where a shape is not known."""
    if node.op_type in ("Mul", "Div", "BatchNormalization", "Neg", "Mean"):
        return size(node.outputs[0], shapes)
    if node.op_type == "AveragePool":
        return size(node.outputs[0], shapes) * math.prod(node.attributes["kernel_shape"].as_ints())
    if node.op_type not in _PRODUCTS:
        return 0
    first, second = (() if item is None else shapes.get(item.name or "", ()) for item in node.inputs[:2])
    if node.op_type == "Conv":
        return size(node.outputs[0], shapes) * math.prod(second[1:]) if second else 0
    if node.op_type == "ConvTranspose":
        return math.prod((*first, *second[1:])) if first and second else 0
    transposed = "transA" in node.attributes and bool(node.attributes["transA"].as_int())
    return size(node.outputs[0], shapes) * first[-2 if transposed else -1] if first else 0
