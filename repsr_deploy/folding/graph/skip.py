"""Nearest-neighbour skips around PixelShuffle: enlarging before the shuffle is repeating channels, which is linear.

    PixelShuffle(a) + nearest(x) = PixelShuffle(a + R x)

R gives every channel r^2 times in the order of the shuffle. What reads the same pixels as R x can then absorb it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from repsr_deploy.folding.graph.linear import Shapes, is_constant
from repsr_deploy.folding.graph.rewrite import add_constant, is_crd, take_over

EXACT_NEAREST = {
    ("nearest", "asymmetric", "floor"),
    ("nearest", "half_pixel", "round_prefer_floor"),
    ("nearest", "half_pixel", "round_prefer_ceil"),
}
"""Mode, coordinates and rounding by which enlargement by a whole number repeats every pixel."""


def join_nearest_skips(graph: ir.Graph, shapes: dict[str, tuple[int, ...]]) -> int:
    """Move every such sum before its shuffle, in place, and say how many there were; `shapes` is completed."""
    found = 0
    for node in list(graph):
        if node.op_type != "Add" or node.domain not in ("", "ai.onnx"):
            continue
        for shuffled, enlarged in (node.inputs, reversed(node.inputs)):
            shuffle, resize = _producer(shuffled, "DepthToSpace"), _producer(enlarged, "Resize")
            if shuffle is not None and resize is not None and _matches(shuffle, resize, shapes):
                _move(graph, node, shuffle, resize, shapes)
                found += 1
                break
    return found


def _producer(value: ir.Value | None, kind: str) -> ir.Node | None:
    """The node that gives `value` to a single reader, if it is of that kind."""
    node = None if value is None else value.producer()
    if value is None or node is None or node.op_type != kind or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return node


def _matches(shuffle: ir.Node, resize: ir.Node, shapes: Shapes) -> bool:
    factor, image = shuffle.attributes["blocksize"].as_int(), resize.inputs[0]
    if image is None or resize_way(resize) not in EXACT_NEAREST or resize.attributes.get("axes") is not None:
        return False
    scales = resize.inputs[2] if len(resize.inputs) > 2 else None
    if scales is None or not is_constant(scales) or scales.const_value is None:
        return False
    before, after = (shapes.get(value.name or "", ()) for value in (image, shuffle.outputs[0]))
    given = np.asarray(scales.const_value.numpy(), np.float64).ravel()
    return len(before) == len(after) == 4 and before[1] == after[1] and given.tolist() == [1, 1, factor, factor]


def resize_way(resize: ir.Node) -> tuple[str, str, str]:
    """Mode, coordinates and rounding of a Resize."""
    defaults = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"}
    mode, coordinates, rounding = (str(resize.attributes.get_string(name, text)) for name, text in defaults.items())
    return mode, coordinates, rounding


def _move(
    graph: ir.Graph, total: ir.Node, shuffle: ir.Node, resize: ir.Node, shapes: dict[str, tuple[int, ...]]
) -> None:
    factor, image, low = shuffle.attributes["blocksize"].as_int(), resize.inputs[0], shuffle.inputs[0]
    output = total.outputs[0]
    assert image is not None
    assert low is not None
    count = shapes[image.name or ""][1]
    order = np.arange(count).repeat(factor**2) if is_crd(shuffle) else np.tile(np.arange(count), factor**2)
    kernel = np.eye(count)[order][:, :, None, None].astype((image.dtype or ir.DataType.FLOAT).numpy())
    weight = add_constant(graph, f"{output.name}.repeat", kernel, image.dtype)
    repeated = ir.Value(name=f"{output.name}.repeated", type=image.type)
    sum_low = ir.Value(name=f"{output.name}.low", type=output.type)
    nodes = [
        ir.node("Conv", [image, weight], outputs=[repeated], name=repeated.name),
        ir.node("Add", [low, repeated], outputs=[sum_low], name=sum_low.name),
    ]
    graph.insert_before(total, nodes)
    for value in (repeated, sum_low):
        shapes[value.name or ""] = shapes[low.name or ""]
    fresh = ir.Value(name=f"{output.name}.shuffled")
    graph.insert_before(
        total, [ir.node("DepthToSpace", [sum_low], shuffle.attributes, outputs=[fresh], name=fresh.name)]
    )
    take_over(output, fresh, f"{output.name}.high")
    for node in (total, shuffle, resize):
        graph.remove(node, safe=True)
