"""Quantized values against ONNX Runtime, which computes with whole numbers itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.evaluate import evaluate

Array = NDArray[Any]


def round_trip(scale: Array, zero: Array | None, *, opset: int = 21, **attributes: Any) -> ModelProto:
    """Quantize and back."""
    weights = {"scale": scale} if zero is None else {"scale": scale, "zero": zero}
    names = list(weights)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"], **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "C", "H"])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("y", 1), ("q", 0))][:1],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize(
    ("scale", "zero", "attributes"),
    [
        (np.float32(0.25), np.int8(0), {}),
        (np.float32(0.25), np.uint8(128), {}),
        (np.float32(0.25), None, {}),
        (np.float32(0.03125), np.int16(-7), {}),
        (np.array([0.25, 0.5, 2], np.float32), np.array([0, -3, 5], np.int8), {"axis": 1}),
        (np.array([0.25, 0.5, 2], np.float32), np.zeros(3, np.int8), {"axis": -2}),
        (np.array([0.5] * 5, np.float32), np.zeros(5, np.uint8), {"axis": 2}),
    ],
)
def test_rounding_and_saturation_are_those_of_onnxruntime(
    scale: Array, zero: Array | None, attributes: dict[str, Any]
) -> None:
    x = np.random.default_rng(0).normal(0, 40, (4, 3, 5)).astype(np.float32)
    x[0] = np.arange(-7, 8).reshape(3, 5) * 0.125  # ties
    x[1, :, :2] = [[1e4, -1e4]]
    model = round_trip(np.asarray(scale), None if zero is None else np.asarray(zero), **attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(None, {"x": x})[0])
    actual = evaluate(ir.from_proto(model), {"x": torch.from_numpy(x)}, keep=["q"])
    np.testing.assert_array_equal(actual["y"].numpy(), expected)
    assert actual["y"].dtype == torch.float64
    limits = torch.iinfo(actual["q"].dtype)
    assert actual["q"].min() == limits.min or zero is None or zero.dtype == np.int16
    assert (actual["q"].dtype == torch.uint8) == (zero is None or zero.dtype == np.uint8)


def test_the_type_to_quantize_to_may_be_an_attribute() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "scale"], ["q"], output_dtype=TensorProto.INT8)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("q", TensorProto.INT8, [3])],
        [numpy_helper.from_array(np.array(0.5, np.float32), "scale")],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    quantized = evaluate(model, {"x": torch.tensor([-100.0, 0.75, 0.25])})["q"]
    assert (quantized.dtype, quantized.tolist()) == (torch.int8, [-128, 2, 0])


@pytest.mark.parametrize(
    ("scale", "zero", "message"),
    [
        (np.float32(0.5), np.uint16(0), "another type than int8, uint8 and int16"),
        (np.array([0.5, 0.25], np.float32), np.zeros(2, np.int8), r"parameters have shape \(2,\)"),
        (np.full((4, 3, 1), 0.5, np.float32), np.zeros((4, 3, 1), np.int8), r"parameters have shape \(4, 3, 1\)"),
    ],
)
def test_what_is_not_supported_is_refused(scale: Array, zero: Array, message: str) -> None:
    model = ir.from_proto(round_trip(np.asarray(scale), np.asarray(zero)))
    with pytest.raises(FoldError, match=f"QuantizeLinear.*{message}"):
        evaluate(model, {"x": torch.rand(4, 3, 5)})
