"""Pointwise operators behind PixelShuffle: before it they do the same to every part of a pixel, and can be folded.

    P PixelShuffle(a) = PixelShuffle((P for each of the r^2 places) a)

So a mean that is added to the enlarged picture ends up in the bias of the last convolution.
"""

from __future__ import annotations

import onnx_ir as ir
import torch

from repsr_deploy.folding.graph.linear import Shapes, terms_of
from repsr_deploy.folding.graph.rewrite import add_constant, is_crd, take_over


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
    crd = is_crd(shuffle)
    matrix, each = numbers.weight_oihw[:, :, 0, 0], torch.eye(places, dtype=torch.float64)
    weight = torch.kron(matrix, each) if crd else torch.kron(each, matrix)
    bias = numbers.bias_o.repeat_interleave(places) if crd else numbers.bias_o.repeat(places)
    groups = 1
    if operator.kind == "diagonal":
        groups, weight = len(weight), weight.diagonal()[:, None]

    moved = ir.Value(name=f"{output.name}.low", type=output.type)
    fresh = ir.Value(name=f"{output.name}.shuffled")
    inputs = [
        low,
        add_constant(graph, f"{output.name}.places", weight[:, :, None, None].numpy(), output.dtype),
        add_constant(graph, f"{output.name}.biases", bias.numpy(), output.dtype),
    ]
    nodes = [
        ir.node("Conv", inputs, {"group": groups}, outputs=[moved], name=moved.name),
        ir.node("DepthToSpace", [moved], shuffle.attributes, outputs=[fresh], name=fresh.name),
    ]
    graph.insert_before(node, nodes)
    count, _, height, width = shapes[low.name or ""]
    shapes[moved.name or ""] = (count, len(bias), height, width)
    shapes[fresh.name or ""] = shapes[output.name or ""]
    take_over(output, fresh, f"{output.name}.high")
    for old in (node, shuffle):
        graph.remove(old, safe=True)
