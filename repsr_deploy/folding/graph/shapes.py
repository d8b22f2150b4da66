"""Shapes of every value of a graph: as far as they are known, and at a reference input size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from repsr_deploy.folding.graph.constants import (
    SMALL_ELEMENTS,
    Constant,
    evaluate_node,
    foldable,
    infer_outputs,
    is_defined,
    small_data,
)

Shape = tuple[int, ...]
Sides = tuple[int, int]  # height, width
Dims = Sequence[int | None]  # None: unknown

# Tried when a network cannot take the sides asked for: PixelUnshuffle and U-shaped networks need multiples.
SIDES: Sides = (46, 62)
_FALLBACK_SIDES: tuple[Sides, ...] = ((48, 64), (64, 96), (128, 192))


def reference_shapes(model: ir.Model, sides: Sides = SIDES) -> dict[str, Shape]:
    """The static shape of every value that has one when the model is given its reference input, by value name.

    In an image input (N, C, H, W) dynamic dimensions become 1, the channels that the first convolution takes, and
    `sides`; in other inputs 1. Static dimensions stay. Where a network cannot take these sides, because it divides
    them by 4 for example, the first of 48x64, 64x96 and 128x192 that it can take is used (`reference_inputs` says
    which); where it can take none, those with which the fewest nodes fail. Values behind custom operators, control
    flow and failing nodes are left out.
    """
    best: _Walk | None = None
    for candidate in (sides, *_FALLBACK_SIDES):
        walk = _Walk(model, candidate)
        if best is None or len(walk.failures) < len(best.failures):
            best = walk
        if not best.failures:
            break
    assert best is not None
    return best.shapes


def reference_inputs(model: ir.Model, sides: Sides | None = None) -> dict[str, Shape]:
    """The input shapes that `reference_shapes` uses, by input name."""
    shapes = reference_shapes(model, sides or SIDES)
    return {str(value.name): shapes[str(value.name)] for value in model.graph.inputs if value.name in shapes}


def contradiction(node: ir.Node, shapes: Sequence[Dims | None], output: Dims | None) -> str | None:
    """Why inputs of these `shapes` cannot become this first `output`, in what ONNX's shape inference lets pass."""
    if node.domain or not shapes or shapes[0] is None:
        return None
    data = shapes[0]
    if node.op_type == "Reshape":
        before, after = _elements(data), _elements(output)
        same = before is None or after is None or before == after
        return None if same else f"cannot turn {_text(data)} into {_text(output)}: another number of elements"
    if node.op_type == "SpaceToDepth":
        block = node.attributes["blocksize"].as_int()
        uneven = [side for side in data[2:] if side is not None and side % block]
        return f"its input is {_text(data)}; expected sides in multiples of {block}" if uneven else None
    for index, axis, expected in _channel_rules(node, data, shapes):
        dims = shapes[index] if index < len(shapes) else None
        actual = dims[axis] if dims is not None and axis < len(dims) else None
        if None not in (actual, expected) and actual != expected:
            inputs = ", ".join(map(_text, shapes))
            return f"its inputs are {inputs}; expected {expected} in dimension {axis} of input {index}"
    return None


def light_proto(model: ir.Model) -> onnx.ModelProto:
    """The model without its functions, and with every initializer above 1024 elements as a graph input of its type.

    ONNX's own passes copy whatever they are given.
    """
    graph = onnx.GraphProto(name=model.graph.name or "graph")
    outputs = set(model.graph.outputs)
    graph.input.extend(_value_info(value) for value in model.graph.inputs)
    graph.output.extend(_value_info(value) for value in model.graph.outputs)
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if tensor.size <= SMALL_ELEMENTS:
            proto = ir.serde.serialize_tensor(tensor)
            proto.name = name
            graph.initializer.append(proto)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.dtype.value, tensor.shape.numpy()))
    for node in model.graph:
        graph.node.append(ir.serde.serialize_node(node))
        known = (value for value in node.outputs if value.name and value.type is not None and value not in outputs)
        graph.value_info.extend(_value_info(value) for value in known)
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    # From IR version 4 on, initializers need not be graph inputs too.
    return onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=imports, graph=graph)


def infer_shapes(model: ir.Model) -> None:
    """Write into the model's values the types and shapes that follow from its inputs, dynamic sides by name.

    Raises onnx.shape_inference.InferenceError or onnx.checker.ValidationError where they contradict each other.
    """
    # Exporters write bfloat16 operators long before ONNX lists them.
    named = (*model.graph.inputs, *model.graph.initializers.values())
    listed = all(value.dtype != ir.DataType.BFLOAT16 for value in named)
    proto = light_proto(model)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=listed, strict_mode=True, data_prop=True)
    infos = {info.name: info for info in (*inferred.graph.value_info, *inferred.graph.output)}
    for value in (value for node in model.graph for value in node.outputs):
        if value.name in infos:
            ir.serde.deserialize_value_info_proto(infos[value.name], value)


def _value_info(value: ir.Value) -> onnx.ValueInfoProto:
    return ir.serde.serialize_value(value)


def _channel_rules(node: ir.Node, data: Dims, shapes: Sequence[Dims | None]) -> Iterator[tuple[int, int, int | None]]:
    """(input, dimension, its expected length) of the operators with channels in dimension 1."""
    channels = data[1] if len(data) > 1 else None
    weight = shapes[1] if len(shapes) > 1 else None
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "Conv" and weight is not None and len(weight) > 1:
        yield 0, 1, None if weight[1] is None else weight[1] * groups
        yield 2, 0, weight[0]
    elif node.op_type == "ConvTranspose" and weight is not None and len(weight) > 1:
        yield 0, 1, weight[0]
        yield 2, 0, None if weight[1] is None else weight[1] * groups
    elif node.op_type in ("BatchNormalization", "InstanceNormalization"):
        yield from ((index, 0, channels) for index in range(1, len(shapes)))


class _Walk:
    """One pass over the nodes in order: shapes, and the values of what shapes are computed from."""

    def __init__(self, model: ir.Model, sides: Sides) -> None:
        self._opset = model.opset_imports[""]
        self._types: dict[str, onnx.TypeProto] = {}
        self._constants: dict[str, Constant] = {}
        self.failures: list[str] = []
        for value in model.graph.inputs:
            shape = _input_shape(value, sides)
            if shape is not None and value.dtype is not None:
                self._types[str(value.name)] = _listed(onnx.helper.make_tensor_type_proto(value.dtype.value, shape))
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            assert tensor is not None
            dtype = value.dtype or tensor.dtype  # folded weights are float64 until the graph's type rounds them
            self._types[name] = _listed(onnx.helper.make_tensor_type_proto(dtype.value, tensor.shape.numpy()))
            if tensor.size <= SMALL_ELEMENTS and tensor.dtype == dtype != ir.DataType.STRING:
                self._constants[name] = Constant(tensor.numpy(), tensor.dtype)
        for node in model.graph:
            self._step(node)

    @property
    def shapes(self) -> dict[str, Shape]:
        found = {name: _static(type_proto) for name, type_proto in self._types.items()}
        return {name: shape for name, shape in found.items() if shape is not None}

    def _step(self, node: ir.Node) -> None:
        proto = ir.serde.serialize_node(node)
        named = [name for name in proto.input if name]
        inputs = [_static(self._types[name]) if name in self._types else None for name in proto.input]
        if not is_defined(node, self._opset) or not all(name in self._types for name in named):
            return
        constants = {name: self._constants[name] for name in named if name in self._constants}
        try:
            types = {name: self._types[name] for name in named}
            inferred = infer_outputs(proto, types, small_data(constants), self._opset)
        except onnx.shape_inference.InferenceError:
            self.failures.append(str(node.name))
            return
        shapes = {name: _static(type_proto) for name, type_proto in inferred.items()}
        if contradiction(node, inputs, shapes.get(proto.output[0])) is not None:
            self.failures.append(str(node.name))
            return
        self._types |= {name: _listed(type_proto) for name, type_proto in inferred.items()}
        small = all(shape is not None and math.prod(shape) <= SMALL_ELEMENTS for shape in shapes.values())
        if small and foldable(node, self._opset):
            self._evaluate(node, proto, shapes)

    def _evaluate(self, node: ir.Node, proto: onnx.NodeProto, shapes: dict[str, Shape | None]) -> None:
        """Compute what is known of the node: `Shape` needs but the shape of its input, others their values."""
        source = _static(self._types[proto.input[0]]) if node.op_type in ("Shape", "Size") else None
        if source is not None:
            arrays = evaluate_node(proto, [np.broadcast_to(np.False_, source)], self._opset)
        elif all(name in self._constants for name in proto.input if name):
            inputs = [self._constants[name].rounded if name else None for name in proto.input]
            arrays = evaluate_node(proto, inputs, self._opset)
        else:
            return
        names = [name for name in proto.output if name]
        for name, array in zip(names, arrays, strict=True):
            self._constants[name] = Constant(array, ir.DataType(self._types[name].tensor_type.elem_type))


def _elements(dims: Dims | None) -> int | None:
    known = [dim for dim in dims or () if dim is not None]
    return math.prod(known) if dims is not None and len(known) == len(dims) else None


def _text(dims: Dims | None) -> str:
    return "unknown" if dims is None else "x".join("?" if dim is None else str(dim) for dim in dims) or "a scalar"


def _listed(type_proto: onnx.TypeProto) -> onnx.TypeProto:
    """bfloat16 as float16, which ONNX lists for many more operators; shapes are the same."""
    if type_proto.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
        type_proto.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return type_proto


def _static(type_proto: onnx.TypeProto) -> Shape | None:
    tensor = type_proto.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _input_shape(value: ir.Value, sides: Sides) -> Shape | None:
    """The input's shape with its dynamic dimensions filled in; None where not even its rank is known."""
    weight = _first_kernel(value)
    dims = [dim if isinstance(dim, int) else None for dim in value.shape] if value.shape is not None else None
    if dims is None:
        if weight is None:
            return None
        dims = [None] * 4
    if len(dims) != 4:
        fill: Shape = (1,) * len(dims)
    elif dims[1] is None and dims[2] is None and dims[3] in (1, 3, 4) and weight is None:
        fill = (1, *sides, 3)  # a picture as (N, H, W, C)
    else:
        fill = (1, weight or 3, *sides)
    return tuple(known if known is not None else default for known, default in zip(dims, fill, strict=True))


def _first_kernel(value: ir.Value) -> int | None:
    """Channels that the first convolution reading the value takes."""
    for node, index in value.uses():
        weight = node.inputs[1] if node.op_type == "Conv" and index == 0 else None
        if weight is not None and weight.const_value is not None and len(weight.const_value.shape) == 4:
            return weight.const_value.shape.numpy()[1] * node.attributes.get_int("group", 1)
    return None
