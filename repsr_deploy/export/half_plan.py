"""Which operators of a graph stay float32 when the rest computes in fp16 or bf16.

1. Those that have no version in the short type, that lose or overflow in one (`ROUGH`), and those with a constant
   larger than the type holds.
2. What costs next to nothing (`LIGHT`) and only prepares such operators, or only goes on with what they gave: the
   subtraction, the square and the root of a normalisation are not rounded in between.
3. Where the type holds no picture, which is so in bf16, everything light between the last convolution and the output,
   and between the input and the first one: skip, PixelShuffle and clamp. bf16 has 8 bits, as many as a picture: a sum
   with the image would round the image. A convolution of the skip (WDSR has one) is float32 for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

Half = Literal["fp16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class ShortType:
    """What is to be known of a short type."""

    dtype: ir.DataType
    largest: float
    oldest_opset: int
    """From which operator set on convolutions have it."""
    holds_pictures: bool
    """Whether a picture may be rounded to it."""
    refused: frozenset[str]
    """Operators that TensorRT (11.4, and 1.7 for RTX) does not have in it."""


SHORT_TYPES: dict[Half, ShortType] = {
    "fp16": ShortType(
        dtype=ir.DataType.FLOAT16, largest=65504.0, oldest_opset=13, holds_pictures=True, refused=frozenset()
    ),
    "bf16": ShortType(
        dtype=ir.DataType.BFLOAT16,
        largest=3.3895314e38,
        oldest_opset=22,
        holds_pictures=False,
        refused=frozenset({"ConvTranspose", "HardSwish", "Mish"}),
    ),
}

SUMS = (
    "CumSum", "GlobalAveragePool", "GlobalLpPool", "LpPool", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
NORMALISATIONS = (
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax",
    "LpNormalization", "MeanVarianceNormalization", "RMSNormalization", "Softmax",
)  # fmt: skip
STEEP = ("Acosh", "Cosh", "Div", "Exp", "Log", "Pow", "Reciprocal", "Sinh", "Sqrt", "Tan")
ROUGH: dict[str, str] = {
    **dict.fromkeys(SUMS, "sums many numbers"),
    **dict.fromkeys(NORMALISATIONS, "divides by what may be small"),
    **dict.fromkeys(STEEP, "overflows, or makes rounding errors large"),
    "GridSample": "its coordinates need more bits",
}
"""Operators that lose or overflow in a short type, and why."""
TYPED = frozenset({"Cast", "CastLike", "ConstantOfShape", "EyeLike", "Multinomial", "RandomNormal", "RandomUniform"})
"""Operators whose type an attribute or another input says."""
SIZES = frozenset({"Shape", "Size"})
"""Operators that read no values."""
BOUNDS = frozenset({"Clip"})
"""Operators whose constants may become infinite without another meaning."""
LIGHT = frozenset(
    {"Abs", "Add", "Ceil", "Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Floor", "Gather", "GatherElements"}
    | {
        "GatherND",
        "Identity",
        "LeakyRelu",
        "Max",
        "Mean",
        "Min",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "ReduceMax",
        "ReduceMin",
    }
    | {"Relu", "Reshape", "Resize", "Round", "Sigmoid", "Sign", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub"}
    | {"Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that cost no more than reading and writing, and go with what is around them."""


def own_reasons(model: ir.Model, precision: Half) -> dict[ir.Node, str]:
    """The operators that stay float32 for their own sake, and why. All values of the graph have types."""
    short, opset = SHORT_TYPES[precision], model.opset_imports[""]
    reasons: dict[ir.Node, str] = {}
    for node in model.graph:
        reason = _own_reason(node, short, opset)
        if reason is not None and any(value.dtype == ir.DataType.FLOAT for value in _values(node)):
            reasons[node] = reason
    return reasons


def short_nodes(model: ir.Model, precision: Half) -> set[ir.Node]:
    """The operators that compute in the short type. All values of the graph have types."""
    long = set(own_reasons(model, precision))
    light = [node for node in model.graph if node.op_type in LIGHT and node not in long]
    pictures = set[ir.Value]()
    if not SHORT_TYPES[precision].holds_pictures:
        pictures = _light_on_inputs(model.graph, light)
        long |= _tail(model.graph, light, pictures)
    size = -1
    while size != len(long):
        size = len(long)
        for node in reversed(light):
            if _readers(node) and long.issuperset(_readers(node)) and not _ends(node):
                long.add(node)
        for node in light:
            sources = _moving(node)
            if sources and all(value in pictures or value.producer() in long for value in sources):
                long.add(node)
    floats = (node for node in model.graph if any(value.dtype == ir.DataType.FLOAT for value in _values(node)))
    return {node for node in floats if node not in long and node.op_type not in SIZES}


def _tail(graph: ir.Graph, light: Sequence[ir.Node], pictures: set[ir.Value]) -> set[ir.Node]:
    """What is light up to the end of the graph, and the convolutions that add the picture itself there."""
    tail: set[ir.Node] = set()
    for node in reversed(light):
        if (_readers(node) or _ends(node)) and tail.issuperset(_readers(node)):
            tail.add(node)
    convolutions = (node for node in graph if node.op_type == "Conv" and pictures.issuperset(_moving(node)))
    skips = {node for node in convolutions if _readers(node) and tail.issuperset(_readers(node)) and not _ends(node)}
    return tail | skips


def _light_on_inputs(graph: ir.Graph, light: Iterable[ir.Node]) -> set[ir.Value]:
    """The graph's inputs, and what light operators make of them alone."""
    values = set(graph.inputs)
    for node in light:
        if values.issuperset(_moving(node)):
            values.update(node.outputs)
    return values


def short_places(node: ir.Node, dtype: ir.DataType, opset: int) -> tuple[frozenset[int], frozenset[int]] | None:
    """Which inputs and outputs of a node take the short type together; None where it has no version in it.

    The scales of a Resize are float32 in every version, for example.
    """
    if node.domain or not onnx.defs.has(node.op_type, opset):
        return None
    schema = onnx.defs.get_schema(node.op_type, opset)
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    outputs = [_formal(schema.outputs, index) for index in range(len(node.outputs))]
    inputs = [_formal(schema.inputs, index) for index in range(len(node.inputs))]
    main = next(
        (
            formal
            for values, formals in ((node.outputs, outputs), (node.inputs, inputs))
            for value, formal in zip(values, formals, strict=True)
            if value is not None and value.dtype == ir.DataType.FLOAT
        ),
        None,
    )
    if main is None or f"tensor({dtype.name.lower()})" not in allowed.get(main, ()):
        return None
    return (
        frozenset(index for index, formal in enumerate(inputs) if formal == main),
        frozenset(index for index, formal in enumerate(outputs) if formal == main),
    )


def _formal(parameters: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> str:
    """Name of the type that the parameter at a place has; the last may stand for many."""
    return parameters[min(index, len(parameters) - 1)].type_str


def _own_reason(node: ir.Node, short: ShortType, opset: int) -> str | None:
    operator, name = node.op_type, short.dtype.name.lower()
    kinds = {attribute.type for attribute in node.attributes.values()}
    reasons = (
        (not kinds.isdisjoint({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}), "is control flow"),
        (operator in ROUGH, ROUGH.get(operator, "")),
        (operator in TYPED, "says its type itself"),
        (operator in short.refused, f"has no {name} version in TensorRT"),
        (operator not in SIZES and short_places(node, short.dtype, opset) is None, f"has no {name} version"),
        (
            operator not in BOUNDS and any(_too_large(value, short.largest) for value in node.inputs),
            f"has a constant above {short.largest:.3g}",
        ),
    )
    return next((reason for applies, reason in reasons if applies), None)


def _too_large(value: ir.Value | None, largest: float) -> bool:
    if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return False
    numbers = np.abs(value.const_value.numpy())
    return bool((np.isfinite(numbers) & (numbers > largest)).any())


def _values(node: ir.Node) -> Iterable[ir.Value]:
    return (value for value in (*node.inputs, *node.outputs) if value is not None)


def _moving(node: ir.Node) -> list[ir.Value]:
    """The float32 inputs of a node that are no constants."""
    present = (value for value in node.inputs if value is not None and value.const_value is None)
    return [value for value in present if value.dtype == ir.DataType.FLOAT]


def _readers(node: ir.Node) -> list[ir.Node]:
    """The operators that read values of a node."""
    return [use.node for value in node.outputs for use in value.uses() if use.node.op_type not in SIZES]


def _ends(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)
