"""Small ONNX files of plain networks, written node by node in the way that a test asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Dims = Sequence[int | str]
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


class Draft:
    """A graph with the input `input`; its nodes are called after what they give.

    Args:
        scale: of what `tail` gives the channels for.
        channels: of the layers between.
        dtype: of weights.
    """

    def __init__(
        self, *, colours: int = 3, scale: int = 2, channels: int = 4, dtype: Any = np.float32, seed: int = 0
    ) -> None:
        self.colours, self.scale, self.channels, self.dtype = colours, scale, channels, np.dtype(dtype)
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        name = f"{op.lower()}{sum(node.op_type == op for node in self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, value: Any) -> str:
        """An initializer."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """A row of them."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A float."""
        return self.constant(np.float32(value))

    def kernel(self, outputs: int, inputs: int, size: int = 3) -> Array:
        """Random weights."""
        deviation = (inputs * size**2) ** -0.5
        return self.random.normal(0, deviation, (outputs, inputs, size, size)).astype(self.dtype)

    def numbers(self, count: int) -> Array:
        """Random biases or slopes."""
        return self.random.uniform(-0.3, 0.4, count).astype(self.dtype)

    def conv(self, x: str, inputs: int, outputs: int, size: int = 3, **attributes: Any) -> str:
        """A convolution that keeps the size."""
        weight, bias = self.constant(self.kernel(outputs, inputs, size)), self.constant(self.numbers(outputs))
        pads = {} if "auto_pad" in attributes else {"pads": [size // 2] * 4}
        return self.node("Conv", x, weight, bias, **(pads | attributes))

    def prelu(self, x: str) -> str:
        """With a slope for each channel."""
        return self.node("PRelu", x, self.constant(self.numbers(self.channels).reshape(-1, 1, 1)))

    def head(self, x: str = "input") -> str:
        """The first layer and its activation."""
        return self.prelu(self.conv(x, self.colours, self.channels))

    def tail(self, x: str) -> str:
        """The last layer."""
        return self.conv(x, self.channels, self.colours * self.scale**2)

    def layers(self, x: str = "input") -> str:
        """Three of them: what the last one gives."""
        return self.tail(self.prelu(self.conv(self.head(x), self.channels, self.channels)))

    def gathered(self, x: str = "input") -> str:
        """The nearest skip before PixelShuffle, as this project writes it."""
        return self.node(
            "Gather",
            x,
            self.integers(*(colour for colour in range(self.colours) for _ in range(self.scale**2))),
            axis=1,
        )

    def resized(self, x: str = "input", **attributes: Any) -> str:
        """The picture enlarged; nearest as PyTorch writes it unless `attributes` say otherwise."""
        how = attributes or {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", x, "", self.constant(np.array([1, 1, self.scale, self.scale], np.float32)), **how)

    def shuffle(self, x: str, mode: str = "CRD") -> str:
        """PixelShuffle."""
        return self.node("DepthToSpace", x, blocksize=self.scale, mode=mode)

    def clip(self, x: str) -> str:
        """To 0..1."""
        return self.node("Clip", x, self.number(0), self.number(1))

    def quantized(self, x: str, step: float, zero: Any) -> str:
        """Codes and back."""
        parameters = [self.number(step), self.constant(zero)]
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def code_conv(self, x: str, outputs: int, codes: Array, steps: Any, zeros: Any = None) -> str:
        """A convolution of codes, steps for each output."""
        given = [self.constant(codes), self.constant(steps)] + ([] if zeros is None else [self.constant(zeros)])
        weight = self.node("DequantizeLinear", *given, axis=0)
        return self.node("Conv", x, weight, self.constant(self.numbers(outputs)), pads=[1] * 4)

    def ended(self) -> str:
        """A whole network: what the graph gives."""
        return self.clip(self.shuffle(self.node("Add", self.layers(), self.gathered())))

    def model(
        self, output: str, *, sides: Dims = ("H", "W"), opset: int = 18, io: int = FLOAT, picture: bool = True
    ) -> onnx.ModelProto:
        """The file's message.

        Args:
            output: becomes the graph's.
            picture: whether that is one, C x s H x s W; it is features otherwise.
            io: type of input and output: N x H x W x C of uint8.
        """
        for node in self.nodes:
            node.output[:] = ["output" if name == output else name for name in node.output]
        channels, sides_out = (self.colours, ("Y", "X")) if picture else (self.colours * self.scale**2, sides)
        shapes: list[list[int | str]] = [["N", self.colours, *sides], ["N", channels, *sides_out]]
        if io == UINT8:
            shapes = [[shape[axis] for axis in (0, 2, 3, 1)] for shape in shapes]
        ports = [
            helper.make_tensor_value_info(name, io, shape)
            for name, shape in zip(("input", "output"), shapes, strict=True)
        ]
        graph = helper.make_graph(self.nodes, "net", ports[:1], ports[1:], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def plain() -> onnx.ModelProto:
    """What the other tests damage: two layers, nearest skip, clamp."""
    draft = Draft(channels=2)
    features = draft.tail(draft.head())
    model = draft.model(draft.clip(draft.shuffle(draft.node("Add", features, draft.gathered()))))
    helper.set_model_props(model, {"repsr.scale": "2", "name": "größe"})
    return model


def int8() -> onnx.ModelProto:
    """A network whose last layer is one of codes, per channel; its input is too, of uint8."""
    draft = Draft(channels=2)
    codes = draft.random.integers(-127, 128, (12, 2, 3, 3)).astype(np.int8)
    x = draft.quantized(draft.head(), 0.01, np.uint8(100))
    features = draft.code_conv(
        x, 12, codes, draft.random.uniform(0.001, 0.01, 12).astype(np.float32), np.zeros(12, np.int8)
    )
    return draft.model(draft.shuffle(draft.node("Add", draft.gathered(), features)))


def image() -> onnx.ModelProto:
    """From bytes to bytes."""
    draft = Draft(channels=2, colours=1)
    planes = draft.node("Transpose", draft.node("Cast", "input", to=FLOAT), perm=[0, 3, 1, 2])
    x = draft.node("Div", planes, draft.number(255))
    sum_ = draft.node("Add", draft.tail(draft.head(x)), draft.gathered(x))
    levels = draft.node("Round", draft.node("Mul", draft.clip(draft.shuffle(sum_)), draft.number(255)))
    return draft.model(draft.node("Cast", draft.node("Transpose", levels, perm=[0, 2, 3, 1]), to=UINT8), io=UINT8)


def spelled_out() -> onnx.ModelProto:
    """PixelShuffle and skip in many small nodes, with sizes that the graph computes."""
    draft = Draft(channels=2)
    one, two, s = draft.integers(1), draft.integers(2), draft.integers(2)

    def side(x: str, axis: int, times: bool) -> str:
        shape = draft.node("Shape", x)
        size = draft.node("Unsqueeze", draft.node("Gather", shape, draft.constant(np.int64(axis))), draft.integers(0))
        return draft.node("Mul", size, s) if times else size

    def joined(*sizes: str) -> str:
        return draft.node("Concat", *sizes, axis=0)

    low, high = [side("input", axis, False) for axis in (0, 1, 2, 3)], [side("input", axis, True) for axis in (2, 3)]
    features = draft.tail(draft.head())
    split = draft.node("Reshape", features, joined(low[0], low[1], two, two, low[2], low[3]))
    turned = draft.node("Transpose", split, perm=[0, 1, 4, 2, 5, 3])
    shuffled = draft.node("Reshape", turned, joined(low[0], low[1], *high))
    apart = draft.node("Unsqueeze", draft.node("Unsqueeze", "input", draft.integers(3)), draft.integers(5))
    spread = draft.node("Expand", apart, joined(one, one, one, two, one, two))
    return draft.model(draft.node("Add", shuffled, draft.node("Reshape", spread, joined(low[0], low[1], *high))))


SEEDS = {"plain": plain, "int8": int8, "image": image, "spelled_out": spelled_out}
"""Small files that have everything in them that the reader knows, to be damaged."""
