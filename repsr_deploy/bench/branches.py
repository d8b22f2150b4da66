"""A network with its branches as an ONNX model: what folding is compared with."""

from __future__ import annotations

import onnx
import torch
from onnx import helper, numpy_helper

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.network import Network, linear_layers
from repsr_deploy.nets.repsr import ExpandSqueeze, RepSRBlock
from repsr_deploy.nets.spec import StackSpec


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
