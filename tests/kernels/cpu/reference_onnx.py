"""Plain networks as ONNX files, in the many ways in which exporters write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.kernels.cpu.reference_network import Codes, Layer, PlainNetwork

OPSET, IR_VERSION = 18, 9
SkipSpelling = Literal["gather", "resize_asymmetric", "resize_half_pixel"]


@dataclass(frozen=True)
class Spelling:
    """Choices that change nothing."""

    nearest: SkipSpelling = "gather"
    skip_first: bool = False
    """Of the two summands."""
    short: bool = False
    """Equal slopes and steps as one number, ReLU and LeakyReLU by their names, zeros of codes left out."""


class Writer:
    """The graph that is being written; values go by name."""

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, numbers: NDArray[Any] | np.generic) -> str:
        """An initializer."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(numbers), name))
        return name

    def number(self, number: float) -> str:
        """One float."""
        return self.constant(np.float32(number))

    def layer(self, layer: Layer, value: str) -> str:
        """Codes, convolution and activation."""
        weight = self.constant(layer.kernel_oihw)
        if layer.input is not None and layer.steps is not None:
            value = self.codes(layer.input, value)
            weight = self.weights(weight, layer.steps)
        value = self.node("Conv", value, weight, self.constant(layer.bias), kernel_shape=[3, 3], pads=[1] * 4)
        return value if layer.slope is None else self.activation(layer.slope, value)

    def activation(self, slope: NDArray[np.float32], value: str) -> str:
        """The shortest name, or PRelu."""
        if not self.spelling.short or len(np.unique(slope)) > 1:
            return self.node("PRelu", value, self.constant(slope.reshape(-1, 1, 1)))
        if slope[0] == 0:
            return self.node("Relu", value)
        if 0 < slope[0] < 1:
            return self.node("LeakyRelu", value, alpha=float(slope[0]))
        return self.node("PRelu", value, self.constant(slope[:1]))

    def codes(self, codes: Codes, value: str) -> str:
        """QuantizeLinear and back."""
        parameters = [self.constant(codes.step)]
        if not (self.spelling.short and codes.zero == 0 and codes.low == 0):
            parameters.append(self.constant((np.uint8 if codes.low == 0 else np.int8)(codes.zero)))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *parameters), *parameters)

    def weights(self, codes: str, steps: NDArray[np.float32]) -> str:
        """DequantizeLinear."""
        if self.spelling.short and len(np.unique(steps)) == 1:
            return self.node("DequantizeLinear", codes, self.constant(steps[0]), self.constant(np.int8(0)))
        zeros = self.constant(np.zeros(len(steps), np.int8))
        return self.node("DequantizeLinear", codes, self.constant(steps), zeros, axis=0)

    def finish(self, network: PlainNetwork, picture: str, features: str) -> str:
        """Skip and PixelShuffle."""
        scale = network.scale
        if network.skip == "none":
            return self.shuffle(features, scale)
        if network.skip == "nearest" and scale == 1:
            return self.sum(features, picture)
        if network.skip == "nearest" and self.spelling.nearest == "gather":
            channels = np.repeat(np.arange(network.colours, dtype=np.int64), scale**2)
            return self.shuffle(
                self.sum(features, self.node("Gather", picture, self.constant(channels), axis=1)), scale
            )
        return self.sum(self.shuffle(features, scale), self.enlarged(network, picture))

    def enlarged(self, network: PlainNetwork, picture: str) -> str:
        """Resize."""
        how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if network.skip == "nearest" and self.spelling.nearest == "resize_half_pixel":
            how = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}
        elif network.skip == "nearest":
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales = self.constant(np.array([1, 1, network.scale, network.scale], np.float32))
        return self.node("Resize", picture, "", scales, **how)

    def sum(self, features: str, skip: str) -> str:
        """Add, either first."""
        return self.node("Add", *((skip, features) if self.spelling.skip_first else (features, skip)))

    def shuffle(self, value: str, scale: int) -> str:
        """PixelShuffle."""
        return value if scale == 1 else self.node("DepthToSpace", value, blocksize=scale, mode="CRD")

    def clamped(self, value: str) -> str:
        """Clip to 0..1."""
        return self.node("Clip", value, self.number(0), self.number(1))


def onnx_bytes(network: PlainNetwork, spelling: Spelling = Spelling()) -> bytes:
    """The file."""
    writer = Writer(spelling)
    is_image, picture = network.io == "image", "input"
    if is_image:
        planes = writer.node("Transpose", writer.node("Cast", "input", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        picture = writer.node("Div", planes, writer.number(255))
    value = picture
    for layer in network.layers:
        value = writer.layer(layer, value)
    if network.io != "features":
        value = writer.finish(network, picture, value)
    if network.clamps:
        value = writer.clamped(value)
    if is_image:
        levels = writer.node("Round", writer.node("Mul", value, writer.number(255)))
        value = writer.node("Cast", writer.node("Transpose", levels, perm=[0, 2, 3, 1]), to=TensorProto.UINT8)
    kind = TensorProto.UINT8 if is_image else TensorProto.FLOAT
    writer.nodes[-1].output[0] = "output"
    graph = helper.make_graph(
        writer.nodes,
        "plain",
        [helper.make_tensor_value_info("input", kind, _shape(network, network.colours, "H", "W"))],
        [helper.make_tensor_value_info("output", kind, _output_shape(network))],
        writer.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def _output_shape(network: PlainNetwork) -> list[str | int]:
    scale = network.scale
    if network.io == "features":
        return _shape(network, network.colours * scale**2, "H", "W")
    return _shape(network, network.colours, *(("H", "W") if scale == 1 else (f"{scale}*H", f"{scale}*W")))


def _shape(network: PlainNetwork, channels: int, height: str, width: str) -> list[str | int]:
    return ["N", height, width, channels] if network.io == "image" else ["N", channels, height, width]
