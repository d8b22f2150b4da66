"""The convolutions of a graph: which can be computed in int8, and why others stay float."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from repsr_deploy.folding.graph.linear import is_constant

PICTURE = "reads the picture itself, of whose 8 bits symmetric int8 keeps 7"


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution of a graph."""

    node: ir.Node
    why_float: str | None
    """Why it cannot be int8; None where it can."""

    @property
    def name(self) -> str:
        """Of its node, which is unique (`read_graph`)."""
        return str(self.node.name)


def convolutions(graph: ir.Graph) -> tuple[Convolution, ...]:
    """All of them, in the order in which they run."""
    pictures = _before_convolutions(graph)
    return tuple(
        Convolution(node=node, why_float=_why_float(node, pictures)) for node in graph if node.op_type == "Conv"
    )


def _why_float(node: ir.Node, pictures: set[ir.Value]) -> str | None:
    image, weight = node.inputs[:2]
    if not is_constant(weight):
        return "its weights are computed, not constant"
    if weight is None or weight.dtype != ir.DataType.FLOAT:
        return "its weights are not float32"
    if weight.const_value is None or len(weight.const_value.shape) != 4:
        return "it is no convolution of images"
    return PICTURE if image is None or image in pictures else None


def _before_convolutions(graph: ir.Graph) -> set[ir.Value]:
    """The graph's inputs and what comes of them without a convolution between."""
    found = set(graph.inputs)
    for node in graph:
        if node.op_type != "Conv" and any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found
