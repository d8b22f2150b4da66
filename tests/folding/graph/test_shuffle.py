"""Pointwise operators behind PixelShuffle end up in the convolution before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from repsr_deploy.folding.graph import shuffle
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph

RANDOM = np.random.default_rng(3)
WEIGHTS = {
    "kernel": RANDOM.standard_normal((12, 3, 3, 3)),
    "matrix": RANDOM.standard_normal((2, 3, 1, 1)),
    "bias": RANDOM.standard_normal(2),
    "plane": RANDOM.standard_normal((3, 1, 1)),
}
BEHIND: dict[str, tuple[list[NodeProto], int]] = {
    "mean": ([helper.make_node("Add", ["z", "plane"], ["y"])], 3),
    "range and mean": (
        [helper.make_node("Mul", ["z", "plane"], ["scaled"]), helper.make_node("Sub", ["plane", "scaled"], ["y"])],
        3,
    ),
    "colours": ([helper.make_node("Conv", ["z", "matrix", "bias"], ["y"])], 2),
}


def network(path: Path, behind: str, mode: str) -> Path:
    nodes, colours = BEHIND[behind]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1] * 4),
            helper.make_node("DepthToSpace", ["a"], ["z"], blocksize=2, mode=mode),
            *nodes,
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", colours, "2*H", "2*W"])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in WEIGHTS.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def folded(path: Path) -> tuple[list[str], float]:
    """Operators that are left, and the largest error in float64."""
    model = read_graph(path)
    after = fold_graph(model).model
    image = {"x": torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)}
    error = (evaluate(after, image)["y"] - evaluate(model, image)["y"]).abs().max().item()
    return [node.op_type for node in after.graph], error


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
@pytest.mark.parametrize("behind", BEHIND)
def test_it_moves_into_the_convolution(behind: str, mode: str, tmp_path: Path) -> None:
    operators, error = folded(network(tmp_path / "net.onnx", behind, mode))
    assert operators == ["Conv", "DepthToSpace"]
    assert error < 1e-13


@pytest.mark.parametrize("behind", ["range and mean", "colours"])
def test_the_wrong_order_of_places_shows(behind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.kron

    def swapped(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return right(second, first)

    monkeypatch.setattr(shuffle.torch, "kron", swapped)
    operators, error = folded(network(tmp_path / "net.onnx", behind, "CRD"))
    assert operators == ["Conv", "DepthToSpace"]
    assert error > 1e-3


def test_what_others_read_stays(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", "mean", "CRD")
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3, "2*H", "2*W"]))
    onnx.save(model, path)
    operators, error = folded(path)
    assert operators == ["Conv", "DepthToSpace", "Add"]
    assert error == 0
