"""What is left of every block, and of our own networks as a foreign graph, once the graph folder has seen them."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from pathlib import Path

import onnx_ir as ir
import pytest
import torch

from repsr_deploy.export.graph import plan_sites
from repsr_deploy.folding.fold import fold
from repsr_deploy.folding.graph.cost import totals
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_shapes
from repsr_deploy.nets.network import macs_per_lr_pixel
from tests.nets.networks import FAMILIES, randomized, spec_of
from tests.zoo.blocks import BLOCKS
from tests.zoo.export import BLOCK_NAMES, export_to, exported_block

EXACT = 1e-10
"""Of the output's range, in float64."""
STORED = 1e-7
"""Of the output's range: ONNX holds slopes, epsilons and computed weights, weight norm's say, in float32."""
SIDES = ((23, 26), (31, 21))
KEPT = {
    "adadm": "depends on the image",
    "partial": "times the multiply-adds",
    "separable": "times the multiply-adds",
    "wdsr-b": "times the multiply-adds",
    "dilated": "times the multiply-adds",
    "mean-shift": "times the multiply-adds",
}
"""Block -> the reason given for what is kept of it; of all others nothing is."""
SLOW_FAMILIES = {"ecbsr", "plain", "wdsr-a", "edsr", "edsr-bn", "srresnet", "srresnet-dropout"}
"""Networks whose parts another one also has; an export takes seconds."""


@functools.cache
def image(sides: tuple[int, int]) -> torch.Tensor:
    return torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest error, border included, as a fraction of the range."""
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / (expected.max() - expected.min())).item()


@functools.cache
def folded_block(name: str) -> tuple[ir.Model, ir.Model, frozenset[str]]:
    """Before and after folding, and the reasons given for what was kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        path.write_bytes(exported_block(name))
        before = read_graph(path)
        reasons = frozenset(site.reason for site in plan_sites(path) if site.outcome == "kept")
        return before, fold_graph(before).model, reasons


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_a_folded_block_is_the_same_function_and_no_dearer(name: str) -> None:
    before, after, _ = folded_block(name)
    for sides in SIDES:
        inputs = {"input": image(sides)}
        assert error(evaluate(after, inputs)["output"], evaluate(before, inputs)["output"]) < EXACT
    old, new = (totals(model, reference_shapes(model)) for model in (before, after))
    assert new.macs_per_lr_pixel <= old.macs_per_lr_pixel
    assert new.nodes <= old.nodes


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_of_a_block_is_left_what_a_perfect_fold_leaves(name: str) -> None:
    _, after, reasons = folded_block(name)
    operators = Counter(node.op_type for node in after.graph)
    assert operators["Conv"] == BLOCKS[name].convs, operators
    norms = 4 if name == "adadm" else 0  # before padded convolutions: a shift in their place would save nothing
    assert operators["BatchNormalization"] == norms
    if name in KEPT:
        assert any(KEPT[name] in reason for reason in reasons), reasons
    else:
        assert not reasons


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_FAMILIES else []) for name in FAMILIES],
)
def test_our_fold_and_the_graph_folder_agree(family: str, tmp_path: Path) -> None:
    net = randomized(spec_of(family)).eval()
    graph = fold_graph(read_graph(export_to(net, tmp_path / "net.onnx"))).model
    ours = fold(net.double()).net
    for sides in SIDES:
        with torch.no_grad():
            expected = ours(image(sides))
        assert error(evaluate(graph, {"input": image(sides)})["output"], expected) < STORED
    assert totals(graph, reference_shapes(graph)).macs_per_lr_pixel <= macs_per_lr_pixel(ours)
