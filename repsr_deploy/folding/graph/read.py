"""Any .onnx file as a graph in one canonical form, or an error that says what is wrong with it and where."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import cast

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from repsr_deploy.errors import ModelFileError
from repsr_deploy.folding.graph.constants import fold_constants, lift_constants
from repsr_deploy.folding.graph.read_checks import (
    check_finite,
    check_names,
    check_opset,
    check_storage,
    reason,
)
from repsr_deploy.folding.graph.read_opset import OPSET, convert, infer_or_explain


def read_graph(path: Path) -> ir.Model:
    """Read an ONNX model, its external data memory-mapped, and bring it into canonical form.

    That is: opset 18 or newer, no functions, no `Identity` and no inactive `Dropout`, constants as initializers that
    are no inputs, constant expressions computed, nothing unused, nodes in topological order and all named, types and
    shapes inferred. Inputs and outputs keep their names. Nodes of unknown operators and control flow stay.

    Raises:
        ModelFileError: the file is missing, broken or too new, its external data is missing, its shapes contradict
            each other, or its weights hold NaN or infinity. The message names the node or tensor.
    """
    model = _deserialize(_parse(path), path)
    check_storage(model, path)
    _normalize(model, path)
    check_finite((value for graph in model.graphs() for value in graph.initializers.values()), path)
    infer_or_explain(model, path)
    if model.opset_imports[""] < OPSET:
        convert(model, path)
    remove_pass_through(model.graph)
    new = fold_constants(model)
    passes.RemoveUnusedNodesPass()(model)
    check_finite((model.graph.initializers[name] for name in new if name in model.graph.initializers), path)
    _name_nodes(model.graph)
    infer_or_explain(model, path)
    return model


def _parse(path: Path) -> onnx.ModelProto:
    expected = "expected an .onnx file"
    if not path.is_file():
        raise ModelFileError(f"{path} {'is no file' if path.exists() else 'does not exist'}; {expected}")
    proto = onnx.ModelProto()
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise ModelFileError(f"{path} is empty; {expected}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                proto.ParseFromString(cast(bytes, data))  # takes any buffer, whatever its stub says
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; expected a readable .onnx file") from error
    except google.protobuf.message.DecodeError as error:
        raise ModelFileError(
            f"{path} is not a complete ONNX model ({error}); {expected}: download or export it again"
        ) from error
    if not proto.HasField("graph") or not proto.graph.output:
        what = "graph" if not proto.HasField("graph") else "outputs"
        raise ModelFileError(f"{path} holds no {what}; {expected} with a network in it: download or export it again")
    check_opset(proto, path)
    return proto


def _deserialize(proto: onnx.ModelProto, path: Path) -> ir.Model:
    check_names(proto.graph, path)
    # onnx_ir knows no sparse tensors.
    proto.graph.initializer.extend(_dense(sparse, path) for sparse in proto.graph.sparse_initializer)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("sparse_tensor"):
                attribute.CopyFrom(onnx.helper.make_attribute("value", _dense(attribute.sparse_tensor, path)))
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:  # onnx_ir's errors share no base class
        raise ModelFileError(f"{path} is not a valid ONNX model ({reason(error)}); export it again") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _dense(sparse: onnx.SparseTensorProto, path: Path) -> onnx.TensorProto:
    name = sparse.values.name
    try:
        values = onnx.numpy_helper.to_array(sparse.values)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        array = np.zeros(tuple(sparse.dims), values.dtype)
        array[np.unravel_index(indices, array.shape) if indices.ndim == 1 else tuple(indices.T)] = values
    except (ValueError, IndexError) as error:
        raise ModelFileError(f"{path}: sparse initializer {name!r} is broken ({error}); export it again") from error
    return onnx.numpy_helper.from_array(array, name)


def _normalize(model: ir.Model, path: Path) -> None:
    """All that needs no operator's meaning: functions, domains, inputs, order, names, what nobody uses."""
    imports = model.opset_imports
    if "ai.onnx" in imports:
        imports.setdefault("", imports.pop("ai.onnx"))
    imports.setdefault("", OPSET)
    try:
        passes.InlinePass()(model)
    except (ValueError, ir.passes.InvariantError) as error:
        raise ModelFileError(f"{path}: a function cannot be inlined ({reason(error)}); export it without") from error
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        node.domain = "" if node.domain == "ai.onnx" else node.domain
        imports.setdefault(node.domain, 1)
    passes.RemoveInitializersFromInputsPass()(model)
    try:
        model.graph.sort()
    except ValueError as error:
        raise ModelFileError(f"{path}: {_cycle(model.graph)}; expected a graph without cycles") from error
    lift_constants(model)
    passes.RemoveUnusedNodesPass()(model)
    _name_nodes(model.graph)


def _cycle(graph: ir.Graph) -> str:
    """Some node that feeds itself."""
    for start in graph:
        seen: set[ir.Node] = set()
        waiting = [start]
        while waiting:
            for reader in waiting.pop().successors():
                if reader is start:
                    return f"node {(start.name or start.outputs[0].name)!r} ({start.op_type}) depends on its own output"
                if reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
    return "a subgraph depends on its own output"


def _name_nodes(graph: ir.Graph) -> None:
    """Give nodes without a name, or with one taken, a name that reports can use."""
    taken: set[str] = set()
    for node in graph:
        if not node.name or node.name in taken:
            named = (value.name for value in node.outputs if value.name)
            node.name = f"{node.op_type}:{next(named, len(taken))}"
        taken.add(node.name)


def remove_pass_through(graph: ir.Graph) -> None:
    """Remove the main graph's `Identity` nodes and the `Dropout` nodes that are off, keeping the outputs' names."""
    for node in graph:
        source, value = node.inputs[0] if node.inputs else None, node.outputs[0]
        if source is None or not _passes_through(node):
            continue
        if value.is_graph_output():
            if source.producer() is None or source.is_graph_output():
                continue  # an input, a constant or another output: this one needs a node of its own
            name = value.name
            ir.convenience.replace_all_uses_with(value, source, replace_graph_outputs=True)
            graph.remove(node, safe=True)
            source.name = name
        else:
            ir.convenience.replace_all_uses_with(value, source)
            graph.remove(node, safe=True)


def _passes_through(node: ir.Node) -> bool:
    if node.domain or node.op_type not in ("Identity", "Dropout"):
        return False
    if node.op_type == "Identity":
        return True
    training = node.inputs[2] if len(node.inputs) > 2 else None
    off = training is None or (training.const_value is not None and not training.const_value.numpy().any())
    return off and not any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:])
