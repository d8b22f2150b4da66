"""What can be wrong with an ONNX file before any operator's meaning matters, each with its error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from repsr_deploy.errors import ModelFileError

_OLDEST_OPSET = 7  # before it, broadcasting was an attribute; ONNX Runtime starts there too
_CHUNK = 1 << 20  # elements
# Operators for which an infinite constant is a bound or a mask, no broken weight.
_TAKES_INFINITY = frozenset({"Clip", "Equal", "Expand", "Greater", "Less", "Max", "Min", "Pad", "Where"})


def check_opset(proto: onnx.ModelProto, path: Path) -> None:
    versions = {opset.domain: opset.version for opset in proto.opset_import}
    version = versions.get("", versions.get("ai.onnx"))
    if version is None:
        if any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
            raise ModelFileError(f"{path} does not say which ONNX opset it uses; export it again")
        return
    newest = onnx.defs.onnx_opset_version()
    if version > newest:
        raise ModelFileError(
            f"{path} uses ONNX opset {version}; the installed onnx {onnx.__version__} knows up to {newest}: "
            f"upgrade onnx, or export the model with opset {newest} or lower"
        )
    if version < _OLDEST_OPSET:
        raise ModelFileError(
            f"{path} uses ONNX opset {version}; expected {_OLDEST_OPSET} or newer: export the model again"
        )


def check_names(
    graph: onnx.GraphProto, path: Path, outer: frozenset[str] = frozenset(), owner: str | None = None
) -> None:
    """Every value has one producer, and every value that is used has one at all."""
    where = f"{path}" if owner is None else f"{path}, inside {owner}"
    sources = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    sources |= {sparse.values.name for sparse in graph.sparse_initializer}
    producers: dict[str, str] = {}
    for node in graph.node:
        for name in filter(None, node.output):
            if name in producers or name in sources:
                first = producers.get(name, "an input or initializer")
                raise ModelFileError(
                    f"{where}: {_label(node)} and {first} both produce {name!r}; expected one producer"
                )
            producers[name] = _label(node)
    visible = outer | sources | producers.keys()
    for node in graph.node:
        for name in filter(None, node.input):
            if name not in visible:
                raise ModelFileError(
                    f"{where}: {_label(node)} reads {name!r}, which no node, input or initializer produces; "
                    "the file is incomplete: export it again"
                )
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                check_names(inner, path, visible, _label(node))
    for value in graph.output:
        if value.name not in visible:
            raise ModelFileError(f"{where}: nothing produces the output {value.name!r}; export the model again")


def check_storage(model: ir.Model, path: Path) -> None:
    """Every initializer's bytes are there, in the file or in the external one."""
    for value in (value for graph in model.graphs() for value in graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        if isinstance(tensor, ir.ExternalTensor):
            _check_external(tensor, path)
        try:
            tensor.numpy()
        except Exception as error:  # onnx_ir and numpy each have their own
            raise ModelFileError(
                f"{path}: initializer {tensor.name!r} does not hold {tensor.dtype} of shape {_dims(tensor)} "
                f"({reason(error)}); download or export the file again"
            ) from error


def _check_external(tensor: ir.ExternalTensor, path: Path) -> None:
    data = Path(tensor.path)
    if not data.is_file():
        raise ModelFileError(
            f"{path}: the data of {tensor.name!r} is in {data}, which does not exist; put it there or export again"
        )
    size = data.stat().st_size - (tensor.offset or 0)
    size = size if tensor.length is None else min(size, tensor.length)
    if size < tensor.nbytes:
        raise ModelFileError(
            f"{path}: {data} has {max(size, 0)} bytes for {tensor.name!r}; expected {tensor.nbytes} for "
            f"{tensor.dtype} of shape {_dims(tensor)}: download or export both files again"
        )


def check_finite(values: Iterable[ir.Value], path: Path) -> None:
    """One tensor at a time, in chunks: nothing is held."""
    for value in values:
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point():
            continue
        flat = tensor.numpy().reshape(-1)
        bounds = all(user.op_type in _TAKES_INFINITY for user, _ in value.uses())
        for chunk in (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK)):
            if np.isnan(chunk).any() or not (bounds or np.isfinite(chunk).all()):
                user = next((f" of {node.name}" for node, _ in value.uses()), "")
                kind = "NaN" if np.isnan(chunk).any() else "infinity"
                raise ModelFileError(
                    f"{path}: tensor {value.name!r}{user} holds {kind}; such a network cannot be folded: "
                    "train or export it again"
                )


def reason(error: BaseException) -> str:
    """The error's own words on one line, without source files of the libraries and classes in front."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    text = re.sub(r"/\S+:\d+: |\[(\w+Error|ShapeInferenceError)\] ", "", " ".join(lines))
    return text[:300].rstrip(".") or type(error).__name__


def _label(node: onnx.NodeProto) -> str:
    return f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})"


def _dims(tensor: ir.TensorProtocol) -> str:
    return "x".join(map(str, tensor.shape.numpy())) or "()"
