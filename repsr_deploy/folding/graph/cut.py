"""Graphs with nodes that nobody here can compute: cut there, so that the rest folds and is proved, then put together.

Loops, custom and unknown operators are *opaque*: they stay as they are. What they give becomes an input of the rest,
with arbitrary values; what they take becomes one more output of it. If all outputs of the rest stay the same for
arbitrary inputs, then the opaque nodes get what they got before, and the whole computes what it computed.

    x -> [conv BN] -> a -> Loop -> b -> [conv BN] -> y        cut: (x, b) -> (a, y)

An opaque output can be such an input if it is a floating N x C x H x W image with C declared in the file and sides
declared like those of the graph's first image: both dynamic, or equal numbers. Behind any other output shapes are
unknown and nothing folds: the nodes there stay, too. So do nodes that the shapes of the cut graph contradict, because
an opaque node changes the resolution and another path does not. One thing is taken on trust: where the file declares
dynamic sides for an opaque output, they are no broadcast sides of length 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common as passes

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.evaluate import DEFAULT_DOMAINS, HANDLERS, LOOPS, OLDEST_OPSET
from repsr_deploy.folding.graph.linear import terms_of
from repsr_deploy.folding.graph.shapes import reference_shapes

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that give other values each time, so that no two graphs with one agree."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A graph without its opaque nodes, and how to put them back."""

    model: ir.Model
    """What can be folded and proved: free inputs in place of opaque outputs, outputs for what opaque nodes read."""
    stopped: tuple[str, ...]
    """Where folding stops: node, reason, and how many nodes behind it stay because of it."""
    whole: ir.Model
    """The graph that was cut; not modified."""
    opaque: frozenset[str]
    """Names of the nodes of `whole` that `model` lacks."""

    def splice(self, folded: ir.Model) -> ir.Model:
        """Put the opaque nodes back into `model` as it is after folding and rounding.

        The result has the inputs, outputs, operator sets and metadata of `whole`; no argument is modified, and weights
        are shared.

        Args:
            folded: with inputs and outputs named as those of `model`.
        """
        whole, part = self.whole.clone(), folded.clone()
        graph, source = whole.graph, part.graph
        removed = [node for node in graph if node.name not in self.opaque]
        opaque = [node for node in graph if node.name in self.opaque]
        given = {value.name: value for value in (*graph.inputs, *(value for node in opaque for value in node.outputs))}
        computed = {str(value.name): value for value in source.outputs}

        for value in source.inputs:
            value.replace_all_uses_with(given[value.name])
        nodes, weights = list(source), list(source.initializers.values())
        source.outputs.clear()
        source.remove(nodes)
        source.initializers.clear()

        graph.outputs[:] = [computed.get(str(value.name), value) for value in graph.outputs]
        for value in (value for node in removed for value in node.outputs if value.name in computed):
            value.replace_all_uses_with(computed[str(value.name)])
        _remove(graph, removed)
        passes.RemoveUnusedNodesPass()(whole)  # weights that only folded nodes had

        twins = {weight: twin for weight in weights if (twin := _twin(weight, graph)) is not None}
        for weight, twin in twins.items():
            weight.replace_all_uses_with(twin)
        made = [value for node in nodes for value in node.outputs if value.name and value.name not in computed]
        fresh = [weight for weight in weights if weight not in twins]
        _rename_apart([*made, *fresh], _names(whole) | computed.keys())
        for weight in fresh:
            graph.register_initializer(weight)
        graph.extend(nodes)
        graph.sort()
        return whole


def opaque_nodes(model: ir.Model) -> dict[str, str]:
    """Nodes of the main graph that `evaluate` cannot run twice with the same result, with the reason, in order."""
    opset = model.graph.opset_imports.get("", OLDEST_OPSET)
    reasons = ((str(node.name), _reason(node, opset)) for node in model.graph)
    return {name: reason for name, reason in reasons if reason is not None}


def cut(model: ir.Model) -> Cut | None:
    """Cut a graph at its opaque nodes; None where it has none.

    Args:
        model: in canonical form (`read_graph`); not modified, its weights are shared.

    Raises:
        FoldError: nothing that could be folded is left; the first opaque node is named.
    """
    reasons = opaque_nodes(model)
    if not reasons:
        return None
    refused: dict[str, str] = {}
    while True:
        stays = _staying(model.graph, reasons, refused)
        rest = _without(model, frozenset(stays))
        shapes = reference_shapes(rest)
        more = _refused(rest.graph, model.graph, shapes)
        if not more:
            break
        refused |= more
    reasons |= refused
    if not any(terms_of(value, shapes) for node in rest.graph for value in node.outputs):
        name, reason = next(iter(reasons.items()))
        raise FoldError(
            f"nothing is left to fold: node {name!r} ({reason}) cannot be evaluated, and no linear operator lies "
            "before it or behind an output of it that has a declared shape; export the model without such nodes"
        )
    behind = Counter(origin for name, origin in stays.items() if name != origin)
    stopped = tuple(_line(name, reasons[name], behind[name]) for name in stays if name in reasons)
    return Cut(model=rest, stopped=stopped, whole=model, opaque=frozenset(stays))


def _line(name: str, reason: str, behind: int) -> str:
    also = f"; nodes behind it that stay, too: {behind}, as it gives no image of the inputs' size" if behind else ""
    return f"{name}: {reason}{also}"


def _reason(node: ir.Node, opset: int) -> str | None:
    """Why a node is opaque, in words; None where it is not."""
    if node.domain not in DEFAULT_DOMAINS:
        return f"custom operator {node.domain}::{node.op_type}"
    if node.op_type in LOOPS:
        return node.op_type
    if node.op_type in RANDOM:
        return f"{node.op_type}, random"
    if node.op_type == "If":
        inner = (_reason(child, opset) for body in _bodies(node) for child in body)
        return next((f"If around {reason}" for reason in inner if reason), None)
    is_known = node.op_type in HANDLERS or node.op_type == "Resize" or _has_reference(node, opset)
    return None if is_known else f"unknown operator {node.op_type}"


def _has_reference(node: ir.Node, opset: int) -> bool:
    """Whether the reference implementation of the onnx package, to which `evaluate` falls back, knows the operator."""
    try:
        ReferenceEvaluator(ir.to_proto(node), opsets={"": opset})
    except NotImplementedError:
        return False
    return True


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, and what its bodies do, their own values among it."""
    yield from (value for value in node.inputs if value is not None)
    for body in _bodies(node):
        for child in body:
            yield from _reads(child)


def _staying(graph: ir.Graph, opaque: Collection[str], refused: Collection[str]) -> dict[str, str]:
    """Names of the nodes that stay as they are -> the node because of which, itself or one before it.

    Args:
        opaque: nodes whose outputs may be free inputs.
        refused: further nodes that stay, with all behind them.
    """
    images = (value.shape for value in graph.inputs if value.shape is not None and len(value.shape) == 4)
    sides = next((_sides(shape) for shape in images), None)
    stays: dict[str, str] = {}
    unknown: dict[ir.Value, str] = {}
    for node in graph:
        name = str(node.name)
        origin = next((unknown[value] for value in _reads(node) if value in unknown), None)
        if name in opaque or name in refused:
            origin = name
        elif origin is None:
            continue
        stays[name] = origin
        for value in node.outputs:
            if name not in opaque or not _is_image(value, sides):
                unknown[value] = origin
            else:
                sides = sides or _sides(value.shape)
    return stays


def _sides(shape: ir.Shape | None) -> tuple[int | None, ...]:
    """Declared H and W; None for a dynamic one."""
    assert shape is not None
    return tuple(side if isinstance(side, int) else None for side in shape.dims[2:])


def _is_image(value: ir.Value, sides: tuple[int | None, ...] | None) -> bool:
    """Whether a value can be a free input: floating, with known channels, declared with the `sides`, if any."""
    shape, dtype = value.shape, value.dtype
    if shape is None or dtype is None or not dtype.is_floating_point() or len(shape) != 4:
        return False
    return isinstance(shape[1], int) and sides in (None, _sides(shape))


def _without(model: ir.Model, names: frozenset[str]) -> ir.Model:
    """A copy of the model without the nodes `names`, their outputs now inputs and what they read now outputs."""
    rest = model.clone()
    graph = rest.graph
    removed = [node for node in graph if node.name in names]
    kept = {node for node in graph if node.name not in names}
    read = {value for node in kept for value in _reads(node)}
    wanted = (*graph.outputs, *(value for node in removed for value in _reads(node)))
    graph.outputs[:] = list(dict.fromkeys(value for value in wanted if value.producer() in kept))
    for value in (value for node in removed for value in node.outputs):
        if value in read:
            free = ir.Value(name=value.name, type=value.type, shape=value.shape)
            value.replace_all_uses_with(free)
            graph.inputs.append(free)
    _remove(graph, removed)
    passes.RemoveUnusedNodesPass()(rest)
    graph.inputs[:] = [value for value in graph.inputs if value.uses()]
    domains = {node.domain for node in graph.all_nodes()}
    for domain in [item for item in rest.opset_imports if item and item not in domains]:
        del rest.opset_imports[domain]
    return rest


def _remove(graph: ir.Graph, nodes: Collection[ir.Node]) -> None:
    """Remove nodes, with the hold that their bodies have on values of the graph."""
    for child in (child for node in nodes for body in _bodies(node) for child in body.all_nodes()):
        for index in range(len(child.inputs)):
            child.replace_input_with(index, None)
    graph.remove(nodes, safe=True)


def _refused(rest: ir.Graph, whole: ir.Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The first nodes behind free inputs whose shapes do not follow from them."""
    inputs = {value.name for value in whole.inputs}
    behind = {value for value in rest.inputs if value.name not in inputs}
    refused: dict[str, str] = {}
    for node in rest:
        reads = list(_reads(node))
        if behind.isdisjoint(reads):
            continue
        behind.update(node.outputs)
        known = all(value.name in shapes for value in node.inputs if value is not None)
        if known and any(value.name not in shapes for value in node.outputs if value.name):
            refused[str(node.name)] = f"{node.op_type}, whose shape is unknown where the graph is cut before it"
    return refused


def _twin(weight: ir.Value, graph: ir.Graph) -> ir.Value | None:
    """The same weight in another graph."""
    twin = graph.initializers.get(str(weight.name))
    return twin if twin is not None and twin.const_value is weight.const_value else None


def _names(model: ir.Model) -> set[str]:
    """Names of all values, those in bodies among them."""
    return {
        str(value.name)
        for graph in model.graphs()
        for value in (
            *graph.inputs,
            *graph.initializers.values(),
            *(value for node in graph for value in node.outputs),
        )
    }


def _rename_apart(values: Sequence[ir.Value], taken: set[str]) -> None:
    """Give values other names than those `taken` and than each other's."""
    used = taken | {str(value.name) for value in values}
    for value in values:
        if value.name in taken:
            name = f"{value.name}_"
            while name in used:
                name += "_"
            value.name = name
            used.add(name)
