"""Operator sets and fixed shapes: the same network, or an error that says what can be had."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper

from repsr_deploy.errors import FoldError, ProofError, UsageError
from repsr_deploy.export import form
from repsr_deploy.export.form import Sides, sample, with_opset, with_shape, with_types
from repsr_deploy.export.half import to_half
from repsr_deploy.export.io import to_features, to_images
from tests.export.graphs import content, evaluated, graph_of, image, kernel, plain, run_onnxruntime, run_openvino

node = helper.make_node


@pytest.mark.parametrize("opset", [16, 18, 19, 22, 23])
def test_another_operator_set_computes_the_same(opset: int) -> None:
    model, _ = plain(channels=16)  # its weights are large enough to be kept away from the converter
    before = content(model)
    new = with_opset(model, opset)
    assert content(model) == before
    assert new.opset_imports[""] == opset
    assert new.metadata_props == model.metadata_props
    assert new.ir_version >= {22: 10, 23: 11}.get(opset, 9)
    assert [value.name for value in new.graph.inputs] == ["input"]
    x_nchw = image()
    np.testing.assert_allclose(evaluated(new, x_nchw), evaluated(model, x_nchw), rtol=0, atol=1e-12)
    np.testing.assert_allclose(run_onnxruntime(new, x_nchw), evaluated(model, x_nchw), rtol=0, atol=1e-5)


def test_an_operator_set_that_cannot_be_names_those_that_can() -> None:
    model, _ = plain()
    with pytest.raises(UsageError, match=r"operator set 13 \(.*Add\); it can in 14, 15, 16, 17, 18,"):
        with_opset(model, 13)
    with pytest.raises(UsageError, match=r"operator set 99 .*it can in 14, "):
        with_opset(model, 99)


def test_bf16_needs_the_operators_of_22() -> None:
    half = to_half(plain()[0], "bf16")
    with pytest.raises(UsageError, match=r"operator set 18 .*it can in 22, 23"):
        with_opset(half, 18)
    assert with_opset(half, 23).opset_imports[""] == 23


def test_a_conversion_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ir.Model, opset: int) -> ir.Model:
        new = converted(model, opset)
        for item in new.graph:
            if item.op_type == "DepthToSpace":
                item.attributes["mode"] = ir.AttrString("mode", "DCR")
        return new

    converted = form._converted  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(form, "_converted", wrong)
    with pytest.raises(ProofError, match="operator set 20, output differs by"):
        with_opset(plain()[0], 20)


@pytest.mark.parametrize(
    ("sides", "taken", "given"),
    [
        ((1, 24, 30), (1, 3, 24, 30), (1, 3, 48, 60)),
        ((None, 24, 30), ("N", 3, 24, 30), ("N", 3, 48, 60)),
        ((2, None, 30), (2, 3, "H", 30), (2, 3, "2*H", 60)),
    ],
)
def test_sides_are_fixed_in_and_out(sides: Sides, taken: tuple[int | str, ...], given: tuple[int | str, ...]) -> None:
    model, _ = plain()
    before = content(model)
    new = with_shape(model, sides)
    assert content(model) == before
    assert new.graph.inputs[0].shape == ir.Shape(taken)
    assert new.graph.outputs[0].shape == ir.Shape(given)
    x_nchw = image(24, 30, count=sides[0] or 1)
    for run in (run_onnxruntime, run_openvino):
        np.testing.assert_allclose(run(new, x_nchw), evaluated(model, x_nchw), rtol=0, atol=1e-5)


def test_images_and_features_are_fixed_too() -> None:
    model, _ = plain()
    images = with_shape(to_images(model), (1, 24, 30))
    assert images.graph.inputs[0].shape == ir.Shape((1, 24, 30, 3))
    assert images.graph.outputs[0].shape == ir.Shape((1, 48, 60, 3))
    features = with_shape(to_features(model)[0], (1, 24, 30))
    assert features.graph.outputs[0].shape == ir.Shape((1, 12, 24, 30))
    assert to_images(with_shape(model, (1, 24, 30))).graph.outputs[0].shape == ir.Shape((1, 48, 60, 3))


def test_impossible_sides_are_refused() -> None:
    model, _ = plain()
    with pytest.raises(UsageError, match="height is 0; expected at least 1"):
        with_shape(model, (1, 0, 5))
    with pytest.raises(UsageError, match="width is 31; expected 30"):
        with_shape(with_shape(model, (1, 24, 30)), (1, 24, 31))
    nodes = [
        node("SpaceToDepth", ["x"], ["s"], blocksize=2),
        node("Conv", ["s", "w"], ["c"], pads=[1] * 4),
        node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    unshuffle = graph_of(nodes, {"w": kernel(12, 12)})
    with pytest.raises(UsageError, match=r"cannot take images of N x H x W 1x9x8: SpaceToDepth .*multiples of 2"):
        with_shape(unshuffle, (1, 9, 8))
    assert with_shape(unshuffle, (1, 8, 8)).graph.outputs[0].shape == ir.Shape((1, 3, 8, 8))


def test_samples_are_of_a_size_that_the_graph_takes() -> None:
    mirror = graph_of(
        [node("Pad", ["x", "pads"], ["y"], mode="reflect")], {"pads": np.array([0, 0, 20, 20, 0, 0, 20, 20])}
    )
    images, values = sample(mirror)
    assert images["x"].shape == (1, 3, 46, 62)
    assert values["y"].shape == (1, 3, 86, 102)
    images, _ = sample(to_images(plain()[0]))
    assert images["input"].dtype == torch.uint8
    with pytest.raises(FoldError, match="custom domain"):
        sample(graph_of([node("Fused", ["x"], ["y"], domain="com.example")]))


def test_types_are_inferred_in_a_copy() -> None:
    model, _ = plain()
    bare = model.clone()
    for item in bare.graph:
        for value in item.outputs:
            value.type = None
    typed = with_types(bare)
    assert {value.dtype for item in typed.graph for value in item.outputs} == {ir.DataType.FLOAT}
    assert bare.graph[0].outputs[0].dtype is None
