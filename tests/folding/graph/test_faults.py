"""Planted faults: with each rule slightly wrong, the comparison in float64 fails, and without the fault it passes.

This shows that the property test can see each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx_ir as ir
import pytest
import torch
from torch import Tensor

from repsr_deploy.folding import algebra
from repsr_deploy.folding.graph import emit, linear, operator
from repsr_deploy.folding.graph.cost import Objective
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from tests.folding.graph.grammar import (
    INPUT,
    OUTPUT,
    Average,
    BiasPad,
    Branches,
    Constant,
    Conv,
    Crop,
    Layer,
    Network,
    Norm,
    Pad,
    Parts,
    Select,
)

EXACT = 1e-10
SAME = (1, 1, 1, 1)
WIDE = (2, 2, 2, 2)
THREE = (3, 3)

Function = Callable[..., Any]
Wrap = Callable[[Function], Function]
Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Fault:
    """A function of the folder and what is wrong with it, and a network that uses it."""

    module: ModuleType
    name: str
    wrong: Wrap
    layers: Sequence[Layer]
    objective: Objective = "macs"
    also: Sequence[ModuleType] = ()
    """Modules that have a function of this name for the same rule."""


def on_result(change: Change) -> Wrap:
    """The function, its result changed."""

    def wrap(right: Function) -> Function:
        def wrong(*args: Any, **options: Any) -> Any:
            return change(right(*args, **options))

        return wrong

    return wrap


def on_argument(index: int, change: Change) -> Wrap:
    """The function of a changed argument."""

    def wrap(right: Function) -> Function:
        def wrong(*args: Any, **options: Any) -> Any:
            return right(*args[:index], change(args[index]), *args[index + 1 :], **options)

        return wrong

    return wrap


def always(value: object) -> Wrap:
    """A constant in place of the function."""

    def wrap(_right: Function) -> Function:
        def wrong(*_args: Any, **_options: Any) -> object:
            return value

        return wrong

    return wrap


def unscaled_ones(right: Function) -> Function:
    """A scale after a convolution leaves its border alone."""

    def wrong(second: Tensor, ones: Tensor, strides: tuple[int, int]) -> Tensor:
        return ones if second.shape[2:] == (1, 1) else right(second, ones, strides)

    return wrong


def off_by_one(right: Function) -> Function:
    """Every channel is the next."""

    def wrong(index: Sequence[int], count: int) -> algebra.Conv:
        return right([(item + 1) % count if item >= 0 else -1 for item in index], count)

    return wrong


def bias_as_it_was(right: Function) -> Function:
    """What leaves the ones does not arrive in the bias."""

    def wrong(numbers: algebra.Conv) -> Any:
        found = right(numbers)
        if isinstance(found, algebra.Conv):
            return replace(found, bias_o=numbers.bias_o)
        return found and (replace(found[0], bias_o=numbers.bias_o), found[1])

    return wrong


def turned(pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Rows and columns mixed up."""
    return (pads[1], pads[0], pads[3], pads[2])


def mirrored(pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """First and last mixed up."""
    return (pads[2], pads[3], pads[0], pads[1])


def cut_too_far(numbers: algebra.Conv) -> algebra.Conv:
    """A column that is no zero is trimmed."""
    top, left, bottom, right = numbers.pads
    return replace(numbers, weight_oihw=numbers.weight_oihw[..., :-1], pads=(top, left, bottom, right - 1))


def pads_counted(right: Function) -> Function:
    """AveragePool as if `count_include_pad` were 1."""

    def wrong(node: ir.Node, name: str, default: int) -> int:
        return 1 if name == "count_include_pad" else right(node, name, default)

    return wrong


CHAIN = (Conv(6), Conv(3, THREE))
SQUARE = (Conv(4), Conv(3, THREE))
PADDED = (Conv(4), Conv(4, THREE, SAME))
NORM_FIRST = (Norm(), Conv(4), Conv(4, THREE, SAME))
BLOCK = (Branches(((Conv(4, THREE, SAME),), ())),)

FAULTS: Mapping[str, Fault] = {
    "BatchNorm with another epsilon": Fault(
        algebra,
        "batch_norm",
        on_argument(4, lambda eps: 2 * eps),
        (Conv(4), Norm()),
    ),
    "BatchNorm without its mean": Fault(
        algebra,
        "batch_norm",
        on_argument(2, lambda mean: 0 * mean),
        (Conv(4), Norm()),
    ),
    "BatchNorm by the variance, not its root": Fault(
        algebra,
        "batch_norm",
        on_argument(3, lambda var: var**2),
        (Conv(4), Norm()),
    ),
    "bias of the first convolution lost": Fault(
        algebra, "compose", on_argument(0, lambda first: replace(first, bias_o=0 * first.bias_o)), CHAIN
    ),
    "bias of the second convolution lost": Fault(
        algebra, "compose", on_argument(1, lambda second: replace(second, bias_o=0 * second.bias_o)), CHAIN
    ),
    "kernel flipped": Fault(
        algebra,
        "_chained",
        on_argument(1, lambda first: first.flip((2, 3))),
        (Conv(4, THREE), Conv(3, THREE)),
        "nodes",
    ),
    "weights transposed": Fault(algebra, "_chained", on_argument(1, lambda first: first.transpose(0, 1)), SQUARE),
    "rows and columns of pads exchanged": Fault(
        algebra,
        "compose",
        on_result(lambda whole: replace(whole, pads=turned(whole.pads))),
        (Conv(4, THREE, (0, 1, 2, 1)), Norm()),
    ),
    "pads mirrored": Fault(
        algebra,
        "compose",
        on_result(lambda whole: replace(whole, pads=mirrored(whole.pads))),
        (Conv(4, (2, 2), (0, 0, 1, 1)), Norm()),
    ),
    "pads after a stride not scaled": Fault(
        algebra,
        "compose",
        on_result(lambda whole: replace(whole, pads=tuple(pad // 2 for pad in whole.pads))),
        (Conv(2, strides=(2, 2), bias=False), Conv(3, THREE, SAME, bias=False)),
        "nodes",
    ),
    "stride lost": Fault(
        algebra, "compose", on_result(lambda whole: replace(whole, strides=(1, 1))), (Conv(64, strides=(2, 2)), Conv(4))
    ),
    "kernel of the ones dropped": Fault(
        algebra, "compose", on_result(lambda whole: replace(whole, ones_ohw=None)), NORM_FIRST
    ),
    "ones of a 1x1 convolution dropped": Fault(
        algebra, "compose", on_result(lambda whole: replace(whole, ones_ohw=None)), PADDED
    ),
    "border without the scale after it": Fault(
        algebra, "_chained_ones", unscaled_ones, (Norm(), Conv(64), Conv(4, THREE, SAME), Norm())
    ),
    "padded after padded taken for exact": Fault(
        algebra, "_is_exact", always(True), (Conv(4, THREE, SAME), Conv(3, THREE, SAME), Norm()), "nodes", [operator]
    ),
    "branch subtracted": Fault(
        algebra, "add", on_argument(1, lambda second: replace(second, weight_oihw=-second.weight_oihw)), BLOCK
    ),
    "bias of a branch lost": Fault(
        algebra,
        "add",
        on_argument(0, lambda first: replace(first, bias_o=0 * first.bias_o)),
        (Branches(((Conv(4, THREE, SAME),), (Conv(4),))),),
    ),
    "identity off the centre": Fault(
        algebra,
        "widened",
        on_result(lambda wide: replace(wide, weight_oihw=wide.weight_oihw.roll(1, 3))),
        BLOCK,
    ),
    "scale of c - x without its sign": Fault(
        algebra, "affine", on_argument(0, lambda scale: scale.abs()), (Constant("Sub", left=True), Conv(4))
    ),
    "shift of c - x with its sign": Fault(
        algebra, "affine", on_argument(1, lambda shift: -shift), (Constant("Sub", left=True), Conv(4))
    ),
    "division as multiplication": Fault(
        algebra, "affine", on_argument(0, lambda scale: 1 / scale), (Constant("Div"), Conv(4))
    ),
    "parts of a split off by one": Fault(
        algebra,
        "select",
        off_by_one,
        (Parts((1, 3), ((Conv(1),), (Conv(3),)), (0, 1)), Conv(2)),
    ),
    "channels gathered in reverse": Fault(
        algebra, "select", on_argument(0, lambda index: index[::-1]), (Select((2, 0, 1, 3)), Conv(4))
    ),
    "mean as sum": Fault(
        linear,
        "_signed_sum",
        on_argument(1, lambda signs: [1.0] * len(signs)),
        (Branches(((Conv(4, THREE, SAME),), (Conv(4),)), "Mean"),),
    ),
    "average of a pixel less": Fault(
        algebra,
        "conv",
        on_argument(
            0, lambda weight: weight * 9 / 8 if weight.unique().numel() == 1 and weight.shape[2] == 3 else weight
        ),
        (Branches(((Average(THREE, SAME),), (Conv(4, THREE, SAME),))),),
    ),
    "average of the image's pixels alone": Fault(
        linear,
        "_int",
        pads_counted,
        (Branches(((Average(THREE, SAME, include_pad=False),), (Conv(4, THREE, SAME), Norm()))),),
    ),
    "value of the padding lost": Fault(
        linear,
        "_frame",
        on_argument(3, lambda _: 0.0),
        (Branches(((Pad(SAME, 0.75), Conv(4, THREE)), (Conv(4, THREE, SAME),))),),
    ),
    "padding on the wrong sides": Fault(
        linear, "_frame", on_argument(1, mirrored), (Pad((0, 1, 2, 0)), Conv(4, THREE, bias=False))
    ),
    "padding by the bias as padding by zeros": Fault(
        algebra,
        "compose",
        on_result(lambda whole: replace(whole, ones_ohw=None)),
        (Conv(4), BiasPad(SAME), Conv(4, THREE)),
    ),
    "crop on the wrong sides": Fault(
        linear, "_frame", on_argument(1, mirrored), (Conv(4, THREE, WIDE), Crop((1, 1, 0, 0)), Norm())
    ),
    "SAME_UPPER as SAME_LOWER": Fault(
        linear, "_conv_pads", on_result(mirrored), (Conv(4, (2, 2), "SAME_UPPER"), Norm())
    ),
    "dilated taps in the wrong places": Fault(
        algebra,
        "_dilated",
        on_result(lambda weight: weight.roll(1, 3)),
        (Conv(64), Conv(4, THREE, WIDE, dilations=(2, 2), bias=False)),
    ),
    "groups in reverse": Fault(
        emit, "grouped", on_result(lambda weight: weight[::-1]), (Conv(4, THREE, groups=2), Norm())
    ),
    "more groups than there are": Fault(emit, "blocks", always(4), (Conv(4, THREE), Norm())),
    "dilation where there is none": Fault(emit, "lattice", always((2, 2)), (Conv(4, THREE), Norm())),
    "kernel trimmed too far": Fault(emit, "trimmed", on_result(cut_too_far), (Conv(4, THREE, SAME), Norm())),
    "shift with the wrong sign": Fault(
        emit, "with_shift", on_result(lambda found: found and (found[0], -found[1])), NORM_FIRST
    ),
    "bias not made up for the shift": Fault(
        emit,
        "with_shift",
        bias_as_it_was,
        (Norm(), Branches(((Conv(4, THREE, SAME),), ()))),
    ),
    "ones inside the image forgotten": Fault(
        emit,
        "settled",
        bias_as_it_was,
        (Norm(), Branches(((Conv(4, THREE, SAME),), ()))),
    ),
}


def test_the_faults_are_in_functions_that_exist() -> None:
    for fault in FAULTS.values():
        assert callable(getattr(fault.module, fault.name))


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    assert error_of_fold(fault, tmp_path) < EXACT
    for module in (fault.module, *fault.also):
        monkeypatch.setattr(module, fault.name, fault.wrong(getattr(module, fault.name)))
    assert error_of_fold(fault, tmp_path) > EXACT


def error_of_fold(fault: Fault, folder: Path) -> float:
    """Largest error as a fraction of the range, infinite where shapes differ; the network must fold."""
    path = folder / "network.onnx"
    path.write_bytes(Network(4, tuple(fault.layers), seed=1).build().SerializeToString())
    model = read_graph(path)
    folded = fold_graph(model, fault.objective)
    assert any(site.outcome == "exact" for site in folded.sites)
    image = {INPUT: torch.rand(1, 4, 11, 13, generator=torch.Generator().manual_seed(2), dtype=torch.float64)}
    before, after = evaluate(model, image)[OUTPUT], evaluate(folded.model, image)[OUTPUT]
    if after.shape != before.shape:
        return float("inf")
    return ((after - before).abs().max() / (before.max() - before.min())).item()
