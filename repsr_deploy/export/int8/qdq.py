"""A plan written into a graph: explicit Q/DQ, which ONNX Runtime, OpenVINO and TensorRT read alike.

QuantizeLinear stands after the activation, so that a runtime can do convolution, activation and rounding in one pass,
and DequantizeLinear before the convolution. Weights are stored as int8, once. Biases are float: TensorRT takes no
quantized ones.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from repsr_deploy.export.int8.observe import Observed
from repsr_deploy.export.int8.plan import QuantLayer, QuantPlan, quantize_weights, rounded_weights
from repsr_deploy.folding.graph.linear import array
from repsr_deploy.folding.graph.rewrite import add_constant


def write_qdq(model: ir.Model, plan: QuantPlan) -> ir.Model:
    """The graph with the convolutions of a plan in int8; `model`, float32, is not changed.

    Raises:
        ValueError: a layer of the plan is not in the graph.
    """
    new = model.clone()
    nodes = _planned(new.graph, plan)
    rounded: dict[ir.Value, ir.Value] = {}
    for layer, node in nodes.items():
        image, weight = _operands(node)
        if image not in rounded:
            rounded[image] = _round_input(new.graph, image, layer.input_scale, node)
        node.replace_input_with(0, rounded[image])
        node.replace_input_with(1, _round_weights(new.graph, weight, node))
        if not weight.uses():
            new.graph.initializers.pop(str(weight.name))
    return new


def correct_biases(model: ir.Model, plan: QuantPlan, observed: Observed) -> ir.Model:
    """The graph with biases that make up for what rounding its weights changes in the mean; `model` is not changed.

    Nagel et al., ICCV 2019, section 4.2: mean(conv(x, rounded w)) - mean(conv(x, w)) is the sum over the kernel of
    (rounded w - w) times the mean of x. Padding is neglected. (RepSR-M4C16 x2 on Kodak: -0.070 dB becomes -0.055 dB.)
    """
    new = model.clone()
    for layer, node in _planned(new.graph, plan).items():
        _, weight = _operands(node)
        weight_oihw = array(weight)
        change_oi = (rounded_weights(weight_oihw) - weight_oihw).sum(axis=(2, 3))
        groups = node.attributes.get_int("group", 1)
        mean_oi = np.repeat(observed[layer.input].mean_c.reshape(groups, -1), len(change_oi) // groups, axis=0)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        old_o = np.zeros(len(change_oi)) if bias is None else array(bias)
        bias_o = (old_o - (change_oi * mean_oi).sum(axis=1)).astype(np.float32)
        node.resize_inputs(3)
        node.replace_input_with(2, add_constant(new.graph, f"{node.name}.corrected_bias", bias_o, None))
        if bias is not None and not bias.uses():
            new.graph.initializers.pop(str(bias.name))
    return new


def _planned(graph: ir.Graph, plan: QuantPlan) -> dict[QuantLayer, ir.Node]:
    """Layers and their nodes, in the graph's order, so that what is put before a node is there for those after it."""
    layers = {layer.name: layer for layer in plan.layers}
    found = {layers[str(node.name)]: node for node in graph if node.op_type == "Conv" and node.name in layers}
    missing = layers.keys() - {layer.name for layer in found}
    if missing:
        raise ValueError(f"the graph has no convolution {min(missing)!r}; expected the one that the plan was made for")
    return found


def _operands(node: ir.Node) -> tuple[ir.Value, ir.Value]:
    image, weight = node.inputs[:2]
    assert image is not None
    assert weight is not None
    return image, weight


def _round_input(graph: ir.Graph, image: ir.Value, scale: float, reader: ir.Node) -> ir.Value:
    stem = f"{image.name}.int8"
    parameters = [
        add_constant(graph, f"{stem}.scale", np.array(scale, np.float32), None),
        add_constant(graph, f"{stem}.zero", np.array(0, np.int8), None),
    ]
    steps = _node("QuantizeLinear", [image, *parameters], stem, ir.DataType.INT8)
    back = _node("DequantizeLinear", [steps.outputs[0], *parameters], f"{stem}.float", ir.DataType.FLOAT)
    for node in (steps, back):
        node.outputs[0].shape = image.shape
    graph.insert_before(reader, [steps, back])
    return back.outputs[0]


def _round_weights(graph: ir.Graph, weight: ir.Value, reader: ir.Node) -> ir.Value:
    steps, scales = quantize_weights(array(weight))
    stem = f"{reader.name}.weight"
    inputs = [
        add_constant(graph, f"{stem}.int8", steps, None),
        add_constant(graph, f"{stem}.scale", scales, None),
        add_constant(graph, f"{stem}.zero", np.zeros(len(steps), np.int8), None),
    ]
    node = _node("DequantizeLinear", inputs, f"{stem}.float", ir.DataType.FLOAT, {"axis": 0})
    node.outputs[0].shape = weight.shape
    graph.insert_before(reader, [node])
    return node.outputs[0]


def _node(
    kind: str, inputs: list[ir.Value], name: str, dtype: ir.DataType, attributes: dict[str, int] | None = None
) -> ir.Node:
    output = ir.Value(name=name, type=ir.TensorType(dtype))
    return ir.node(kind, inputs, attributes, outputs=[output], name=name)
