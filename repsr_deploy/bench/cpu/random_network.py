"""A plain network with random weights as an ONNX model: only its size matters for speed. Written without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.nets.spec import NetSpec

OPSET, IR_VERSION = 18, 9
SLOPES = (0.05, 0.3)
DETAIL = 0.05
"""Standard deviation that is aimed at, of what is added to the skip: the picture stays one within 0..1."""
REACH = 6.0
"""Features are quantized within plus and minus this: a few times their standard deviation at any depth."""


def random_network(spec: NetSpec, precision: Precision = "fp32", seed: int = 0) -> bytes:
    """The content of an .onnx file, as `repsr-fuse export` writes it: RGB or Y, PReLU, nearest skip.

    Args:
        spec: of a plain network.
        precision: fp32, or int8: the same network with Q/DQ before every convolution but the first.
    """
    writer = _Writer(np.random.default_rng(seed), quantizes=precision == "int8")
    colours, scale, width = spec.colours, spec.scale, spec.channels
    x, inputs = "input", colours
    for layer in ("head", *(f"body.{index}" for index in range(spec.blocks))):
        x = writer.convolution(layer, x, inputs, width, deviation=2**0.5)
        x, inputs = writer.prelu(f"{layer}_act", x, width), width
    x = writer.convolution("tail", x, width, colours * scale**2, deviation=2 * DETAIL)
    order = writer.constant("skip.channels", np.repeat(np.arange(colours, dtype=np.int64), scale**2))
    x = writer.node("Add", [x, writer.node("Gather", ["input", order], "skip.out", axis=1)], "sum.out")
    if scale > 1:
        x = writer.node("DepthToSpace", [x], "shuffle.out", blocksize=scale, mode="CRD")
    limits = [writer.constant(name, np.array(value, np.float32)) for name, value in (("low", 0), ("high", 1))]
    writer.node("Clip", [x, *limits], "output")
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", colours, *sides])
        for name, sides in (("input", ("H", "W")), ("output", ("h", "w")))
    ]
    graph = helper.make_graph(writer.nodes, spec.name, ports[:1], ports[1:], writer.constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="repsr-bench")
    info = ModelInfo(
        name=spec.name, scale=scale, halo=spec.halo, colour=spec.colour, width=spec.width, precision=precision
    )
    helper.set_model_props(model, info.to_props())
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Writer:
    """Nodes and constants; tensors go by their names."""

    def __init__(self, random: np.random.Generator, *, quantizes: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._random, self._quantizes = random, quantizes

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def convolution(self, name: str, x: str, inputs: int, outputs: int, *, deviation: float) -> str:
        """3x3; what it gives has that standard deviation where its input has 1."""
        shape = outputs, inputs, 3, 3
        weight_oihw = self._random.normal(0, deviation * (9 * inputs) ** -0.5, shape).astype(np.float32)
        bias_o = self._random.normal(0, DETAIL, outputs).astype(np.float32)
        if self._quantizes and x != "input":
            x, weight = self._features(x), self._codes(f"{name}.weight", weight_oihw)
        else:
            weight = self.constant(f"{name}.weight", weight_oihw)
        values = [x, weight, self.constant(f"{name}.bias", bias_o)]
        return self.node("Conv", values, f"{name}.out", kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def prelu(self, name: str, x: str, channels: int) -> str:
        slopes_c11 = self._random.uniform(*SLOPES, (channels, 1, 1)).astype(np.float32)
        return self.node("PRelu", [x, self.constant(f"{name}.weight", slopes_c11)], f"{name}.out")

    def _features(self, x: str) -> str:
        """Q/DQ with one step for all channels."""
        step = self.constant(f"{x}.scale", np.array(REACH / 127, np.float32))
        zero = self.constant(f"{x}.zero", np.array(0, np.int8))
        codes = self.node("QuantizeLinear", [x, step, zero], f"{x}.int8")
        return self.node("DequantizeLinear", [codes, step, zero], f"{x}.float")

    def _codes(self, name: str, weight_oihw: NDArray[np.float32]) -> str:
        """Weights as symmetric codes with a step for each output."""
        steps_o = (np.abs(weight_oihw).max(axis=(1, 2, 3)) / 127).astype(np.float32)
        codes_oihw = np.rint(weight_oihw / steps_o[:, None, None, None]).astype(np.int8)
        codes = self.constant(f"{name}.int8", codes_oihw)
        steps = self.constant(f"{name}.scale", steps_o)
        zeros = self.constant(f"{name}.zero", np.zeros(len(steps_o), np.int8))
        return self.node("DequantizeLinear", [codes, steps, zeros], f"{name}.float", axis=0)
