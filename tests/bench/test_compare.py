"""The rule by which rows have changed, on times with known changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from repsr_deploy.bench.compare import NOISE, compare_reports, ratio_interval
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError

MACHINE: dict[str, Any] = {"processor": "Chip", "cores": 2, "threads": 1, "packages": {"openvino": "1"}}


def times_s(median_s: float, seed: int, count: int = 100, spread: float = 0.04) -> Timing:
    """Times as a machine gives them: most near the median, some far above."""
    random = np.random.default_rng(seed)
    values = median_s * (1 + spread * random.standard_normal(count))
    values[random.random(count) < 0.05] *= 3
    return Timing(tuple(values.tolist()))


def report(*rows: Row, **changes: Any) -> Report:
    return Report(command="throughput", arguments="", created="", machine=MACHINE | changes, rows=rows)


def row(name: str, median_s: float, seed: int, **options: Any) -> Row:
    return Row(key={"runtime": name}, timing=times_s(median_s, seed, **options))


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "same"), (1.01, "same"), (0.99, "same"), (1.15, "slower"), (0.85, "faster")]
)
def test_known_changes_are_found(factor: float, verdict: str) -> None:
    for seed in range(5):
        found = compare_reports(report(row("a", 0.02, seed)), report(row("a", 0.02 * factor, seed + 100)))
        (change,) = found.changes
        assert change.verdict == verdict
        assert change.low < change.ratio < change.high
        assert change.ratio == pytest.approx(factor, abs=0.03)


def test_few_scattered_runs_prove_nothing() -> None:
    before, after = row("a", 0.02, 0, count=5, spread=0.3), row("a", 0.022, 1, count=5, spread=0.3)
    (change,) = compare_reports(report(before), report(after)).changes
    assert change.verdict == "same"
    assert change.high - change.low > 0.2


def test_a_disturbance_that_lasts_counts_as_one() -> None:
    """The last 60 of 100 runs are slow: runs drawn one by one would make that a sure median."""
    steady = np.full(100, 0.02) + np.random.default_rng(0).normal(0, 1e-4, 100)
    disturbed = steady.copy()
    disturbed[40:] *= 1.3
    low, high = ratio_interval(steady.tolist(), disturbed.tolist())
    assert low < 1 + NOISE
    assert high > 1.25
    scattered = disturbed.copy()
    np.random.default_rng(1).shuffle(scattered)
    assert ratio_interval(steady.tolist(), scattered.tolist())[0] > 1.0


def test_equal_times_have_an_interval_around_one() -> None:
    values = times_s(0.01, 3).times_s
    low, high = ratio_interval(values, values)
    assert low <= 1 <= high
    assert ratio_interval(values, values) == (low, high)  # seeded
    assert ratio_interval((0.5,), (1.0,)) == (2.0, 2.0)


def test_rows_without_a_partner_and_failures_are_listed() -> None:
    failed = Row(key={"runtime": "c"}, failure="no card")
    before = report(row("a", 0.01, 0), row("b", 0.01, 1), row("c", 0.01, 2))
    after = report(row("a", 0.01, 3), failed, row("d", 0.01, 4))
    found = compare_reports(before, after)
    assert [change.key["runtime"] for change in found.changes] == ["a"]
    assert (found.only_before, found.only_after) == (("b",), ("d",))
    assert found.failures == ("c: A has a speed; B no card",)
    assert found.differences == ()


def test_other_machines_are_said() -> None:
    found = compare_reports(report(row("a", 0.01, 0)), report(row("a", 0.01, 0), cores=4, packages={"openvino": "2"}))
    assert found.differences == ("cores: A 2, B 4", "packages: A {'openvino': '1'}, B {'openvino': '2'}")


def test_reports_that_have_nothing_in_common_are_refused() -> None:
    one = report(row("a", 0.01, 0))
    with pytest.raises(UsageError, match="no row in common"):
        compare_reports(one, report(row("b", 0.01, 0)))
    with pytest.raises(UsageError, match="A is a report of `repsr-bench throughput`, B of `repsr-bench end-to-end`"):
        compare_reports(one, replace(one, command="end-to-end"))


def test_json_says_the_rule() -> None:
    found = compare_reports(report(row("a", 0.01, 0)), report(row("a", 0.02, 0)))
    content = json.loads(found.to_json())
    assert content["schema"] == "repsr-bench-compare-1"
    assert "95% interval" in content["rule"]
    assert content["changes"][0]["verdict"] == "slower"
