"""Learning rates: a pure function of the recipe and the step."""

from __future__ import annotations

import math

from repsr_train.config import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, with linear warm-ups at the start (step 0) and at the switch of statistics."""
    since = step if step < recipe.population_step else step - recipe.population_step
    rise = min(1.0, (since + 1) / max(1, recipe.warmup))
    return rise * _scheduled(recipe, step)


def _scheduled(recipe: Recipe, step: int) -> float:
    if recipe.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        return recipe.lr_end + (recipe.lr - recipe.lr_end) * fall
    passed = sum(step >= mark * recipe.steps for mark in recipe.milestones)  # none with a constant rate
    return recipe.lr * recipe.gamma**passed
