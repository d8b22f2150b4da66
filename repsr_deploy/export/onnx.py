"""A folded network as the graph of a self-describing ONNX model, checked against the network in float64.

The graph is written directly: a folded network is a handful of kinds of nodes, and so no exporter decides its names,
axes or opset. `input` N x C x H x W and `output` N x C x sH x sW are float32 in 0..1 with dynamic N, H and W; the
output is clamped.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from repsr_deploy._version import __version__
from repsr_deploy.errors import ModelFileError, ProofError
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.proof import overflows
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.modulation import SMALLEST_DEVIATION, AdaptiveModulation
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.plain import PlainConv, PReLU, ShiftedConv
from repsr_deploy.tolerances import TOLERANCES

OPSET = 18
IR_VERSION = 9  # the oldest that allows opset 18 plus what old TensorRT and OpenVINO releases read

FAINT = 0.2
"""Contrast of the noise for networks that overflow on full noise (`folding.proof.overflows`)."""
CHECK_SHAPES = ((1, 17, 23), (2, 32, 31), (1, 1, 5), (3, 48, 64))
"""(N, H, W) at which an exported model is compared with PyTorch."""


class _Writer(Ops[str]):
    """Writes a folded network as ONNX nodes; T is the name of a tensor."""

    def __init__(self, colours: int) -> None:
        self.colours = colours
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An initializer; the same name is stored once."""
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node with one output, whose name is that of its tensor."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def fresh(self, stem: str) -> str:
        """A tensor name that is not taken, for operations without a name of their own."""
        return f"{stem}.{sum(node.output[0].startswith(stem) for node in self.nodes)}.out"

    def linear(self, name: str, layer: LinearLayer, x: str) -> str:
        assert isinstance(layer, PlainConv)
        size = layer.kernel_size[0]
        if isinstance(layer, ShiftedConv):
            x = self.node("Sub", [x, self.constant(f"{name}.shift", _plane(layer.shift))], f"{name}.shifted")
        weight = self.constant(f"{name}.weight", _array(layer.weight))
        bias = self.constant(f"{name}.bias", _array(cast("Tensor", layer.bias)))
        pads = [size // 2] * 4
        return self.node("Conv", [x, weight, bias], f"{name}.out", kernel_shape=[size, size], pads=pads)

    def activation(self, name: str, layer: nn.Module, x: str) -> str:
        if isinstance(layer, PReLU):
            return self.node("PRelu", [x, self.constant(f"{name}.weight", _plane(layer.weight))], f"{name}.out")
        if isinstance(layer, nn.LeakyReLU):
            return self.node("LeakyRelu", [x], self.fresh(name), alpha=layer.negative_slope)
        assert isinstance(layer, nn.ReLU)
        return self.node("Relu", [x], self.fresh(name))

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y], self.fresh("sum"))

    def shuffle(self, x: str, factor: int) -> str:
        if factor == 1:
            return x
        return self.node("DepthToSpace", [x], self.fresh("shuffle"), blocksize=factor, mode="CRD")

    def repeat(self, x: str, times: int) -> str:
        assert x == "input"  # only there is the number of channels known
        channels = self.constant("skip.channels", np.repeat(np.arange(self.colours, dtype=np.int64), times))
        return self.node("Gather", [x, channels], "skip.out", axis=1)

    def bilinear(self, x: str, factor: int) -> str:
        if factor == 1:
            return x
        scales = self.constant("skip.scales", np.array([1, 1, factor, factor], np.float32))
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.node("Resize", [x, "", scales], "skip.out", **how)

    def modulate(self, name: str, layer: AdaptiveModulation, features: str, source: str) -> str:
        """exp(w log s + b), s the unbiased deviation over C, H and W of every image."""
        axes = self.constant("modulation.axes", np.array([1, 2, 3], np.int64))
        one = self.constant("modulation.one", np.array(1, np.float32))
        smallest = self.constant("modulation.smallest", np.array(SMALLEST_DEVIATION**2, np.float32))
        centred = self.node("Sub", [source, self._mean(source, f"{name}.mean")], f"{name}.centred")
        square = self._mean(self.node("Mul", [centred, centred], f"{name}.square"), f"{name}.mean_square")
        sides = self.node("Gather", [self.node("Shape", [source], f"{name}.shape"), axes], f"{name}.sides")
        count = self.node(
            "Cast", [self.node("ReduceProd", [sides], f"{name}.product", keepdims=0)], f"{name}.count", to=1
        )
        freedom = self.node("Sub", [count, one], f"{name}.freedom")
        squares = self.node("Mul", [square, count], f"{name}.squares")
        variance = self.node("Div", [squares, freedom], f"{name}.variance")
        deviation = self.node("Sqrt", [self.node("Max", [variance, smallest], f"{name}.clamped")], f"{name}.deviation")
        weight = self.constant(f"{name}.weight", _array(layer.weight))
        bias = self.constant(f"{name}.bias", _array(layer.bias))
        scaled = self.node("Mul", [self.node("Log", [deviation], f"{name}.log"), weight], f"{name}.scaled")
        factor = self.node("Exp", [self.node("Add", [scaled, bias], f"{name}.exponent")], f"{name}.factor")
        return self.node("Mul", [features, factor], f"{name}.out")

    def _mean(self, x: str, output: str) -> str:
        """Mean over C, H and W, one axis after the other: sums of a million float32 numbers at once are too rough."""
        for axis in (3, 2, 1):
            axes = self.constant(f"modulation.axis{axis}", np.array([axis], np.int64))
            x = self.node("ReduceMean", [x, axes], f"{output}{axis}")
        return x


def build_model(net: Network, info: ModelInfo) -> onnx.ModelProto:
    """The ONNX model of a folded network, float32; `info` is what it says about itself."""
    spec = net.spec
    writer = _Writer(spec.colours)
    unclamped = net.graph(writer, "input")
    low = writer.constant("range.low", np.array(info.range[0], np.float32))
    high = writer.constant("range.high", np.array(info.range[1], np.float32))
    writer.node("Clip", [unclamped, low, high], "output")

    sides = ["H", "W"] if spec.scale == 1 else [f"{spec.scale}*H", f"{spec.scale}*W"]
    graph = helper.make_graph(
        writer.nodes,
        spec.name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", spec.colours, "H", "W"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", spec.colours, *sides])],
        list(writer.constants.values()),
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


def _array(parameter: Tensor) -> NDArray[np.float32]:
    return parameter.detach().float().cpu().numpy()


def _plane(parameter_c: Tensor) -> NDArray[np.float32]:
    """A number for each channel, to be spread over H x W."""
    return _array(parameter_c).reshape(-1, 1, 1)


def folded_graph(net: Network, info: ModelInfo) -> ir.Model:
    """The graph of a folded network, which computes in float64 what PyTorch does; `info` is what it says about itself.

    Raises:
        ModelFileError: the weights are not finite.
        ProofError: graph and network disagree.
    """
    for key, value in net.state_dict().items():
        if not value.isfinite().all():
            raise ModelFileError(f"{key} holds NaN or infinity; such a network cannot be exported, train it again")
    graph = ir.from_proto(build_model(net, info))
    check_against_torch(net, graph, info)
    return graph


@torch.no_grad()
def check_against_torch(net: Network, graph: ir.Model, info: ModelInfo) -> float:
    """Run the graph and the network in float64 on the same random images; returns the largest relative difference.

    Raises:
        ProofError: an output has another shape, or differs by more than the tolerance for `fold`.
    """
    reference = copy.deepcopy(net).float().double().eval()
    for layer in reference.modules():
        if isinstance(layer, nn.LeakyReLU):  # ONNX attributes are float32
            layer.negative_slope = float(np.float32(layer.negative_slope))
    random = torch.Generator().manual_seed(18)
    (low, high), tolerance, worst = info.range, TOLERANCES["fold"], 0.0
    middle = (low + high) / 2
    for count, height, width in CHECK_SHAPES:
        noise = torch.rand(count, net.spec.colours, height, width, generator=random, dtype=torch.float64)
        x_nchw = low + (high - low) * noise
        unclamped = reference(x_nchw)
        if overflows(unclamped):
            x_nchw = middle + FAINT * (x_nchw - middle)
            unclamped = reference(x_nchw)
        if overflows(unclamped):
            raise ProofError(f"{net.spec.name} itself overflows on random images; train it")
        expected = unclamped.clamp(low, high)
        (actual,) = evaluate(graph, {"input": x_nchw}).values()
        if actual.shape != expected.shape:
            raise ProofError(f"the graph gives {tuple(actual.shape)}; PyTorch gives {tuple(expected.shape)}")
        reach = max(high - low, (unclamped.max() - unclamped.min()).item())  # rounding errors grow with it
        difference = (actual - expected).abs().max().item() / reach
        if not difference <= tolerance:
            raise ProofError(
                f"graph and network differ by {difference:.3g} of the range at {tuple(x_nchw.shape)}; "
                f"allowed {tolerance:.3g}"
            )
        worst = max(worst, difference)
    return worst
