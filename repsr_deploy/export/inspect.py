"""What a checkpoint or a model is, in words: what people ask first about a file that they did not make."""

from __future__ import annotations

import json
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.checkpoint import is_checkpoint, is_foreign, load_checkpoint
from repsr_deploy.errors import ModelFileError
from repsr_deploy.files import file_sha256
from repsr_deploy.model_info import PREFIX, ModelInfo
from repsr_deploy.nets.spec import NetSpec
from repsr_deploy.runtimes.graph import derive_reach

if TYPE_CHECKING:
    import onnx_ir as ir

    from repsr_deploy.folding.graph.fold import Site
    from repsr_deploy.nets.base import Network

MACS_720P = 1280 * 720
LONGEST_TEXT = 200
"""Characters of a metadata entry that are shown."""


def inspect_file(path: Path) -> dict[str, str]:
    """Facts about a checkpoint or an .onnx model, ours or foreign, label -> text, in the order in which to show them.

    Raises:
        ModelFileError: missing, damaged, or neither of the two.
        UsageError: a foreign checkpoint, and spandrel, which recognises it, is not installed.
    """
    if is_foreign(path):
        return _inspect_foreign(path)
    return _inspect_checkpoint(path) if is_checkpoint(path) else _inspect_model(path)


def sites_of(path: Path) -> tuple[Site, ...]:
    """What an export of the file would fold and keep, each with outcome, rule and reason.

    Raises:
        ModelFileError: missing, damaged, or neither a model nor a checkpoint.
    """
    from repsr_deploy.export.graph import plan_sites

    if is_checkpoint(path) and not is_foreign(path):
        return _layer_sites(load_checkpoint(path)[0])
    return plan_sites(path)


def _layer_sites(net: Network) -> tuple[Site, ...]:
    """Every layer of a network of ours that folds, and what stays."""
    from repsr_deploy.folding.graph.fold import Site
    from repsr_deploy.folding.proof import describe
    from repsr_deploy.nets.network import linear_layers

    operators = {name: sum(map(len, layer.branches())) for name, layer in linear_layers(net).items()}
    folds = (
        Site(value=name, outcome="exact", rule=describe(layer), nodes_before=operators[name], nodes_after=1)
        for name, layer in linear_layers(net).items()
        if operators[name] > 1
    )
    stays = (
        Site(value="", outcome="kept", rule="", reason=line, nodes_before=1, nodes_after=1) for line in net.spec.kept
    )
    return (*folds, *stays)


def _inspect_foreign(path: Path) -> dict[str, str]:
    from repsr_deploy.export.zoo import load_foreign
    from repsr_deploy.nets.network import num_parameters

    net = load_foreign(path)
    facts = {
        "kind": f"checkpoint of another project ({net.form})",
        "network": net.architecture,
        "scale": f"x{net.scale}",
        "colours": f"{net.in_channels} in, {net.out_channels} out",
        "parameters": f"{num_parameters(net.module):,}",
        "sha256": file_sha256(path),
    }
    return facts | {f"note {index}": note for index, note in enumerate(net.notes, 1)}


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
    from repsr_deploy.export.graph import picture_geometry, read_source

    with tempfile.TemporaryDirectory() as scratch:
        model, _ = read_source(path, Path(scratch))
    info = ModelInfo.from_props(model.metadata_props)
    geometry = picture_geometry(model) if info is None else (info.scale, info.colour)
    facts = {
        "kind": _model_kind(info, model),
        "network": str(model.graph.name) if info is None else info.name,
        "inputs": ", ".join(map(_signature, model.graph.inputs)),
        "outputs": ", ".join(map(_signature, model.graph.outputs)),
    }
    if geometry is None:
        facts["scale"] = "none: it does not make one picture from one"
    else:
        facts |= {"scale": f"x{geometry[0]}", "halo": _model_halo(path, info), "colour": geometry[1]}
    facts |= _graph_cost(model, None if geometry is None else geometry[0])
    producer = f"{model.producer_name or ''} {model.producer_version or ''}".strip()
    facts |= {"opset": _opsets(path), "producer": producer or "not stated"}
    if info is None:
        facts |= _origin(path, "", {}, [])
    else:
        facts |= _origin(path, info.data_licence, info.psnr, info.history)
    if info is not None and info.proof:
        facts["proof"] = json.dumps(info.proof)
    foreign = {key: text for key, text in model.metadata_props.items() if not key.startswith(PREFIX)}
    return facts | {f"metadata {key}": textwrap.shorten(text, LONGEST_TEXT) for key, text in foreign.items()}


def _graph_cost(model: ir.Model, scale: int | None) -> dict[str, str]:
    from repsr_deploy.folding.graph.cost import totals
    from repsr_deploy.folding.graph.shapes import reference_shapes

    shapes = reference_shapes(model)
    counted = totals(model, shapes)
    if scale is None:
        total = f"{counted.macs_per_lr_pixel:,.0f} for each pixel of the first input"
        facts = {"parameters": f"{counted.parameters:,}", "MACs": total}
    else:
        facts = _cost(counted.parameters, counted.macs_per_lr_pixel, scale)
    unknown = [node for node in model.graph if any((output.name or "") not in shapes for output in node.outputs)]
    if unknown:
        facts["MACs"] += f"; without {len(unknown)} nodes of unknown shape, the first {unknown[0].name!r}"
    return facts | {"nodes": f"{counted.nodes:,}"}


def _opsets(path: Path) -> str:
    """As the file states them; a graph that was read is in a newer one."""
    import onnx

    proto = onnx.load(path, load_external_data=False)
    imports = ", ".join(f"{item.domain or 'ai.onnx'} {item.version}" for item in proto.opset_import)
    return f"{imports}; IR version {proto.ir_version}"


def _model_kind(info: ModelInfo | None, model: ir.Model) -> str:
    if info is not None:
        return f"ONNX model, {info.precision}, {info.io} in {info.range[0]:g}..{info.range[1]:g}"
    types = sorted({value.dtype.name.lower() for value in model.graph.inputs if value.dtype is not None})
    return f"ONNX model, {', '.join(types)}; it says nothing about itself, so its graph was looked at"


def _model_halo(path: Path, info: ModelInfo | None) -> str:
    if info is not None and info.halo is not None:
        return f"{info.halo} LR pixels"
    try:
        reach = derive_reach(path, path.name)
    except ModelFileError as error:
        return f"none, so it cannot be tiled: {error}"
    return f"{reach.halo} LR pixels"


def _signature(value: ir.Value) -> str:
    """`input: float N x 3 x H x W`."""
    kind = "unknown" if value.dtype is None else value.dtype.name.lower()
    dims = "of unknown shape" if value.shape is None else _dims(value.shape.dims)
    return f"{value.name}: {kind} {dims}"


def _dims(dims: Sequence[int | ir.SymbolicDim]) -> str:
    return " x ".join(map(_dim, dims)) or "scalar"


def _dim(dim: int | ir.SymbolicDim) -> str:
    """A number, the file's name for a free one, or `?`; `unk__2` are names that ONNX's shape inference makes up."""
    name = str(dim if isinstance(dim, int) else dim.value)
    return "?" if name == "None" or name.startswith("unk__") else name


def _geometry(scale: int, halo: int | None, colour: str) -> dict[str, str]:
    reach = "the whole image (cannot be tiled)" if halo is None else f"{halo} LR pixels"
    return {"scale": f"x{scale}", "halo": reach, "colour": colour}


def _cost(parameters: int, macs: float, scale: int) -> dict[str, str]:
    giga = macs * MACS_720P / scale**2 / 1e9
    return {"parameters": f"{parameters:,}", "MACs": f"{macs:,.0f} for each LR pixel; {giga:.2f} G for 1280x720 output"}


def _origin(path: Path, licence: str, psnr: Mapping[str, Any], history: list[dict[str, Any]]) -> dict[str, str]:
    facts = {"sha256": file_sha256(path)}
    if psnr:
        facts["PSNR-Y"] = ", ".join(f"{name} {value} dB" for name, value in psnr.items())
    facts["training data licence"] = licence or "not stated"
    for index, entry in enumerate(history):
        facts[f"history {index + 1}"] = json.dumps(entry)
    if not history:
        facts["history"] = "none in the file"
    return facts
