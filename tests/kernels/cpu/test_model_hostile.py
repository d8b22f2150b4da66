"""Files that are made to take memory or time are refused, in little of both."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_kernels.cpu.network import Model, why_unavailable
from repsr_kernels.errors import ModelFileError, NotPlainError
from tests.kernels.cpu.model_edits import peak_kb
from tests.kernels.cpu.model_files import SEEDS, Draft, plain

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)


GROWTH_KB = 16_000
"""Memory that a small file may take."""
PER_FILE_S = 1.0
"""Time that a file may take; the slowest take a quarter of it."""


def nodes_before(count: int, make: Callable[[int, str], onnx.NodeProto]) -> bytes:
    """A chain of nodes behind the shuffle."""
    draft = Draft(channels=2)
    x = draft.shuffle(draft.tail(draft.head()))
    for index in range(count):
        draft.nodes.append(make(index, x))
        x = f"n{index}"
    return draft.model(x).SerializeToString()


def with_constant(op: str, *values: int) -> bytes:
    """A node on the picture with integers of any size, before the skip."""
    draft = Draft(channels=2)
    skip = draft.node(op, "input", draft.integers(*values))
    return draft.model(draft.shuffle(draft.node("Add", draft.tail(draft.head()), skip))).SerializeToString()


def chained(op: str, *values: int, times: int) -> bytes:
    """A node many times in a row, each growing what the one before gave."""
    draft = Draft(channels=2)
    skip, constant = "input", draft.integers(*values)
    for _ in range(times):
        skip = draft.node(op, skip, constant)
    return draft.model(draft.shuffle(draft.node("Add", draft.tail(draft.head()), skip))).SerializeToString()


def huge_raw_dims() -> bytes:
    model = plain()
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [64, 64, 2**31, 2**31]
    return model.SerializeToString()


def many_dims() -> bytes:
    model = plain()
    model.graph.input[0].type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension(dim_value=2**62)] * 1000)
    return model.SerializeToString()


def many_properties() -> bytes:
    return SEEDS["plain"]().SerializeToString() + b"\x72\x00" * 100_000


def many_empty_nodes() -> bytes:
    graph = b"\x0a\x00" * 100_000
    return b"\x08\x09\x42\x02\x10\x12" + b"\x3a" + bytes([0xC0, 0x9A, 0x0C]) + graph


def many_numbers() -> bytes:
    draft = Draft(channels=2)
    skip = draft.node("ConstantOfShape", draft.integers(2**40))
    return draft.model(draft.shuffle(draft.node("Add", draft.tail(draft.head()), skip))).SerializeToString()


def doubled_sizes() -> bytes:
    """Sizes that double until no integer holds them."""
    draft = Draft(channels=2)
    x = draft.node("Shape", "input")
    for _ in range(100):
        x = draft.node("Mul", x, x)
    skip = draft.node("Reshape", "input", x)
    return draft.model(draft.shuffle(draft.node("Add", draft.tail(draft.head()), skip))).SerializeToString()


def gathered_far() -> bytes:
    """A size at a place that is no integer, and none of them holds."""
    draft = Draft(channels=2)
    size = draft.node("Gather", draft.node("Shape", "input"), draft.number(7e28))
    skip = draft.node("Reshape", "input", size)
    return draft.model(draft.shuffle(draft.node("Add", draft.tail(draft.head()), skip))).SerializeToString()


def large_attribute() -> bytes:
    model = plain()
    model.graph.node[0].attribute.append(helper.make_attribute("kernel_shape", [3] * 100_000))
    return model.SerializeToString()


def large_gather() -> bytes:
    model = plain()
    tensor = next(each for each in model.graph.initializer if each.data_type == TensorProto.INT64)
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(500_000, np.int64), tensor.name))
    return model.SerializeToString()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "Tile 2^62": lambda: with_constant("Tile", 1, 2**62, 1, 1),
    "Tile to 2^64": lambda: with_constant("Tile", 2**16, 2**16, 2**16, 2**16),
    "Tile again": lambda: chained("Tile", 1, 2, 2, 2, times=60),
    "Expand 2^62": lambda: with_constant("Expand", 2**62, 1, 1, 1, 1),
    "Expand to 2^64": lambda: with_constant("Expand", 2**32, 2**32, 1, 1, 1, 1),
    "Reshape 2^62": lambda: with_constant("Reshape", 2**62, 2**62, 1),
    "Reshape below 0": lambda: with_constant("Reshape", -1, -1, 1),
    "Reshape to the least": lambda: with_constant("Reshape", -(2**63), 1),
    "Unsqueeze everywhere": lambda: with_constant("Unsqueeze", *range(8)),
    "Unsqueeze twice": lambda: with_constant("Unsqueeze", 1, 1),
    "Unsqueeze far": lambda: with_constant("Unsqueeze", 2**62),
    "Gather far": lambda: with_constant("Gather", 2**62),
    "moved again and again": lambda: nodes_before(
        4000, lambda i, x: helper.make_node("Transpose", [x], [f"n{i}"], perm=[0, 1, 3, 2])
    ),
    "clamped again and again": lambda: nodes_before(
        8000, lambda i, x: helper.make_node("Clip", [x], [f"n{i}"], min=0.0, max=1.0)
    ),
    "too many nodes": lambda: nodes_before(9000, lambda i, x: helper.make_node("Identity", [x], [f"n{i}"])),
    "dims": huge_raw_dims,
    "rank": many_dims,
    "properties": many_properties,
    "empty nodes": many_empty_nodes,
    "ConstantOfShape": many_numbers,
    "doubled": doubled_sizes,
    "Gather at a float": gathered_far,
    "attribute": large_attribute,
    "long Gather": large_gather,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str) -> None:
    content = HOSTILE[name]()
    before, begun = peak_kb(), time.perf_counter()
    if name == "clamped again and again":  # long, and harmless
        Model(content)
    else:
        with pytest.raises((ModelFileError, NotPlainError)):
            Model(content)
    assert time.perf_counter() - begun < PER_FILE_S
    assert peak_kb() - before < 3 * len(content) // 1024 + GROWTH_KB
