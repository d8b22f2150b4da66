"""Evaluation in the types that a graph states, against NumPy's own float16 and bfloat16."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import GraphProto, TensorProto, helper, numpy_helper
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.evaluate_types import rounded
from repsr_deploy.folding.graph.shapes import infer_shapes

NARROW: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


def chain(kind: int) -> ir.Model:
    """y = (x * a + b) * a with all values but the ends in a short type."""
    weights = {"a": np.array(3.1, NARROW[kind]), "b": np.array(-0.7, NARROW[kind])}
    nodes = [
        helper.make_node("Cast", ["x"], ["s"], to=kind),
        helper.make_node("Mul", ["s", "a"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["t"]),
        helper.make_node("Mul", ["t", "a"], ["u"]),
        helper.make_node("Cast", ["u"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10))
    infer_shapes(model)
    return model


@pytest.mark.parametrize("kind", NARROW)
def test_every_operator_rounds_to_its_type(kind: int) -> None:
    x = np.random.default_rng(kind).normal(0, 30, 500).astype(np.float32)
    short = NARROW[kind]
    a, b = np.array(3.1, short), np.array(-0.7, short)
    product = (x.astype(short).astype(np.float64) * a.astype(np.float64)).astype(np.float32).astype(short)
    total = (product.astype(np.float64) + b.astype(np.float64)).astype(np.float32).astype(short)
    expected = (total.astype(np.float64) * a.astype(np.float64)).astype(np.float32).astype(short).astype(np.float64)
    model, feeds = chain(kind), {"x": torch.from_numpy(x)}
    np.testing.assert_array_equal(evaluate(model, feeds, hand=rounded)["y"].numpy(), expected)
    assert np.abs(evaluate(model, feeds)["y"].numpy() - expected).max() > 1e-3  # without, nothing is rounded


def test_what_is_too_large_becomes_infinite() -> None:
    x = torch.tensor([65519.0, 65520.0, -7e4, 3e4])
    model = chain(TensorProto.FLOAT16)
    casts = evaluate(model, {"x": x}, keep=["s", "m"], hand=rounded)
    assert casts["s"].tolist() == [65504.0, math.inf, -math.inf, 30000.0]
    assert casts["m"][3] == math.inf
    assert evaluate(chain(TensorProto.BFLOAT16), {"x": x}, hand=rounded)["y"].isfinite().all()


def test_integers_and_float64_are_left_alone() -> None:
    third = torch.tensor([1 / 3], dtype=torch.float64)
    for dtype, tensor in ((ir.DataType.DOUBLE, third), (ir.DataType.INT64, torch.tensor([2**40]))):
        assert rounded(ir.Value(name="v", type=ir.TensorType(dtype)), tensor) is tensor
    assert rounded(ir.Value(name="v", type=ir.TensorType(ir.DataType.FLOAT)), third).item() == float(np.float32(1 / 3))
    with pytest.raises(FoldError, match="which type value 'v' is"):
        rounded(ir.Value(name="v"), third)


def test_the_hand_sees_every_value_once_in_order_and_decides_what_goes_on() -> None:
    seen: list[str] = []

    def hand(value: ir.Value, tensor: Tensor) -> Tensor:
        seen.append(str(value.name))
        return torch.ones_like(tensor) if value.name == "t" else tensor

    outputs = evaluate(chain(TensorProto.FLOAT16), {"x": torch.zeros(2)}, hand=hand)
    assert seen == ["s", "m", "t", "u", "y"]
    assert outputs["y"].tolist() == [float(np.float16(3.1))] * 2


@pytest.mark.parametrize("taken", [True, False])
def test_the_hand_reaches_into_branches(taken: bool) -> None:
    def branch(name: str) -> GraphProto:
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Neg", ["x"], [name])], name, [], [output])

    node = helper.make_node("If", ["condition"], ["y"], then_branch=branch("yes"), else_branch=branch("no"))
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array(taken), "condition")],
    )
    seen: list[str] = []

    def hand(value: ir.Value, tensor: Tensor) -> Tensor:
        seen.append(str(value.name))
        return tensor

    evaluate(
        ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])),
        {"x": torch.ones(1)},
        hand=hand,
    )
    assert seen == ["yes" if taken else "no", "y"]
