"""The tests that want a GPU, on the simulated one: in the orders in which it may do things."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.simulated_gpu.child import simulated_gpu_or_skip


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["lazy", "random:1"])
def test_everything_that_wants_a_gpu(schedule: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    pytest_of_kernels = ["-m", "pytest", "-m", "gpu", "tests/kernels", "-p", "no:cacheprovider", f"--junitxml={report}"]
    settings = {"schedule": schedule, "report": "1"}
    result = simulated_gpu_or_skip().run(pytest_of_kernels, settings, limit_s=1800)
    assert result.returncode == 0, result.stdout
    passed = [case for case in ElementTree.parse(report).iter("testcase") if not list(case)]
    assert passed, f"no test ran: {result.stdout}"
    assert "never freed: 0 allocations of the GPU, 0 of the host, 0 that went with a context" in result.stdout
