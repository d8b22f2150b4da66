"""Input-dependent factors of a graph, such as AdaDM's, and their replacement by constants.

AdaDM multiplies the features of a block by exp(w log s + b), s the deviation of its input over C, H and W (Liu et al.,
arXiv 2111.13905): one number for each image. In a graph that is a product of an image and a value of a single number
that some reduction leads to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.linear import Shapes, is_constant
from repsr_deploy.folding.graph.rewrite import add_constant
from repsr_deploy.folding.graph.shapes import reference_shapes

REASON = "one number for each image, which depends on the image; --calibrate makes it a constant"


def image_factors(graph: ir.Graph, shapes: Shapes) -> list[str]:
    """Names of the values of one number for each image that features are multiplied by."""
    found: dict[str, None] = {}
    for node in graph:
        if node.op_type not in ("Mul", "Div"):
            continue
        for value, other in (node.inputs, reversed(node.inputs)):
            if value is None or other is None or is_constant(value) or is_constant(other):
                continue
            shape, image = shapes.get(value.name or "", ()), shapes.get(other.name or "", ())
            if math.prod(shape) == 1 and len(image) == 4 and math.prod(image) > 1 and _is_reduced(value):
                found[value.name or ""] = None
    return list(found)


def _is_reduced(value: ir.Value) -> bool:
    seen: set[ir.Value] = set()
    queue = [value]
    while queue:
        node = queue.pop().producer()
        if node is None:
            continue
        reduces = node.op_type.startswith("Reduce") or node.op_type == "GlobalAveragePool"
        if reduces and any(item is not None and not is_constant(item) for item in node.inputs):
            return True
        new = [item for item in node.inputs if item is not None and item not in seen]
        seen.update(new)
        queue += new
    return False


def calibrated(model: ir.Model, images: Iterable[Tensor]) -> tuple[ir.Model, dict[str, float]]:
    """The graph with its factors as constants, their geometric means over `images`, and the constants by name.

    Args:
        model: not modified.
        images: what the graph takes, 1 x C x H x W each.

    Raises:
        UsageError: there are no such factors, no images, or a factor is not positive.
    """
    names = image_factors(model.graph, reference_shapes(model))
    if not names:
        raise UsageError("nothing to calibrate: no features are multiplied by a number that depends on the image")
    source = str(model.graph.inputs[0].name)
    seen: dict[str, list[float]] = {name: [] for name in names}
    for image in images:
        values = evaluate(model, {source: image.double()}, keep=names)
        for name in names:
            seen[name].append(values[name].item())
    constants = {name: _geometric_mean(name, numbers) for name, numbers in seen.items()}
    return _with_constants(model, constants), constants


def _geometric_mean(name: str, numbers: Sequence[float]) -> float:
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise UsageError(f"{name} cannot be calibrated: expected positive numbers on the images, found {numbers[:4]}")
    return math.exp(sum(math.log(number) for number in numbers) / len(numbers))


def _with_constants(model: ir.Model, constants: Mapping[str, float]) -> ir.Model:
    fixed = model.clone()
    values = {output.name: output for node in fixed.graph for output in node.outputs}
    for name, number in constants.items():
        old = values[name]
        dtype = old.dtype or ir.DataType.FLOAT
        numbers = np.full((1, 1, 1, 1), number).astype(dtype.numpy())
        new = add_constant(fixed.graph, f"{name}.calibrated", numbers, dtype)
        ir.convenience.replace_all_uses_with(old, new)
    passes.RemoveUnusedNodesPass()(fixed)
    return fixed
