"""What a checkpoint or a model is, in words: what people ask first about a file that they did not make."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repsr_deploy.checkpoint import is_checkpoint, load_checkpoint
from repsr_deploy.files import sha256
from repsr_deploy.nets.spec import NetSpec

MACS_720P = 1280 * 720


def inspect_file(path: Path) -> dict[str, str]:
    """Facts about a .safetensors checkpoint or an .onnx model, label -> text, in the order in which to show them.

    Raises:
        ModelFileError: missing, damaged, or neither of the two.
    """
    return _inspect_checkpoint(path) if is_checkpoint(path) else _inspect_model(path)


def _inspect_checkpoint(path: Path) -> dict[str, str]:
    from repsr_deploy.nets.network import macs_per_lr_pixel, num_parameters

    net, info = load_checkpoint(path)
    state = "already folded" if net.spec == net.spec.folded else "trained form; folds into " + _form(net.spec.folded)
    return {
        "kind": f"checkpoint ({state})",
        "network": _form(net.spec),
        **_geometry(net.spec.scale, net.spec.halo, net.spec.colour),
        **_cost(num_parameters(net), macs_per_lr_pixel(net), net.spec.scale),
        **_origin(path, info.data_licence, info.psnr, info.history),
    }


def _form(spec: NetSpec) -> str:
    """Name and the options that it does not say: `RepSR-M4C16 (expansion 2, paths 2, norm bn)`."""
    said = {"family", "scale", "blocks", "channels", "colour"}
    options = [f"{key} {value}" for key, value in asdict(spec).items() if key not in said]
    return spec.name if spec.family == "plain" else f"{spec.name} ({', '.join(options).replace('_', ' ')})"


def _inspect_model(path: Path) -> dict[str, str]:
    from repsr_deploy.runtimes import open_runtime

    info = open_runtime(path).info
    parameters, macs = count_model(path)
    facts = {
        "kind": f"ONNX model, {info.precision}, {info.io} in {info.range[0]:g}..{info.range[1]:g}",
        "network": info.name,
        **_geometry(info.scale, info.halo, info.colour),
        **_cost(parameters, macs, info.scale),
        **_origin(path, info.data_licence, info.psnr, info.history),
    }
    if info.proof:
        facts["proof"] = json.dumps(info.proof)
    return facts


def count_model(path: Path) -> tuple[int, float | None]:
    """Parameters and convolution MACs for each LR pixel of an ONNX model whose weights are initializers.

    The MACs are None when the size of a convolution's output or weight cannot be inferred.
    """
    import onnx
    from onnx import shape_inference

    model = onnx.load(path)
    side = 64
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[0].dim_value, sides[2].dim_value, sides[3].dim_value = 1, side, side
    model.graph.output[0].type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    tensors = [*graph.value_info, *graph.output]
    shapes = {item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in tensors}
    weights = {item.name: math.prod(item.dims) for item in graph.initializer}
    floats = [item for item in graph.initializer if item.data_type != onnx.TensorProto.INT64 and len(item.dims) > 0]
    parameters = sum(math.prod(item.dims) for item in floats)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    if any(node.input[1] not in weights or not shapes.get(node.output[0]) for node in convolutions):
        return parameters, None
    pixels = (math.prod(shapes[node.output[0]][-2:]) for node in convolutions)
    macs = sum(weights[node.input[1]] * count for node, count in zip(convolutions, pixels, strict=True))
    return parameters, macs / side**2


def _geometry(scale: int, halo: int | None, colour: str) -> dict[str, str]:
    reach = "the whole image (cannot be tiled)" if halo is None else f"{halo} LR pixels"
    return {"scale": f"x{scale}", "halo": reach, "colour": colour}


def _cost(parameters: int, macs: float | None, scale: int) -> dict[str, str]:
    if macs is None:
        return {"parameters": f"{parameters:,}", "MACs": "not derivable from the graph"}
    giga = macs * MACS_720P / scale**2 / 1e9
    return {"parameters": f"{parameters:,}", "MACs": f"{macs:,.0f} for each LR pixel; {giga:.2f} G for 1280x720 output"}


def _origin(path: Path, licence: str, psnr: Mapping[str, Any], history: list[dict[str, Any]]) -> dict[str, str]:
    facts = {"sha256": sha256(path.read_bytes())}
    if psnr:
        facts["PSNR-Y"] = ", ".join(f"{name} {value} dB" for name, value in psnr.items())
    facts["training data licence"] = licence or "not stated"
    for index, entry in enumerate(history):
        facts[f"history {index + 1}"] = json.dumps(entry)
    if not history:
        facts["history"] = "none in the file"
    return facts
