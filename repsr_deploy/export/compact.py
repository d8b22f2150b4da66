"""Compact (Real-ESRGAN's SRVGGNetCompact): its names, and VGG-style graphs as its checkpoints.

    y = PixelShuffle_s(body(x)) + nearest_s(x),   body = conv3x3, (PReLU, conv3x3) ...

`body.0`, `body.2`, ... are convolutions, `body.1`, `body.3`, ... the slopes between them. spandrel tells scale, widths
and depth from the shapes and takes PReLU for granted; so Relu and LeakyRelu are written as the PReLU that they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.checkpoint import save_tensors
from repsr_deploy.errors import FoldError, RepsrError, UsageError
from repsr_deploy.files import atomic_path

if TYPE_CHECKING:
    import onnx_ir as ir

PLAIN_CONV = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
"""Attributes of the only convolutions that Compact has, beside kernel and group."""


def compact_names(blocks: int) -> dict[str, str]:
    """Name in Compact -> name in our plain network of M blocks, which is the same network: 2 M + 3 layers."""
    convs = ["head", *(f"body.{index}" for index in range(blocks)), "tail"]
    acts = ["head_act", *(f"body_acts.{index}" for index in range(blocks))]
    names = {
        f"body.{2 * place}.{kind}": f"{conv}.{kind}" for place, conv in enumerate(convs) for kind in ("weight", "bias")
    }
    return names | {f"body.{2 * place + 1}.weight": f"{act}.weight" for place, act in enumerate(acts)}


def to_compact(model: ir.Model) -> dict[str, Tensor]:
    """The tensors of the Compact network that computes what `model` does, float32.

    A final Clip to 0..1 is left out: tools that load Compact do that themselves.

    Raises:
        FoldError: it is no such network; the message says which property does not fit, and where.
    """
    if len(model.graph.inputs) != 1 or len(model.graph.outputs) != 1:
        raise FoldError(f"{_NOT} it has {len(model.graph.inputs)} inputs and {len(model.graph.outputs)} outputs")
    image = model.graph.inputs[0]
    last, scale = _last_convolution(model.graph.outputs[0], image)
    layers = _layers(last, image)  # from the end
    tensors: dict[str, Tensor] = {}
    for place, node in enumerate(reversed(layers)):
        if node.op_type == "Conv":
            weight_oihw, bias_o = _convolution(node)
            tensors |= {f"body.{place}.weight": weight_oihw, f"body.{place}.bias": bias_o}
        else:
            tensors[f"body.{place}.weight"] = _slopes(node, tensors[f"body.{place - 1}.bias"].numel())
    _require_equal_widths(tensors, scale)
    return tensors


def save_compact(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a Compact checkpoint as today's tools read it: .pth as {"params": ...}, or bare .safetensors; atomically.

    Raises:
        UsageError: another suffix.
        RepsrError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        save_tensors(path, tensors, {"format": "pt"})
        return
    if path.suffix.lower() != ".pth":
        raise UsageError(f"a Compact checkpoint ends in .pth or .safetensors, not {path.suffix or 'nothing'}: {path}")
    with atomic_path(path) as temporary:
        try:
            torch.save({"params": dict(tensors)}, temporary)
        except RuntimeError as error:
            raise RepsrError(f"cannot write {path}: {error}; choose a writable place with free space") from error


_NOT = "this is no network that Compact (SRVGGNetCompact) can express:"


def _last_convolution(output: ir.Value, image: ir.Value) -> tuple[ir.Value, int]:
    """What the last convolution gives, and the scale; checks everything behind it."""
    if (node := output.producer()) is not None and node.op_type == "Clip":
        limits = [_constant(value, node).item() for value in node.inputs[1:3] if value is not None]
        if limits != [0.0, 1.0]:
            raise FoldError(f"{_NOT} {_at(node)} clips to {limits}, not to 0..1")
        output = _only_input(node)
    scale, node = None, output.producer()
    if node is not None and node.op_type == "DepthToSpace":
        scale, output = _shuffle(node)
        node = output.producer()
    if node is None or node.op_type != "Add":
        raise FoldError(f"{_NOT} it ends in {_at(node)}, where Compact adds the enlarged input")
    first, second = (cast("ir.Value", value) for value in node.inputs)
    features, skip = (second, first) if _is_skip(first, image) else (first, second)
    if not _is_skip(skip, image):
        raise FoldError(f"{_NOT} {_at(node)} adds no enlargement of the input")
    if scale is not None:
        _require_repeat(skip, image, scale)
        return features, scale
    shuffle, enlargement = features.producer(), skip.producer()
    if shuffle is not None and shuffle.op_type == "DepthToSpace":
        scale, features = _shuffle(shuffle)
        _require_nearest(skip, scale)
        return features, scale
    if enlargement is not None and enlargement.op_type == "Resize":
        raise FoldError(f"{_NOT} {_at(shuffle)} is where PixelShuffle should be")
    if skip is not image:
        _require_repeat(skip, image, 1)
    return features, 1


def _shuffle(node: ir.Node) -> tuple[int, ir.Value]:
    mode = node.attributes.get_string("mode", "DCR")
    if mode != "CRD":
        raise FoldError(f"{_NOT} {_at(node)} orders channels as {mode}, PixelShuffle as CRD")
    return cast("int", node.attributes.get_int("blocksize")), _only_input(node)


def _is_skip(value: ir.Value, image: ir.Value) -> bool:
    node = value.producer()
    return value is image or (node is not None and node.op_type in ("Resize", "Gather") and node.inputs[0] is image)


def _require_repeat(skip: ir.Value, image: ir.Value, scale: int) -> None:
    """Before PixelShuffle, nearest-neighbour enlargement is every colour scale^2 times in a row."""
    node = skip.producer()
    if node is None or node.op_type != "Gather":
        raise FoldError(f"{_NOT} {_at(node)} adds to the features before PixelShuffle what is no repeated colour")
    order = _constant(node.inputs[1], node)
    colours = order.size // scale**2
    expected = np.repeat(np.arange(colours), scale**2)
    if node.attributes.get_int("axis", 0) != 1 or not np.array_equal(order, expected):
        raise FoldError(f"{_NOT} {_at(node)} does not repeat every colour {scale**2} times in a row")
    if image.shape is not None and isinstance(image.shape[1], int) and image.shape[1] != colours:
        raise FoldError(f"{_NOT} {_at(node)} repeats {colours} of the {image.shape[1]} colours")


def _require_nearest(skip: ir.Value, scale: int) -> None:
    from repsr_deploy.folding.graph.skip import EXACT_NEAREST, resize_way

    node = skip.producer()
    if node is None or node.op_type != "Resize":
        raise FoldError(f"{_NOT} {_at(node)} adds to the output what is no enlarged input")
    way = resize_way(node)
    if way not in EXACT_NEAREST:
        raise FoldError(f"{_NOT} the skip {_at(node)} is {way[0]} ({', '.join(way[1:])}), not nearest neighbour")
    if len(node.inputs) < 3 or node.inputs[2] is None:
        raise FoldError(f"{_NOT} the skip {_at(node)} enlarges to a computed size, not by a constant factor")
    scales = _constant(node.inputs[2], node).tolist()
    if scales != [1, 1, scale, scale]:
        raise FoldError(f"{_NOT} the skip {_at(node)} enlarges by {scales}, PixelShuffle by {scale}")


def _layers(value: ir.Value, image: ir.Value) -> list[ir.Node]:
    """Convolutions and activations by turns, from `value` back to the image."""
    layers: list[ir.Node] = []
    while value is not image:
        node, turn = value.producer(), ("PRelu", "Relu", "LeakyRelu") if len(layers) % 2 else ("Conv",)
        if node is None or node.op_type not in turn:
            raise FoldError(f"{_NOT} {_at(node)} is where {' or '.join(turn)} should be")
        if len(value.uses()) != 1 or value.is_graph_output():
            raise FoldError(f"{_NOT} what {_at(node)} gives is used {len(value.uses())} times: there is an inner skip")
        layers.append(node)
        value = cast("ir.Value", node.inputs[0])
    if len(layers) % 2 == 0 or len(layers) < 3:
        raise FoldError(f"{_NOT} it has {len(layers)} layers; expected convolutions with activations between them")
    return layers


def _convolution(node: ir.Node) -> tuple[Tensor, Tensor]:
    weight_oihw = torch.from_numpy(_constant(node.inputs[1], node))
    kernel, group = tuple(weight_oihw.shape[2:]), node.attributes.get_int("group", 1)
    if kernel != (3, 3) or group != 1:
        raise FoldError(f"{_NOT} {_at(node)} has a kernel of {'x'.join(map(str, kernel))} in {group} groups, not 3x3")
    if (padding := node.attributes.get_string("auto_pad", "NOTSET")) != "NOTSET":
        raise FoldError(f"{_NOT} {_at(node)} has auto_pad {padding}, not explicit pads of 1")
    for name, expected in PLAIN_CONV.items():
        default = (0, 0, 0, 0) if name == "pads" else (1, 1)
        found = tuple(cast("tuple[int, ...]", node.attributes.get_ints(name, default)))
        if found != expected:
            raise FoldError(f"{_NOT} {_at(node)} has {name} {found}, not {expected}")
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return weight_oihw, weight_oihw.new_zeros(len(weight_oihw))
    return weight_oihw, torch.from_numpy(_constant(node.inputs[2], node))


def _slopes(node: ir.Node, channels: int) -> Tensor:
    """One slope for each channel, whichever activation it is."""
    if node.op_type != "PRelu":
        slope = 0.0 if node.op_type == "Relu" else node.attributes.get_float("alpha", 0.01)
        return torch.full((channels,), slope)
    slopes = _constant(node.inputs[1], node)
    if slopes.size not in (1, channels) or slopes.size != (slopes.shape[-3] if slopes.ndim > 2 else 1):
        raise FoldError(f"{_NOT} {_at(node)} has slopes of shape {slopes.shape}, not one for each channel")
    return torch.from_numpy(slopes).reshape(-1).expand(channels).contiguous()


def _require_equal_widths(tensors: Mapping[str, Tensor], scale: int) -> None:
    *widths, last = [value.numel() for key, value in tensors.items() if key.endswith(".bias")]
    if len(set(widths)) != 1:
        raise FoldError(f"{_NOT} its convolutions are {', '.join(map(str, widths))} wide, not equally")
    colours = tensors["body.0.weight"].shape[1]
    if last != colours * scale**2:
        raise FoldError(f"{_NOT} its last convolution gives {last} channels, not {colours} x {scale}^2")


def _constant(value: ir.Value | None, node: ir.Node) -> np.ndarray:
    """A constant input of `node`, floating-point ones as float32."""
    tensor = None if value is None else value.const_value
    if tensor is None:
        raise FoldError(f"{_NOT} an input of {_at(node)} is computed, not constant")
    array = np.array(tensor.numpy())
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _only_input(node: ir.Node) -> ir.Value:
    return cast("ir.Value", node.inputs[0])


def _at(node: ir.Node | None) -> str:
    return "the input" if node is None else f"{node.op_type} {node.name or node.outputs[0].name}"
