"""Which values of a graph to compute, and from what: the cheapest of the equal ways.

Every linear value is a sum of operators of other values. Each of those may be computed (the value is *cut* there), or
be a sum itself, which composition and addition push into the operators: a *form*. The planner looks at one *cone* after
another, the linear nodes that serve a single value, lists the forms of its values from the bottom up, keeps the
cheapest few, and takes the best. What nothing gains by folding stays the node that it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.cost import Cost, Weigh, emitted_cost, written_cost
from repsr_deploy.folding.graph.linear import Shapes, Terms, channels, is_constant, terms_of
from repsr_deploy.folding.graph.operator import Operator, add, compose, identity, without_bias

BEAM = 8
"""Forms kept for a value; blocks of the literature have two to five."""

WORTH_NODES = 0.9
"""Share of the old multiply-adds below which a form with more nodes than before is taken: a copy saved alone, such as a
Concat's, gained nothing where it was measured (SqueezeNet in ONNX Runtime: 1.01 times)."""


@dataclass(frozen=True, eq=False)
class Form:
    """A value as a sum of operators of values that are computed; None is the node as it was written."""

    terms: dict[ir.Value, Operator] | None
    cost: Cost
    """Of computing it from them."""
    needs: frozenset[ir.Value] = frozenset()
    """Values of the cone that must be computed for it, and for them."""


@dataclass(frozen=True)
class Kept:
    """Why a value is computed as it was written though linear nodes lead to it."""

    value: ir.Value
    rule: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """How to compute a graph."""

    forms: dict[ir.Value, Form]
    """Values to be computed in another way than written."""
    nodes: dict[ir.Value, int]
    """Nodes of the graph that each of them replaces."""
    kept: list[Kept]


@dataclass
class _Cone:
    """The linear nodes of which nothing but `sink` makes use."""

    sink: ir.Value
    nodes: list[ir.Node]
    values: set[ir.Value]
    forms: dict[ir.Value, list[Form]] = field(default_factory=dict[ir.Value, list[Form]])
    expanded: dict[ir.Value, list[Form]] = field(default_factory=dict[ir.Value, list[Form]])
    best: dict[ir.Value, Form] = field(default_factory=dict[ir.Value, Form])
    written: dict[ir.Value, Cost] = field(default_factory=dict[ir.Value, Cost])
    refused: dict[ir.Value, str] = field(default_factory=dict[ir.Value, str])
    dearer: dict[ir.Value, Form] = field(default_factory=dict[ir.Value, Form])


class Planner:
    """Plans one graph."""

    def __init__(self, graph: ir.Graph, shapes: Shapes, weigh: Weigh, *, allow_border: bool) -> None:
        self._shapes, self._weigh, self._allow_border = shapes, weigh, allow_border
        self._graph = graph
        self._place = {node: index for index, node in enumerate(graph)}
        self._terms: dict[ir.Value, Terms] = {}
        for node in graph:
            found = {output: terms_of(output, shapes) for output in node.outputs}
            if all(terms is not None for terms in found.values()):
                self._terms.update({output: terms for output, terms in found.items() if terms is not None})

    def plan(self) -> Plan:
        """The cheapest forms of all values that something else than a linear node needs."""
        plan = Plan({}, {}, [])
        wanted = list(self._graph.outputs)
        for node in self._graph:
            if any(output not in self._terms for output in node.outputs):
                wanted += _inputs(node)
        seen: set[ir.Value] = set()
        while wanted:
            value = wanted.pop()
            if value in seen or value not in self._terms:
                continue
            seen.add(value)
            cone = self._cone(value)
            self._settle(cone, plan)
            wanted += [item for node in cone.nodes for item in _inputs(node) if item not in cone.values]
        return plan

    def _cone(self, sink: ir.Value) -> _Cone:
        first = sink.producer()
        assert first is not None
        nodes, inside = [first], {first}
        needed = any(output.uses() or output.is_graph_output() for output in first.outputs if output is not sink)
        queue = set[ir.Node]() if needed else self._sources(first)  # the other parts of a Split need what it reads, too
        while queue:
            node = max(queue, key=lambda item: self._place[item])  # what reads a value comes before what makes it
            queue.discard(node)
            if node in inside or not all(self._serves(output, inside) for output in node.outputs):
                continue
            inside.add(node)
            nodes.append(node)
            queue |= self._sources(node)
        return _Cone(sink, nodes, {output for node in nodes for output in node.outputs})

    def _sources(self, node: ir.Node) -> set[ir.Node]:
        """The linear nodes that it reads from."""
        producers = (item.producer() for item in _inputs(node) if item in self._terms)
        return {producer for producer in producers if producer is not None}

    @staticmethod
    def _serves(value: ir.Value, inside: set[ir.Node]) -> bool:
        return not value.is_graph_output() and all(usage.node in inside for usage in value.uses())

    def _settle(self, cone: _Cone, plan: Plan) -> None:
        for node in reversed(cone.nodes):  # from the bottom up, so that nothing recurs deeply
            for output in node.outputs:
                self._best(output, cone)
        chosen = self._best(cone.sink, cone)
        # what several values share counts for each of them while they are looked at alone, so the whole may be dearer
        as_written = sum(cone.written.values(), Cost())
        saves = self._weigh(self._total(chosen, cone)) < self._weigh(as_written)
        for value in (cone.sink, *chosen.needs):
            form = cone.best[value]
            if form.terms is not None and saves:
                plan.forms[value] = form
                plan.nodes[value] = self._replaced(value, form, cone)
            if (reason := self._reason(value, cone)) is not None:
                plan.kept.append(Kept(value, " + ".join(operator.rule for _, operator in self._terms[value]), reason))

    def _replaced(self, value: ir.Value, form: Form, cone: _Cone) -> int:
        """Nodes on the way from the values of `form` to `value`."""
        assert form.terms is not None
        found: set[ir.Node] = set()
        queue = [value]
        while queue:
            node = queue.pop().producer()
            if node is not None and node not in found:
                found.add(node)
                queue += [item for item in _inputs(node) if item in cone.values and item not in form.terms]
        return len(found)

    def _reason(self, value: ir.Value, cone: _Cone) -> str | None:
        best = cone.best[value]
        if best.terms is not None and not best.needs:
            return None  # everything is folded
        if value in cone.refused:
            return cone.refused[value]
        if value not in cone.dearer:
            return None
        dearer, cost = (self._total(form, cone) for form in (cone.dearer[value], best))
        if dearer.macs > cost.macs:
            return f"folded it would take {dearer.macs / max(1, cost.macs):.3g} times the multiply-adds"
        return None

    def _forms(self, value: ir.Value, cone: _Cone) -> list[Form]:
        """`value` itself, to be computed, and what else can be computed in its place."""
        here = {value: identity(channels(value, self._shapes))}
        if value not in cone.values:
            return [Form(here, Cost())]
        if value not in cone.forms:
            best = self._best(value, cone)
            cone.forms[value] = [Form(here, Cost(), best.needs | {value}), *self._expanded(value, cone)]
        return cone.forms[value]

    def _best(self, value: ir.Value, cone: _Cone) -> Form:
        if value not in cone.best:
            terms = self._terms[value]
            cone.written[value] = written_cost(value, self._shapes)
            written = Form(
                None,
                cone.written[value],
                frozenset().union(*(self._forms(base, cone)[0].needs for base, _ in terms)),
            )
            expanded = [form for form in self._expanded(value, cone) if not self._is_written(form, value)]
            best = min([written, *expanded], key=lambda form: self._weigh(self._total(form, cone)))
            if not self._is_worth_it(self._total(best, cone), self._total(written, cone)):
                best = written
            cone.best[value] = best
            longer = [form for form in expanded if _folds_more(form, best, len(terms))]
            if longer:
                cone.dearer[value] = min(longer, key=lambda form: self._weigh(self._total(form, cone)))
        return cone.best[value]

    def _is_worth_it(self, new: Cost, old: Cost) -> bool:
        """Whether a form with more nodes saves so much that starting those is nothing beside it."""
        return new.nodes <= old.nodes or new.macs < WORTH_NODES * old.macs

    def _is_written(self, form: Form, value: ir.Value) -> bool:
        """Whether it is the node's own operators of the node's own inputs."""
        assert form.terms is not None
        return form.terms.keys() == {base for base, _ in self._terms[value]} and len(self._terms[value]) == len(
            form.terms
        )

    def _total(self, form: Form, cone: _Cone) -> Cost:
        return sum((cone.best[value].cost for value in form.needs), form.cost)

    def _expanded(self, value: ir.Value, cone: _Cone) -> list[Form]:
        """`value` from the values that its node reads, or from what those are made of."""
        if value in cone.expanded:
            return cone.expanded[value]
        forms = [Form({}, Cost())]
        for base, operator in self._terms[value]:
            longer: list[Form] = []
            for form in forms:
                for part in self._forms(base, cone)[: 1 if _is_part_of_shared(value, base) else None]:
                    try:
                        terms = self._joined(form, part, operator)
                    except FoldError as error:
                        cone.refused.setdefault(value, str(error))
                        continue
                    longer.append(Form(terms, emitted_cost(terms, value, self._shapes), form.needs | part.needs))
            forms = sorted(longer, key=lambda form: self._weigh(self._total(form, cone)))[:BEAM]
        usable = [form for form in forms if form.terms and not any(item.crops for item in form.terms.values())]
        return cone.expanded.setdefault(value, usable)

    def _joined(self, form: Form, part: Form, operator: Operator) -> dict[ir.Value, Operator]:
        assert form.terms is not None
        assert part.terms is not None
        terms = dict(form.terms)
        for index, (base, inner) in enumerate(part.terms.items()):
            applied = without_bias(operator) if index else operator  # of a sum, the bias is added once
            outer = compose(inner, applied, allow_border=self._allow_border)
            terms[base] = add(terms[base], outer) if base in terms else outer
        return terms


def _folds_more(form: Form, best: Form, written_terms: int) -> bool:
    """Whether a form does without a value that `best` computes, or adds fewer things up, and splits nothing."""
    terms = form.terms or {}
    if len(terms) > written_terms:
        return False
    is_chain = any(operator.is_chain for operator in terms.values())
    sums = written_terms if best.terms is None else len(best.terms)
    return len(terms) < sums or (is_chain and len(form.needs) < len(best.needs))


def _is_part_of_shared(value: ir.Value, base: ir.Value) -> bool:
    """Whether `value` is some channels of `base`, and others are wanted elsewhere: computing it alone saves nothing."""
    node = value.producer()
    assert node is not None
    if node.op_type not in ("Split", "Slice", "Gather"):
        return False
    return len(base.uses()) > 1 or sum(bool(output.uses()) for output in node.outputs) > 1


def _inputs(node: ir.Node) -> Iterable[ir.Value]:
    return [item for item in node.inputs if item is not None and not is_constant(item)]
