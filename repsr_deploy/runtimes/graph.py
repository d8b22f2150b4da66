"""Receptive field and width of a foreign ONNX model, derived by walking its graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError

if TYPE_CHECKING:
    import onnx

# fmt: off
POINTWISE = frozenset([
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish",
    "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Cos",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Where",
])
# fmt: on
"""Operators whose output pixel depends on the same pixel of their inputs alone."""
CHANNELWISE = {"Concat": 1, "Gather": 0, "Split": 0}
"""Operators that are pointwise when their axis is the channels; the value is the axis that ONNX takes by default."""
RESIZE_REACH = {"nearest": 0, "linear": 1, "cubic": 2}


@dataclass(frozen=True)
class Reach:
    """What a graph walk finds out."""

    halo: int
    """Receptive-field radius, LR pixels."""
    width: int
    """Channels of the widest convolution."""


@dataclass(frozen=True)
class _Field:
    """Receptive field of one tensor: radius in LR pixels, and pixels of the tensor per LR pixel along a side."""

    radius: Fraction
    resolution: Fraction


def derive_reach(model: Path | bytes, label: str) -> Reach:
    """Walk a graph from its image input to its output and add up how far each operator looks.

    Raises:
        RuntimeUnavailableError: the onnx package, which reads the graph, is not installed.
        ModelFileError: an operator looks farther than can be derived, such as a global average.
    """
    try:
        import onnx
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{label} does not state its halo, and deriving it needs the onnx package ({error}); `pip install onnx`"
        ) from error
    proto = (
        onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model, load_external_data=False)
    )
    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    fields = {value.name: _Field(Fraction(0), Fraction(1)) for value in graph.input if value.name not in constants}
    width = 1
    for node in graph.node:
        inputs = [fields[name] for name in node.input if name in fields]
        if not inputs or node.op_type == "Shape":
            continue  # computed from constants or from sizes: carries no pixels
        start = _Field(max(field.radius for field in inputs), inputs[0].resolution)
        if any(field.resolution != start.resolution for field in inputs):
            raise _unknown(node, label, "mixes images of different sizes")
        field = _step(onnx, node, start, constants, label)
        fields |= dict.fromkeys(node.output, field)
        if node.op_type == "Conv":
            width = max(width, _shape(node, constants, label)[0])
    output = fields.get(graph.output[0].name)
    if output is None:
        raise ModelFileError(f"{label} computes its output from no image; expected an upscaling model")
    return Reach(halo=math.ceil(output.radius), width=width)


def _step(
    module: Any, node: onnx.NodeProto, field: _Field, constants: dict[str, onnx.TensorProto], label: str
) -> _Field:
    attributes = {item.name: module.helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type in POINTWISE:
        return field
    if node.op_type in CHANNELWISE and attributes.get("axis", CHANNELWISE[node.op_type]) in (1, -3):
        return field
    if node.op_type == "Conv":
        reach = _conv_reach(node, attributes, _shape(node, constants, label)[2:], label)
        return _Field(field.radius + reach / field.resolution, field.resolution)
    if node.op_type == "DepthToSpace":
        return _Field(field.radius, field.resolution * attributes["blocksize"])
    if node.op_type == "Resize":
        scales = constants.get(node.input[2]) if len(node.input) > 2 else None
        return _resize(field, attributes, scales, module.numpy_helper.to_array, lambda why: _unknown(node, label, why))
    raise _unknown(node, label, "may look at the whole image")


def _conv_reach(node: onnx.NodeProto, attributes: dict[str, Any], kernel: list[int], label: str) -> Fraction:
    """Pixels that a convolution looks to its farther side."""
    count = len(kernel)
    extents = [(k - 1) * d for k, d in zip(kernel, attributes.get("dilations", [1] * count), strict=True)]
    auto_pad = attributes.get("auto_pad", b"NOTSET").decode()
    pads = attributes.get("pads", [0] * 2 * count)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        before = [extent // 2 if auto_pad == "SAME_UPPER" else extent - extent // 2 for extent in extents]
        pads = before + [extent - low for extent, low in zip(extents, before, strict=True)]
    same = all(low + high == extent for low, high, extent in zip(pads[:count], pads[count:], extents, strict=True))
    if not same or any(stride != 1 for stride in attributes.get("strides", [1])):
        raise _unknown(node, label, "changes the image's size")
    return Fraction(max(pads))


def _resize(
    field: _Field,
    attributes: dict[str, Any],
    scales: onnx.TensorProto | None,
    to_array: Callable[[onnx.TensorProto], Any],
    unknown: Callable[[str], ModelFileError],
) -> _Field:
    factors = [] if scales is None else to_array(scales).tolist()
    placing = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    mode = attributes.get("mode", b"nearest").decode()
    whole = len(factors) == 4 and factors[:2] == [1, 1] and factors[2] == factors[3] and factors[2] == int(factors[2])
    if not whole or factors[2] < 1 or placing not in ("half_pixel", "pytorch_half_pixel", "asymmetric"):
        raise unknown("does not enlarge by one constant whole number")
    if mode == "nearest" and placing == "asymmetric" and attributes.get("nearest_mode", b"").decode() != "floor":
        raise unknown("places pixels off their own")
    reach = Fraction(RESIZE_REACH[mode]) / field.resolution
    return _Field(field.radius + reach, field.resolution * int(factors[2]))


def _shape(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], label: str) -> list[int]:
    """Shape of a convolution's kernel, O x I x K x K."""
    if node.input[1] not in constants:
        raise _unknown(node, label, "computes its own kernel")
    return list(constants[node.input[1]].dims)


def _unknown(node: onnx.NodeProto, label: str, why: str) -> ModelFileError:
    return ModelFileError(
        f"cannot derive the halo of {label}: operator {node.op_type} {node.name or node.output[0]!r} {why}; "
        "expected convolutions of stride 1, pointwise operators, DepthToSpace and Resize by a whole number"
    )
