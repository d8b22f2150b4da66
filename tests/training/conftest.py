"""What the tests of training share: real photographs, small, and a learner with its batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import skimage.data
import torch

from repsr_deploy.metrics.evaluate import reduce
from repsr_train.batches import Batches
from repsr_train.config import Recipe
from repsr_train.data import Pair
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.step import Learner

CPU = torch.device("cpu")
SMALL = ("batch=4", "patch=12", "validate_every=5", "save_every=5", "steps=20", "warmup=2", "population_from=0.5")


class Training(NamedTuple):
    """A learner and the batches that it trains on."""

    learner: Learner
    batches: Batches

    @property
    def recipe(self) -> Recipe:
        """Of the learner."""
        return self.learner.recipe


def training_of(pairs: Sequence[Pair], name: str = "repsr-m1c4-x2", *changes: str) -> Training:
    """A tiny training on the CPU: `SMALL`, then `changes`."""
    chosen = assign(recipe(name), [*SMALL, *changes])
    return Training(Learner(chosen, CPU), Batches(pairs, chosen, CPU))


def middle_pair(name: str, side: int = 160, scale: int = 2) -> Pair:
    """The middle of a photograph of scikit-image, HR `side` x `side`."""
    image_hwc = getattr(skimage.data, name)()
    top, left = ((length - side) // 2 for length in image_hwc.shape[:2])
    hr_hwc = np.ascontiguousarray(image_hwc[top : top + side, left : left + side])
    return Pair(name, hr_hwc, hr_hwc if scale == 1 else reduce(hr_hwc, scale))


@pytest.fixture(scope="session")
def pairs() -> Sequence[Pair]:
    """Three photographs for x2."""
    return [middle_pair(name) for name in ("astronaut", "chelsea", "coffee")]
