"""The rewritten PRelu computes the same, hides no NaN, and is only written where it may."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.runtimes.prelu import rewrite_prelu
from tests.nets.networks import spec_of
from tests.runtimes.models import plain_model


def prelu_model(slope: Any) -> onnx.ModelProto:
    image = ["N", 4, "H", "W"]
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slope"], ["y"])],
        "prelu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(slope, "slope")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: bytes, x_nchw: Any) -> Any:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x_nchw})[0]


def test_rewritten_prelu_is_the_formula() -> None:
    slope = np.array([0.25, -0.5, 1.75, 0], np.float32)
    rewritten = rewrite_prelu(prelu_model(slope.reshape(4, 1, 1)).SerializeToString())
    assert rewritten is not None
    assert "PRelu" not in {node.op_type for node in onnx.load_model_from_string(rewritten).graph.node}
    x_nchw = np.random.default_rng(0).normal(size=(2, 4, 5, 7)).astype(np.float32)
    expected = np.where(x_nchw > 0, x_nchw, x_nchw * slope.reshape(1, 4, 1, 1))
    np.testing.assert_allclose(run(rewritten, x_nchw), expected, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_whole_network_is_the_same(scale: int) -> None:
    model = plain_model(spec_of("plain", scale=scale, blocks=4, channels=16)).SerializeToString()
    rewritten = rewrite_prelu(model)
    assert rewritten is not None
    x_nchw = np.random.default_rng(0).random((1, 3, 37, 50), np.float32)
    np.testing.assert_allclose(run(rewritten, x_nchw), run(model, x_nchw), rtol=0, atol=2e-6)
    before, after = onnx.load_model_from_string(model), onnx.load_model_from_string(rewritten)
    assert after.metadata_props == before.metadata_props
    onnx.checker.check_model(after, full_check=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_stay_so(value: float) -> None:
    rewritten = rewrite_prelu(prelu_model(np.full((4, 1, 1), 0.2, np.float32)).SerializeToString())
    assert rewritten is not None
    x_nchw = np.zeros((1, 4, 3, 3), np.float32)
    x_nchw[0, 2, 1, 1] = value
    assert not np.isfinite(run(rewritten, x_nchw)[0, 2, 1, 1])


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), (4, 3, 3), (3,)])
def test_other_slopes_are_left_alone(shape: tuple[int, ...]) -> None:
    assert rewrite_prelu(prelu_model(np.full(shape, 0.2, np.float32)).SerializeToString()) is None


def test_models_with_weights_in_other_files_are_left_alone() -> None:
    model = prelu_model(np.full((4, 1, 1), 0.2, np.float32))
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert rewrite_prelu(model.SerializeToString()) is None
