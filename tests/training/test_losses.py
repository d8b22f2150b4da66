"""Losses, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repsr_deploy.metrics import colour
from repsr_train.losses import loss_function
from repsr_train.losses import luma as luma_of
from repsr_train.overrides import assign
from repsr_train.recipes import recipe

OUTPUT = np.random.default_rng(0).random((2, 3, 5, 7))
TARGET = np.random.default_rng(1).random((2, 3, 5, 7))
DIFFERENCE = OUTPUT - TARGET
LUMA = np.einsum("nchw,c->nhw", DIFFERENCE, np.array([65.481, 128.553, 24.966]) / 219)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], np.abs(DIFFERENCE).mean()),
        (["loss=l2"], (DIFFERENCE**2).mean()),
        (["loss=charbonnier", "charbonnier_eps=0.1"], np.sqrt(DIFFERENCE**2 + 0.01).mean()),
        (["luma_weight=0.3"], 0.7 * np.abs(DIFFERENCE).mean() + 0.3 * np.abs(LUMA).mean()),
        (["luma_weight=1", "loss=l2"], (LUMA**2).mean()),
    ],
)
def test_losses_are_their_formulas(changes: list[str], expected: float) -> None:
    measure = loss_function(assign(recipe("plain-m1c4-x2"), changes))
    assert measure(torch.tensor(OUTPUT), torch.tensor(TARGET)).item() == pytest.approx(expected, rel=1e-12)


def test_charbonnier_has_a_gradient_at_zero() -> None:
    output = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss_function(assign(recipe("plain-m1c4-x2"), ["loss=charbonnier"]))(output, torch.zeros(1, 3, 2, 2)).backward()
    assert output.grad is not None
    assert torch.equal(output.grad, torch.zeros(1, 3, 2, 2))


def test_luma_is_that_of_the_scores_but_for_its_range() -> None:
    image_hwc = np.random.default_rng(2).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    rgb_nchw = torch.tensor(image_hwc.transpose(2, 0, 1)[None] / 255)
    studio = (colour.luma(image_hwc) - 16) / 219
    np.testing.assert_allclose(luma_of(rgb_nchw)[0, 0].numpy(), studio, atol=1e-12)
