"""Small graphs with random weights for the tests of int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.model_info import ModelInfo

OPSET = 18


class Graph:
    """A graph from one picture to one, written node by node."""

    def __init__(self, seed: int = 0, colours: int = 3) -> None:
        self.random = np.random.default_rng(seed)
        self.colours = colours
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """A node whose output has its name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, name: str, numbers: NDArray[Any]) -> str:
        """An initializer."""
        self.weights[name] = numbers
        return name

    def conv(self, x: str, name: str, reads: int, gives: int, *, group: int = 1, bias: bool = True) -> str:
        """A padded 3x3 convolution, the channels of its output of very different size."""
        sizes = 10 ** self.random.uniform(-1.5, 0.5, (gives, 1, 1, 1))
        kernel = self.random.normal(0, (reads * 9 / group) ** -0.5, (gives, reads // group, 3, 3)) * sizes
        inputs = [x, self.constant(f"{name}.weight", kernel.astype(np.float32))]
        if bias:
            numbers = self.random.normal(0, 0.3, gives) * sizes.ravel()
            inputs.append(self.constant(f"{name}.bias", numbers.astype(np.float32)))
        return self.node("Conv", inputs, name, kernel_shape=[3, 3], pads=[1] * 4, group=group)

    def prelu(self, x: str, name: str, channels: int) -> str:
        """Slopes of either sign, some above 1."""
        slopes = self.random.uniform(-0.5, 1.2, (channels, 1, 1)).astype(np.float32)
        return self.node("PRelu", [x, self.constant(f"{name}.slopes", slopes)], name)

    def proto(self, result: str, scale: int) -> onnx.ModelProto:
        """The model; its output is `result`, clamped."""
        bounds = [self.constant(name, np.array(value, np.float32)) for name, value in (("low", 0), ("high", 1))]
        self.node("Clip", [result, *bounds], "output")
        sides = [f"{scale}*H", f"{scale}*W"] if scale > 1 else ["H", "W"]
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", self.colours, "H", "W"])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", self.colours, *sides])],
            [numpy_helper.from_array(numbers, name) for name, numbers in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model

    def model(self, result: str, scale: int, folder: Path) -> ir.Model:
        """The model as every export gets it."""
        onnx.save(self.proto(result, scale), folder / "graph.onnx")
        return read_graph(folder / "graph.onnx")


def chain(folder: Path, *, seed: int = 0, channels: int = 8, colours: int = 3) -> ir.Model:
    """conv, PReLU, conv, PReLU, conv, PixelShuffle, plus the input enlarged: RepSR's plain form, scale 2."""
    graph = Graph(seed, colours)
    x = graph.prelu(graph.conv("input", "head", colours, channels), "act0", channels)
    x = graph.prelu(graph.conv(x, "body", channels, channels), "act1", channels)
    x = graph.conv(x, "tail", channels, 4 * colours)
    channel = graph.constant("repeat", np.repeat(np.arange(colours), 4))
    x = graph.node("Add", [x, graph.node("Gather", ["input", channel], "skip", axis=1)], "sum")
    return graph.model(graph.node("DepthToSpace", [x], "shuffle", blocksize=2, mode="CRD"), 2, folder)


def info_of(*, scale: int = 2, halo: int | None = 3, colour: Any = "rgb", **changes: Any) -> ModelInfo:
    """What the graphs of these tests say about themselves."""
    return ModelInfo(name="test", scale=scale, halo=halo, colour=colour, width=8, **changes)


def node_of(model: ir.Model, name: str) -> ir.Node:
    """The node of that name."""
    return next(node for node in model.graph if node.name == name)


def operand(model: ir.Model, name: str, index: int) -> ir.Value:
    """An input of the node of that name."""
    value = node_of(model, name).inputs[index]
    assert value is not None
    return value


def numbers_of(value: ir.Value) -> NDArray[Any]:
    """A constant."""
    assert value.const_value is not None
    return value.const_value.numpy()
