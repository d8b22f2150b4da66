"""Linear operators of a graph by their structure: what a fold would cost and whether it is exact, before any number.

The rules are those of `folding.algebra`, whose functions give the numbers when an operator is written. Weights are
read only then, so that planning a large network costs no memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.errors import FoldError
from repsr_deploy.folding import algebra
from repsr_deploy.folding.algebra import Conv, Pads

Kind = Literal["identity", "diagonal", "select", "conv"]
"""`identity`: nothing at all; `diagonal`: each channel times a number plus a number; `select`: some of the channels."""
Taps = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """A convolution as `algebra.Conv` defines it, its numbers not computed yet."""

    rule: str
    """What it is made of: `3x3*BN*1x1 + identity`."""
    kind: Kind
    out_channels: int
    in_channels: int
    taps: Taps
    """kh x kw: where the kernel may differ from zero."""
    pads: Pads = (0, 0, 0, 0)
    strides: tuple[int, int] = (1, 1)
    groups: int = 1
    """Blocks on the diagonal of the channels outside of which the kernel is zero."""
    has_scale: bool = True
    """Whether a `diagonal` multiplies."""
    has_bias: bool = False
    onto: Callable[[], bool] = lambda: True
    """Whether its output can take any value, so that a shift of its input can replace its bias; may read weights."""
    ones: Literal["none", "shift", "field"] = "none"
    """Kernel for the image of ones: none, one that a shift of the input may replace, any."""
    is_border: bool = False
    """Exact in the interior only."""
    is_chain: bool = False
    """Composed of at least two that do something."""
    numbers: Callable[[], Conv]

    @property
    def is_pointwise(self) -> bool:
        """Looks at one pixel and pads nothing."""
        return self.taps.shape == (1, 1) and not any(self.pads)

    @property
    def reads_outside(self) -> bool:
        """Whether a tap of the kernel may lie outside the image."""
        return any(pad > 0 for pad in self.pads)

    @property
    def crops(self) -> bool:
        """Whether it would have to cut pixels off before it starts."""
        return any(pad < 0 for pad in self.pads)

    @property
    def macs(self) -> int:
        """Multiply-adds for each pixel of the output."""
        if self.kind in ("identity", "select"):
            return 0
        if self.kind == "diagonal":
            return self.out_channels if self.has_scale else 0
        return self.out_channels * self.in_channels // self.groups * count_taps(self.taps)


def lattice(taps: Taps) -> tuple[int, int]:
    """The widest dilations by which a kernel can be stored without losing a tap."""
    steps: list[int] = []
    for axis in (0, 1):
        places = np.flatnonzero(taps.any(axis=1 - axis))
        step = math.gcd(taps.shape[axis] - 1, *(int(place) for place in places))
        steps.append(step or 1)
    return steps[0], steps[1]


def count_taps(taps: Taps) -> int:
    """Taps that a dense kernel has, zeros included, after dilation is taken out."""
    rows, columns = lattice(taps)
    return ((taps.shape[0] - 1) // rows + 1) * ((taps.shape[1] - 1) // columns + 1)


POINT: Taps = np.ones((1, 1), np.bool_)


def identity(channels: int) -> Operator:
    """Nothing."""
    return Operator(
        rule="identity",
        kind="identity",
        out_channels=channels,
        in_channels=channels,
        taps=POINT,
        groups=channels,
        numbers=lambda: algebra.identity(channels),
    )


def without_bias(operator: Operator) -> Operator:
    """What an operator does to an image, without what it adds whatever the image is."""
    if not operator.has_bias and operator.ones == "none":
        return operator
    if operator.kind == "diagonal" and not operator.has_scale:
        return identity(operator.out_channels)

    def numbers() -> Conv:
        whole = operator.numbers()
        return replace(whole, bias_o=torch.zeros_like(whole.bias_o), ones_ohw=None)

    return replace(operator, has_bias=False, ones="none", numbers=numbers)


def compose(first: Operator, second: Operator, *, allow_border: bool) -> Operator:
    """second(first(x)), as `algebra.compose`.

    Raises:
        FoldError: it would be exact in the interior only, and `allow_border` is off.
    """
    if first.kind == "identity":
        return second
    if second.kind == "identity":
        return first
    exact = not second.reads_outside or _is_exact(first, second)
    if not exact and not allow_border:
        raise FoldError(f"{first.rule} before the padded {second.rule} folds exactly in the interior only")
    pads = algebra.chained_pads(first.pads, first.strides, second.pads)
    pointwise = second.reads_outside and first.is_pointwise
    taps = _spread(second.taps, first.taps, first.strides)
    has_bias = second.has_bias if pointwise else first.has_bias or second.has_bias or second.ones != "none"
    ones = _ones(first, second) if pointwise else first.ones
    if ones != "none" and not _any_outside(taps, pads):
        has_bias, ones = True, "none"
    return Operator(
        rule=f"{first.rule}*{second.rule}",
        kind=first.kind if first.kind == second.kind else "conv",
        out_channels=second.out_channels,
        in_channels=first.in_channels,
        taps=taps,
        pads=pads,
        strides=(first.strides[0] * second.strides[0], first.strides[1] * second.strides[1]),
        groups=math.gcd(first.groups, second.groups),
        has_scale=first.has_scale or second.has_scale,
        has_bias=has_bias,
        onto=lambda: first.onto() and second.onto(),
        ones=ones,
        is_border=first.is_border or second.is_border or not exact,
        is_chain=True,
        numbers=lambda: algebra.compose(first.numbers(), second.numbers(), allow_border=allow_border),
    )


def _is_exact(first: Operator, second: Operator) -> bool:
    if first.is_pointwise:
        return True
    height, width = (size - 1 for size in first.taps.shape)
    fades = all(pad >= need for pad, need in zip(first.pads, (height, width, height, width), strict=True))
    return fades and first.strides == (1, 1) and not first.has_bias and second.ones == "none"


def _ones(first: Operator, second: Operator) -> Literal["none", "shift", "field"]:
    """Before a padded `second`, the bias of `first` is one more kernel; a shift replaces it if `first` is onto."""
    if not first.has_bias and first.ones == "none":
        return second.ones
    alone = second.ones == "none" and first.ones == "none"
    return "shift" if alone and first.onto() else "field"


def _spread(second: Taps, first: Taps, strides: tuple[int, int]) -> Taps:
    rows, columns = strides
    height, width = (
        step * (outer - 1) + inner for step, outer, inner in zip(strides, second.shape, first.shape, strict=True)
    )
    taps = np.zeros((height, width), np.bool_)
    for y, x in np.argwhere(second):
        taps[rows * y : rows * y + first.shape[0], columns * x : columns * x + first.shape[1]] |= first
    return taps


def add(first: Operator, second: Operator) -> Operator:
    """first(x) + second(x), as `algebra.add`.

    Raises:
        FoldError: their outputs differ in size or step.
    """
    if first.strides != second.strides or _shrinkage(first) != _shrinkage(second):
        raise FoldError(f"{first.rule} and {second.rule} step or pad differently")
    pads = algebra.widest_pads(first.pads, second.pads)
    diagonal = {first.kind, second.kind} <= {"identity", "diagonal"}
    return Operator(
        rule=f"{first.rule} + {second.rule}",
        kind="diagonal" if diagonal else "conv",
        out_channels=first.out_channels,
        in_channels=first.in_channels,
        taps=_widened(first, pads) | _widened(second, pads),
        pads=pads,
        strides=first.strides,
        groups=math.gcd(first.groups, second.groups),
        has_bias=first.has_bias or second.has_bias,
        onto=lambda: first.onto() or second.onto(),
        ones=_ones_of_sum(first, second, pads),
        is_border=first.is_border or second.is_border,
        is_chain=first.is_chain or second.is_chain,
        numbers=lambda: algebra.add(first.numbers(), second.numbers()),
    )


def _ones_of_sum(first: Operator, second: Operator, pads: Pads) -> Literal["none", "shift", "field"]:
    """A shift of one branch goes for the other, too, if that reads nothing outside: its bias makes up for it."""
    if first.ones == second.ones == "none":
        return "none"
    other = second if first.ones == "shift" else first
    if "none" not in (first.ones, second.ones) or "field" in (first.ones, second.ones):
        return "field"
    return "field" if _any_outside(_widened(other, pads), pads) else "shift"


def _any_outside(taps: Taps, pads: Pads) -> bool:
    """Whether a tap that may differ from zero may lie outside the image."""
    outside = taps.copy()
    top, left, bottom, right = (max(0, pad) for pad in pads)
    outside[top : taps.shape[0] - bottom, left : taps.shape[1] - right] = False
    return bool(outside.any())


def _shrinkage(operator: Operator) -> tuple[int, int]:
    top, left, bottom, right = operator.pads
    return operator.taps.shape[0] - top - bottom, operator.taps.shape[1] - left - right


def _widened(operator: Operator, pads: Pads) -> Taps:
    top, left, bottom, right = (new - old for new, old in zip(pads, operator.pads, strict=True))
    return np.pad(operator.taps, ((top, bottom), (left, right)))
