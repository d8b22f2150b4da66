"""Two reports of the same command, row by row: what became faster or slower by more than the noise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.report import Report, Row
from repsr_deploy.errors import UsageError

CONFIDENCE = 0.95
NOISE = 0.03
"""Two processes that do the same differ by so much, as memory is laid out otherwise, whatever their own times say."""
RESAMPLES = 2000
RULE = (
    f"changed: the {CONFIDENCE:.0%} interval of the ratio of medians B / A lies wholly outside "
    f"{1 / (1 + NOISE):.2f} to {1 + NOISE:.2f}; the interval is from {RESAMPLES} bootstrap samples of both lists of "
    "times, drawn in blocks, so that a disturbance that lasts for several runs counts as one"
)

Verdict = Literal["faster", "slower", "same"]
DESCRIBED = ("version", "processor", "cores", "threads", "gpus", "memory_bytes", "platform", "python", "packages")
"""What must be equal if the rows alone are to explain a change."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row of both reports."""

    key: Mapping[str, str]
    before_s: float
    after_s: float
    ratio: float
    """Median of B over that of A; below 1 is faster."""
    low: float
    high: float
    """Ends of the interval of `ratio`."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that two reports say about each other."""

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    failures: tuple[str, ...]
    """Rows of both, one of which at least has no speed."""
    differences: tuple[str, ...]
    """How the machines and the versions of the software differ, one line each."""

    def to_json(self) -> str:
        """As a JSON object, with the rule by which rows changed."""
        content: dict[str, Any] = {"schema": "repsr-bench-compare-1", "rule": RULE, **asdict(self)}
        return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def compare_reports(before: Report, after: Report) -> Comparison:
    """Compare row by row; rows belong together when their keys are equal.

    Raises:
        UsageError: the reports are of different commands, or have no row in common.
    """
    if before.command != after.command:
        raise UsageError(
            f"A is a report of `repsr-bench {before.command}`, B of `repsr-bench {after.command}`; expected the same"
        )
    old, new = ({tuple(row.key.items()): row for row in report.rows} for report in (before, after))
    both = [(old[key], new[key]) for key in old if key in new]
    if not both:
        raise UsageError("A and B have no row in common; expected the same models, runtimes and shapes")
    return Comparison(
        changes=tuple(_change(a, b) for a, b in both if a.timing and b.timing),
        only_before=tuple(row.name for key, row in old.items() if key not in new),
        only_after=tuple(row.name for key, row in new.items() if key not in old),
        failures=tuple(_failure(a, b) for a, b in both if a.failure or b.failure),
        differences=tuple(_differences(before.machine, after.machine)),
    )


def ratio_interval(before_s: Sequence[float], after_s: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Ends of the interval of the ratio of medians, `after_s` over `before_s`, by the bootstrap in circular blocks.

    Politis and Romano, "A circular block-resampling procedure for stationary data", 1992; a block has the square root
    of the number of runs.
    """
    random = np.random.default_rng(seed)
    ratios = _resampled_medians(after_s, random) / _resampled_medians(before_s, random)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _resampled_medians(times_s: Sequence[float], random: np.random.Generator) -> NDArray[np.float64]:
    values = np.asarray(times_s)
    count = len(values)
    length = round(count**0.5)
    blocks = -(-count // length)
    starts = random.integers(0, count, (RESAMPLES, blocks, 1))
    picked = (starts + np.arange(length)) % count
    return np.median(values[picked.reshape(RESAMPLES, -1)[:, :count]], axis=1)


def _change(before: Row, after: Row) -> Change:
    assert before.timing is not None
    assert after.timing is not None
    low, high = ratio_interval(before.timing.times_s, after.timing.times_s)
    verdict: Verdict = "slower" if low > 1 + NOISE else "faster" if high < 1 / (1 + NOISE) else "same"
    old_s, new_s = before.timing.median_s, after.timing.median_s
    return Change(
        key=before.key, before_s=old_s, after_s=new_s, ratio=new_s / old_s, low=low, high=high, verdict=verdict
    )


def _failure(before: Row, after: Row) -> str:
    return f"{before.name}: A {before.failure or 'has a speed'}; B {after.failure or 'has a speed'}"


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: A {before.get(name)}, B {after.get(name)}"
        for name in DESCRIBED
        if before.get(name) != after.get(name)
    ]
