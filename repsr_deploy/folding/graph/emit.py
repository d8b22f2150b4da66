"""Writes the operators of a plan into a graph, as few nodes with the smallest kernels that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.algebra import Conv, settled, with_shift
from repsr_deploy.folding.graph.operator import Operator, lattice
from repsr_deploy.folding.graph.plan import Plan
from repsr_deploy.folding.graph.rewrite import add_constant, take_over


def emit(graph: ir.Graph, plan: Plan) -> dict[str, str]:
    """Write the planned values into `graph`, in place; nodes that nothing needs any more are left for removal.

    The new weights are float64, whatever the graph computes in: `round_weights` does that once, after the proof.

    Returns:
        What each value is computed by now, by its name: `x - shift, 3x3`.
    """
    writer = _Writer(graph, taken={value.name or "" for value in _values(graph)})
    written: dict[str, str] = {}
    place = {node: index for index, node in enumerate(graph)}
    for value in sorted(plan.forms, key=lambda item: place.get(item.producer(), -1)):  # type: ignore[reportArgumentType]
        terms = plan.forms[value].terms
        assert terms is not None
        name = value.name or ""
        writer.replace(value, {writer.current.get(base, base): operator for base, operator in terms.items()})
        written[name] = " + ".join(writer.said) or "nothing"
    return written


def _values(graph: ir.Graph) -> Iterable[ir.Value]:
    return (*graph.inputs, *graph.initializers.values(), *(output for node in graph for output in node.outputs))


@dataclass
class _Writer:
    graph: ir.Graph
    current: dict[ir.Value, ir.Value] = field(default_factory=dict[ir.Value, ir.Value])
    """Value that was written anew -> its new self."""
    planes: dict[ir.Value, ir.Value] = field(default_factory=dict[ir.Value, ir.Value])
    """Image -> image of ones of its size."""
    nodes: list[ir.Node] = field(default_factory=list[ir.Node])
    said: list[str] = field(default_factory=list[str])
    """The operators of the value at hand, in words."""
    stem: str = ""
    dtype: ir.DataType = ir.DataType.FLOAT
    taken: set[str] = field(default_factory=set[str])
    """Names of the graph, some of them perhaps from an earlier fold."""

    def replace(self, value: ir.Value, terms: Mapping[ir.Value, Operator]) -> None:
        """Compute `value` as the sum of `terms`; the new value takes its name and its place."""
        producer = value.producer()
        assert producer is not None
        assert value.name is not None
        self.nodes, self.said, self.stem = [], [], value.name
        self.dtype = value.dtype or ir.DataType.FLOAT
        ranked = sorted(terms.items(), key=lambda item: item[1].kind == "identity")  # first what has a bias of its own
        parts = [self._term(base, operator) for base, operator in ranked]
        total = parts[0]
        for part in parts[1:]:
            total = self._node("Add", [total, part], "sum")
        if not self.nodes:  # nothing is left of it
            total = self._node("Identity", [total], "same")
        self.graph.insert_before(producer, self.nodes)
        take_over(value, total, f"{self.stem}.unfolded")
        self.current[value] = total

    def _term(self, base: ir.Value, operator: Operator) -> ir.Value:
        if operator.kind == "identity":
            return base
        numbers = operator.numbers()
        if operator.kind == "diagonal":
            return self._diagonal(base, numbers)
        if operator.kind == "select":
            return self._select(base, numbers)
        numbers = trimmed(settled(numbers))
        self.said.append(str(numbers))
        if numbers.ones_ohw is None:
            return self._conv(base, numbers.weight_oihw, numbers.bias_o, numbers)
        if (found := with_shift(numbers)) is not None:
            numbers, shift = found
            self.said[-1] += " of x - shift"
            moved = self._affine(base, torch.ones_like(shift), -shift, "shifted")
            return self._conv(moved, numbers.weight_oihw, numbers.bias_o, numbers)
        self.said[-1] += ", and one of ones for the border"
        image = self._conv(base, numbers.weight_oihw, numbers.bias_o, numbers)
        border = self._conv(self._ones(base), numbers.ones_ohw[:, None], None, numbers, name="border")
        return self._node("Add", [image, border], "bordered")

    def _diagonal(self, base: ir.Value, numbers: Conv) -> ir.Value:
        scale, shift = numbers.weight_oihw[:, :, 0, 0].diagonal(), numbers.bias_o
        scales, shifts = bool((scale != 1).any()), bool((shift != 0).any())
        self.said.append("scale" if scales else "shift")
        if scales and shifts and len(scale) > 1:
            return self._affine(base, scale, shift, "affine")
        if scales:
            base = self._node("Mul", [base, self._weight(_plane(scale), "scale")], "scaled")
        if shifts:
            base = self._node("Add", [base, self._weight(_plane(shift), "shift")], "shifted")
        return base

    def _affine(self, base: ir.Value, scale: Tensor, shift: Tensor, name: str) -> ir.Value:
        """scale * x + shift for each channel, as a depthwise 1x1: runtimes keep their layout of channels around it.

        With a Sub in its place ONNX Runtime took 1.1 times as long for EDSR-BN, most of it in 32 nodes that reorder.
        """
        weight = scale.reshape(-1, 1, 1, 1).numpy()
        inputs = [base, self._weight(weight, f"{name}.scale"), self._weight(shift.numpy(), f"{name}.shift")]
        return self._node("Conv", inputs, name, {"group": len(weight), "kernel_shape": [1, 1]})

    def _select(self, base: ir.Value, numbers: Conv) -> ir.Value:
        index = numbers.weight_oihw[:, :, 0, 0].argmax(dim=1).numpy()
        self.said.append("channels")
        start, end = int(index[0]), int(index[-1]) + 1
        if not np.array_equal(index, np.arange(start, end)):
            return self._node("Gather", [base, self._constant(index, "channels")], "chosen", {"axis": 1})
        bounds = [
            self._constant(np.array([number], np.int64), name)
            for number, name in ((start, "start"), (end, "end"), (1, "axis"))
        ]
        return self._node("Slice", [base, *bounds], "slice")

    def _conv(self, base: ir.Value, weight: Tensor, bias: Tensor | None, like: Conv, name: str = "conv") -> ir.Value:
        dense = weight.detach().numpy()
        groups = blocks(dense)
        rows, columns = lattice((dense != 0).any(axis=(0, 1)))
        stored = grouped(dense, groups)[:, :, ::rows, ::columns]
        inputs = [base, self._weight(stored, f"{name}.weight")]
        if bias is not None and bool((bias != 0).any()):
            inputs.append(self._weight(bias.detach().numpy(), f"{name}.bias"))
        attributes = {
            "kernel_shape": list(stored.shape[2:]),
            "pads": list(like.pads),
            "strides": list(like.strides),
            "dilations": [rows, columns],
            "group": groups,
        }
        return self._node("Conv", inputs, name, attributes)

    def _ones(self, base: ir.Value) -> ir.Value:
        """1 x 1 x H x W of ones, H and W those of `base`."""
        if base not in self.planes:
            sides = self._node("Shape", [base], "sides", {"start": 2}, ir.DataType.INT64)
            one = self._constant(np.array([1, 1], np.int64), "unit")
            shape = self._node("Concat", [one, sides], "shape", {"axis": 0}, ir.DataType.INT64)
            fill = {"value": ir.tensor(np.ones(1, self.dtype.numpy()))}
            self.planes[base] = self._node("ConstantOfShape", [shape], "ones", fill)
        return self.planes[base]

    def _node(
        self,
        kind: str,
        inputs: list[ir.Value],
        name: str,
        attributes: Mapping[str, Any] | None = None,
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        unique = self._unique(name)
        output = ir.Value(name=unique, type=ir.TensorType(dtype or self.dtype))
        node = ir.node(kind, inputs, attributes, outputs=[output], name=unique)
        self.nodes.append(node)
        return output

    def _unique(self, name: str) -> str:
        unique = f"{self.stem}.{name}{len(self.nodes)}"
        while unique in self.taken:
            unique += "_"
        self.taken.add(unique)
        return unique

    def _weight(self, numbers: NDArray[np.float64], name: str) -> ir.Value:
        return add_constant(self.graph, self._unique(name), numbers, self.dtype)

    def _constant(self, numbers: NDArray[np.int64], name: str) -> ir.Value:
        return add_constant(self.graph, self._unique(name), numbers, None)


def round_weights(graph: ir.Graph) -> None:
    """Round the weights that `emit` wrote to the type in which the graph computes, in place.

    Raises:
        FoldError: a weight is too large for the type.
    """
    for value in graph.initializers.values():
        tensor, wanted = value.const_value, value.dtype
        if tensor is None or wanted is None or tensor.dtype == wanted:
            continue
        with np.errstate(over="ignore"):
            rounded = tensor.numpy().astype(wanted.numpy())
        if not np.isfinite(rounded.astype(np.float64)).all():
            largest = np.abs(tensor.numpy()).max()
            raise FoldError(f"{value.name}: folded weights reach {largest:.3g}, too much for {wanted}")
        value.const_value = ir.tensor(rounded, name=value.name)


def _plane(numbers: Tensor) -> NDArray[np.float64]:
    """A number for each channel, to be spread over H x W."""
    return numbers.detach().numpy().reshape(-1, 1, 1)


def trimmed(operator: Conv) -> Conv:
    """The same operator without rows and columns of zeros around its kernel, as far as its pads allow."""
    used = (operator.weight_oihw != 0).any(dim=1).any(dim=0)
    if operator.ones_ohw is not None:
        used = used | (operator.ones_ohw != 0).any(dim=0)
    if not bool(used.any()):
        return operator
    rows, columns = (torch.nonzero(used.any(dim=1 - axis)).flatten() for axis in (0, 1))
    height, width = operator.kernel
    free = (rows[0], columns[0], height - 1 - rows[-1], width - 1 - columns[-1])
    top, left, bottom, right = (max(0, min(int(cut), pad)) for cut, pad in zip(free, operator.pads, strict=True))
    inside = (..., slice(top, height - bottom), slice(left, width - right))
    pads = tuple(pad - cut for pad, cut in zip(operator.pads, (top, left, bottom, right), strict=True))
    ones = None if operator.ones_ohw is None else operator.ones_ohw[inside]
    return replace(operator, weight_oihw=operator.weight_oihw[inside], ones_ohw=ones, pads=pads)


def blocks(weight_oihw: NDArray[np.float64]) -> int:
    """The most groups into which a dense kernel falls apart: all outside of the diagonal blocks is zero."""
    seen = (weight_oihw != 0).any(axis=(2, 3))
    out_channels, in_channels = seen.shape
    largest = math.gcd(out_channels, in_channels)
    for groups in sorted((item for item in range(1, largest + 1) if largest % item == 0), reverse=True):
        parts = seen.reshape(groups, out_channels // groups, groups, in_channels // groups).any(axis=(1, 3))
        if not (parts & ~np.eye(groups, dtype=np.bool_)).any():
            return groups
    return 1


def grouped(weight_oihw: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """The blocks on the diagonal, O x I/groups x kh x kw."""
    out_channels, in_channels, *kernel = weight_oihw.shape
    parts = weight_oihw.reshape(groups, out_channels // groups, groups, in_channels // groups, *kernel)
    return np.concatenate([parts[index, :, index] for index in range(groups)])
