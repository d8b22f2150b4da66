"""Whether results of several seeds bear out a claim: one rule, stated beside every result."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "undecided"]

ERRORS = 2.0
"""Standard errors by which two means must differ."""
RULE = (
    "A claim holds where the difference of the means over the seeds is above 2 standard errors, "
    "sqrt(s1^2/n1 + s2^2/n2), does not hold where it is below -2 of them, and is undecided between, or with a single "
    "seed; over several test sets it is undecided unless they agree."
)


@dataclass(frozen=True)
class Comparison:
    """Values of one variant against those of another."""

    difference: float
    """Mean of the first minus mean of the second."""
    standard_error: float | None
    """Of the difference; None with a single seed, which shows no spread."""
    verdict: Verdict
    """On the claim that the first is larger."""


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare the values of two variants, one for each seed, at least one each; see `RULE`."""
    difference = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:
        return Comparison(difference, None, "undecided")
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (first, second)))
    if difference > ERRORS * error:
        return Comparison(difference, error, "holds")
    return Comparison(difference, error, "does not hold" if difference < -ERRORS * error else "undecided")


def overall(verdicts: Collection[Verdict]) -> Verdict:
    """The verdict over several test sets: theirs if they agree."""
    return next(iter(verdicts)) if len(set(verdicts)) == 1 else "undecided"


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over the seeds; None for a single one."""
    return statistics.stdev(values) if len(values) > 1 else None
