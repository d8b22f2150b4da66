"""The guard: what it skips, what it remembers, when it stops."""

from __future__ import annotations

import math

import pytest
import torch

from repsr_train.guard import WINDOW, DivergedError, Guard

ONE = torch.ones(())


def guard(factor: float = 10, patience: int = 3) -> Guard:
    return Guard(factor, patience, torch.device("cpu"))


def judged(judge: Guard, losses: list[float], start: int = 0, norm: float = 1) -> list[bool]:
    steps = enumerate(losses, start)
    return [bool(judge.judge(step, torch.tensor(loss), norm * ONE)) for step, loss in steps]


def test_spikes_and_nan_are_skipped_and_do_not_move_the_usual_loss() -> None:
    watching = guard(patience=9)
    assert judged(watching, [1.0, 1.1, 50.0, math.nan, 1.0, math.inf, 9.0]) == [
        False,
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    look = watching.look(0, 7)
    assert look.loss == pytest.approx((1.0 + 1.1 + 1.0 + 9.0) / 4)
    assert list(look.skipped) == [2, 3, 5]
    assert look.skipped[2] == 50
    usual = 1.0
    for loss in (1.1, 1.0, 9.0):
        usual += 0.02 * (loss - usual)
    assert watching.tensors["usual"].item() == pytest.approx(usual)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_skipped(norm: float) -> None:
    assert judged(guard(), [1.0], norm=norm) == [True]


def test_a_first_loss_of_any_height_is_usual_and_so_it_is_after_forgetting() -> None:
    watching = guard()
    assert judged(watching, [1e6]) == [False]
    assert judged(watching, [1.0, 1.0, 11.0, 1e6], start=1) == [False, False, False, False]
    small = guard()
    assert judged(small, [1.0, 100.0]) == [False, True]
    small.forget()
    assert judged(small, [100.0], start=2) == [False]


def test_a_factor_of_zero_skips_what_is_not_finite_alone() -> None:
    assert judged(guard(factor=0), [1.0, 1e9, math.nan]) == [False, False, True]


def test_it_stops_when_skipping_repeats_within_the_window() -> None:
    watching = guard(patience=3)
    judged(watching, [1.0, 50.0, 50.0])
    assert len(watching.look(0, 3).skipped) == 2
    judged(watching, [1.0, 60.0], start=3)
    with pytest.raises(
        DivergedError, match="3 of the last 1000 steps were skipped, the last one step 4 with a loss of 60"
    ):
        watching.look(3, 5)
    judged(watching, [1.0], start=5)
    assert watching.look(5, 6).skipped == {}  # the run was continued, and did better since


def test_old_skips_are_forgotten() -> None:
    watching = guard(patience=2)
    judged(watching, [1.0, 50.0])
    for start in range(2, WINDOW + 2, 100):
        judged(watching, [1.0] * 100, start=start)
        watching.look(start, start + 100)
    judged(watching, [50.0], start=WINDOW + 2)
    assert list(watching.look(WINDOW + 2, WINDOW + 3).skipped) == [WINDOW + 2]


def test_nothing_counted_is_no_number() -> None:
    watching = guard(patience=9)
    judged(watching, [math.nan, math.nan])
    assert math.isnan(watching.look(0, 2).loss)
