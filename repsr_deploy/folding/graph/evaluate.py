"""Any ONNX graph in float64, with PyTorch: the reference of every proof."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph import (
    evaluate_layout,
    evaluate_pointwise,
    evaluate_quantize,
    evaluate_resize,
    evaluate_statistics,
    evaluate_windows,
)
from repsr_deploy.folding.graph.constants import exact_array
from repsr_deploy.folding.graph.evaluate_call import Call, Handler

OLDEST_OPSET = 13
"""Before it, Softmax and some others meant something else."""
DEFAULT_DOMAINS = ("", "ai.onnx")
LOOPS = ("Loop", "Scan", "SequenceMap")
NARROW_FLOATS = (np.float16, np.float32)

HANDLERS: dict[str, Handler] = {
    **evaluate_pointwise.HANDLERS,
    **evaluate_windows.HANDLERS,
    **evaluate_statistics.HANDLERS,
    **evaluate_layout.HANDLERS,
    **evaluate_quantize.HANDLERS,
}
"""Operator -> what computes it; all others run in the reference implementation of the onnx package."""

Values = dict[ir.Value, Tensor]
Hand = Callable[[ir.Value, Tensor], Tensor]
"""What is handed on of a value that was computed: the same tensor, or another in its place."""


def unchanged(_: ir.Value, tensor: Tensor) -> Tensor:
    """Hands on what was computed."""
    return tensor


@torch.no_grad()
def evaluate(
    model: ir.Model, inputs: Mapping[str, Tensor], keep: Collection[str] = (), *, hand: Hand = unchanged
) -> dict[str, Tensor]:
    """Run a graph in float64.

    All floating values, whatever their type in the file, are float64, and Cast to a floating type is Cast to float64:
    a conversion that the file asks for does not round here. Integers and truth values stay what they are. A weight is
    converted when a node needs it and dropped afterwards, as is every value after its last use.

    Args:
        model: of operator set 13 or newer; nodes in an order in which they can run.
        inputs: graph input name -> tensor; initializers may be given, too, and are replaced.
        keep: names of further values to return.
        hand: sees every value that a node gives, in their order, and says what the nodes after it get: a look at all
            of them, or `evaluate_types.rounded`, which makes this an evaluation in the graph's own types.

    Returns:
        The graph's outputs and the values of `keep`, by name.

    Raises:
        FoldError: a node cannot be evaluated (custom operator, loop, contradicting shapes, no float64); it is named.
        ValueError: an input is missing, or a name in `keep` does not exist.
    """
    graph = model.graph
    opset = graph.opset_imports.get("", OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise FoldError(
            f"the graph has operator set {opset}; expected {OLDEST_OPSET} or newer, convert the model first"
        )
    values: Values = {}
    for value in graph.inputs:
        if value.name is not None and value.name in inputs:
            values[value] = _as_float64(inputs[value.name])
        elif value.const_value is None:
            raise ValueError(f"no input {value.name!r}; given are {', '.join(inputs) or 'none'}")
    for name, value in graph.initializers.items():
        if name in inputs:
            values[value] = _as_float64(inputs[name])
    wanted = {value.name: value for value in graph.outputs} | _find(graph, keep)
    _run(graph, values, frozenset(wanted.values()), opset, hand)
    return {str(name): _fetch(value, values) for name, value in wanted.items()}


def _find(graph: ir.Graph, names: Collection[str]) -> dict[str | None, ir.Value]:
    if not names:
        return {}
    known = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    known |= {value.name: value for node in graph for value in node.outputs}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"the graph has no value {missing[0]!r}")
    return {name: known[name] for name in names}


def _run(graph: ir.Graph, values: Values, wanted: frozenset[ir.Value], opset: int, hand: Hand) -> None:
    """Run the nodes of a graph, adding to `values` and dropping from it what is not `wanted` and has no use left."""
    last_use = {value: node for node in graph for value in _uses(node)}
    for node in graph:
        results = _run_node(node, values, opset, hand)
        for value, result in zip(node.outputs, results, strict=False):
            if value in last_use or value in wanted:
                values[value] = hand(value, result)
        for value in _uses(node):
            if last_use[value] is node and value not in wanted:
                values.pop(value, None)


def _uses(node: ir.Node) -> list[ir.Value]:
    """The values that a node reads, those inside the branches of an If among them."""
    inner = [attribute.as_graph() for attribute in node.attributes.values() if attribute.type == ir.AttributeType.GRAPH]
    outer = [value for graph in inner for child in graph for value in _uses(child)]
    outputs = [value for graph in inner for value in graph.outputs]
    return [*(value for value in node.inputs if value is not None), *outer, *outputs]


def _run_node(node: ir.Node, values: Values, opset: int, hand: Hand) -> tuple[Tensor, ...]:
    if node.domain not in DEFAULT_DOMAINS:
        raise FoldError(f"{_label(node)} is of the custom domain {node.domain!r} and cannot be evaluated")
    if node.op_type in LOOPS:
        raise FoldError(f"{_label(node)} is control flow and cannot be evaluated; export the model without it")
    inputs = tuple(None if value is None else _fetch(value, values) for value in node.inputs)
    if node.op_type == "If":
        return _run_branch(node, inputs, values, opset, hand)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    call = Call(inputs, attributes, len(node.outputs))
    try:
        outputs = _handled(node.op_type, call)
        if outputs is None or len(outputs) < len(node.outputs):
            outputs = _run_reference(node, inputs, opset)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        shapes = ", ".join("none" if tensor is None else str(tuple(tensor.shape)) for tensor in inputs)
        cause = " ".join(str(error).split())[:300]
        raise FoldError(f"{_label(node)} cannot be evaluated on inputs of shapes {shapes}: {cause}") from error
    return outputs


def _handled(operator: str, call: Call) -> tuple[Tensor, ...] | None:
    """What our handler computes; None where there is none for the operator or this use of it."""
    if operator == "Resize":
        outputs = evaluate_resize.resize(call)
    else:
        handler = HANDLERS.get(operator)
        outputs = None if handler is None else handler(call)
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _run_branch(
    node: ir.Node, inputs: tuple[Tensor | None, ...], values: Values, opset: int, hand: Hand
) -> tuple[Tensor, ...]:
    """The branch of an If that its condition takes."""
    assert inputs[0] is not None
    branch = node.attributes["then_branch" if bool(inputs[0].item()) else "else_branch"].as_graph()
    inner = dict(values)
    _run(branch, inner, frozenset(branch.outputs), opset, hand)
    return tuple(_fetch(value, inner) for value in branch.outputs)


def _run_reference(node: ir.Node, inputs: tuple[Tensor | None, ...], opset: int) -> tuple[Tensor, ...]:
    """One node in the reference implementation of the onnx package, on float64."""
    from onnx.reference import ReferenceEvaluator

    proto = ir.to_proto(node)
    feeds = {f"input{index}": tensor.numpy() for index, tensor in enumerate(inputs) if tensor is not None}
    del proto.input[:], proto.output[:]
    proto.input.extend("" if tensor is None else f"input{index}" for index, tensor in enumerate(inputs))
    proto.output.extend(f"output{index}" for index in range(len(node.outputs)))
    try:
        arrays = cast("list[Any]", ReferenceEvaluator(proto, opsets={"": opset}).run(None, feeds))
    except Exception as error:  # whatever the reference raises, it refuses this node
        raise ValueError(f"the reference implementation refuses it ({error})") from error
    if any(isinstance(array, np.floating | np.ndarray) and array.dtype in NARROW_FLOATS for array in arrays):
        raise ValueError("the reference implementation cannot compute it in float64")
    return tuple(evaluate_layout.as_tensor(array) for array in arrays)


def _fetch(value: ir.Value, values: Values) -> Tensor:
    """A computed value, or a weight as it is stored."""
    if value in values:
        return values[value]
    if value.const_value is None:
        raise FoldError(f"value {value.name!r} is used before it is computed; the nodes of the graph are out of order")
    try:
        return evaluate_layout.as_tensor(exact_array(value.const_value))
    except (OSError, ValueError, TypeError) as error:
        raise FoldError(f"weight {value.name!r} cannot be read: {error}") from error


def _as_float64(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _label(node: ir.Node) -> str:
    """Name and operator of a node, by its first output where it has no name."""
    return f"node {node.name or node.outputs[0].name!r} ({node.op_type})"
