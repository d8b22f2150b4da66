"""Changes of small models, and what is said about the result."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_kernels.cpu.network import Model
from repsr_kernels.errors import RepsrError
from tests.kernels.cpu.model_files import FLOAT

LONGEST = 400
"""Of a message."""
Edit = Callable[[onnx.ModelProto], object]
"""A change, in place."""


def refusal(content: bytes, kind: type[RepsrError]) -> str:
    """What is said: one printable sentence, which proposes a way out."""
    with pytest.raises(kind) as caught:
        Model(content)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert len(text) < LONGEST
    assert text.isascii()
    assert text.isprintable()
    assert "repsr-fuse export" in text
    return text


def assert_refused(model: onnx.ModelProto, kind: type[RepsrError], expected: str) -> None:
    text = refusal(model.SerializeToString(), kind)
    assert re.search(expected, text), text


def node(model: onnx.ModelProto, op: str, index: int = 0) -> onnx.NodeProto:
    return [each for each in model.graph.node if each.op_type == op][index]


def tensor(model: onnx.ModelProto, op: str, place: int, index: int = 0) -> TensorProto:
    """What a node reads."""
    name = node(model, op, index).input[place]
    return next(each for each in model.graph.initializer if each.name == name)


def with_attribute(op: str, name: str, value: Any, index: int = 0) -> Edit:
    """An attribute of a node set, or taken away by None."""

    def edit(model: onnx.ModelProto) -> None:
        target = node(model, op, index)
        kept = [each for each in target.attribute if each.name != name]
        del target.attribute[:]
        target.attribute.extend(kept)
        if value is not None:
            target.attribute.append(helper.make_attribute(name, value))

    return edit


def with_tensor(op: str, place: int, array: Any, index: int = 0) -> Edit:
    """What a node reads, replaced."""

    def edit(model: onnx.ModelProto) -> None:
        target = tensor(model, op, place, index)
        target.CopyFrom(numpy_helper.from_array(np.asarray(array), target.name))

    return edit


def with_number(op: str, place: int, number: float, index: int = 0) -> Edit:
    """The last number of what a node reads."""

    def edit(model: onnx.ModelProto) -> None:
        target = tensor(model, op, place, index)
        array = numpy_helper.to_array(target).copy()
        array.reshape(-1)[-1] = number
        target.CopyFrom(numpy_helper.from_array(array, target.name))

    return edit


def with_input_shape(*dims: int | str, dtype: int = FLOAT) -> Edit:
    """The graph's input."""
    return lambda model: model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", dtype, dims))


def rewired(op: str, place: int, source: str, index: int = 0) -> Edit:
    """A node that reads something else."""

    def edit(model: onnx.ModelProto) -> None:
        node(model, op, index).input[place] = source

    return edit


def all_of(*edits: Edit) -> Edit:
    """One after the other."""

    def edit(model: onnx.ModelProto) -> None:
        for each in edits:
            each(model)

    return edit


def added(index: int, op: str, inputs: list[str], name: str = "", **attributes: Any) -> Edit:
    """A node at a place among the others, which gives `new`."""
    made = helper.make_node(op, inputs, ["new"], name=name, **attributes)
    return lambda model: model.graph.node.insert(index % (len(model.graph.node) + 1), made)


def stored(name: str, array: Any) -> Edit:
    """One more initializer."""
    return lambda model: model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))


def called(name: str) -> Edit:
    """The node `new` has another name."""

    def edit(model: onnx.ModelProto) -> None:
        next(each for each in model.graph.node if each.output[0] == "new").name = name

    return edit


def ending_in(name: str) -> Edit:
    """What the graph gives."""
    return lambda model: setattr(model.graph.output[0], "name", name)


def inserted(op: str, behind: str, index: int = 0, more: tuple[str, ...] = (), **attributes: Any) -> Edit:
    """A node, `new`, between another and those that read it; `more` are its other inputs."""

    def edit(model: onnx.ModelProto) -> None:
        source = node(model, behind, index)
        position = list(model.graph.node).index(source)
        for each in model.graph.node:
            each.input[:] = ["new" if name == source.output[0] else name for name in each.input]
        made = helper.make_node(op, [source.output[0], *more], ["new"], name="new", **attributes)
        model.graph.node.insert(position + 1, made)

    return edit


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def features_only(model: onnx.ModelProto) -> None:
    """The last convolution becomes the output."""
    last = next(index for index, each in enumerate(model.graph.node) if each.name == "conv1_node")
    del model.graph.node[last + 1 :]
    model.graph.node[last].output[0] = "output"


def peak_kb() -> int:
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
