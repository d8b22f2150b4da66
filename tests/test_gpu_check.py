"""`scripts/gpu_check`: nothing without a GPU; steps, judges, the summary; on the simulated GPU, a whole step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repsr_kernels.gpu.driver import Device, find_device
from scripts import gpu_check
from scripts.gpu_check import Outcome, Step, Tools, install_pycuda, plan, run_step, summary
from scripts.gpu_check_results import (
    SANITIZER_ERROR,
    judge_report,
    judge_sanitizer,
    judge_tests,
    read_tests,
)
from tests.simulated_gpu.child import simulated_gpu_or_skip

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check"
CARD = Device(name="NVIDIA H200", compute_capability="9.0")
SIMULATED = Device(name="Simulated GPU", compute_capability="9.0")
EVERYTHING = Tools(pycuda="here", sanitizer="/cuda/compute-sanitizer", runtimes="tensorrt", trtexec="/trt/trtexec")
CASES = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_good"/>
<testcase classname="tests.a" name="test_bad"><failure message="assert 1 == 2">...</failure></testcase>
<testcase classname="tests.a" name="test_later"><skipped message="no TensorRT"/></testcase>
<testcase classname="tests.a" name="test_last"><skipped message="no TensorRT"/></testcase>
<testcase classname="" name="tests.b"><error message="collection failure">
E   ModuleNotFoundError: No module named 'openvino'</error></testcase>
<testcase classname="" name="tests.c"><error message="collection failure">
E   ModuleNotFoundError: No module named 'repsr_kernels.x'</error></testcase>
</testsuite></testsuites>"""


@pytest.mark.skipif(find_device() is not None, reason="a GPU is here")
@pytest.mark.parametrize("python", [None, sys.executable])
def test_without_a_gpu_nothing_is_done(tmp_path: Path, python: str | None) -> None:
    out = tmp_path / "out"
    environment = {**os.environ, **({"PYTHON": python} if python else {})}
    done = subprocess.run([SCRIPT, out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("no GPU to check: no NVIDIA driver")
    assert "nothing was done" in done.stderr
    assert done.stdout == ""
    assert not out.exists()


def test_script_is_good_bash() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is not None:
        subprocess.run([shellcheck, "--exclude=SC1091", SCRIPT], check=True)  # it need not follow scripts/env


def test_tests_are_counted_with_reasons(tmp_path: Path) -> None:
    xml = tmp_path / "t.xml"
    xml.write_text(CASES)
    tests = read_tests(xml)
    assert (tests.passed, tests.failed) == (1, ["tests.a::test_bad", "tests.c"])
    assert tests.skipped == {"no TensorRT": 2, "tests.b imports openvino, which is not installed": 1}
    assert judge_tests(1, xml)[0] == "failed"


@pytest.mark.parametrize(
    ("exit_status", "text", "status"),
    [
        (0, '<testcase classname="a" name="b"/>', "passed"),
        (1, '<testcase classname="a" name="b"/><testcase name="c"><error message="collection failure">'
            "ModuleNotFoundError: No module named 'spandrel'</error></testcase>", "passed"),
        (-11, '<testcase classname="a" name="b"/>', "failed"),
        (0, '<testcase classname="a" name="b"><skipped message="no GPU"/></testcase>', "failed"),
        (5, "", "failed"),
    ],
)  # fmt: skip
def test_one_test_at_least_must_pass_and_none_fail(tmp_path: Path, exit_status: int, text: str, status: str) -> None:
    xml = tmp_path / "t.xml"
    xml.write_text(f"<testsuites>{text}</testsuites>")
    assert judge_tests(exit_status, xml)[0] == status


def test_a_crash_before_the_end_is_a_failure(tmp_path: Path) -> None:
    assert judge_tests(-11, tmp_path / "none.xml")[0] == "failed"


def test_what_the_checker_says(tmp_path: Path) -> None:
    log, xml = tmp_path / "m.log", tmp_path / "m.xml"
    xml.write_text('<testsuites><testcase classname="a" name="b"/></testsuites>')
    log.write_text("========= ERROR SUMMARY: 0 errors\n")
    assert judge_sanitizer(0, log, xml) == ("passed", ["1 tests passed", "ERROR SUMMARY: 0 errors"])
    log.write_text("========= Invalid __global__ write\n========= ERROR SUMMARY: 3 errors\n")
    assert judge_sanitizer(SANITIZER_ERROR, log, xml) == ("failed", ["ERROR SUMMARY: 3 errors"])
    log.write_text("========= Error: Device not supported. Please refer to the documentation\n")
    assert judge_sanitizer(1, log, xml)[0] == "skipped"


def report(path: Path, *failures: tuple[str, str]) -> Path:
    rows = [{"key": {"by": by, "input": ""}, "failure": failure or None} for by, failure in failures]
    path.write_text(json.dumps({"rows": rows, "notes": ["not met: speed: 4 or more, found 3.00", "a word"]}))
    return path


def test_reports_fail_for_what_is_ours(tmp_path: Path) -> None:
    file = report(tmp_path / "r.json", ("kernel", ""), ("PyTorch", "no compiler"), ("kernel", "Simulated GPU: its ..."))
    status, lines = judge_report(0, file)
    assert status == "passed"
    assert lines == ["not met: speed: 4 or more, found 3.00", "no speed in 1 rows of PyTorch: no compiler"]
    wrong = report(tmp_path / "w.json", ("kernel", "7 bytes differ from those that the reference writes"))
    assert judge_report(0, wrong)[0] == "failed"
    assert judge_report(1, file)[0] == "failed"
    assert judge_report(0, tmp_path / "none.json")[0] == "failed"


def test_plan_of_a_machine_with_everything(tmp_path: Path) -> None:
    steps = plan(tmp_path, CARD, EVERYTHING)
    assert tuple(step.name for step in steps) == gpu_check.STEPS
    assert not any(step.missing for step in steps)
    assert "--shapes" not in next(step.said for step in steps if step.name == "kernels")
    racecheck = next(step for step in steps if step.name == "racecheck")
    assert racecheck.command[:3] == ["/cuda/compute-sanitizer", "--tool", "racecheck"]
    assert f"--error-exitcode {SANITIZER_ERROR}" in " ".join(racecheck.command)


def test_plan_of_a_machine_with_nothing_says_why(tmp_path: Path) -> None:
    steps = plan(tmp_path, SIMULATED, Tools())
    assert [step.name for step in steps if not step.missing] == ["tests"]
    kernels = next(step for step in steps if step.name == "kernels")
    assert "--shapes 48x32" in kernels.said
    outcome = run_step(kernels, tmp_path)
    assert (outcome.status, outcome.exit_status, outcome.details) == ("skipped", None, [kernels.missing])
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_run_and_its_output_kept(tmp_path: Path) -> None:
    code = "import sys; print('said'); print('wrong', file=sys.stderr, flush=True); sys.exit(3)"
    outcome = run_step(Step(name="one", command=[sys.executable, "-c", code]), tmp_path)
    assert (outcome.status, outcome.exit_status) == ("failed", 3)
    assert set((tmp_path / "one.log").read_text().splitlines()) == {"said", "wrong"}


def test_a_step_that_hangs_is_stopped_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "STEP_LIMIT_S", 0.3)
    outcome = run_step(Step(name="one", command=["bash", "-c", "sleep 60 & wait"]), tmp_path)
    assert (outcome.status, outcome.exit_status) == ("failed", -9)
    assert outcome.seconds < 10


def test_pycuda_from_an_archive_or_a_folder(tmp_path: Path) -> None:
    for name in ("pycuda-1.tar.gz", "mako-1-py3-none-any.whl", "notes.txt"):
        (tmp_path / name).touch()
    command = install_pycuda(tmp_path, Path("target")).command
    assert [Path(word).name for word in command[-2:]] == ["mako-1-py3-none-any.whl", "pycuda-1.tar.gz"]
    assert {"--no-index", "--no-build-isolation", "--no-deps"} <= set(command)
    assert install_pycuda(tmp_path / "pycuda-1.tar.gz", Path("t")).command[-1].endswith("pycuda-1.tar.gz")
    (tmp_path / "pyproject.toml").touch()
    assert install_pycuda(tmp_path, Path("target")).command[-1] == str(tmp_path)


@pytest.mark.parametrize("device", [CARD, SIMULATED])
def test_summary(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded:
        def version(self) -> tuple[int, int]:
            return 13, 0

    monkeypatch.setattr(gpu_check, "load_driver", Loaded)
    outcomes = [
        Outcome(
            step="tests", command="pytest", status="passed", exit_status=0, seconds=61.2, details=["9 tests passed"]
        ),
        Outcome(step="trtexec", command="repsr-bench trtexec", status="skipped", details=["it is not here"]),
    ]
    text, content = summary(outcomes, gpu_check.describe(device), "scripts/gpu_check")
    assert text.startswith(f"# GPU check: {device.name}\n\n`scripts/gpu_check`\n")
    for line in ("| tests | passed | 61 |", "## trtexec: skipped", "- it is not here", "- 9 tests passed"):
        assert line in text
    assert ("no speed means anything" in text) == (device is SIMULATED)
    parsed: dict[str, Any] = json.loads(content)
    assert parsed["card"] == device.name
    assert parsed["steps"][0]["exit_status"] == 0
    assert "numpy" in parsed["machine"]["packages"]


def test_unknown_steps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main(["out", "dance"])
    assert "unknown steps dance; expected some of tests, memcheck" in capsys.readouterr().err


@pytest.mark.slow
def test_on_the_simulated_gpu(tmp_path: Path) -> None:
    """The whole way to a summary, with the measurement of the kernels, whose every byte is verified."""
    simulated = simulated_gpu_or_skip()
    environment = {**os.environ, **simulated.variables, "PYTHON": sys.executable}
    command = [str(SCRIPT), str(tmp_path), "kernels"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "summary.json").read_text())
    assert [(step["step"], step["status"]) for step in found["steps"]] == [("kernels", "passed")]
    rows = json.loads((tmp_path / "kernels.json").read_text())["rows"]
    verified = {row["key"]["data"]: row["figures"]["verified_db"] for row in rows if row["key"]["by"] == "kernel"}
    (whole,) = (value for data, value in verified.items() if data.startswith("photo-x2, one kernel"))
    assert whole > 55
    assert [value for value in verified.values() if value != "inf"] == [whole]
    assert len(verified) == 14
    assert {row["times_s"] == [] for row in rows} == {True}
    assert "no speed means anything" in (tmp_path / "summary.md").read_text()
