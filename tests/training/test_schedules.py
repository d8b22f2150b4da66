"""Learning rates."""

from __future__ import annotations

import itertools
import math

import pytest

from repsr_train.config import Recipe
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.schedules import learning_rate


def rates(name: str, *changes: str) -> list[float]:
    chosen: Recipe = assign(recipe(name), ["steps=1000", *changes])
    return [learning_rate(chosen, step) for step in range(1000)]


def test_cosine_warms_up_twice_and_ends_low() -> None:
    values = rates("repsr-m4c16-x2", "warmup=100", "lr=1e-3", "population_from=0.2")
    assert values[0] == pytest.approx(1e-5, rel=0.01)
    assert values[99] == pytest.approx(1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * 99 / 1000)) / 2)
    assert values[200] < 0.02 * values[199]
    assert values[-1] < 2e-6
    assert all(a > b for a, b in itertools.pairwise(values[300:]))


def test_networks_without_batch_norm_have_one_phase() -> None:
    values = rates("ecbsr-m4c16-x2", "warmup=100", "population_from=0.5", "lr=1e-3")
    assert values[500] == pytest.approx(0.5e-3, rel=1e-2)


def test_steps_fall_at_milestones() -> None:
    values = rates("wdsr-a-m4c16-x2")
    assert values[:667] == [1e-3] * 667
    assert values[667:834] == pytest.approx([2e-4] * 167)
    assert values[834:] == pytest.approx([4e-5] * 166)
    assert rates("edsr-m4c16-x2")[::200] == pytest.approx([1e-4 / 2**k for k in range(5)])


def test_constant_is_constant_after_its_warm_up() -> None:
    values = rates("plain-m4c16-x2", "schedule=constant", "lr=5e-4", "warmup=10")
    assert values[10:] == [5e-4] * 990
    assert values[4] == pytest.approx(2.5e-4)
