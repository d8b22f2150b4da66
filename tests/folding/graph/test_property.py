"""Random networks from the grammar: folded, each is the same function, valid, no dearer, and folded for good.

The normal run takes 150 networks. `REPSR_PROPERTY_EXAMPLES=10000 pytest tests/folding/graph/test_property.py` takes
10000, drawn anew at each run; a failure prints the smallest recipe that fails and the line that reproduces it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, note, reject, settings
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.cost import Objective
from repsr_deploy.folding.graph.emit import round_weights
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_shapes
from tests.folding.graph.grammar import INPUT, Network, networks, reach

EXAMPLES = int(os.environ.get("REPSR_PROPERTY_EXAMPLES", "150"))
OBJECTIVES: tuple[Objective, ...] = ("macs", "nodes")
EXACT = 1e-10
"""Of the output's range, in float64."""
ROUNDED = 1e-4
"""Of the output's range, in float32."""
SIDES = ((21, 27), (25, 19))
PASSES = 4


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("property") / "network.onnx"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 150,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(network=networks())
def test_a_folded_network_is_the_same_function(network: Network, path: Path) -> None:
    """The lowest bit of the seed is the objective; the next, whether to fold with the border allowed, too."""
    path.write_bytes(network.build().SerializeToString())
    model = read_graph(path)
    objective = OBJECTIVES[network.seed % 2]
    folded = fold_graph(model, objective)
    note(f"{objective}: {[site.rule for site in folded.sites]}")
    for sides in SIDES:
        image = images(network.channels, sides)
        try:
            before = evaluate(model, image)
        except FoldError:  # crops and kernels left nothing of an image inside
            reject()
        after = evaluate(folded.model, image)
        assert list(before) == list(after)
        for name, expected in before.items():
            assert error(after[name], expected) < EXACT, f"{name} differs at {sides}"

    if network.is_regular:
        assert price(folded.model, objective) <= price(model, objective), said(model, folded.model)
        comes_to_rest(folded.model, objective)
    if network.seed // 2 % 2:
        interior_is_exact(network, model, fold_graph(model, objective, allow_border=True).model)
    runs_rounded(model, folded.model, images(network.channels, SIDES[0]))


def images(channels: int, sides: tuple[int, int]) -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(sides[0])
    return {INPUT: torch.rand(1, channels, *sides, generator=generator, dtype=torch.float64) + 0.5}


def error(actual: Tensor, expected: Tensor) -> float:
    """Largest error as a fraction of the range."""
    assert actual.shape == expected.shape
    span = (expected.max() - expected.min()).item()
    return (actual - expected).abs().max().item() / max(span, 0.1)


def interior_is_exact(network: Network, model: ir.Model, folded: ir.Model) -> None:
    """Beyond the reach of the border, folds that are allowed to change it are exact, too."""
    halo, _ = reach(network.layers)
    sides = (2 * halo + 25, 2 * halo + 27)
    image = images(network.channels, sides)
    before, after = evaluate(model, image), evaluate(folded, image)
    for name, expected in before.items():
        cut = [math.ceil((halo + 2) * size / side) for size, side in zip(expected.shape[2:], sides, strict=True)]
        inside = (..., slice(cut[0], expected.shape[2] - cut[0]), slice(cut[1], expected.shape[3] - cut[1]))
        assert after[name].shape == expected.shape
        assert expected[inside].numel() > 0
        assert error(after[name][inside], expected[inside]) < EXACT, f"the interior of {name} differs"


def runs_rounded(model: ir.Model, folded: ir.Model, image: Mapping[str, Tensor]) -> None:
    """As it is stored, the folded graph is valid and ONNX Runtime computes the same, but for rounding."""
    round_weights(folded.graph)
    proto = ir.to_proto(folded)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in folded.graph.inputs] == [value.name for value in model.graph.inputs]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["Pad_Fusion"],  # makes pads of an AveragePool that its own kernel then refuses
    )
    arrays = session.run(None, {name: tensor.numpy().astype(np.float32) for name, tensor in image.items()})
    for (name, expected), array in zip(evaluate(model, image).items(), arrays, strict=True):
        assert error(torch.from_numpy(np.asarray(array)).double(), expected) < ROUNDED, f"{name} rounds too much"


def comes_to_rest(model: ir.Model, objective: Objective) -> None:
    """Folding what is folded makes nothing dearer, and soon changes nothing more."""
    for _ in range(PASSES):
        again = fold_graph(model, objective).model
        assert price(again, objective) <= price(model, objective), said(model, again)
        if operators(again) == operators(model):
            return
        model = again
    pytest.fail(f"folded {PASSES} times, it still changes: {operators(model)}")


def operators(model: ir.Model) -> list[str]:
    return sorted(node.op_type for node in model.graph)


def said(before: ir.Model, after: ir.Model) -> str:
    return f"{operators(before)} became {operators(after)}"


def price(model: ir.Model, objective: Objective) -> int:
    """Counted apart from the folder's own cost model, which only estimates."""
    shapes = reference_shapes(model)
    images = [node for node in model.graph if len(shapes[str(node.outputs[0].name)]) == 4 and not is_plane(node)]
    return len(images) if objective == "nodes" else sum(work(node, shapes) for node in images)


def is_plane(node: ir.Node | None) -> bool:
    """Whether it makes an image of ones: one channel, which costs next to nothing."""
    return node is not None and node.op_type == "ConstantOfShape"


def work(node: ir.Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-adds for the reference input."""
    return taps(node) * sum(math.prod(shapes[str(value.name)]) for value in node.outputs)


def taps(node: ir.Node) -> int:
    """Multiply-adds for each number that a node writes."""
    if node.op_type == "Conv":
        weight = node.inputs[1]
        assert weight is not None
        assert weight.shape is not None
        return math.prod(weight.shape.numpy()[1:])
    if node.op_type == "AveragePool":
        return math.prod(node.attributes["kernel_shape"].as_ints())
    return 1 if node.op_type in ("Mul", "Div", "BatchNormalization", "Neg", "Mean") else 0
