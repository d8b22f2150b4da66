"""Verdicts: a bound that is missed, a figure that is none, and nothing to judge all fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from checks import __main__ as command
from checks.verdict import Findings, Requirement, at_least, at_most, equal, none_of, said
from repsr_deploy.bench.machine import describe_machine


@pytest.mark.parametrize(
    ("requirement", "passed"),
    [
        (at_most("x", 1.0, 1.0), True),
        (at_most("x", 1.001, 1.0), False),
        (at_most("x", math.nan, 1.0), False),
        (at_most("x", math.inf, 1.0), False),
        (at_least("x", 0.9, 0.9), True),
        (at_least("x", 0.899, 0.9), False),
        (at_least("x", math.nan, 0.9), False),
        (equal("x", 0, 0), True),
        (equal("x", -9, 0), False),
        (none_of("x", [], of=3), True),
        (none_of("x", []), True),
        (none_of("x", [], of=0), False),
        (none_of("x", ["bad"], of=3), False),
    ],
)
def test_a_requirement_holds_or_not(requirement: Requirement, passed: bool) -> None:
    assert requirement.passed is passed


def test_findings_pass_only_with_all_requirements_and_some() -> None:
    good, bad = at_most("x", 1, 2), at_most("y", 3, 2)
    assert Findings(check="c", about="", requirements=[good]).passed
    assert not Findings(check="c", about="", requirements=[good, bad]).passed
    assert not Findings(check="c", about="", requirements=[]).passed


def test_what_is_said_names_what_failed_and_shortens_long_lists() -> None:
    text = said(
        Findings(
            check="c",
            about="did it.",
            requirements=[none_of("refusals", [f"bad {index}" for index in range(20)], of=50)],
            figures={"pace, MP/s": 1234.5, "by status": {"200": 3}},
        )
    )
    assert "c: FAILED" in text
    assert "FAIL  refusals: 20 of 50 (wanted: 0)" in text
    assert "bad 7" in text
    assert "bad 8" not in text
    assert "12 more" in text
    assert "pace, MP/s: 1,234" in text
    assert "by status: 200 3" in text


@pytest.mark.parametrize("value", [1, 3])
def test_the_command_writes_what_it_found_and_tells_by_its_exit_status(
    value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(*, seconds: float = 5.0, seed: int = 0) -> Findings:
        """Takes two of the command's options."""
        figures = {"seconds": seconds, "seed": seed, "unknown": math.nan}
        return Findings(check="fake", about="Tried.", requirements=[at_most("x", value, 2, "s")], figures=figures)

    monkeypatch.setattr(command, "CHECKS", {"fake": check})
    status = command.main(["fake", "--out", str(tmp_path), "--seconds", "7", "--count", "3"])
    assert status == (0 if value <= 2 else 1)
    content = json.loads((tmp_path / "serve-fake.json").read_text())
    assert content["passed"] is (value <= 2)
    assert content["figures"] == {"seconds": 7.0, "seed": 0, "unknown": None}
    assert content["command"] == f"scripts/serve_check fake --out {tmp_path} --seconds 7 --count 3"
    markdown = (tmp_path / "serve-fake.md").read_text()
    assert f"| x | {value} s | ≤ 2 s | {'pass' if value <= 2 else '**fail**'} |" in markdown
    assert describe_machine(1)["processor"] in markdown
    assert "fake: " in capsys.readouterr().out


def test_unknown_checks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["throughputt"])
    assert "throughputt" in capsys.readouterr().err
