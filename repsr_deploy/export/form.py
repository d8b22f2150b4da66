"""What a graph may be asked for besides its precision: an operator set, and fixed shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.errors import FoldError, ProofError, UsageError
from repsr_deploy.folding.graph.evaluate import OLDEST_OPSET, evaluate
from repsr_deploy.folding.graph.read_checks import reason
from repsr_deploy.folding.graph.shapes import contradiction, infer_shapes, light_proto, reference_inputs
from repsr_deploy.tolerances import TOLERANCES

SAMPLE_SIDES = ((18, 22), (46, 62), (128, 192))
"""H x W of random images, the first that a graph can take."""

Sides = tuple[int | None, int | None, int | None]
"""N, H and W of the input; None stays dynamic."""


def with_opset(model: ir.Model, opset: int) -> ir.Model:
    """The same network in another version of ONNX's operators; `model` is not changed.

    Raises:
        UsageError: the graph cannot be written in that version; the message says in which ones it can.
        ProofError: the converted graph computes something else.
    """
    if opset == model.opset_imports[""]:
        return model.clone()
    try:
        new = _converted(model, opset)
    except Exception as error:  # the converter's and the checker's errors share no base class
        allowed = ", ".join(map(str, _allowed(model)))
        raise UsageError(
            f"the graph cannot be written in operator set {opset} ({reason(error)}); it can in {allowed}"
        ) from error
    _check_equal(model, new, opset)
    return new


def with_shape(model: ir.Model, sides: Sides) -> ir.Model:
    """The same network for images of fixed shape; `model`, with one image input, is not changed.

    Raises:
        UsageError: a side is below 1, fixed to another number already, or one that the network cannot take.
    """
    new = model.clone()
    image = new.graph.inputs[0]
    if image.shape is None or len(image.shape) != 4:
        raise UsageError(f"input {image.name!r} has shape {image.shape}; expected images of four dimensions")
    image.shape = ir.Shape(image.shape)  # a clone shares it
    axes = (0, 1, 2) if image.dtype == ir.DataType.UINT8 else (0, 2, 3)
    for name, axis, side in zip(("number of images", "height", "width"), axes, sides, strict=True):
        fixed = image.shape[axis]
        if side is None:
            continue
        if side < 1 or (isinstance(fixed, int) and fixed != side):
            raise UsageError(f"{name} is {side}; expected {fixed if isinstance(fixed, int) else 'at least 1'}")
        image.shape[axis] = side
    inner = {value for node in new.graph for value in node.outputs} - set(new.graph.outputs)
    for value in inner:
        value.shape = None
    wanted = "x".join("any" if side is None else str(side) for side in sides)
    try:
        infer_shapes(new)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise UsageError(f"the network cannot take images of N x H x W {wanted} ({reason(error)})") from error
    for node in new.graph:
        why = contradiction(node, [_dims(value) for value in node.inputs], _dims(node.outputs[0]))
        if why is not None:
            raise UsageError(f"the network cannot take images of N x H x W {wanted}: {node.op_type} {node.name}: {why}")
    return new


def with_types(model: ir.Model) -> ir.Model:
    """The same graph, every value with a type; `model` is not changed.

    Raises onnx.shape_inference.InferenceError where types contradict each other.
    """
    new = model.clone()
    if any(value.dtype is None for node in new.graph for value in node.outputs):
        infer_shapes(new)
    return new


def sample(model: ir.Model, keep: Collection[str] = ()) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random images for every input, in 0..1 or 0..255 by its type, and what `evaluate` makes of them.

    Raises:
        FoldError: the graph cannot be evaluated, at any of `SAMPLE_SIDES`.
    """
    random = np.random.default_rng(0)
    bytes_ = {value.name for value in model.graph.inputs if value.dtype == ir.DataType.UINT8}
    first: FoldError | None = None
    for sides in SAMPLE_SIDES:
        images = {
            name: torch.from_numpy(random.integers(0, 256, shape, np.uint8) if name in bytes_ else random.random(shape))
            for name, shape in reference_inputs(model, sides).items()
        }
        try:
            return images, evaluate(model, images, keep)
        except FoldError as error:
            first = first or error
    assert first is not None
    raise first


def _converted(model: ir.Model, opset: int) -> ir.Model:
    """By ONNX's own converter, which gets large weights as inputs, because it copies whatever it is given."""
    proto = onnx.version_converter.convert_version(light_proto(model), opset)
    onnx.checker.check_model(proto, full_check=True)
    graph = ir.serde.deserialize_model(proto).graph
    for value in list(graph.inputs):
        known = model.graph.initializers.get(str(value.name))
        if known is not None:
            graph.inputs.remove(value)
            value.const_value = known.const_value
            graph.register_initializer(value)
    oldest = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    new = model.clone()
    new.graph, new.ir_version = graph, max(model.ir_version, oldest)
    infer_shapes(new)
    return new


def _allowed(model: ir.Model) -> Iterator[int]:
    for opset in range(OLDEST_OPSET, onnx.defs.onnx_opset_version() + 1):
        try:
            _converted(model, opset)
        except Exception:  # as in `with_opset`
            continue
        yield opset


def _check_equal(before: ir.Model, after: ir.Model, opset: int) -> None:
    images, expected = sample(before)
    actual = evaluate(after, images)
    for name, reference in expected.items():
        difference = (actual[name].double() - reference.double()).abs().max().item()
        reach = max(1.0, reference.double().abs().max().item())
        if not difference <= TOLERANCES["fold"] * reach:
            raise ProofError(f"written in operator set {opset}, {name} differs by {difference:.3g}; keep the old one")


def _dims(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [dim if isinstance(dim, int) else None for dim in value.shape]
