"""From an ONNX file to the weights of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.fused_network.weights import SCALES, Layer, NetworkWeights

_CONV: dict[str, Any] = {
    "kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1], "group": 1,
    "auto_pad": b"NOTSET",
}  # fmt: skip
_OPTIONAL = ("kernel_shape", "strides", "dilations", "group", "auto_pad")
"""What a node need not say when it is as in `_CONV`."""


def weights_from(path: Path) -> NetworkWeights:
    """The weights of a folded network that the kernel computes, and of nothing else.

    The graph is what `repsr-fuse export` writes of RepSR-MxC16 and ECBSR-MxC16 in single precision, for pictures in
    0..1: Conv, PRelu, ..., Conv, plus the picture's channels repeated (Gather), DepthToSpace (CRD), Clip to 0..1.

    Raises:
        UsageError: another graph: names the node; or the file cannot be read.
        RuntimeUnavailableError: the package onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise RuntimeUnavailableError(f"reading {path} needs onnx ({error}); install onnx") from error
    try:
        model = onnx.load(str(path))
    except Exception as error:  # whatever a parser makes of a file that is no model
        raise UsageError(f"{path} cannot be read as an ONNX model: {error}") from error
    return _Reader(path, model.graph).weights()


class _Reader:
    """Follows the one path through the graph."""

    def __init__(self, path: Path, graph: Any) -> None:
        from onnx import numpy_helper

        self._path = path
        self._constants: dict[str, NDArray[Any]] = {
            item.name: numpy_helper.to_array(item) for item in graph.initializer
        }
        self._nodes = list(graph.node)
        inputs = [item.name for item in graph.input if item.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UsageError(f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
        self._input, self._output = inputs[0], graph.output[0].name
        self._value = self._input

    def weights(self) -> NetworkWeights:
        layers: list[Layer] = []
        while self._nodes and (self._nodes[0].op_type != "Gather"):
            conv = self._next("Conv", [self._value], _CONV)
            kernel, bias = self._floats(conv, 1), self._floats(conv, 2)
            slope = None
            if self._nodes and self._nodes[0].op_type == "PRelu":
                slope = self._floats(self._next("PRelu", [self._value], {}), 1)
                if slope.shape != (len(bias), 1, 1):
                    raise self._other(f"PRelu behind {conv.name} has slopes of shape {slope.shape}", (len(bias), 1, 1))
            layers.append(Layer(kernel_oihw=kernel, bias=bias, slope=None if slope is None else slope.reshape(-1)))
        weights = NetworkWeights(layers=tuple(layers))
        self._finish(weights.scale)
        return weights

    def _finish(self, scale: int) -> None:
        assert scale in SCALES
        sums = self._value
        gather = self._next("Gather", [self._input], {"axis": 1})
        channels = self._constant(gather, 1)
        if channels.tolist() != np.repeat(np.arange(3), scale**2).tolist():
            raise self._other(f"{gather.name} takes the channels {channels.tolist()}", f"each one {scale**2} times")
        self._next("Add", [sums, self._value], {})
        self._next("DepthToSpace", [self._value], {"blocksize": scale, "mode": b"CRD"})
        clip = self._next("Clip", [self._value], {})
        limits = [float(self._constant(clip, index)) for index in (1, 2)]
        if limits != [0, 1]:
            raise self._other(f"{clip.name} clamps to {limits}", [0, 1])
        if self._nodes or self._value != self._output:
            raise self._other(f"{len(self._nodes)} nodes follow {clip.name}", "the end")

    def _next(self, kind: str, values: Sequence[str], attributes: dict[str, Any]) -> Any:
        """The next node, which must be of this kind, take these values (in any order), and have no other attributes."""
        from onnx.helper import get_attribute_value

        if not self._nodes:
            raise self._other("the graph ends", kind)
        node = self._nodes.pop(0)
        taken = [name for name in node.input if name not in self._constants]
        if node.op_type != kind or node.domain not in ("", "ai.onnx") or sorted(taken) != sorted(values):
            raise self._other(f"node {node.name} is {node.op_type} of {', '.join(taken)}", f"{kind} of {values}")
        found = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        for name in sorted(found.keys() | attributes.keys() - set(_OPTIONAL)):
            if found.get(name) != attributes.get(name):
                raise self._other(f"node {node.name} has {name} = {found.get(name)}", attributes.get(name))
        self._value = node.output[0]
        return node

    def _floats(self, node: Any, index: int) -> NDArray[np.float32]:
        values = self._constant(node, index)
        if values.dtype != np.float32:
            raise self._other(f"node {node.name} has constants of {values.dtype}", "float32")
        return values

    def _constant(self, node: Any, index: int) -> NDArray[Any]:
        if len(node.input) <= index or node.input[index] not in self._constants:
            raise self._other(f"node {node.name} has no constant as input {index}", "one")
        return self._constants[node.input[index]]

    def _other(self, found: str, expected: object) -> UsageError:
        return UsageError(f"{self._path} is no network that the fused kernel computes: {found}; expected {expected}")
