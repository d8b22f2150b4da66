"""What every change of a graph needs: constants, and values that take the place of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def add_constant(graph: ir.Graph, name: str, numbers: NDArray[Any], dtype: ir.DataType | None) -> ir.Value:
    """A new initializer of the type `dtype`, by default that of `numbers`.

    Its numbers stay as they are: float64 under a shorter type is rounded by `emit.round_weights`, once, at the end.
    """
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(numbers, order="C"), name=name))
    value.shape = ir.Shape(numbers.shape)
    value.type = ir.TensorType(dtype or ir.DataType.from_numpy(numbers.dtype))
    graph.register_initializer(value)
    return value


def take_over(old: ir.Value, new: ir.Value, left: str) -> None:
    """Let `new` be read wherever `old` was, under its name and as an output of the graph; `old` is called `left`."""
    name = old.name
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name, new.name = left, name


def is_crd(shuffle: ir.Node) -> bool:
    """Whether a DepthToSpace orders channels as PixelShuffle does: colour first, then place."""
    return shuffle.attributes.get_string("mode", "DCR") == "CRD"
