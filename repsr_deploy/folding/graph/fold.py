"""Folds any graph: reads what is linear, plans, writes, and says site by site what was done and why not more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir
from onnx_ir.passes import common as passes

from repsr_deploy.folding.graph.cost import Objective, total_cost, weigh
from repsr_deploy.folding.graph.emit import emit
from repsr_deploy.folding.graph.linear import is_constant, terms_of
from repsr_deploy.folding.graph.plan import Plan, Planner
from repsr_deploy.folding.graph.read import remove_pass_through
from repsr_deploy.folding.graph.shapes import reference_shapes
from repsr_deploy.folding.graph.shuffle import move_before_shuffles
from repsr_deploy.folding.graph.skip import join_nearest_skips

Outcome = Literal["exact", "border", "calibrated", "kept"]
"""`exact`: equal at every pixel. `border`: equal in the interior. `calibrated`: an input-dependent factor became a
constant. `kept`: as it was."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place of the graph where something linear leads to something linear."""

    value: str
    """Name of the value that is computed there, before and after."""
    outcome: Outcome
    rule: str
    """`3x3*BN*1x1 + identity -> 3x3`; for what was kept the operator at its end."""
    reason: str = ""
    """Why it was kept."""
    nodes_before: int
    nodes_after: int


@dataclass(frozen=True)
class GraphFold:
    """A folded graph and what was done."""

    model: ir.Model
    sites: tuple[Site, ...]


def fold_graph(model: ir.Model, objective: Objective = "macs", *, allow_border: bool = False) -> GraphFold:
    """Rewrite every linear region of a graph into the cheapest equal one; nothing is proved here.

    New weights are float64 until `emit.round_weights` rounds them.

    Args:
        model: in canonical form (`read_graph`); not modified, its weights are shared.
        objective: what is to be saved.
        allow_border: also fold what is exact in the interior only.
    """
    order = weigh(objective)

    def cost(folded: ir.Model) -> tuple[float, ...]:
        return order(total_cost(folded.graph, reference_shapes(folded)))

    folds = (_folded(start, objective, allow_border=allow_border) for start in _starts(model))
    best, price = min(((fold, cost(fold.model)) for fold in folds), key=lambda item: item[1])
    if price <= cost(model):
        return best
    return GraphFold(model.clone(), tuple(site for site in best.sites if site.outcome == "kept"))


def _starts(model: ir.Model) -> Iterator[ir.Model]:
    """The graph as it is, and with what commutes with PixelShuffle moved before it, which may be cheaper or dearer."""
    yield model.clone()
    if not any(node.op_type == "DepthToSpace" for node in model.graph):
        return
    for moves in ((move_before_shuffles,), (join_nearest_skips,), (join_nearest_skips, move_before_shuffles)):
        moved = model.clone()
        shapes = reference_shapes(moved)
        if all(move(moved.graph, shapes) for move in moves):
            yield moved


def _folded(model: ir.Model, objective: Objective, *, allow_border: bool) -> GraphFold:
    shapes = reference_shapes(model)
    _separate(model.graph, shapes)
    plan = Planner(model.graph, shapes, weigh(objective), allow_border=allow_border).plan()
    kept = list(_kept_sites(plan))
    names = {value: value.name or "" for value in plan.forms}
    written = emit(model.graph, plan)  # gives the names to other values
    sites = (*_folded_sites(plan, names, written), *kept)
    _tidy(model)
    return GraphFold(model, tuple(sorted(sites, key=lambda site: site.outcome)))


def _separate(graph: ir.Graph, shapes: dict[str, tuple[int, ...]]) -> None:
    """Give every linear reader of a cheap value a node of its own, which it may absorb; `_tidy` merges what is left."""
    for node in reversed(list(graph)):  # what reads a value before what makes it
        if len(node.outputs) != 1 or node.op_type not in _CHEAP or node.outputs[0].is_graph_output():
            continue
        value = node.outputs[0]
        if terms_of(value, shapes) is None or sum(not is_constant(item) for item in node.inputs) != 1:
            continue
        readers = [usage.node for usage in value.uses()]
        if len(set(readers)) < 2 or any(
            terms_of(output, shapes) is None for item in readers for output in item.outputs
        ):
            continue
        for reader in list(dict.fromkeys(readers))[1:]:
            copy = ir.Value(name=f"{value.name}.for.{reader.outputs[0].name}", type=value.type, shape=value.shape)
            twin = ir.node(node.op_type, node.inputs, node.attributes, outputs=[copy], name=copy.name)
            graph.insert_before(reader, [twin])
            shapes[copy.name or ""] = shapes[value.name or ""]
            for index, item in enumerate(reader.inputs):
                if item is value:
                    reader.replace_input_with(index, copy)


_CHEAP = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div", "Neg", "Pad"})


def _tidy(model: ir.Model) -> None:
    passes.CommonSubexpressionEliminationPass()(model)
    remove_pass_through(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    model.graph.sort()


def _folded_sites(plan: Plan, names: Mapping[ir.Value, str], written: Mapping[str, str]) -> Iterable[Site]:
    for value, form in plan.forms.items():
        terms = (form.terms or {}).values()
        yield Site(
            value=names[value],
            outcome="border" if any(operator.is_border for operator in terms) else "exact",
            rule=f"{' + '.join(operator.rule for operator in terms)} -> {written[names[value]]}",
            nodes_before=plan.nodes[value],
            nodes_after=int(form.cost.nodes),
        )


def _kept_sites(plan: Plan) -> Iterable[Site]:
    for kept in plan.kept:
        yield Site(
            value=kept.value.name or "",
            outcome="kept",
            rule=kept.rule,
            reason=kept.reason,
            nodes_before=1,
            nodes_after=1,
        )
