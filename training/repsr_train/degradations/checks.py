"""Checks of settings, so that a wrong number is one readable line before any work begins."""

from __future__ import annotations

import math
from collections.abc import Sequence

from repsr_deploy.errors import UsageError

Range = tuple[float, float]
"""Smallest and largest value, both included; values between are drawn uniformly."""


def check_range(name: str, value: Range, *, least: float, most: float = math.inf) -> None:
    """Refuse a range that is not `least <= low <= high <= most`.

    Raises:
        UsageError: it is not.
    """
    if len(value) != 2 or not least <= value[0] <= value[1] <= most or math.isinf(value[1]):
        limits = f"{least} or more" if math.isinf(most) else f"{least} to {most}"
        raise UsageError(f"{name} is {value}; expected (low, high) with low <= high, both finite, {limits}")


def check_probability(name: str, value: float) -> None:
    """Refuse what is no probability.

    Raises:
        UsageError: it is not within 0..1.
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value}; expected a probability, 0 to 1")


def check_shares(name: str, values: Sequence[float], count: int) -> None:
    """Refuse what is not `count` probabilities that add up to 1.

    Raises:
        UsageError: it is not.
    """
    if len(values) != count or not all(value >= 0 for value in values) or not math.isclose(sum(values), 1):
        raise UsageError(f"{name} is {tuple(values)}; expected {count} probabilities that add up to 1")
