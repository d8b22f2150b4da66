"""Models for tests, with random weights: made here, never stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.export.onnx import build_model
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import Colour, NetSpec, StackSpec


def plain_model(spec: NetSpec, seed: int = 0, *, info: ModelInfo | None = None) -> onnx.ModelProto:
    """A plain network with random weights, biases and slopes, none of them zero."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}

    def conv(name: str, inputs: int, outputs: int) -> None:
        arrays[f"{name}.weight"] = random.normal(0, (inputs * 9) ** -0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        arrays[f"{name}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)

    conv("head", spec.colours, spec.channels)
    arrays["head_act.weight"] = random.uniform(-0.3, 0.5, spec.channels).astype(np.float32)
    for block in range(spec.blocks):
        conv(f"body.{block}", spec.channels, spec.channels)
        arrays[f"body_acts.{block}.weight"] = random.uniform(-0.3, 0.5, spec.channels).astype(np.float32)
    conv("tail", spec.channels, spec.colours * spec.scale**2)
    info = info or ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour, width=spec.channels)
    net = build(spec)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    return build_model(net, info)


def spec_of(scale: int = 2, blocks: int = 2, channels: int = 8, colour: Colour = "rgb") -> StackSpec:
    """A small plain network."""
    return StackSpec(family="plain", scale=scale, blocks=blocks, channels=channels, colour=colour)


def foreign(model: onnx.ModelProto) -> bytes:
    """The same network without a word about itself."""
    del model.metadata_props[:]
    return model.SerializeToString()


def constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    """Add an initializer."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def with_info(model: onnx.ModelProto, **changes: Any) -> onnx.ModelProto:
    """What the model says about itself, changed."""
    info = ModelInfo.from_props({entry.key: entry.value for entry in model.metadata_props})
    assert info is not None
    helper.set_model_props(model, replace(info, **changes).to_props())
    return model


def half_model(model: onnx.ModelProto, precision: Literal["fp16", "bf16"]) -> onnx.ModelProto:
    """The same network with 16-bit weights and tensors, cast from and to float32 at its ends."""
    elem, dtype = {
        "fp16": (TensorProto.FLOAT16, np.dtype(np.float16)),
        "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    }[precision]
    half = with_info(onnx.ModelProto.FromString(model.SerializeToString()), precision=precision)
    half.opset_import[0].version, half.ir_version = 22, 10
    for item in half.graph.initializer:
        array = numpy_helper.to_array(item)
        if array.dtype == np.float32:
            item.CopyFrom(numpy_helper.from_array(array.astype(dtype), item.name))
    nodes = _renamed(half, {"input": "input.half", "output": "output.half"})
    half.graph.node.extend(
        [
            helper.make_node("Cast", ["input"], ["input.half"], to=elem),
            *nodes,
            helper.make_node("Cast", ["output.half"], ["output"], to=TensorProto.FLOAT),
        ]
    )
    return half


def int8_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with symmetric Q/DQ before every convolution but the first, and on its weights per channel."""
    quantized = with_info(onnx.ModelProto.FromString(model.SerializeToString()), precision="int8")
    convs = [node for node in quantized.graph.node if node.op_type == "Conv"][1:]
    largest = _largest(model, [node.input[0] for node in convs])
    weights = {item.name: item for item in quantized.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in _renamed(quantized, {}):
        if node in convs:
            x, w = node.input[0], node.input[1]
            kernel = numpy_helper.to_array(weights[w])
            steps = (np.abs(kernel).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            levels = np.rint(kernel / steps[:, None, None, None]).astype(np.int8)
            weights[w].CopyFrom(numpy_helper.from_array(levels, w))
            scale = constant(quantized, f"{x}.scale", np.float32(largest[x] / 127))
            zero = constant(quantized, f"{x}.zero", np.int8(0))
            scales = constant(quantized, f"{w}.scale", steps)
            zeros = constant(quantized, f"{w}.zero", np.zeros(len(steps), np.int8))
            nodes += [
                helper.make_node("QuantizeLinear", [x, scale, zero], [f"{x}.q"]),
                helper.make_node("DequantizeLinear", [f"{x}.q", scale, zero], [f"{x}.dq"]),
                helper.make_node("DequantizeLinear", [w, scales, zeros], [f"{w}.dq"], axis=0),
            ]
            node.input[0], node.input[1] = f"{x}.dq", f"{w}.dq"
        nodes.append(node)
    quantized.graph.node.extend(nodes)
    return quantized


def image_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network from uint8 N x H x W x C to such images, its output rounded half to even."""
    image = with_info(onnx.ModelProto.FromString(model.SerializeToString()), io="image")
    colours = image.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    nodes = _renamed(image, {"input": "input.float", "output": "output.float"})
    full = constant(image, "full", np.float32(255))
    image.graph.node.extend(
        [
            helper.make_node("Cast", ["input"], ["input.cast"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["input.cast", full], ["input.unit"]),
            helper.make_node("Transpose", ["input.unit"], ["input.float"], perm=[0, 3, 1, 2]),
            *nodes,
            helper.make_node("Mul", ["output.float", full], ["output.scaled"]),
            helper.make_node("Round", ["output.scaled"], ["output.rounded"]),
            helper.make_node("Transpose", ["output.rounded"], ["output.turned"], perm=[0, 2, 3, 1]),
            helper.make_node("Cast", ["output.turned"], ["output"], to=TensorProto.UINT8),
        ]
    )
    for value, sides in ((image.graph.input[0], ("H", "W")), (image.graph.output[0], ("h", "w"))):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, ["N", *sides, colours]))
    return image


def features_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network up to its last convolution: before skip, PixelShuffle and clamp."""
    info = ModelInfo.from_props({entry.key: entry.value for entry in model.metadata_props})
    assert info is not None
    cut = with_info(onnx.ModelProto.FromString(model.SerializeToString()), io="features", skip="nearest")
    last = max(index for index, node in enumerate(cut.graph.node) if node.op_type == "Conv")
    del cut.graph.node[last + 1 :]
    cut.graph.node[last].output[0] = "output"
    channels = (3 if info.colour == "rgb" else 1) * info.scale**2
    cut.graph.output[0].CopyFrom(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", channels, "H", "W"]))
    return cut


def _renamed(model: onnx.ModelProto, names: dict[str, str]) -> list[onnx.NodeProto]:
    """The nodes, taken out of the graph, with tensors renamed."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return nodes


def _largest(model: onnx.ModelProto, names: list[str]) -> dict[str, float]:
    """Largest absolute value of tensors on a random image."""
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    colours = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    x_nchw = np.random.default_rng(0).random((1, colours, 40, 50), np.float32)
    values: list[Any] = list(session.run(names, {"input": x_nchw}))
    return {name: float(np.abs(value).max()) for name, value in zip(names, values, strict=True)}
