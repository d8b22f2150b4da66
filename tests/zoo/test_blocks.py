"""Every test network is what it says, and reaches ONNX with all its branches."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
import torch
from torch import nn

from tests.zoo.blocks import BLOCKS, MEAN, Case, randomised
from tests.zoo.export import BLOCK_NAMES, exported_block


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_network_reaches_onnx_with_nothing_folded(name: str) -> None:
    net, model = BLOCKS[name](), onnx.load_model_from_string(exported_block(name))
    ops = Counter(node.op_type for node in model.graph.node)
    norms = sum(isinstance(part, nn.BatchNorm2d) for part in net.modules())
    assert ops["Conv"] >= BLOCKS[name].convs  # the fold can only merge
    assert ops["BatchNormalization"] == norms
    assert ops["DepthToSpace"] == 1
    assert not any(node.domain for node in model.graph.node)


def test_networks_are_the_same_at_every_call() -> None:
    for case in BLOCKS.values():
        first, second = (case().state_dict() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_random_statistics_are_far_from_fresh_ones() -> None:
    norm = nn.BatchNorm2d(64)
    x_nchw = torch.randn(1, 64, 5, 5)
    assert (randomised(norm)(x_nchw) - x_nchw).abs().mean() > 0.1


def test_both_spellings_of_the_mean_shift_are_the_same_network() -> None:
    as_convolution, as_arithmetic = BLOCKS["mean-shift-convolution"](), BLOCKS["mean-shift"]()
    as_convolution.load_state_dict(as_arithmetic.state_dict(), strict=False)
    x_nchw = torch.rand(1, 3, 9, 11) + torch.tensor(MEAN).view(1, 3, 1, 1)
    torch.testing.assert_close(as_convolution(x_nchw), as_arithmetic(x_nchw), rtol=1e-4, atol=1e-4)


def test_a_case_is_in_evaluation_mode() -> None:
    assert not any(part.training for part in Case(build=lambda: nn.Sequential(nn.Dropout()))().modules())
