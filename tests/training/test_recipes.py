"""Recipes: names, overrides, what is refused."""

from __future__ import annotations

import json

import pytest

from repsr_deploy.errors import UsageError
from repsr_train.recipes import SHOWN, override, recipe


@pytest.mark.parametrize("name", SHOWN)
def test_every_shown_name_is_a_recipe(name: str) -> None:
    family, size, scale = name.split("-")
    network = recipe(name).network
    assert (network.family, f"m{network.blocks}c{network.channels}", f"x{network.scale}") == (family, size, scale)


def test_luma_recipe() -> None:
    assert recipe("ecbsr-m10c32-x3-y").network.colour == "y"


@pytest.mark.parametrize("name", ["repsr", "repsr-m4c16", "repsr-m4c16-x9", "edsr-m4c16-x2", "repsr-m0c16-x2", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        recipe(name)


def test_overrides_are_typed() -> None:
    changed = override(recipe("repsr-m4c16-x2"), ["lr=5e-4", "batch=8", "precision=bf16"])
    assert (changed.lr, changed.batch, changed.precision) == (5e-4, 8, "bf16")
    assert changed.hash != recipe("repsr-m4c16-x2").hash
    assert json.loads(changed.to_json())["network"]["channels"] == 16


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "expected KEY=VALUE"),
        ("speed=3", "expected KEY=VALUE with KEY one of steps"),
        ("network=3", "expected KEY=VALUE"),
        ("batch=1.5", "expected int after batch="),
        ("batch=0", "batch is 0"),
        ("lr=2", "lr is 2.0"),
        ("lr=nan", "lr is nan"),
        ("patch=4", "patch is 4"),
        ("ema_decay=1", "ema_decay is 1.0"),
        ("population_from=1.5", "population_from is 1.5"),
        ("precision=fp8", "precision is 'fp8'"),
        ("steps=-1", "steps is -1"),
        ("warmup=-1", "warmup is -1"),
        ("seed=-1", "seed is -1"),
    ],
)
def test_wrong_overrides_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(recipe("repsr-m4c16-x2"), [assignment])
