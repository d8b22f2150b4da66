"""Pointwise operators behind PixelShuffle: before it they do the same to every part of a pixel, and can be folded.

    P PixelShuffle(a) = PixelShuffle((P for each of the r^2 places) a)

So a mean that is added to the enlarged picture ends up in the bias of the last convolution.
"""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.folding.graph.linear import Shapes, terms_of


def move_before_shuffles(graph: ir.Graph, shapes: dict[str, tuple[int, ...]]) -> int:
    """Move every such operator before its shuffle, in place, and say how many there were; `shapes` is completed.

    New weights are float64 until `emit.round_weights`.
    """
    found = 0
    for node in list(graph):
        shuffle = _shuffle_before(node, shapes)
        if shuffle is not None:
            _move(graph, node, shuffle, shapes)
            found += 1
    return found


def _shuffle_before(node: ir.Node, shapes: Shapes) -> ir.Node | None:
    terms = terms_of(node.outputs[0], shapes) if len(node.outputs) == 1 else None
    if terms is None or len(terms) != 1:
        return None
    image, operator = terms[0]
    shuffle = image.producer()
    if shuffle is None or shuffle.op_type != "DepthToSpace" or image.is_graph_output() or len(image.uses()) != 1:
        return None
    return shuffle if operator.is_pointwise and operator.strides == (1, 1) and operator.kind != "identity" else None


def _move(graph: ir.Graph, node: ir.Node, shuffle: ir.Node, shapes: dict[str, tuple[int, ...]]) -> None:
    output, low = node.outputs[0], shuffle.inputs[0]
    terms = terms_of(output, shapes)
    assert terms is not None
    assert low is not None
    operator = terms[0][1]
    numbers = operator.numbers()
    places = shuffle.attributes["blocksize"].as_int() ** 2
    mode = shuffle.attributes.get("mode")
    is_crd = mode is not None and mode.as_string() == "CRD"
    matrix, each = numbers.weight_oihw[:, :, 0, 0], torch.eye(places, dtype=torch.float64)
    weight = torch.kron(matrix, each) if is_crd else torch.kron(each, matrix)
    bias = numbers.bias_o.repeat_interleave(places) if is_crd else numbers.bias_o.repeat(places)
    groups = 1
    if operator.kind == "diagonal":
        groups, weight = len(weight), weight.diagonal()[:, None]

    moved = ir.Value(name=f"{output.name}.low", type=output.type)
    fresh = ir.Value(name=f"{output.name}.shuffled", type=output.type, shape=output.shape)
    inputs = [low, _weight(graph, f"{output.name}.places", weight[:, :, None, None], output)]
    inputs.append(_weight(graph, f"{output.name}.biases", bias, output))
    nodes = [
        ir.node("Conv", inputs, {"group": groups}, outputs=[moved], name=moved.name),
        ir.node("DepthToSpace", [moved], shuffle.attributes, outputs=[fresh], name=fresh.name),
    ]
    graph.insert_before(node, nodes)
    count, _, height, width = shapes[low.name or ""]
    shapes[moved.name or ""] = (count, len(bias), height, width)
    shapes[fresh.name or ""] = shapes[output.name or ""]
    name = output.name
    ir.convenience.replace_all_uses_with(output, fresh, replace_graph_outputs=True)
    output.name, fresh.name = f"{name}.high", name
    for old in (node, shuffle):
        graph.remove(old, safe=True)


def _weight(graph: ir.Graph, name: str, numbers: Tensor, like: ir.Value) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(numbers.contiguous().numpy()), type=like.type)
    value.shape = ir.Shape(numbers.shape)
    graph.register_initializer(value)
    return value
