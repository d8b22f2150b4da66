"""Optimizers: SOAP against formulas, skipping, what recipes ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from repsr_train.optimizers import LARGEST_SIDE, SOAP, make_optimizer
from repsr_train.overrides import assign
from repsr_train.recipes import recipe

SHAPES = ((6, 4, 3, 3), (6,), (8, 1, 1, 1), (5, 7))


def parameters(seed: int = 0, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def set_gradients(weights: Sequence[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


def test_vectors_are_plain_adam_after_the_first_step_that_only_measures() -> None:
    (vector,), (twin,) = parameters(shapes=[(9,)]), parameters(shapes=[(9,)])
    soap = SOAP([vector], lr=0.1, betas=(0.9, 0.95), weight_decay=0.01)
    adam = torch.optim.AdamW([twin], lr=0.1, betas=(0.9, 0.95), weight_decay=0.01)
    set_gradients([vector], 100)
    soap.step()
    assert torch.equal(vector, twin)
    for step in range(25):
        set_gradients([vector], step)
        set_gradients([twin], step)
        soap.step()
        adam.step()
        torch.testing.assert_close(vector, twin, rtol=1e-5, atol=1e-6)


def test_it_is_adam_in_a_basis_that_turns_with_the_problem() -> None:
    """Turning weights and gradients by rotations turns the trajectory of SOAP; Adam's depends on the axes."""
    left, right = (torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(n)))[0] for n in (1, 2))

    def trajectory(optimizer: type[torch.optim.Optimizer], *, turned: bool) -> Tensor:
        (weight,) = parameters(shapes=[(6, 6)])
        if turned:
            weight = nn.Parameter(left @ weight.detach() @ right)
        steps = optimizer([weight], lr=0.05)  # type: ignore[call-arg]
        for step in range(9):  # up to the refresh, which is one power iteration and so depends on the start
            gradient = torch.randn(6, 6, generator=torch.Generator().manual_seed(step))
            weight.grad = left @ gradient @ right if turned else gradient
            steps.step()
        return weight.detach()

    for optimizer, same in ((SOAP, True), (torch.optim.Adam, False)):
        straight, turned = trajectory(optimizer, turned=False), trajectory(optimizer, turned=True)
        difference = (left @ straight @ right - turned).abs().max().item()
        assert (difference < 2e-3) == same, difference


def test_it_beats_adam_on_a_badly_scaled_problem() -> None:
    generator = torch.Generator().manual_seed(3)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    scaled = rotation @ torch.diag(torch.logspace(0, -3, 16)) @ rotation.T
    target = torch.randn(16, 16, generator=generator)

    def loss_after(kind: Any) -> float:
        weight = nn.Parameter(torch.zeros(16, 16))
        steps = kind([weight], lr=0.03)
        for _ in range(300):
            loss = ((scaled @ (weight - target)) ** 2).sum()
            steps.zero_grad()
            loss.backward()
            steps.step()
        return ((scaled @ (weight - target)) ** 2).sum().item()

    assert loss_after(SOAP) < 0.3 * loss_after(torch.optim.Adam)


def test_bases_stay_orthogonal_and_squares_follow_their_order() -> None:
    weights = parameters()
    steps = SOAP(weights, lr=0.01)
    for step in range(45):
        set_gradients(weights, step)
        steps.step()
    state = cast("dict[str, Tensor]", steps.state[weights[0]])
    for side, length in (("left", 6), ("right", 36)):
        basis = state[f"{side}_basis"]
        torch.testing.assert_close(basis.T @ basis, torch.eye(length), atol=1e-5, rtol=0)
    assert "left" not in steps.state[weights[1]]
    assert "left" not in steps.state[weights[2]]
    assert all(isinstance(value, Tensor) for parameter in weights for value in steps.state[parameter].values())


def test_a_long_side_keeps_its_axes() -> None:
    weights = parameters(shapes=[(2, LARGEST_SIDE + 1), (LARGEST_SIDE, 2)])
    steps = SOAP(weights, lr=0.01)
    for step in range(2):
        set_gradients(weights, step)
        steps.step()
    assert {"left", "right"} & set(steps.state[weights[0]]) == {"left"}
    assert {"left", "right"} & set(steps.state[weights[1]]) == {"left", "right"}


@pytest.mark.parametrize("name", ["adam", "soap"])
def test_a_skipped_step_changes_nothing(name: str) -> None:
    chosen = assign(recipe("plain-m1c4-x2"), [f"optimizer={name}", "weight_decay=0.1"])
    weights = parameters()
    steps: Any = make_optimizer(chosen, weights)
    for step in range(3):
        set_gradients(weights, step)
        steps.step()
    before = [weight.detach().clone() for weight in weights]
    state = [{key: value.clone() for key, value in steps.state[weight].items()} for weight in weights]
    for weight in weights:
        weight.grad = torch.full_like(weight, float("nan"))
    steps.found_inf = torch.ones(())
    steps.step()
    for weight, old, values in zip(weights, before, state, strict=True):
        assert torch.equal(weight, old)
        assert all(torch.equal(value, steps.state[weight][key]) for key, value in values.items())
    steps.found_inf = torch.zeros(())
    set_gradients(weights, 4)
    steps.step()
    assert not torch.equal(weights[0], before[0])


def test_recipes_say_betas_and_decay_and_frozen_weights_stay_out() -> None:
    chosen = assign(recipe("plain-m1c4-x2"), ["betas=0.8,0.9", "weight_decay=0.5", "lr=0.01"])
    weights = parameters()
    weights[1].requires_grad_(False)
    steps = make_optimizer(chosen, weights)
    assert steps.param_groups[0]["betas"] == (0.8, 0.9)
    assert len(steps.param_groups[0]["params"]) == len(weights) - 1
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    old = weights[0].detach().clone()
    steps.step()
    torch.testing.assert_close(weights[0].detach(), old * (1 - 0.01 * 0.5))  # decoupled: no gradient, yet it shrinks
