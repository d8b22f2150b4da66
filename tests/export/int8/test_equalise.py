"""Equalisation changes nothing but the ranges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor

from repsr_deploy.export.int8.equalise import SMALLEST, equalise
from repsr_deploy.export.int8.layers import convolutions
from repsr_deploy.export.int8.observe import Observed, observe
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.linear import array
from tests.export.int8.graphs import Graph, chain, operand

EXACT = 1e-12
"""Of the largest value: float64 on both sides, the order of a few hundred products the same."""


def residual(folder: Path) -> ir.Model:
    """A stream that blocks add to, as in EDSR, with one scale for all of it."""
    graph = Graph(1)
    x = graph.conv("input", "head", 3, 6)
    for block in range(2):
        inner = graph.node("Relu", [graph.conv(x, f"in{block}", 6, 10)], f"relu{block}")
        x = graph.node("Add", [x, graph.conv(inner, f"out{block}", 10, 6, bias=False)], f"sum{block}")
    return graph.model(graph.conv(x, "tail", 6, 3), 1, folder)


def shuffled(mode: str) -> Callable[[Path], ir.Model]:
    """Four channels that become one share a scale; which four, the mode says."""

    def build(folder: Path) -> ir.Model:
        graph = Graph(2)
        x = graph.node("LeakyRelu", [graph.conv("input", "head", 3, 6)], "act", alpha=0.2)
        x = graph.node("DepthToSpace", [graph.conv(x, "wide", 6, 20)], "shuffle", blocksize=2, mode=mode)
        return graph.model(graph.conv(graph.prelu(x, "slopes", 5), "tail", 5, 3), 2, folder)

    return build


def concatenated(folder: Path) -> ir.Model:
    """A convolution in groups that reads two others, one of them with somebody else."""
    graph = Graph(3)
    first, second = graph.conv("input", "first", 3, 4), graph.conv("input", "second", 3, 8)
    both = graph.conv(graph.node("Concat", [first, second], "both", axis=1), "grouped", 12, 8, group=4)
    other = graph.node("Sub", [graph.conv(first, "other", 4, 8), both], "difference")
    return graph.model(graph.conv(other, "tail", 8, 3), 1, folder)


def gated(folder: Path) -> ir.Model:
    """A sigmoid, which is not homogeneous, reads what a convolution reads, too."""
    graph = Graph(4)
    x = graph.conv("input", "head", 3, 6)
    x = graph.node("Mul", [x, graph.node("Sigmoid", [x], "gate")], "silu")
    return graph.model(graph.conv(graph.conv(x, "body", 6, 6), "tail", 6, 3), 1, folder)


def shared_weights(folder: Path) -> ir.Model:
    """Two convolutions with the same weights, of which scaling makes different ones."""
    graph = Graph(5)
    x = graph.conv("input", "head", 3, 6)
    x = graph.node("Relu", [graph.conv(x, "body", 6, 6)], "relu")
    x = graph.node("Conv", [x, "body.weight", "body.bias"], "again", kernel_shape=[3, 3], pads=[1] * 4)
    return graph.model(graph.conv(x, "tail", 6, 3), 1, folder)


NETWORKS: dict[str, Callable[[Path], ir.Model]] = {
    "chain": chain, "residual": residual, "CRD": shuffled("CRD"), "DCR": shuffled("DCR"),
    "concatenated": concatenated, "gated": gated, "shared weights": shared_weights,
}  # fmt: skip


def look(model: ir.Model, image: Tensor) -> Observed:
    """What all but the first convolutions read."""
    reads = [layer.node.inputs[0] for layer in convolutions(model.graph) if layer.why_float is None]
    return observe(model, {str(value.name) for value in reads if value is not None}, [image])


def unclamped(model: ir.Model, image: Tensor) -> Tensor:
    last = str(operand(model, "output_node", 0).name)
    return evaluate(model, {"input": image}, keep=[last])[last]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", [(17, 23), (1, 5)])
def test_the_function_stays_the_same_at_every_pixel(name: str, sides: tuple[int, int], tmp_path: Path) -> None:
    model, image = NETWORKS[name](tmp_path), torch.rand(2, 3, *sides, dtype=torch.float64)
    equal, _ = equalise(model, look(model, image))
    before, after = unclamped(model, image), unclamped(equal, image)
    assert (after - before).abs().max() <= EXACT * before.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_says_what_would_be_observed_and_no_tensor_grows(name: str, tmp_path: Path) -> None:
    model, image = NETWORKS[name](tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    observed = look(model, image)
    equal, said = equalise(model, observed)
    for value, channels in look(equal, image).items():
        np.testing.assert_allclose(said[value].largest_c, channels.largest_c, rtol=1e-9)
        np.testing.assert_allclose(said[value].mean_c, channels.mean_c, rtol=1e-6, atol=1e-9)
        assert channels.largest_c.max() <= observed[value].largest_c.max() * (1 + 1e-9)


@pytest.mark.parametrize("name", ["chain", "CRD", "DCR", "residual"])
def test_channels_become_alike(name: str, tmp_path: Path) -> None:
    model, image = NETWORKS[name](tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    observed = look(model, image)
    _, said = equalise(model, observed)

    def spread(of: Observed) -> float:
        """Of the inputs of all convolutions, the share of the range that a channel uses, in the mean."""
        return float(np.mean([np.mean(item.largest_c / item.largest_c.max()) for item in of.values()]))

    assert spread(said) > spread(observed) + 0.15


def test_channels_of_a_plain_chain_become_equal(tmp_path: Path) -> None:
    model, image = chain(tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    observed = look(model, image)
    for name, channels in equalise(model, observed)[1].items():
        largest = observed[name].largest_c
        shares = np.minimum(largest / largest.max() / SMALLEST, 1)
        np.testing.assert_allclose(channels.largest_c / largest.max(), shares, rtol=1e-9)


def test_what_a_sigmoid_reads_stays(tmp_path: Path) -> None:
    model, image = gated(tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    equal, _ = equalise(model, look(model, image))
    before, after = (
        {name: array(operand(of, name, 1)) for name in ("head_node", "body_node")} for of in (model, equal)
    )
    assert np.array_equal(after["head_node"], before["head_node"])
    assert not np.array_equal(after["body_node"], before["body_node"])  # it feeds a convolution alone


def test_the_model_itself_is_not_changed(tmp_path: Path) -> None:
    model, image = chain(tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    before = unclamped(model, image)
    equalise(model, look(model, image))
    assert torch.equal(unclamped(model, image), before)


def test_a_wrong_factor_would_be_seen(tmp_path: Path) -> None:
    model, image = chain(tmp_path), torch.rand(1, 3, 19, 14, dtype=torch.float64)
    equal, _ = equalise(model, look(model, image))
    weight = operand(equal, "tail_node", 1)
    numbers = array(weight).copy()
    numbers[:, 2] *= 1 + 1e-9
    weight.const_value = ir.tensor(numbers)
    before, after = unclamped(model, image), unclamped(equal, image)
    assert (after - before).abs().max() > EXACT * before.abs().max()
