"""What folding buys: the same network with its branches and folded, in ONNX Runtime and in PyTorch, in one run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side
from repsr_deploy.errors import ProofError, UsageError
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network, linear_layers
from repsr_deploy.nets.repsr import ExpandSqueeze, RepSRBlock
from repsr_deploy.nets.spec import StackSpec
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.tolerances import TOLERANCES


@dataclass(frozen=True)
class FoldingSpeed:
    """Times for one image of height x width LR pixels, and how many times faster the folded network is."""

    height: int
    width: int
    timings: dict[str, Timing]
    onnxruntime_speedup: float
    torch_speedup: float


def branches_model(net: Network, folded: onnx.ModelProto) -> onnx.ModelProto:
    """The folded model with every block replaced by its branches, as an exporter that folds nothing would write it.

    Raises:
        UsageError: `net` is not of the family `repsr`.
    """
    if not isinstance(net.spec, StackSpec) or net.spec.family != "repsr" or net.spec.norm == "none":
        raise UsageError(f"{net.spec.name} has no RepSR blocks with BatchNorm; expected one of the family repsr")
    model = onnx.ModelProto()
    model.CopyFrom(folded)
    nodes = list(model.graph.node)
    del model.graph.node[:]

    def constant(name: str, value: torch.Tensor | None) -> str:
        assert value is not None
        model.graph.initializer.append(numpy_helper.from_array(value.detach().float().cpu().numpy(), name))
        return name

    def path_nodes(path: ExpandSqueeze, x: str, name: str) -> list[onnx.NodeProto]:
        expand = [x, constant(f"{name}.e.w", path.expand.weight), constant(f"{name}.e.b", path.expand.bias)]
        assert path.norm is not None
        norm = [path.norm.weight, path.norm.bias, path.norm.running_mean, path.norm.running_var]
        statistics = [constant(f"{name}.n.{index}", value) for index, value in enumerate(norm)]
        squeeze = [constant(f"{name}.s.w", path.squeeze.weight), constant(f"{name}.s.b", path.squeeze.bias)]
        return [
            helper.make_node("Conv", expand, [f"{name}.wide"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node(
                "BatchNormalization", [f"{name}.wide", *statistics], [f"{name}.norm"], epsilon=path.norm.eps
            ),
            helper.make_node("Conv", [f"{name}.norm", *squeeze], [f"{name}.out"], kernel_shape=[1, 1]),
        ]

    blocks = {f"{name}.out": layer for name, layer in linear_layers(net).items()}
    for node in nodes:
        block = blocks.get(node.output[0])
        if not isinstance(block, RepSRBlock):
            model.graph.node.append(node)
            continue
        x, out = node.input[0], node.output[0]
        names = [f"{out}.path{index}" for index in range(len(block.paths))]
        for path, name in zip(block.paths, names, strict=True):
            assert isinstance(path, ExpandSqueeze)
            model.graph.node.extend(path_nodes(path, x, name))
        partial = [x, *(f"{name}.sum" for name in names[:-1]), out]
        for name, left, result in zip(names, partial, partial[1:], strict=False):
            model.graph.node.append(helper.make_node("Add", [left, f"{name}.out"], [result]))
    used = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    return model


def measure_folding(net: Network, *, height: int, width: int, threads: int, seconds: float = 10.0) -> FoldingSpeed:
    """Time a RepSR network with branches against its folded form, outputs verified first.

    Raises:
        UsageError: `net` is not of the family `repsr`.
        ProofError: the candidates do not compute the same.
    """
    before = copy.deepcopy(net).float().eval()
    after = fold(before).net
    spec = net.spec
    info = ModelInfo(name=after.spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour)
    folded = build_model(after, info)
    x_nchw = np.random.default_rng(0).random((1, spec.colours, height, width), dtype=np.float32)
    candidates: dict[str, Callable[[], Any]] = {
        "ONNX Runtime, branches": _session(branches_model(before, folded), x_nchw, threads),
        "ONNX Runtime, folded": _session(folded, x_nchw, threads),
        "PyTorch, branches": _torch(before, x_nchw),
        "PyTorch, folded": _torch(after, x_nchw),
    }
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        outputs = {name: run() for name, run in candidates.items()}
        for name, output in outputs.items():
            difference = float(np.abs(output - outputs["PyTorch, branches"]).max())
            if not difference <= TOLERANCES["store"]:
                raise ProofError(f"{name} differs from PyTorch with branches by {difference:.3g} of the range")
        timings = time_side_by_side(candidates, seconds=seconds)
    finally:
        torch.set_num_threads(threads_before)
    ratios = [speedup(timings, f"{name}, branches", f"{name}, folded") for name in ("ONNX Runtime", "PyTorch")]
    return FoldingSpeed(height, width, timings, *ratios)


def _session(model: onnx.ModelProto, x_nchw: Any, threads: int) -> Callable[[], Any]:
    runtime = open_runtime(model.SerializeToString(), threads=threads)
    return lambda: runtime.run(x_nchw)


def _torch(net: Network, x_nchw: Any) -> Callable[[], Any]:
    batch_nchw = torch.from_numpy(x_nchw)

    def run() -> Any:
        with torch.inference_mode():
            return net(batch_nchw).clamp(0, 1).numpy()

    return run
