"""Nearest-neighbour skips before the shuffle: the same pixels, and only where they are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_shapes
from repsr_deploy.folding.graph.skip import join_nearest_skips

ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
MORE_NODES: dict[str, list[NodeProto]] = {
    "before": [],
    "shuffle read twice": [helper.make_node("Relu", ["high"], ["second"])],
    "skip read twice": [helper.make_node("Relu", ["skip"], ["second"])],
}


def network(
    folder: Path,
    *,
    factor: int = 2,
    order: str = "CRD",
    scales: tuple[float, ...] | None = None,
    resize: Mapping[str, Any] = ASYMMETRIC,
    swapped: bool = False,
    more: str = "before",
) -> ir.Model:
    """y = shuffle(conv(x)) + resize(x), 3 channels."""
    given = scales or (1, 1, factor, factor)
    total = ["skip", "high"] if swapped else ["high", "skip"]
    rng = np.random.default_rng(factor)
    weights = {
        "kernel": rng.normal(size=(3 * factor**2, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=3 * factor**2).astype(np.float32),
        "scales": np.array(given, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["low"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["low"], ["high"], blocksize=factor, mode=order),
        helper.make_node("Resize", ["x", "", "scales"], ["skip"], **{"mode": "nearest", **resize}),
        helper.make_node("Add", total, ["y"]),
        *MORE_NODES[more],
    ]
    outputs = ["y"] if more == "before" else ["y", "second"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, "sH", "sW"]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = folder / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return read_graph(path)


def image() -> Tensor:
    return torch.rand(2, 3, 7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def numbers(model: ir.Model, name: str) -> Tensor:
    constant = model.graph.initializers[name].const_value
    assert constant is not None
    return torch.from_numpy(constant.numpy().astype(np.float64))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize(
    "resize",
    [
        ASYMMETRIC,
        {},  # half_pixel and round_prefer_floor
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    ],
)
def test_a_skip_moves_before_the_shuffle(
    resize: dict[str, str], order: str, factor: int, swapped: bool, tmp_path: Path
) -> None:
    model = network(tmp_path, factor=factor, order=order, resize=resize, swapped=swapped)
    x_nchw = image()
    expected = evaluate(model, {"x": x_nchw})["y"]
    if order == "CRD":  # an independent reference: PyTorch's PixelShuffle has this order
        low = F.conv2d(x_nchw, numbers(model, "kernel"), numbers(model, "bias"), padding=1)
        reference = F.pixel_shuffle(low, factor) + x_nchw.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        torch.testing.assert_close(expected, reference)

    moved = model.clone()
    shapes = reference_shapes(moved)
    assert join_nearest_skips(moved.graph, shapes) == 1
    torch.testing.assert_close(evaluate(moved, {"x": x_nchw})["y"], expected)
    assert "Resize" not in {node.op_type for node in moved.graph}
    assert {node.outputs[0].name for node in moved.graph} <= shapes.keys()

    fold = fold_graph(model)
    assert [node.op_type for node in fold.model.graph] == ["Conv", "DepthToSpace"]
    torch.testing.assert_close(evaluate(fold.model, {"x": x_nchw})["y"], expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"resize": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}},
        {"resize": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}, "factor": 3},
        {"resize": {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}},
        {"resize": {"coordinate_transformation_mode": "align_corners", "nearest_mode": "floor"}},
        {"resize": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}},
        {"resize": {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}},
        {"more": "shuffle read twice"},
        {"more": "skip read twice"},
    ],
)
def test_what_is_not_the_same_pixels_or_has_other_readers_stays(changes: dict[str, Any], tmp_path: Path) -> None:
    model = network(tmp_path, **changes)
    before = [node.name for node in model.graph]
    assert join_nearest_skips(model.graph, reference_shapes(model)) == 0
    assert [node.name for node in model.graph] == before
    x_nchw = image()
    after = evaluate(fold_graph(model).model, {"x": x_nchw})
    for name, expected in evaluate(model, {"x": x_nchw}).items():
        torch.testing.assert_close(after[name], expected)


def test_a_skip_of_another_image_is_not_absorbed_but_stays_right(tmp_path: Path) -> None:
    """Behind an activation the last convolution reads other pixels: joining would save nothing."""
    weights = {
        "kernel": np.random.default_rng(0).normal(size=(12, 3, 3, 3)).astype(np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        helper.make_node("Relu", ["x"], ["active"]),
        helper.make_node("Conv", ["active", "kernel"], ["low"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["low"], ["high"], blocksize=2, mode="CRD"),
        helper.make_node("Resize", ["x", "", "scales"], ["skip"], mode="nearest", **ASYMMETRIC),
        helper.make_node("Add", ["high", "skip"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, "sH", "sW"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    before = read_graph(tmp_path / "net.onnx")
    after = fold_graph(before).model
    assert sum(node.op_type == "Conv" for node in after.graph) == 1
    x_nchw = image() - 0.5
    torch.testing.assert_close(evaluate(after, {"x": x_nchw})["y"], evaluate(before, {"x": x_nchw})["y"])
