"""What a model takes and gives: float batches, 8-bit images, or features that a kernel finishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes
from torch import Tensor

from repsr_deploy.errors import ModelFileError
from repsr_deploy.export.form import sample
from repsr_deploy.folding.graph.rewrite import add_constant, is_crd
from repsr_deploy.model_info import Skip
from repsr_kernels.reference.upsample import enlarged

PEAK = 255.0
SAME = 1e-6
"""How near a value must come to the enlarged input to be it: bilinear weights may be float32."""
LAST = (0, 2, 3, 1)
"""Channels last, from channels first."""
FORM = "Clip to 0..1 or none, then DepthToSpace (CRD) and the enlarged input added before or behind it, or not at all"


def to_images(model: ir.Model) -> ir.Model:
    """The same network from uint8 N x H x W x C to uint8 N x sH x sW x C; `model` is not changed.

    Conversion, clamp to 0..1 and rounding (half to even) are float32, whatever the precision between them. TensorRT
    transposes no uint8, so the Casts from and to it are the first and the last node.

    Raises:
        ModelFileError: not a graph from one float32 batch N x C x H x W to one.
    """
    new = model.clone()
    graph = new.graph
    batch, output = _only_batch(graph.inputs, "input"), _only_batch(graph.outputs, "output")
    peak = _number(graph, "image.peak", PEAK)

    image = ir.Value(name=batch.name, shape=_shape(batch, LAST), type=ir.TensorType(ir.DataType.UINT8))
    floats = _node("Cast", [image], "image.float", to=ir.DataType.FLOAT.value)
    planes = _node("Transpose", floats.outputs, "image.planes", perm=(0, 3, 1, 2))
    scaled = _node("Div", [planes.outputs[0], peak], "image.scaled")
    graph.inputs[0] = image
    ir.convenience.replace_all_uses_with(batch, scaled.outputs[0])
    graph.insert_before(graph[0], [floats, planes, scaled])

    clamped = output
    if not _is_clamped(output):
        bounds = [_number(graph, "image.low", 0.0), _number(graph, "image.high", 1.0)]
        graph.append(_node("Clip", [output, *bounds], "image.clamped"))
        clamped = graph[-1].outputs[0]
    levels = _node("Mul", [clamped, peak], "image.levels")
    whole = _node("Round", levels.outputs, "image.whole")
    pixels = _node("Transpose", whole.outputs, "image.pixels", perm=LAST)
    graph.extend([levels, whole, pixels, _node("Cast", pixels.outputs, "image.bytes", to=ir.DataType.UINT8.value)])
    picture, name = graph[-1].outputs[0], output.name
    output.name, picture.name = f"{name}.batch", name
    picture.shape, picture.type = _shape(output, LAST), ir.TensorType(ir.DataType.UINT8)
    graph.outputs[0] = picture
    return new


def to_features(model: ir.Model) -> tuple[ir.Model, Skip]:
    """The same network up to its last convolution, and the skip that is then to be added; `model` is not changed.

    The output is N x C s s x H x W float32; `repsr_kernels.reference.upsample.summed`, then a clamp to 0..1, is what is
    left to be done with it. What the network adds is recognised by its values, on a random image: exporters write the
    same enlargement in many ways.

    Args:
        model: of io `float`, in any precision.

    Raises:
        ModelFileError: it ends in another way; the message says in which.
        FoldError: the graph cannot be evaluated.
    """
    new = model.clone()
    graph = new.graph
    batch, output = _only_batch(graph.inputs, "input"), _only_batch(graph.outputs, "output")
    ending, skip = _recognised(new)
    features, name = ending.features, str(output.name)
    output.name = f"{name}.picture"
    if features.dtype != ir.DataType.FLOAT:
        graph.append(_node("Cast", [features], "features.float", to=ir.DataType.FLOAT.value))
        features = graph[-1].outputs[0]
    features.name, features.type = name, ir.TensorType(ir.DataType.FLOAT)
    features.shape = _shape(batch, (0, 1, 2, 3))
    features.shape[1] = _channels(batch) * ending.scale**2
    graph.outputs[0] = features
    passes.RemoveUnusedNodesPass()(new)
    return new, skip


@dataclass(frozen=True)
class _Ending:
    """A way in which a graph may end."""

    features: ir.Value
    added: ir.Value | None
    """What the features, or the picture made of them, are added to."""
    scale: int

    def skip(self, values: Mapping[str, Tensor], image_nchw: NDArray[Any]) -> Skip | None:
        """Which skip it is by the values on an image; None where it is none of ours."""
        count, channels, height, width = image_nchw.shape
        if values[str(self.features.name)].shape != (count, channels * self.scale**2, height, width):
            return None
        if self.added is None:
            return "none"
        added = values[str(self.added.name)].numpy()
        repeated = image_nchw.repeat(self.scale**2, axis=1)
        if _same(added, repeated) or _same(added, enlarged(image_nchw, self.scale, "nearest")):
            return "nearest"
        return "bilinear" if _same(added, enlarged(image_nchw, self.scale, "bilinear")) else None


def _recognised(model: ir.Model) -> tuple[_Ending, Skip]:
    output = model.graph.outputs[0]
    last = _before_casts(output)
    if _is_clamped(last):
        last = _before_casts(_inputs(last)[0])
    endings = list(_endings(last))
    named = {str(value.name) for ending in endings for value in (ending.features, ending.added) if value is not None}
    images, values = sample(model, keep=named)
    (image,) = images.values()
    for ending in endings:
        skip = ending.skip(values, image.numpy())
        if skip is not None:
            return ending, skip
    kinds = [_kind(output), *(_kind(value) for value in _inputs(output)[:2]), *(_kind(v) for v in _inputs(last)[:2])]
    raise ModelFileError(
        f"the network ends in {' <- '.join(dict.fromkeys(filter(None, kinds)))} (backwards); io features needs {FORM}"
    )


def _endings(last: ir.Value) -> Iterator[_Ending]:
    """Ways in which a graph may end in `last`, the likeliest first."""
    if _kind(last) == "Add":
        for summand, added in _both(last):
            if _is_shuffle(summand):
                yield _Ending(_inputs(summand)[0], added, _factor(summand))
            yield _Ending(summand, added, 1)
    if _is_shuffle(last):
        low = _before_casts(_inputs(last)[0])
        if _kind(low) == "Add":
            for summand, added in _both(low):
                yield _Ending(summand, added, _factor(last))
        yield _Ending(low, None, _factor(last))
    yield _Ending(last, None, 1)


def _both(total: ir.Value) -> Iterator[tuple[ir.Value, ir.Value]]:
    """The summands of an Add, each of them first."""
    first, second = (_before_casts(value) for value in _inputs(total))
    yield first, second
    yield second, first


def _before_casts(value: ir.Value) -> ir.Value:
    while _kind(value) == "Cast":
        value = _inputs(value)[0]
    return value


def _kind(value: ir.Value) -> str:
    """Operator that gives a value; empty for an input of the graph."""
    node = value.producer()
    return "" if node is None else node.op_type


def _inputs(value: ir.Value) -> list[ir.Value]:
    """What the operator that gives a value reads."""
    node = value.producer()
    return [] if node is None else [source for source in node.inputs if source is not None]


def _is_shuffle(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "DepthToSpace" and is_crd(node)


def _factor(shuffled: ir.Value) -> int:
    node = shuffled.producer()
    assert node is not None
    return node.attributes["blocksize"].as_int()


def _is_clamped(value: ir.Value) -> bool:
    """Whether a value, apart from Casts, comes from a Clip to 0..1."""
    value = _before_casts(value)
    bounds = _inputs(value)[1:]
    constants = [bound.const_value for bound in bounds]
    return _kind(value) == "Clip" and [None if c is None else float(c.numpy()) for c in constants] == [0, 1]


def _same(actual: NDArray[Any], expected: NDArray[Any]) -> bool:
    return actual.shape == expected.shape and bool(np.abs(actual - expected).max() <= SAME)


def _only_batch(values: Sequence[ir.Value], role: str) -> ir.Value:
    """The only input or output of a graph, a float32 batch of images."""
    first = values[0]
    if len(values) != 1 or first.dtype != ir.DataType.FLOAT or first.shape is None or len(first.shape) != 4:
        said = ", ".join(f"{value.name!r}: {value.dtype} {value.shape}" for value in values)
        raise ModelFileError(f"the graph has {role} {said}; expected one float32 batch N x C x H x W")
    return first


def _channels(batch: ir.Value) -> int:
    assert batch.shape is not None
    channels = batch.shape[1]
    if not isinstance(channels, int):
        raise ModelFileError(f"input {batch.name!r} has {channels} channels; expected a fixed number")
    return channels


def _shape(batch: ir.Value, axes: Sequence[int]) -> ir.Shape:
    """The axes of a batch N x C x H x W, in that order."""
    assert batch.shape is not None
    return ir.Shape([batch.shape[axis] for axis in axes])


def _number(graph: ir.Graph, name: str, number: float) -> ir.Value:
    return add_constant(graph, name, np.array(number, np.float32), None)


def _node(operator: str, inputs: Sequence[ir.Value], output: str, **attributes: Any) -> ir.Node:
    """A node from float32 to float32; its output is called `output`."""
    value = ir.Value(name=output, type=ir.TensorType(ir.DataType.FLOAT))
    return ir.node(operator, inputs, attributes, outputs=[value], name=f"{output}_node")
