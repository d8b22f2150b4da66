"""Rule by rule: what a linear region becomes, that it computes the same, and what is kept and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, numpy_helper

from repsr_deploy.folding.graph.cost import Objective
from repsr_deploy.folding.graph.emit import round_weights
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import GraphFold, fold_graph
from repsr_deploy.folding.graph.read import read_graph
from tests.folding.graph.grammar import (
    INPUT,
    OUTPUT,
    Activation,
    Average,
    BiasPad,
    Branches,
    Constant,
    Conv,
    Crop,
    Layer,
    Negative,
    Network,
    Norm,
    Output,
    Pad,
    Parts,
    Select,
)

CHANNELS = 4
NONE = (0, 0, 0, 0)
SAME = (1, 1, 1, 1)
WIDE = (2, 2, 2, 2)
THREE = (3, 3)
CONV = Conv(CHANNELS, THREE, SAME)
DEPTHWISE = Conv(CHANNELS, THREE, SAME, groups=CHANNELS)

EXACT: dict[str, tuple[tuple[Layer, ...], list[str]]] = {
    "3x3, 1x1": ((CONV, Conv(3)), ["Conv"]),
    "1x1, 3x3 without padding": ((Conv(4), Conv(3, THREE)), ["Conv"]),
    "1x1 without bias, padded 3x3": ((Conv(4, bias=False), CONV), ["Conv"]),
    "1x1 with bias, padded 3x3: a shift": ((Conv(4), CONV), ["Conv", "Conv"]),
    "1x1 of stride 2, padded 3x3": ((Conv(4, strides=(2, 2), bias=False), CONV), ["Conv"]),
    "3x3, BN": ((CONV, Norm()), ["Conv"]),
    "BN, 3x3 without padding": ((Norm(), Conv(3, THREE)), ["Conv"]),
    "BN, 1x1, padded 3x3: a shift": ((Norm(), Conv(4), CONV), ["Conv", "Conv"]),
    "BN, RepVGG block: a shift and another bias": (
        (Norm(), Branches(((CONV, Norm()), (Conv(4), Norm()), (Norm(),)))),
        ["Conv", "Conv"],
    ),
    "RepVGG block": ((Branches(((CONV, Norm()), (Conv(4), Norm()), (Norm(),))),), ["Conv"]),
    "ACNet block": (
        (Branches(((CONV,), (Conv(4, (1, 3), (0, 1, 0, 1)),), (Conv(4, (3, 1), (1, 0, 1, 0)),)), "Sum"),),
        ["Conv"],
    ),
    "branches of the mean": ((Branches(((CONV,), (Conv(4),), ()), "Mean"),), ["Conv"]),
    "branches of the difference": ((Branches(((CONV,), (Conv(4),)), "Sub"),), ["Conv"]),
    "residual by a factor": ((Branches(((CONV, Constant("Mul", shape="()")), ())),), ["Conv"]),
    "constants on both sides": (
        (Constant("Sub", left=True), Constant("Div"), Negative(), Constant("Mul", left=True), Conv(3, THREE)),
        ["Conv"],
    ),
    "average as a branch": ((Branches(((CONV,), (Conv(4, bias=False), Average(THREE, SAME)))),), ["Conv"]),
    "average of an image padded before": ((Branches(((CONV,), (Pad(SAME), Conv(4), Average(THREE, NONE)))),), ["Conv"]),
    "Sobel": (
        (Branches(((CONV,), (Conv(4, bias=False), Conv(4, THREE, SAME, groups=4, weights="sobel")))),),
        ["Conv"],
    ),
    "Pad, 3x3": ((Pad(SAME), Conv(4, THREE)), ["Conv"]),
    "Pad, 1x1 without bias, 3x3": ((Pad(SAME), Conv(4, bias=False), Conv(4, THREE)), ["Conv"]),
    "padding by the bias": ((Conv(8, bias=False), Pad(SAME), Constant("Add"), Conv(4, THREE)), ["Conv"]),
    "padding by another bias: an image of ones": (
        (Conv(8), BiasPad(SAME), Conv(4, THREE)),
        ["Add", "Concat", "ConstantOfShape", "Conv", "Conv", "Shape"],
    ),
    "padded twice as wide, 3x3, crop": ((Conv(4, THREE, WIDE), Crop(SAME), Norm()), ["Conv"]),
    "split and concat": ((Parts((1, 3), ((Conv(1),), (Conv(3),)), (1, 0)), Conv(4)), ["Conv"]),
    "slices of branches": ((Parts((2, 2), ((), (Norm(),)), (0, 1), "Slice"), Conv(4, THREE)), ["Conv"]),
    "channels gathered": ((CONV, Select((2, 0, 1))), ["Conv"]),
    "concat of branches": ((Branches(((CONV,), (Conv(2),)), "Concat"), Conv(3)), ["Conv"]),
    "wide padding, then padding": ((Conv(16, THREE, WIDE, bias=False), Conv(4, (1, 3), (0, 1, 0, 1))), ["Conv"]),
    "grouped stays grouped": ((Conv(4, THREE, SAME, groups=2), Norm()), ["Conv"]),
    "all linear": ((Conv(16, THREE), Norm(), Conv(8), Branches(((Conv(8),), ())), Conv(2)), ["Conv"]),
    "nothing is left": ((Negative(), Negative()), ["Identity"]),
    "a scale": ((Constant("Mul"), Constant("Div"), Constant("Add")), ["Conv"]),
}


@dataclass(frozen=True)
class Fold:
    """A graph before and after."""

    before: ir.Model
    after: GraphFold

    @property
    def operators(self) -> list[str]:
        return sorted(node.op_type for node in self.after.model.graph)

    def conv(self) -> ir.Node:
        """The only convolution."""
        (node,) = (node for node in self.after.model.graph if node.op_type == "Conv")
        return node

    def error(self, border: int = 0) -> float:
        """Largest error of any output, `border` pixels left out, as a fraction of its range."""
        generator = torch.Generator().manual_seed(2)
        image = {INPUT: torch.rand(1, CHANNELS, 11, 13, generator=generator, dtype=torch.float64)}
        before, after = evaluate(self.before, image), evaluate(self.after.model, image)
        assert list(before) == list(after)
        inside = (..., slice(border, 11 - border), slice(border, 13 - border)) if border else (...,)
        errors = (
            (after[name] - value)[inside].abs().max() / (value.max() - value.min()) for name, value in before.items()
        )
        return max(error.item() for error in errors)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


def fold(path: Path, *layers: Layer, objective: Objective = "macs", allow_border: bool = False) -> Fold:
    return fold_proto(Network(CHANNELS, layers, seed=1).build(), path, objective, allow_border=allow_border)


def fold_proto(
    proto: onnx.ModelProto, path: Path, objective: Objective = "macs", *, allow_border: bool = False
) -> Fold:
    path.write_bytes(proto.SerializeToString())
    model = read_graph(path)
    return Fold(model, fold_graph(model, objective, allow_border=allow_border))


def kept(result: Fold) -> Sequence[str]:
    """Why sites were kept."""
    return [site.reason for site in result.after.sites if site.outcome == "kept"]


@pytest.mark.parametrize("rule", EXACT)
def test_exact_rule(rule: str, path: Path) -> None:
    layers, expected = EXACT[rule]
    result = fold(path, *layers)
    assert result.operators == expected
    assert result.error() < 1e-13
    assert {site.outcome for site in result.after.sites} == {"exact"}


@pytest.mark.parametrize("first", [CONV, Average(THREE, SAME)])
def test_padded_after_padded_folds_in_the_interior_only(first: Layer, path: Path) -> None:
    layers = (first, Conv(CHANNELS, (1, 3), (0, 1, 0, 1)))
    result = fold(path, *layers, objective="nodes")
    assert len(result.operators) == 2
    (reason,) = kept(result)
    assert "exactly in the interior only" in reason

    allowed = fold(path, *layers, objective="nodes", allow_border=True)
    assert allowed.operators == ["Conv"]
    assert [site.outcome for site in allowed.after.sites] == ["border"]
    assert allowed.error(border=2) < 1e-13
    assert allowed.error() > 1e-3


LOW_RANK = (Conv(1, bias=False), Conv(16, THREE, SAME))
SEPARABLE = (DEPTHWISE, Conv(16))


@pytest.mark.parametrize("layers", [LOW_RANK, SEPARABLE], ids=["low-rank", "separable"])
def test_what_folded_would_cost_more_is_kept(layers: tuple[Layer, ...], path: Path) -> None:
    result = fold(path, *layers)
    assert result.operators == ["Conv", "Conv"]
    (reason,) = kept(result)
    assert "times the multiply-adds" in reason

    fewest = fold(path, *layers, objective="nodes")
    assert fewest.operators == ["Conv"]
    assert fewest.error() < 1e-13


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_stay(groups: int, path: Path) -> None:
    result = fold(path, Conv(CHANNELS, THREE, SAME, groups=groups), Norm())
    assert result.conv().attributes["group"].as_int() == groups
    assert result.conv().inputs[1].shape == (CHANNELS, CHANNELS // groups, 3, 3)  # type: ignore[reportOptionalMemberAccess]
    assert result.error() < 1e-13


def test_dilation_stays(path: Path) -> None:
    result = fold(path, Conv(CHANNELS, THREE, WIDE, dilations=(2, 2)), Norm())
    assert result.conv().attributes["dilations"].as_ints() == (2, 2)
    assert result.conv().attributes["kernel_shape"].as_ints() == (3, 3)
    assert result.error() < 1e-13


def test_kernels_of_one_tap_are_trimmed(path: Path) -> None:
    result = fold(path, Conv(CHANNELS, (5, 5), WIDE, weights="dirac"), Conv(3))
    assert result.conv().attributes["kernel_shape"].as_ints() == (1, 1)
    assert result.conv().attributes["pads"].as_ints() == (0, 0, 0, 0)
    assert result.error() < 1e-13


def test_a_dead_channel_has_no_shift_but_folds(path: Path) -> None:
    result = fold(path, CONV, Activation(), Norm(dead=True), Conv(3), Norm(), objective="nodes")
    assert result.operators == ["Conv", "Conv", "Relu"]
    assert result.error() < 1e-13


def test_values_that_are_outputs_are_still_computed(path: Path) -> None:
    result = fold(path, Conv(8), Output(), Conv(3, THREE), Norm())
    assert [value.name for value in result.after.model.graph.outputs] == ["conv0.0", OUTPUT]
    assert result.operators == ["Conv", "Conv"]
    assert result.error() < 1e-13


def test_an_output_may_be_another_one_under_another_name(path: Path) -> None:
    result = fold(path, Conv(3, THREE), Norm(), Output())
    assert result.operators == ["Conv", "Identity"]
    assert result.error() < 1e-13


def test_activations_are_walls(path: Path) -> None:
    result = fold(path, CONV, Norm(), Activation("PRelu"), Branches(((CONV, Activation("Sigmoid"), CONV, Norm()), ())))
    assert result.operators == ["Add", "Conv", "Conv", "Conv", "PRelu", "Sigmoid"]
    assert result.error() < 1e-13


def test_what_is_not_linear_as_it_looks_is_kept(path: Path) -> None:
    uncounted, reflected = Average(THREE, SAME, include_pad=False), Pad(SAME, mode="reflect")
    assert fold(path, uncounted, Norm()).operators == ["AveragePool", "BatchNormalization"]
    assert fold(path, reflected, Conv(4, THREE), Norm()).operators == ["Conv", "Pad"]


def test_a_folded_graph_does_not_change_when_folded_again(path: Path) -> None:
    result = fold(path, CONV, Norm(), Activation(), Norm(), CONV, Activation(), Conv(8), BiasPad(SAME), Conv(4, THREE))
    again = fold_graph(result.after.model)
    assert sorted(node.op_type for node in again.model.graph) == result.operators
    assert Fold(result.before, again).error() < 1e-13


def test_the_graph_before_is_left_alone(path: Path) -> None:
    result = fold(path, CONV, Norm())
    assert [node.op_type for node in result.before.graph] == ["Conv", "BatchNormalization"]


def test_float16_stays_float16(path: Path) -> None:
    proto = Network(
        CHANNELS, (Norm(), Conv(4), CONV, Activation(), Conv(8), BiasPad(SAME), Conv(4, THREE)), seed=1
    ).build()
    for weight in proto.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    result = fold_proto(proto, path)
    assert result.operators == ["Add", "Concat", "ConstantOfShape", "Conv", "Conv", "Conv", "Conv", "Relu", "Shape"]
    assert result.error() < 1e-13

    round_weights(result.after.model.graph)
    rounded = ir.to_proto(result.after.model)
    onnx.checker.check_model(rounded, full_check=True)
    kinds = {weight.data_type for weight in rounded.graph.initializer}
    assert kinds == {TensorProto.FLOAT16, TensorProto.INT64}
    assert result.error() < 1e-2
