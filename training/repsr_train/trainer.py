"""The training loop: steps, the switch of statistics, and what is reported and saved in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from repsr_deploy.nets.network import Network
from repsr_deploy.nets.norm import uses_batch_statistics
from repsr_train.batches import Batches
from repsr_train.config import Recipe
from repsr_train.guard import DivergedError, Look
from repsr_train.schedules import learning_rate
from repsr_train.step import Learner
from repsr_train.validation import Validation

REPORT_EVERY = 100
"""Steps between two reports."""
AGREE_EVERY = 10
"""Steps after which several processes ask each other whether to stop."""


@dataclass(frozen=True)
class Report:
    """How the steps since the last report went; `validation` is None unless it was due."""

    step: int
    """Steps taken so far."""
    loss: float
    """Mean over the steps since the last report, without skipped ones."""
    lr: float
    images_per_s: float
    """Pairs of crops trained on in a second, validation and saving not counted."""
    skipped: dict[int, float]
    """Steps that the guard skipped, with their losses."""
    validation: Validation | None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the loop calls. Of several processes only the first one reports, validates and saves."""

    stepped: Callable[[int], None] = lambda _step: None
    """After each step, with their number so far: must be quick."""
    validate: Callable[[Network], Validation | None] = lambda _net: None
    """With the averaged network, every `validate_every` steps and at the end."""
    reported: Callable[[Report], None] = lambda _report: None
    save: Callable[[], None] = lambda: None
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each step; the loop then reports, saves and returns."""


def train(learner: Learner, batches: Batches, hooks: Hooks) -> None:
    """Train from the learner's present step to the last of its recipe, or until a process is asked to stop.

    Reports come every `REPORT_EVERY` steps and whenever something else is due, and before the state is saved: what a
    state holds was reported, so whoever resumes from it has only to drop the reports that came later.

    Raises:
        DivergedError: the guard skipped too many steps; the state is saved.
    """
    recipe, processes = learner.recipe, learner.processes
    reported, started = learner.step, time.monotonic()
    with closing(batches.between(learner.step, recipe.steps)) as planned:
        for lr_nchw, hr_nchw in planned:
            if learner.step == recipe.population_step and uses_batch_statistics(learner.net):
                learner.switch_to_population(batches.statistics(learner.step))
            learner.learn(lr_nchw, hr_nchw)
            hooks.stepped(learner.step)
            asks = processes.count == 1 or learner.step % AGREE_EVERY == 0
            stopped = asks and processes.any(hooks.should_stop())
            if due := _due(recipe, learner.step, stopped):
                look = _look(learner, reported, hooks)
                speed = recipe.batch * (learner.step - reported) / (time.monotonic() - started)
                validation = _validate(learner, batches, hooks) if "validation" in due else None
                lr = learning_rate(recipe, learner.step - 1)
                hooks.reported(Report(learner.step, look.loss, lr, speed, look.skipped, validation))
                if "save" in due:
                    hooks.save()
                reported, started = learner.step, time.monotonic()
            if stopped:
                return


def _due(recipe: Recipe, step: int, stopped: bool) -> set[Literal["report", "validation", "save"]]:
    ends = step == recipe.steps
    moments: dict[Literal["report", "validation", "save"], bool] = {
        "report": step % REPORT_EVERY == 0,
        "validation": ends or step % recipe.validate_every == 0,
        "save": ends or stopped or step % recipe.save_every == 0,
    }
    return {name for name, is_due in moments.items() if is_due}


def _look(learner: Learner, start: int, hooks: Hooks) -> Look:
    try:
        return learner.guard.look(start, learner.step)
    except DivergedError:
        hooks.save()
        raise


def _validate(learner: Learner, batches: Batches, hooks: Hooks) -> Validation | None:
    return hooks.validate(learner.averaged(batches.statistics(learner.step))) if learner.processes.leads else None
