"""Constant expressions of a graph, computed once: weight norm, reshaped weights, shapes that are known."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir

Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

SMALL_ELEMENTS = 1024  # up to here a tensor may be a shape, an axis list or a scale: its values matter to shapes
_GROWTH = 2  # a result larger than this many times its inputs is cheaper to compute than to store

# Kept whatever their inputs are: random or stateful, or (quantization) to be seen by whoever runs the graph.
_NEVER = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"}
    | {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
)
# Continuous in their float inputs, so that computing them in float64 only removes rounding. All others (Floor, Cast,
# comparisons) are given what a runtime would give them: values rounded to their own type.
_SMOOTH = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad"}
    | {"Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
    | {"Abs", "Add", "Clip", "Conv", "ConvTranspose", "Div", "Einsum", "Exp", "Gemm", "Log", "LpNormalization"}
    | {"MatMul", "Max", "Mean", "Min", "Mul", "Neg", "Pow", "PRelu", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax"}
    | {"ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax"}
    | {"Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Trilu"}
)


EXACT_ELEMENTS = 1 << 16
"""Computed constants of up to so many numbers are remembered unrounded, so that what cancels in exact arithmetic, such
as a bias and the padding made of it, cancels here."""
_EXACT = "exact"


def exact_array(tensor: ir.TensorProtocol) -> Array:
    """The numbers of a constant before they were rounded to its type, where they are known; else as they are stored."""
    return tensor.meta[_EXACT] if _EXACT in tensor.meta else tensor.numpy()


@dataclass(frozen=True, slots=True)
class Constant:
    """A known value: `array` holds it, in float64 where `dtype` is a shorter float that it is to be rounded to."""

    array: Array
    dtype: ir.DataType

    @property
    def rounded(self) -> Array:
        return self.array.astype(self.dtype.numpy(), copy=False)

    @property
    def exact(self) -> Array:
        short = self.dtype.is_floating_point() and self.dtype != ir.DataType.DOUBLE
        return self.array.astype(np.float64, copy=False) if short else self.array

    @property
    def type_proto(self) -> onnx.TypeProto:
        return onnx.helper.make_tensor_type_proto(self.dtype.value, self.array.shape)


def lift_constants(model: ir.Model) -> None:
    """Turn the `Constant` nodes of the main graph into initializers, in place. Strings stay nodes."""
    graph = model.graph
    outputs = set(graph.outputs)
    for node in graph:
        if node.op_type != "Constant" or node.domain or node.outputs[0] in outputs:
            continue
        tensor = _tensor_of(node)
        if tensor is not None:
            _replace(graph, node.outputs[0], tensor)
            graph.remove(node, safe=True)


def fold_constants(model: ir.Model) -> list[str]:
    """Compute, in place, every node of the main graph whose inputs are all initializers; return the new ones' names.

    Also folds `Shape` of a value whose shape is static. Short floats are computed in float64 through a whole chain and
    rounded once, where it ends. Random, quantizing, stateful and custom operators and control flow are kept, and so is
    a node whose result would be larger than 1024 elements and than twice its inputs.
    """
    lift_constants(model)
    graph, opset = model.graph, model.opset_imports[""]
    outputs = set(graph.outputs)
    candidates = _candidates(graph, outputs, opset)
    largest = max((value.const_value.size for value in graph.initializers.values() if value.const_value), default=0)
    known: dict[ir.Value, Constant] = {}
    # A value is dropped from `known` when its last reader among the candidates is done, so that memory stays small.
    readers = Counter(value for node in candidates for value in node.inputs if value is not None)
    new: dict[ir.Value, Constant] = {}
    folded: list[ir.Node] = []
    for node in candidates:
        leaving = any(reader not in candidates for value in node.outputs for reader, _ in value.uses())
        results = _fold_node(node, known, opset, limit=0 if leaving else _GROWTH * largest)
        if results is not None:
            folded.append(node)
            for value, result in zip(node.outputs, results, strict=True):
                if readers[value]:
                    known[value] = result
                if any(reader not in candidates for reader, _ in value.uses()):
                    small = result.array.size <= EXACT_ELEMENTS
                    new[value] = result if small else Constant(result.rounded, result.dtype)
        else:
            new |= {value: known[value] for value in node.inputs if value in known and value not in new}
        for value in node.inputs:
            if value is not None:
                readers[value] -= 1
                if not readers[value]:
                    known.pop(value, None)
    for value, result in new.items():
        tensor = ir.Tensor(result.rounded, dtype=result.dtype, name=value.name)
        if result.array.size <= EXACT_ELEMENTS and result.exact.dtype != tensor.dtype.numpy():
            tensor.meta[_EXACT] = result.exact
        _replace(graph, value, tensor)
    graph.remove(list(reversed(folded)), safe=True)
    return [str(value.name) for value in new]


def infer_outputs(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], data: Mapping[str, Array], opset: int
) -> dict[str, onnx.TypeProto]:
    """Types and shapes of the outputs of one default-domain node, from its inputs' `types` and small known `data`.

    Raises onnx.shape_inference.InferenceError where they contradict each other.
    """
    schema = onnx.defs.get_schema(node.op_type, opset)
    tensors = {name: onnx.numpy_helper.from_array(array, name) for name, array in data.items()}
    imports = [onnx.helper.make_opsetid("", opset)]
    return onnx.shape_inference.infer_node_outputs(schema, node, dict(types), tensors, opset_imports=imports)


def evaluate_node(node: onnx.NodeProto, inputs: Sequence[Array | None], opset: int) -> list[Array]:
    """Run one default-domain node with the ONNX reference evaluator."""
    positional = onnx.NodeProto(op_type=node.op_type, attribute=node.attribute)
    positional.input.extend("" if array is None else f"i{k}" for k, array in enumerate(inputs))
    positional.output.extend(f"o{k}" if name else "" for k, name in enumerate(node.output))
    feeds = {f"i{k}": array for k, array in enumerate(inputs) if array is not None}
    with np.errstate(all="ignore"):  # a NaN made here is reported by whoever checks the weights
        return [np.asarray(result) for result in _evaluator(positional.SerializeToString(), opset).run(None, feeds)]


def foldable(node: ir.Node, opset: int) -> bool:
    """Whether the node computes the same from the same inputs every time, and the reference evaluator may know it."""
    if not node.inputs or node.op_type in _NEVER or not is_defined(node, opset):
        return False
    kinds = {attribute.type for attribute in node.attributes.values()}
    return kinds.isdisjoint({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


def is_defined(node: ir.Node, opset: int) -> bool:
    """Whether this version of ONNX's default domain has such an operator."""
    return node.domain == "" and onnx.defs.has(node.op_type, opset)


def small_data(constants: Mapping[str, Constant]) -> dict[str, Array]:
    """Those constants whose values may decide a shape."""
    return {name: c.rounded for name, c in constants.items() if c.array.size <= SMALL_ELEMENTS}


@functools.lru_cache(maxsize=1024)
def _evaluator(node: bytes, opset: int) -> onnx.reference.ReferenceEvaluator:
    proto = onnx.NodeProto.FromString(node)
    graph = onnx.GraphProto(name="node", node=[proto])
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in proto.input if name)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in proto.output if name)
    return onnx.reference.ReferenceEvaluator(graph, opsets={"": opset})


def _candidates(graph: ir.Graph, outputs: Collection[ir.Value], opset: int) -> dict[ir.Node, None]:
    """The nodes, in order, that depend on initializers and static shapes only. A graph output stays computed."""
    constant = {value for value in graph.initializers.values() if value.const_value is not None}
    found: dict[ir.Node, None] = {}
    for node in graph:
        if not foldable(node, opset) or any(value in outputs for value in node.outputs):
            continue
        if _static_shape(node) is not None or all(value is None or value in constant for value in node.inputs):
            found[node] = None
            constant.update(node.outputs)
    return found


def _static_shape(node: ir.Node) -> tuple[int, ...] | None:
    """The shape that a `Shape` or `Size` node reads, where every side of it is known."""
    value = node.inputs[0]
    if node.op_type not in ("Shape", "Size") or value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def _fold_node(node: ir.Node, known: Mapping[ir.Value, Constant], opset: int, limit: int) -> list[Constant] | None:
    """The node's results, or None where it is to be kept. `limit`: elements a result may have beyond the usual."""
    proto = ir.serde.serialize_node(node)
    shape = _static_shape(node)
    if shape is not None:
        return [Constant(array, ir.DataType.INT64) for array in evaluate_node(proto, [np.empty(shape, bool)], opset)]
    constants = [None if value is None else _constant(value, known) for value in node.inputs]
    if any(constant is None and value is not None for constant, value in zip(constants, node.inputs, strict=True)):
        return None  # an input that was kept
    named = {name: constant for name, constant in zip(proto.input, constants, strict=True) if constant is not None}
    smooth = node.op_type in _SMOOTH
    try:
        types = infer_outputs(proto, {k: c.type_proto for k, c in named.items()}, small_data(named), opset)
        sizes = [_elements(types[name]) for name in proto.output if name]
        allowed = max(SMALL_ELEMENTS, _GROWTH * sum(constant.array.size for constant in named.values()), limit)
        if any(size is None or size > allowed for size in sizes):
            return None
        arrays = evaluate_node(proto, [c and (c.exact if smooth else c.rounded) for c in constants], opset)
    except Exception as error:  # the evaluator's errors share no base class; the node stays, and works as before
        log.debug("%s is not folded: %s", node.name, error)
        return None
    if len(arrays) != len(node.outputs):
        return None
    return [
        Constant(array, ir.DataType(types[name].tensor_type.elem_type))
        for array, name in zip(arrays, proto.output, strict=True)
    ]


def _constant(value: ir.Value, known: Mapping[ir.Value, Constant]) -> Constant | None:
    if value in known:
        return known[value]
    tensor = value.const_value
    return None if tensor is None else Constant(tensor.numpy(), tensor.dtype)


def _elements(type_proto: onnx.TypeProto) -> int | None:
    dims = type_proto.tensor_type.shape.dim
    known = type_proto.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
    return int(np.prod([dim.dim_value for dim in dims], dtype=np.int64)) if known else None


def _tensor_of(node: ir.Node) -> ir.TensorProtocol | None:
    """What a `Constant` node holds; None for strings."""
    name, attribute = next(iter(node.attributes.items()))
    if name == "value":
        return attribute.as_tensor()
    if name in ("value_int", "value_ints"):
        return ir.tensor(attribute.value, dtype=ir.DataType.INT64)
    if name in ("value_float", "value_floats"):
        return ir.tensor(attribute.value, dtype=ir.DataType.FLOAT)
    return None


def _replace(graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Let an initializer of the same name take the place of a node's output."""
    initializer = ir.Value(
        name=value.name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    value.replace_all_uses_with(initializer)
    graph.register_initializer(initializer)
