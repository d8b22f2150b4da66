"""One version of ONNX's operators, and types and shapes for all values, whatever else the graph holds."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir

from repsr_deploy.errors import ModelFileError
from repsr_deploy.folding.graph.constants import is_defined
from repsr_deploy.folding.graph.read_checks import reason
from repsr_deploy.folding.graph.shapes import contradiction, infer_shapes, light_proto

OPSET = 18  # the oldest that the graph folder knows; newer ones differ in nothing that it reads
_OPAQUE = "repsr.opaque"  # domain under which ONNX's passes see nodes that they would stumble over


def convert(model: ir.Model, path: Path) -> None:
    """Bring the default domain to `OPSET`, in place; large weights are not copied."""
    version = model.opset_imports[""]
    weights = {name: value.const_value for name, value in model.graph.initializers.items()}
    with _unknown_nodes_hidden(model):
        if version < 11:
            _modernize_resize(model, weights)
        light = light_proto(model)
        try:
            converted = onnx.version_converter.convert_version(light, OPSET)
        except Exception as error:  # the converter's errors share no base class
            raise ModelFileError(
                f"{path}: cannot convert {_stumble(light)} from opset {version} to {OPSET} ({reason(error)}); "
                f"export it again with opset {OPSET} or newer"
            ) from error
        model.graph = ir.serde.deserialize_model(converted).graph
    for value in [value for value in model.graph.inputs if value.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = weights[str(value.name)]
        model.graph.register_initializer(value)


def _stumble(proto: onnx.ModelProto) -> str:
    """The node that the converter cannot convert on its own: its errors do not say which."""
    graph = proto.graph
    infos = {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            continue  # may read any value of the graph
        names = sorted(set(filter(None, node.input)))
        inputs = [infos.get(name, onnx.ValueInfoProto(name=name)) for name in names if name not in constants]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        weights = [constants[name] for name in names if name in constants]
        alone = onnx.helper.make_graph([node], "alone", inputs, outputs, weights)
        try:
            onnx.version_converter.convert_version(
                onnx.helper.make_model(alone, opset_imports=proto.opset_import), OPSET
            )
        except Exception:  # as above; the first error is the one to report
            return f"node {node.name!r} ({node.op_type})"
    return "the model"


def infer_or_explain(model: ir.Model, path: Path) -> None:
    with _unknown_nodes_hidden(model):
        try:
            infer_shapes(model)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise ModelFileError(
                f"{path}: shapes or types contradict each other ({reason(error)}); correct or export the model again"
            ) from error
    for node in model.graph:
        why = contradiction(node, [_known_dims(value) for value in node.inputs], _known_dims(node.outputs[0]))
        if why is not None:
            raise ModelFileError(
                f"{path}: node {node.name!r} ({node.op_type}): {why}; correct or export the model again"
            )


def _modernize_resize(model: ir.Model, weights: dict[str, ir.TensorProtocol | None]) -> None:
    """Write `Upsample` and `Resize` before opset 11 as the `Resize` that ONNX Runtime takes them for.

    ONNX's own converter forgets that they sample asymmetrically, which makes linear upsampling another filter. The
    new nodes are hidden from it. Source: ONNX Runtime, core/providers/cpu/tensor/upsample.h.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain or node.op_type not in ("Upsample", "Resize"):
            continue
        if "scales" in node.attributes:  # Upsample of opset 7
            tensor = ir.tensor(node.attributes["scales"].as_floats(), dtype=ir.DataType.FLOAT)
            scales = ir.Value(
                name=f"{node.outputs[0].name}:scales", const_value=tensor, shape=ir.Shape(tensor.shape.numpy())
            )
            model.graph.register_initializer(scales)
            del node.attributes["scales"]
        else:
            scales = node.inputs[1]
        node.resize_inputs(3)
        node.replace_input_with(1, None)
        node.replace_input_with(2, scales)
        known = None if scales is None else scales.const_value
        shrinks = known is not None and bool((known.numpy() < 1).any())
        node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
        node.attributes.add(ir.AttrString("nearest_mode", "ceil" if shrinks else "floor"))
        node.domain, node.op_type = _OPAQUE, "Resize"


@contextmanager
def _unknown_nodes_hidden(model: ir.Model) -> Generator[None]:
    """Let default-domain nodes that the model's opset does not define pass as custom ones, which ONNX's passes skip."""
    opset = model.opset_imports[""]
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "" and not is_defined(node, opset):
            node.domain = _OPAQUE
    model.opset_imports[_OPAQUE] = 1
    try:
        yield
    finally:
        del model.opset_imports[_OPAQUE]
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            node.domain = "" if node.domain == _OPAQUE else node.domain


def _known_dims(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [dim if isinstance(dim, int) else None for dim in value.shape]
