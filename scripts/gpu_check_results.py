"""What the steps of `scripts/gpu_check` left behind, judged: pytest's XML, logs of compute-sanitizer, reports."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from repsr_deploy.bench.kernels.targets import SIMULATED

SANITIZER_ERROR = 86
"""Exit status that compute-sanitizer is asked for when it has found something; none that pytest has."""
Status = Literal["passed", "failed", "skipped"]
Judge = Callable[[int], tuple[Status, list[str]]]
"""What an exit status means, with what a person should know."""


@dataclass
class Tests:
    """What pytest wrote about its run."""

    passed: int = 0
    failed: list[str] = field(default_factory=list[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    """Reasons, and how often."""

    @property
    def lines(self) -> list[str]:
        """For people."""
        reasons = [f"skipped {count} times: {reason}" for reason, count in self.skipped.most_common()]
        return [f"{self.passed} tests passed", *(f"failed: {name}" for name in self.failed), *reasons]


def read_tests(xml: Path) -> Tests:
    """Read pytest's XML. A file of tests that wants a package which is not here counts as skipped."""
    found = Tests()
    for case in ET.parse(xml).iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        bad = next((child for child in case if child.tag in ("failure", "error")), None)
        skip = case.find("skipped")
        if bad is not None:
            lacking = re.search(r"ModuleNotFoundError: No module named '(?!repsr_|tests)([^']+)'", bad.text or "")
            if bad.get("message") == "collection failure" and lacking:
                found.skipped[f"{name} imports {lacking[1]}, which is not installed"] += 1
            else:
                found.failed.append(name)
        elif skip is not None:
            found.skipped[skip.get("message") or "no reason"] += 1
        else:
            found.passed += 1
    return found


def judge_tests(exit_status: int, xml: Path) -> tuple[Status, list[str]]:
    """Whether all tests that could run have passed, one at least."""
    if not xml.is_file():
        return "failed", [f"pytest ended with {exit_status} before it could write {xml.name}"]
    tests = read_tests(xml)
    good = not tests.failed and tests.passed > 0 and exit_status in (0, 1)  # 1 where a file could not be imported, too
    return "passed" if good else "failed", tests.lines


def judge_sanitizer(exit_status: int, log: Path, xml: Path) -> tuple[Status, list[str]]:
    """Whether compute-sanitizer found nothing, and the tests passed under it; it cannot work on every machine."""
    text = log.read_text(errors="replace")
    if "Device not supported" in text:
        return "skipped", ["compute-sanitizer says that it does not support this device"]
    summaries = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
    if exit_status == SANITIZER_ERROR:
        return "failed", summaries
    status, lines = judge_tests(exit_status, xml)
    return status, [*lines, *summaries]


def judge_report(exit_status: int, json_file: Path) -> tuple[Status, list[str]]:
    """Whether a command of repsr-bench succeeded, and everything of ours in its report has a speed.

    What PyTorch cannot do is no failure of ours, nor is a target that is not met; both are said.
    """
    if exit_status or not json_file.is_file():
        return "failed", [f"ended with {exit_status}; the log says why"]
    content = json.loads(json_file.read_text(encoding="utf-8"))
    targets = [note for note in content["notes"] if re.match(r"(met|not met|not measured): ", note)]
    failed = [row for row in content["rows"] if row["failure"] and not row["failure"].startswith(SIMULATED)]
    ours = [row for row in failed if "torch" not in row["key"].get("by", "").lower()]
    named = [f"no speed: {', '.join(filter(None, row['key'].values()))}: {row['failure']}" for row in ours]
    others = Counter(row["failure"] for row in failed if row not in ours)
    counted = [f"no speed in {count} rows of PyTorch: {failure}" for failure, count in others.items()]
    return "failed" if ours else "passed", [*targets, *named, *counted]


def judge_status(exit_status: int) -> tuple[Status, list[str]]:
    """0 is good."""
    return ("passed", []) if exit_status == 0 else ("failed", [f"ended with {exit_status}; the log says why"])
