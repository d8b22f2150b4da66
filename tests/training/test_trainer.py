"""The training loop on real photographs: it learns, has two phases, reports, saves, stops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from repsr_deploy.nets.network import Network
from repsr_deploy.nets.norm import uses_batch_statistics
from repsr_train.data import Pair
from repsr_train.guard import DivergedError
from repsr_train.trainer import REPORT_EVERY, Hooks, Report, train
from repsr_train.validation import Validation, validate

from .conftest import training_of

FAST = ("steps=60", "validate_every=30", "save_every=500", "lr=1e-2", "ema_decay=0.8", "schedule=cosine", "milestones=")
CLEAN = ("degradation=bicubic", "usm=false", "patch=12")


@pytest.mark.parametrize(
    ("name", "gain_db"),
    [
        ("repsr-m1c6-x2", 0.5),
        ("repsr-m1c6-x2-y", 0.5),
        ("ecbsr-m1c6-x2", 0.1),
        ("plain-m1c6-x2", 0.1),
        ("wdsr-a-m1c6-x2", 5),
        ("wdsr-b-m1c6-x2", 5),
        ("edsr-m1c6-x2", 5),
        ("edsr-bn-m1c6-x2", 5),
        ("edsr-adadm-m1c6-x2", 5),
        ("srresnet-dropout-m1c6-x2", 0.001),  # begins as its bilinear skip, and learns slowly
    ],
)
def test_every_family_learns(name: str, gain_db: float, pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, name, *FAST, *CLEAN)
    untrained = validate(learner.averaged(batches.statistics(0)), pairs).psnr_y
    reports: list[Report] = []
    train(learner, batches, Hooks(validate=lambda net: validate(net, pairs), reported=reports.append))
    assert [report.step for report in reports] == [30, 60]
    assert reports[-1].validation is not None
    assert reports[-1].validation.psnr_y > untrained + gain_db
    assert all(math.isfinite(report.loss) and report.images_per_s > 0 for report in reports)


@pytest.mark.parametrize("changes", [("optimizer=soap", "betas=0.95,0.95"), ("loss=charbonnier", "luma_weight=0.5")])
def test_optimizers_and_losses_learn(changes: tuple[str, ...], pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, "plain-m1c6-x2", *FAST, *changes)
    untrained = validate(learner.averaged(()), pairs).psnr_y
    train(learner, batches, Hooks())
    assert validate(learner.averaged(()), pairs).psnr_y > untrained + 0.1


def test_statistics_switch_once_at_their_step(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs)
    phases: list[bool] = []
    train(learner, batches, Hooks(stepped=lambda _: phases.append(uses_batch_statistics(learner.net))))
    assert phases == [True] * 10 + [False] * 10


def test_reports_come_before_the_state_that_holds_them_is_saved(pairs: Sequence[Pair]) -> None:
    events: list[str] = []

    def look(_net: Network) -> Validation | None:
        events.append("validated")
        return None

    learner, batches = training_of(pairs, "plain-m1c4-x2", "steps=112", "validate_every=60", "save_every=50")
    hooks = Hooks(
        validate=look,
        reported=lambda report: events.append(f"reported {report.step}"),
        save=lambda: events.append(f"saved {learner.step}"),
    )
    train(learner, batches, hooks)
    assert REPORT_EVERY == 100
    assert events == [
        *("reported 50", "saved 50", "validated", "reported 60", "reported 100", "saved 100"),
        *("validated", "reported 112", "saved 112"),
    ]


def test_a_stop_is_reported_and_saved(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, "plain-m1c4-x2")
    saved: list[int] = []
    reports: list[Report] = []
    hooks = Hooks(
        reported=reports.append, save=lambda: saved.append(learner.step), should_stop=lambda: learner.step >= 7
    )
    train(learner, batches, hooks)
    assert learner.step == 7
    assert saved == [5, 7]
    assert [report.step for report in reports] == [5, 7]


def test_diverged_training_stops_with_its_state_saved(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, "plain-m1c4-x2", "spike_patience=3")
    learner.net.get_parameter("head.weight").data.fill_(math.nan)
    saved: list[int] = []
    with pytest.raises(
        DivergedError, match="5 of the last 1000 steps were skipped, the last one step 4 with a loss of nan"
    ):
        train(learner, batches, Hooks(save=lambda: saved.append(learner.step)))
    assert saved == [5]


def test_skipped_steps_are_reported_and_do_not_count(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, "plain-m1c4-x2", "steps=5")
    learner.guard.tensors["usual"].fill_(1e-9)
    reports: list[Report] = []
    train(learner, batches, Hooks(reported=reports.append))
    assert list(reports[-1].skipped) == [0, 1, 2, 3, 4]
    assert math.isnan(reports[-1].loss)
