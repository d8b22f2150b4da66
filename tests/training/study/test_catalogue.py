"""Every study of the catalogue can be trained and judged."""

from __future__ import annotations

import pytest

from repsr_deploy.errors import UsageError
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.study.catalogue import STUDIES, Study, study_named


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_variants_are_different_recipes_of_the_same_scale(study: Study) -> None:
    recipes = [assign(recipe(variant.recipe), [*study.settings, *variant.settings]) for variant in study.variants]
    assert {chosen.network.scale for chosen in recipes} == {study.scale}
    assert len({chosen.hash for chosen in recipes}) == len(recipes)
    assert len({(chosen.batch, chosen.patch, chosen.ema_decay) for chosen in recipes}) == 1  # an equal budget


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_claims_speak_of_what_is_measured(study: Study) -> None:
    names = {variant.name for variant in study.variants}
    assert len(names) == len(study.variants)
    for claim in study.claims:
        assert {claim.better, claim.worse} <= names
        assert claim.measure in study.measures
        assert claim.weights in study.weights
    assert study.picture is None or set(study.picture) <= names


def test_the_switch_of_blocks_happens_within_training() -> None:
    variant = STUDIES["blocks"].variants[-1]
    chosen = assign(recipe(variant.recipe), [*variant.settings, "steps=1000"])
    assert 0 < chosen.population_step < 1000


def test_unknown_studies_are_named() -> None:
    with pytest.raises(UsageError, match=r"unknown study 'block'; expected one of blocks, "):
        study_named("block")
