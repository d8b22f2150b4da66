"""The hostile check against services with faults: each must be found, by the requirement that is about it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from checks.hostile import attack
from checks.service import serving
from checks.verdict import Findings
from tests.serve.checks.faulty_service import FAULTS

COUNT = 100
CLEAR, SERVER_ERRORS = "answers that are no clear refusal", "answers 5xx"
LEAKS = {
    "memory, second half over first", "descriptors", "threads", "processes", "files left behind",
    "tracebacks in the log", "lines of the log with control characters",
}  # fmt: skip
PICTURES = "right pictures afterwards that are not those of repsr-upscale"
FOUND = {"none": set[str](), "500": {CLEAR, SERVER_ERRORS}, "html": {CLEAR}, "drops": {CLEAR}, "leaks": LEAKS}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_requirement(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "SETTLE_S", 0.5)
    monkeypatch.setattr(attack, "POLL_S", 0.1)
    findings = _attacked(fault)
    failed = {one.what for one in findings.requirements if not one.passed}
    expected = FOUND[fault] | {PICTURES}  # none of these services can enlarge anything
    # it always answers 422: what must be 405, 408, 413 or 415 is a complaint, whatever the fault
    assert failed - {CLEAR} == expected - {CLEAR}
    assert CLEAR in failed
    assert not findings.passed
    clear = next(one for one in findings.requirements if one.what == CLEAR)
    wrong_status = [line for line in clear.complaints if ": 422, wanted" in line]
    others = len(clear.complaints) - len(wrong_status)
    if CLEAR in FOUND[fault]:
        assert others > COUNT / 2
    else:
        assert others == 0


def _attacked(fault: str) -> Findings:
    script = str(Path(__file__).with_name("faulty_service.py"))
    with serving({}, command=(sys.executable, script, fault)) as served:
        return asyncio.run(attack.attack(served, count=COUNT, examples=0, seed=3, warm_up=20))
