"""A plain network as a self-describing ONNX model, checked in ONNX Runtime before the file gets its name.

The graph is written directly: a plain network is six kinds of nodes, and so no exporter decides its names, axes or
opset. `input` N x C x H x W and `output` N x C x sH x sW are float32 in 0..1 with dynamic N, H and W; the output is
clamped.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy._version import __version__
from repsr_deploy.errors import ModelFileError, ProofError
from repsr_deploy.files import atomic_path
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import NetSpec
from repsr_deploy.tolerances import TOLERANCES

if TYPE_CHECKING:
    from repsr_deploy.nets.network import Network

OPSET = 18
IR_VERSION = 9  # the oldest that allows opset 18 plus what old TensorRT and OpenVINO releases read

CHECK_SHAPES = ((1, 17, 23), (2, 32, 31), (1, 1, 5), (3, 48, 64))
"""(N, H, W) at which an exported model is compared with PyTorch."""


def build_model(spec: NetSpec, arrays: Mapping[str, NDArray[np.float32]], info: ModelInfo) -> onnx.ModelProto:
    """The ONNX model of a plain network.

    Args:
        spec: a network of family `plain`.
        arrays: its state dict as float32: `head.weight` O x I x 3 x 3, `head.bias` O, `head_act.weight` C, ...
        info: what the model says about itself.
    """
    assert spec.family == "plain"
    nodes: list[onnx.NodeProto] = []
    constants: list[TensorProto] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def conv(x: str, layer: str) -> str:
        weight = constant(f"{layer}.weight", arrays[f"{layer}.weight"])
        bias = constant(f"{layer}.bias", arrays[f"{layer}.bias"])
        return node("Conv", [x, weight, bias], f"{layer}.out", kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def prelu(x: str, layer: str) -> str:
        slope = constant(f"{layer}.weight", arrays[f"{layer}.weight"].reshape(-1, 1, 1))
        return node("PRelu", [x, slope], f"{layer}.out")

    features = prelu(conv("input", "head"), "head_act")
    for index in range(spec.blocks):
        features = prelu(conv(features, f"body.{index}"), f"body_acts.{index}")
    features = conv(features, "tail")
    repeats = constant("skip.channels", np.repeat(np.arange(spec.colours, dtype=np.int64), spec.scale**2))
    skip = node("Gather", ["input", repeats], "skip.out", axis=1)
    shuffled = node("Add", [features, skip], "sum.out")
    if spec.scale > 1:
        shuffled = node("DepthToSpace", [shuffled], "shuffle.out", blocksize=spec.scale, mode="CRD")
    low = constant("range.low", np.array(info.range[0], np.float32))
    high = constant("range.high", np.array(info.range[1], np.float32))
    node("Clip", [shuffled, low, high], "output")

    sides = ["H", "W"] if spec.scale == 1 else [f"{spec.scale}*H", f"{spec.scale}*W"]
    graph = helper.make_graph(
        nodes,
        spec.name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", spec.colours, "H", "W"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", spec.colours, *sides])],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="repsr-deploy",
        producer_version=__version__,
    )
    helper.set_model_props(model, info.to_props())
    onnx.checker.check_model(model, full_check=True)
    return model


def export_plain(net: Network, info: ModelInfo, path: Path) -> dict[str, Any]:
    """Write a plain network to `path`, after ONNX Runtime has reproduced PyTorch's output at several odd sizes.

    Returns:
        What was checked: shapes, the largest difference relative to the range, the tolerance.

    Raises:
        ModelFileError: the weights are not finite.
        ProofError: ONNX Runtime and PyTorch disagree; no file is written.
        RepsrError: `path` cannot be written.
    """
    arrays = {key: value.detach().float().cpu().numpy() for key, value in net.state_dict().items()}
    for key, value in arrays.items():
        if not np.isfinite(value).all():
            raise ModelFileError(f"{key} holds NaN or infinity; such a network cannot be exported, train it again")
    data = build_model(net.spec, arrays, info).SerializeToString()
    check = check_against_torch(net, data, info)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return check


def check_against_torch(net: Network, model: bytes, info: ModelInfo) -> dict[str, Any]:
    """Run `model` in ONNX Runtime and `net` in PyTorch on the same random images, and compare.

    Raises:
        ProofError: an output has another shape, or differs by more than the tolerance for `export`.
    """
    import onnxruntime
    import torch

    reference = copy.deepcopy(net).float().eval()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(18)
    low, high = info.range
    tolerance = TOLERANCES["export"]
    worst = 0.0
    for count, height, width in CHECK_SHAPES:
        x_nchw = random.uniform(low, high, (count, net.spec.colours, height, width)).astype(np.float32)
        with torch.no_grad():
            expected = reference(torch.from_numpy(x_nchw)).clamp(low, high).numpy()
        actual = np.asarray(session.run(["output"], {"input": x_nchw})[0])
        if actual.shape != expected.shape:
            raise ProofError(f"ONNX Runtime gives {actual.shape} for {x_nchw.shape}; PyTorch gives {expected.shape}")
        difference = float(np.abs(actual - expected).max()) / (high - low)
        if not difference <= tolerance:
            raise ProofError(
                f"ONNX Runtime and PyTorch differ by {difference:.3g} of the range at {x_nchw.shape}; "
                f"allowed {tolerance:.3g}"
            )
        worst = max(worst, difference)
    return {"shapes": [list(shape) for shape in CHECK_SHAPES], "relative_error": worst, "tolerance": tolerance}
