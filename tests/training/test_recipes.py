"""The catalogue: its names, and the recipes that must not change by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.spec import EdsrSpec, family_names
from repsr_train.recipes import CATALOGUE, recipe, summary

GOLDEN = Path(__file__).parent / "golden" / "recipes.json"
"""Of the catalogue: name -> values. `python tests/training/test_recipes.py` writes it anew."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_recipes_are_the_golden_ones(name: str) -> None:
    assert recipe(name).values() == json.loads(GOLDEN.read_text())[name]


def test_golden_file_and_catalogue_hold_the_same_names() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(CATALOGUE)


@pytest.mark.parametrize("family", family_names())
def test_every_family_has_a_recipe_of_any_size(family: str) -> None:
    chosen = recipe(f"{family}-m3c12-x3")
    assert (chosen.network.blocks, chosen.network.channels, chosen.network.scale) == (3, 12, 3)


def test_luma_recipe() -> None:
    assert recipe("ecbsr-m10c32-x3-y").network.colour == "y"


def test_large_edsr_scales_its_branches() -> None:
    large, small = recipe("edsr-adadm-m32c256-x2").network, recipe("edsr-adadm-m16c64-x2").network
    assert isinstance(large, EdsrSpec)
    assert isinstance(small, EdsrSpec)
    assert (large.res_scale, small.res_scale) == (0.1, 1.0)


def test_summary_says_what_is_trained() -> None:
    text = summary("wdsr-b-m8c32-x2")
    assert all(word in text for word in ("WDSR-B-M8C32 x2", "1,500,000 steps", "16 x 48x48", "adam 0.001 steps"))


@pytest.mark.parametrize("name", ["repsr", "repsr-m4c16", "repsr-m4c16-x9", "resnet-m4c16-x2", "repsr-m0c16-x2", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        recipe(name)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: recipe(name).values() for name in CATALOGUE}, indent=1) + "\n")
