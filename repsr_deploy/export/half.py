"""Graphs in fp16 or bf16: the precision is the type that the graph states, as TensorRT 11 wants it.

Weights and activations are in the short type, inputs and outputs stay float32, and Cast nodes stand where types meet.
`half_plan` decides which operators stay float32. `folding.graph.evaluate_types` computes what a device makes of it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from repsr_deploy.errors import UsageError
from repsr_deploy.export.form import with_opset, with_types
from repsr_deploy.export.half_plan import SHORT_TYPES, SIZES, Half, own_reasons, short_nodes, short_places
from repsr_deploy.folding.graph.constants import lift_constants
from repsr_deploy.folding.graph.rewrite import add_constant

Use = tuple[ir.Node, int]
"""A node, and which of its inputs."""
QUANTIZED = frozenset(
    {"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}
)


def to_half(model: ir.Model, precision: Half) -> ir.Model:
    """A graph that computes in a short type, with the inputs and outputs of `model`, which is not changed.

    Args:
        model: float32, with control flow or without; types that it does not state are inferred.
        precision: `bf16` raises the operator set to 22, the oldest whose convolutions have it.

    Raises:
        UsageError: the graph is quantized already.
    """
    found = next((node.op_type for node in model.graph if node.op_type in QUANTIZED), None)
    if found is not None:
        raise UsageError(f"the graph has {found}: it is int8 already; expected a float32 graph for {precision}")
    new = _prepared(model, precision)
    short = short_nodes(new, precision)
    opset = new.opset_imports[""]
    _Writer(new.graph, SHORT_TYPES[precision].dtype, short, opset).write()
    return new


def kept_float32(model: ir.Model, precision: Half) -> dict[str, str]:
    """Operators that `to_half` leaves float32 for their own sake, and why: `ReduceMean` -> `sums many numbers`."""
    return {node.op_type: reason for node, reason in own_reasons(_prepared(model, precision), precision).items()}


def _prepared(model: ir.Model, precision: Half) -> ir.Model:
    """A copy in an operator set that has the type, without Constant nodes, all values with types."""
    oldest = SHORT_TYPES[precision].oldest_opset
    new = with_types(model if model.opset_imports[""] >= oldest else with_opset(model, oldest))
    lift_constants(new)
    return new


class _Writer:
    """Gives the values of `short` nodes their type, and puts Casts where types meet."""

    def __init__(self, graph: ir.Graph, dtype: ir.DataType, short: Collection[ir.Node], opset: int) -> None:
        self._graph = graph
        self._dtype = dtype
        self._places = {node: places for node in short if (places := short_places(node, dtype, opset)) is not None}

    def write(self) -> None:
        """Change the graph, in place."""
        for value in list(self._graph.initializers.values()):
            if value.dtype == ir.DataType.FLOAT:
                self._round(value, self._short_uses(value))
        for value in self._graph.inputs:
            if value.dtype == ir.DataType.FLOAT:
                self._cast(value, self._dtype, self._short_uses(value))
        for node in list(self._graph):
            _, places = self._places.get(node, (frozenset[int](), frozenset[int]()))
            for index, value in enumerate(node.outputs):
                if value.dtype == ir.DataType.FLOAT and index in places:
                    value.type = ir.TensorType(self._dtype)
                    self._cast(value, ir.DataType.FLOAT, self._long_uses(value))
                elif value.dtype == ir.DataType.FLOAT:
                    self._cast(value, self._dtype, self._short_uses(value))

    def _short_uses(self, value: ir.Value) -> list[Use]:
        uses = ((use.node, use.idx) for use in value.uses())
        return [(node, index) for node, index in uses if node in self._places and index in self._places[node][0]]

    def _long_uses(self, value: ir.Value) -> list[Use]:
        short = self._short_uses(value)
        uses = ((use.node, use.idx) for use in value.uses())
        return [use for use in uses if use not in short and use[0].op_type not in SIZES]

    def _round(self, weight: ir.Value, uses: list[Use]) -> None:
        """Round a weight for `uses`; it stays as it is for others."""
        assert weight.const_value is not None
        with np.errstate(over="ignore"):  # bounds may become infinite
            numbers = weight.const_value.numpy().astype(self._dtype.numpy())
        if uses and len(uses) == len(weight.uses()) and not weight.is_graph_output():
            weight.const_value = ir.tensor(numbers, dtype=self._dtype, name=weight.name)
            weight.type = ir.TensorType(self._dtype)
        elif uses:
            rounded = add_constant(self._graph, self._name(weight, self._dtype), numbers, self._dtype)
            for node, index in uses:
                node.replace_input_with(index, rounded)

    def _cast(self, value: ir.Value, dtype: ir.DataType, uses: list[Use]) -> None:
        """Let `uses` read a value, and the graph give it, in another type; outputs of a graph are float32."""
        ends = value.is_graph_output() and dtype == ir.DataType.FLOAT
        if not uses and not ends:
            return
        cast = ir.Value(name=self._name(value, dtype), shape=value.shape, type=ir.TensorType(dtype))
        node = ir.node("Cast", [value], {"to": dtype.value}, outputs=[cast], name=f"{cast.name}_node")
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(producer, node)
        for reader, index in uses:
            reader.replace_input_with(index, cast)
        if ends:
            self._graph.outputs[self._graph.outputs.index(value)] = cast
            value.name, cast.name = self._name(value, self._dtype), value.name

    @staticmethod
    def _name(value: ir.Value, dtype: ir.DataType) -> str:
        return f"{value.name}.{dtype.name.lower()}"
