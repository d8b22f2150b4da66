"""The rule that decides claims, with numbers on each side of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from repsr_train.study.claims import compare, overall, spread


def test_a_clear_difference_holds_and_its_reverse_does_not() -> None:
    high, low = [31.52, 31.55, 31.50], [31.40, 31.43, 31.38]
    assert compare(high, low).verdict == "holds"
    assert compare(high, low).difference == pytest.approx(0.12)
    assert compare(low, high).verdict == "does not hold"


def test_a_difference_within_the_noise_is_undecided() -> None:
    assert compare([31.5, 31.7, 31.3], [31.4, 31.6, 31.2]).verdict == "undecided"
    assert compare([31.5, 31.5], [31.5, 31.5]).verdict == "undecided"  # equal without any noise: not larger


def test_the_standard_error_is_that_of_welch() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1.0, 0.3, 5), random.normal(0.2, 0.9, 4)
    comparison = compare(first.tolist(), second.tolist())
    statistic = np.asarray(stats.ttest_ind(first, second, equal_var=False))[0]
    assert comparison.standard_error is not None
    assert comparison.difference / comparison.standard_error == pytest.approx(statistic)


@pytest.mark.parametrize(("factor", "verdict"), [(2.001, "holds"), (1.999, "undecided"), (-2.001, "does not hold")])
def test_the_limit_is_two_standard_errors(factor: float, verdict: str) -> None:
    noise = np.array([-1.0, 0.0, 1.0])
    error = np.sqrt(2 * noise.var(ddof=1) / 3)
    assert compare((noise + factor * error).tolist(), noise.tolist()).verdict == verdict


def test_one_seed_decides_nothing() -> None:
    comparison = compare([40.0], [20.0, 20.1])
    assert (comparison.verdict, comparison.standard_error) == ("undecided", None)
    assert comparison.difference == pytest.approx(19.95)
    assert spread([40.0]) is None


def test_test_sets_must_agree() -> None:
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "does not hold"]) == "undecided"
    assert overall(["holds", "undecided"]) == "undecided"
    assert overall([]) == "undecided"
