"""Which nodes of a graph are linear, and as which operators: the only place that knows what ONNX calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.folding import algebra
from repsr_deploy.folding.algebra import Pads
from repsr_deploy.folding.graph.constants import exact_array
from repsr_deploy.folding.graph.operator import POINT, Operator, identity

Shapes = Mapping[str, tuple[int, ...]]
"""Value name -> shape for a reference input (`reference_shapes`)."""
Terms = list[tuple[ir.Value, Operator]]
"""A value as the sum of operators of other values."""
LEAST_SINGULAR = 1e-3
"""Of the largest singular value: with less, a shift through a matrix is too large to be subtracted in float32."""
_END = 1 << 31  # from here on, the end of a slice means the end of the axis


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is a weight."""
    return value is not None and value.const_value is not None


def array(value: ir.Value) -> NDArray[np.float64]:
    """The numbers of a weight, float64."""
    assert value.const_value is not None
    return exact_array(value.const_value).astype(np.float64)


def tensor(value: ir.Value) -> Tensor:
    """The numbers of a weight, float64."""
    return torch.from_numpy(np.ascontiguousarray(array(value)))


def terms_of(value: ir.Value, shapes: Shapes) -> Terms | None:
    """`value` as the sum of linear operators of the inputs of its node; None where the node is not linear.

    Only images, N x C x H x W with known C, are linear: a node whose constant varies over the image is not.
    """
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or len(shapes.get(value.name or "", ())) != 4:
        return None
    reader = _READERS.get(node.op_type)
    images = [item for item in node.inputs if item is not None and not is_constant(item)]
    if reader is None or any(len(shapes.get(item.name or "", ())) != 4 for item in images):
        return None
    return reader(node, value, shapes)


def channels(value: ir.Value, shapes: Shapes) -> int:
    """Channels of an image."""
    return shapes[value.name or ""][1]


def _ints(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return tuple(default) if attribute is None else tuple(attribute.as_ints())


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _integers(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(item) for item in value.const_value.numpy().ravel()]


def _conv_pads(node: ir.Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Pads | None:
    attribute = node.attributes.get("auto_pad")
    auto = "NOTSET" if attribute is None else attribute.as_string()
    if auto == "NOTSET":
        return cast("Pads", _ints(node, "pads", (0, 0, 0, 0)))
    if auto == "VALID":
        return (0, 0, 0, 0)
    if tuple(strides) != (1, 1):
        return None  # depends on the size of the image
    total = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    less = [size // 2 for size in total]
    more = [size - part for size, part in zip(total, less, strict=True)]
    first, last = (less, more) if auto == "SAME_UPPER" else (more, less)
    return (first[0], first[1], last[0], last[1])


def _conv(node: ir.Node, _value: ir.Value, _shapes: Shapes) -> Terms | None:
    image, weight, *rest = node.inputs
    bias = rest[0] if rest else None
    if image is None or weight is None or is_constant(image) or not is_constant(weight):
        return None
    if bias is not None and not is_constant(bias):
        return None
    assert weight.const_value is not None
    out_channels, group_in, *kernel = weight.const_value.shape.numpy()
    if len(kernel) != 2:
        return None
    strides = cast("tuple[int, int]", _ints(node, "strides", (1, 1)))
    dilations = cast("tuple[int, int]", _ints(node, "dilations", (1, 1)))
    groups = _int(node, "group", 1)
    pads = _conv_pads(node, kernel, strides, dilations)
    if pads is None:
        return None
    taps = np.zeros([(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)], np.bool_)
    taps[:: dilations[0], :: dilations[1]] = True
    kind = "" if groups == 1 else ("depthwise " if groups == group_in * groups == out_channels else f"{groups}-group ")
    operator = Operator(
        rule=f"{kind}{kernel[0]}x{kernel[1]}",
        kind="conv",
        out_channels=out_channels,
        in_channels=group_in * groups,
        taps=taps,
        pads=pads,
        strides=strides,
        groups=groups,
        has_bias=bias is not None and bool(array(bias).any()),
        onto=lambda: out_channels <= group_in * groups and _has_full_rank(weight),
        numbers=lambda: algebra.conv(
            tensor(weight),
            None if bias is None else tensor(bias),
            groups=groups,
            pads=pads,
            strides=strides,
            dilations=dilations,
        ),
    )
    return [(image, operator)]


@lru_cache(maxsize=256)
def _has_full_rank(weight: ir.Value) -> bool:
    """Whether the blocks of a 1x1 kernel give any output without large numbers cancelling; larger kernels may."""
    matrix = array(weight)
    if matrix.shape[2:] != (1, 1):
        return True
    values = np.linalg.svd(matrix[:, :, 0, 0], compute_uv=False)
    return bool(values[-1] >= LEAST_SINGULAR * values[0] > 0)


def _affine(scale: Tensor | None, shift: Tensor | None, count: int, rule: str) -> Operator:
    """y = scale * x + shift; None is 1 and 0."""
    factor = torch.ones(count, dtype=torch.float64) if scale is None else scale
    offset = torch.zeros(count, dtype=torch.float64) if shift is None else shift
    return Operator(
        rule=rule,
        kind="diagonal",
        out_channels=count,
        in_channels=count,
        taps=POINT,
        groups=count,
        has_scale=scale is not None,
        has_bias=bool(offset.any()),
        onto=lambda: bool((factor != 0).all()),
        numbers=lambda: algebra.affine(factor, offset),
    )


def _batch_norm(node: ir.Node, _value: ir.Value, shapes: Shapes) -> Terms | None:
    image, *parameters = node.inputs
    if image is None or not all(is_constant(item) for item in parameters) or _int(node, "training_mode", 0):
        return None
    epsilon = node.attributes.get("epsilon")
    gamma, beta, mean, var = (tensor(cast("ir.Value", item)) for item in parameters)
    scale, shift = algebra.batch_norm(gamma, beta, mean, var, 1e-5 if epsilon is None else epsilon.as_float())
    return [(image, _affine(scale, shift, channels(image, shapes), "BN"))]


def _per_channel(constant: ir.Value, count: int) -> Tensor | None:
    """A constant that is the same at every pixel, as C numbers; None if it varies."""
    assert constant.const_value is not None
    shape = constant.const_value.shape.numpy()
    padded = (*[1] * (4 - len(shape)), *shape)
    if len(shape) > 4 or padded[0] != 1 or padded[2:] != (1, 1) or padded[1] not in (1, count):
        return None
    return tensor(constant).reshape(-1).expand(count).contiguous()


def _pointwise(node: ir.Node, value: ir.Value, shapes: Shapes) -> Terms | None:
    """Add, Sub, Mul, Div of an image and a constant, or Add and Sub of two images."""
    left, right = node.inputs
    assert left is not None
    assert right is not None
    kind = node.op_type
    if not is_constant(left) and not is_constant(right):
        signs = {"Add": [1, 1], "Sub": [1, -1]}.get(kind)
        return None if signs is None else _signed_sum([left, right], signs, value, shapes)
    image, constant = (right, left) if is_constant(left) else (left, right)
    count = channels(image, shapes)
    numbers = None if is_constant(image) else _per_channel(constant, count)
    if numbers is None or channels(value, shapes) != count or (kind == "Div" and is_constant(left)):
        return None
    minus = -torch.ones(count, dtype=torch.float64)
    scale, shift = {
        "Add": (None, numbers),
        "Sub": (None, -numbers) if image is left else (minus, numbers),
        "Mul": (numbers, None),
        "Div": (1 / numbers, None),
    }[kind]
    if scale is not None and not scale.isfinite().all():
        return None
    rule = "scale" if shift is None else ("shift" if scale is None else "shift - x")
    return [(image, _affine(scale, shift, count, rule))]


def _signed_sum(images: Sequence[ir.Value], signs: Sequence[float], value: ir.Value, shapes: Shapes) -> Terms | None:
    shape = shapes[value.name or ""]
    if any(shapes[image.name or ""] != shape for image in images):
        return None  # one is spread over the image or the channels
    factors = [None if sign == 1 else torch.full((shape[1],), sign, dtype=torch.float64) for sign in signs]
    return [
        (image, identity(shape[1]) if factor is None else _affine(factor, None, shape[1], "scale"))
        for image, factor in zip(images, factors, strict=True)
    ]


def _sum(node: ir.Node, value: ir.Value, shapes: Shapes) -> Terms | None:
    images = [item for item in node.inputs if item is not None]
    if any(is_constant(image) for image in images):
        return None
    weight = 1 / len(images) if node.op_type == "Mean" else 1
    return _signed_sum(images, [weight] * len(images), value, shapes)


def _negative(node: ir.Node, value: ir.Value, shapes: Shapes) -> Terms | None:
    return _signed_sum([cast("ir.Value", node.inputs[0])], [-1], value, shapes)


def _select(image: ir.Value, index: Sequence[int], shapes: Shapes, rule: str) -> tuple[ir.Value, Operator]:
    count = channels(image, shapes)
    operator = Operator(
        rule=rule,
        kind="select" if min(index) >= 0 else "conv",
        out_channels=len(index),
        in_channels=count,
        taps=POINT,
        onto=lambda: -1 not in index and len(set(index)) == len(index),
        numbers=lambda: algebra.select(index, count),
    )
    return image, operator


def _concat(node: ir.Node, value: ir.Value, shapes: Shapes) -> Terms | None:
    images = [cast("ir.Value", item) for item in node.inputs]
    if _int(node, "axis", 1) not in (1, -3) or any(is_constant(image) for image in images):
        return None
    total, start, terms = channels(value, shapes), 0, Terms()
    for image in images:
        count = channels(image, shapes)
        index = [-1] * start + list(range(count)) + [-1] * (total - start - count)
        terms.append(_select(image, index, shapes, "concat"))
        start += count
    return terms


def _split(node: ir.Node, value: ir.Value, shapes: Shapes) -> Terms | None:
    image = cast("ir.Value", node.inputs[0])
    if _int(node, "axis", 0) not in (1, -3):
        return None
    start = 0
    for output in node.outputs:
        if len(shapes.get(output.name or "", ())) != 4:
            return None
        count = channels(output, shapes)
        if output is value:
            return [_select(image, range(start, start + count), shapes, "split")]
        start += count
    return None


def _slice(node: ir.Node, _value: ir.Value, shapes: Shapes) -> Terms | None:
    image = cast("ir.Value", node.inputs[0])
    starts, ends = _integers(node.inputs[1]), _integers(node.inputs[2])
    extra = [_integers(item) if item is not None else None for item in (*node.inputs[3:], None, None)][:2]
    if starts is None or ends is None or any(item is not None and not is_constant(item) for item in node.inputs[3:]):
        return None
    axes = extra[0] or list(range(len(starts)))
    steps = extra[1] or [1] * len(starts)
    count = channels(image, shapes)
    index, crop = list(range(count)), [0, 0, 0, 0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis % 4
        if place == 1:
            index = index[slice(start, None if end <= -_END else end, step)]
        elif place >= 2 and step == 1 and start >= 0 and (end < 0 or end >= _END):
            crop[place - 2] -= start
            crop[place] -= 0 if end >= _END else -end
        elif not (start == 0 and end >= _END and step == 1):
            return None
    if not index:
        return None
    if not any(crop):
        return [_select(image, index, shapes, "slice")]
    if index != list(range(count)):
        return None
    return [(image, _frame(count, cast("Pads", tuple(crop)), "crop", 0.0))]


def _frame(count: int, pads: Pads, rule: str, value: float) -> Operator:
    """Pixels of `value` around an image, or, where `pads` are negative, cut off."""
    border = torch.full((count,), value, dtype=torch.float64)

    def numbers() -> algebra.Conv:
        plain = algebra.conv(algebra.identity(count).weight_oihw, pads=pads)
        ones = None if value == 0 else -border[:, None, None]
        return algebra.Conv(plain.weight_oihw, border, ones, pads)

    return Operator(
        rule=rule,
        kind="conv",
        out_channels=count,
        in_channels=count,
        taps=POINT,
        pads=pads,
        groups=count,
        has_bias=value != 0,
        ones="none" if value == 0 else "shift",
        numbers=numbers,
    )


def _pad(node: ir.Node, _value: ir.Value, shapes: Shapes) -> Terms | None:
    image = cast("ir.Value", node.inputs[0])
    mode = node.attributes.get("mode")
    inputs = [*node.inputs, None, None]
    pads, constant, axes = _integers(inputs[1]), inputs[2], _integers(inputs[3])
    if pads is None or (inputs[3] is not None and axes is None):
        return None
    if mode is not None and mode.as_string() != "constant":
        return None
    if constant is not None and not is_constant(constant):
        return None
    places = [axis % 4 for axis in axes] if axes is not None else [0, 1, 2, 3]
    amount = {axis: (pads[i], pads[i + len(places)]) for i, axis in enumerate(places)}
    if any(amount.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        return None
    (top, bottom), (left, right) = amount.get(2, (0, 0)), amount.get(3, (0, 0))
    value = 0.0 if constant is None else float(array(constant).reshape(-1)[0])
    if not np.isfinite(value):
        return None
    return [(image, _frame(channels(image, shapes), (top, left, bottom, right), "pad", value))]


def _average(node: ir.Node, _value: ir.Value, shapes: Shapes) -> Terms | None:
    image = cast("ir.Value", node.inputs[0])
    kernel = _ints(node, "kernel_shape", ())
    strides = cast("tuple[int, int]", _ints(node, "strides", (1, 1)))
    dilations = cast("tuple[int, int]", _ints(node, "dilations", (1, 1)))
    pads = _conv_pads(node, kernel, strides, dilations)
    if pads is None or _int(node, "ceil_mode", 0) or len(kernel) != 2 or dilations != (1, 1):
        return None
    if any(pads) and not _int(node, "count_include_pad", 0):
        return None  # divides by fewer pixels at the border
    count = channels(image, shapes)
    weight = torch.full((count, 1, *kernel), 1 / (kernel[0] * kernel[1]), dtype=torch.float64)
    operator = Operator(
        rule=f"{kernel[0]}x{kernel[1]} average",
        kind="conv",
        out_channels=count,
        in_channels=count,
        taps=np.ones(kernel, np.bool_),
        pads=pads,
        strides=strides,
        groups=count,
        numbers=lambda: algebra.conv(weight, groups=count, pads=pads, strides=strides),
    )
    return [(image, operator)]


def _gather(node: ir.Node, _value: ir.Value, shapes: Shapes) -> Terms | None:
    image, index = cast("ir.Value", node.inputs[0]), _integers(node.inputs[1])
    if _int(node, "axis", 0) not in (1, -3) or index is None or len(node.inputs[1].shape or ()) != 1:  # type: ignore[reportOptionalMemberAccess]
        return None
    count = channels(image, shapes)
    return [_select(image, [item % count for item in index], shapes, "gather")]


_READERS: dict[str, Callable[[ir.Node, ir.Value, Shapes], Terms | None]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Add": _pointwise,
    "Sub": _pointwise,
    "Mul": _pointwise,
    "Div": _pointwise,
    "Sum": _sum,
    "Mean": _sum,
    "Neg": _negative,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "AveragePool": _average,
}
