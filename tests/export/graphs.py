"""Small graphs for the tests of what an export does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.export.form import with_types
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from tests.runtimes.models import plain_model, spec_of

Array = NDArray[Any]
Sides = tuple[int | str, int | str]


def plain(scale: int = 2, colour: Colour = "rgb", channels: int = 8) -> tuple[ir.Model, ModelInfo]:
    """A plain network with random weights: PRelu, nearest skip, clamp at both ends."""
    model = ir.from_proto(plain_model(spec_of(scale=scale, colour=colour, channels=channels)))
    info = ModelInfo.from_props(model.metadata_props)
    assert info is not None
    return with_types(model), info


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Any] | None = None,
    *,
    channels: int = 3,
    out_channels: int = 3,
    sides: Sides = ("H", "W"),
    opset: int = 18,
) -> ir.Model:
    """A graph from `x`, N x C x H x W float32, to `y`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", out_channels, "Y", "X"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return with_types(ir.from_proto(proto))


def kernel(outputs: int, inputs: int, size: int = 3, seed: int = 0) -> Array:
    """Random weights of a convolution."""
    deviation = (inputs * size**2) ** -0.5
    return np.random.default_rng(seed).normal(0, deviation, (outputs, inputs, size, size)).astype(np.float32)


def image(
    height: int = 13, width: int = 18, *, count: int = 1, channels: int = 3, seed: int = 0
) -> NDArray[np.float32]:
    """A random image N x C x H x W, 8-bit values in 0..1."""
    levels = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width))
    return levels.astype(np.float32) / np.float32(255)


def evaluated(model: ir.Model, x_nchw: Array) -> Array:
    """What the only output is in float64."""
    feeds = {str(model.graph.inputs[0].name): torch.from_numpy(np.asarray(x_nchw))}
    return evaluate(model, feeds)[str(model.graph.outputs[0].name)].numpy()


def content(model: ir.Model) -> bytes:
    """The model as a file."""
    return ir.to_proto(model).SerializeToString()


def run_onnxruntime(model: ir.Model, x: Array) -> Array:
    """The only output in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content(model), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def run_openvino(model: ir.Model, x: Array, hint: str = "f32") -> Array:
    """The only output in OpenVINO, in fp32 unless the hint says otherwise."""
    import openvino

    core: Any = openvino.Core()
    compiled = core.compile_model(core.read_model(content(model)), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return np.array(compiled([x])[0])


def psnr(actual: Array, expected: Array) -> float:
    """dB with peak 1."""
    return float(-10 * np.log10(np.mean(np.square(actual.astype(np.float64) - expected)) + 1e-30))
