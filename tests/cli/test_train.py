"""`repsr-train`, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repsr_deploy.checkpoint import load_checkpoint
from repsr_train.cli import main

TINY = ("--steps", "6", "--set", "batch=2", "--set", "patch=8", "--set", "validate_every=3", "--threads", "1")


def train(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_run_leaves_checkpoint_log_and_description(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = train(
        "repsr-m1c4-x2", "--data", photographs, "--val", photographs, "--out", out, *TINY, "--data-licence", "CC0"
    )
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors",
        "log.jsonl",
        "run.json",
        "state.safetensors",
    ]
    net, info = load_checkpoint(out / "checkpoint.safetensors")
    assert net.spec.name == "RepSR-M1C4"
    assert info.data_licence == "CC0"
    described = json.loads((out / "run.json").read_text())
    assert described["data"]["photographs"] == 3
    assert described["recipe"]["steps"] == 6
    (entry,) = info.history
    assert entry["step"] == 6
    assert entry["data_fingerprint"] == described["data"]["fingerprint"]
    assert entry["recipe_hash"] == described["recipe_hash"]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[-1]["psnr_y"] == entry["validation_psnr_y"] > 10


def test_history_goes_back_to_the_weights_that_a_run_started_from(photographs: Path, tmp_path: Path) -> None:
    assert train("repsr-m1c4-x2", "--data", photographs, "--out", tmp_path / "x2", *TINY) == 0
    source = tmp_path / "x2" / "checkpoint.safetensors"
    arguments = ("repsr-m1c4-x4", "--data", photographs, "--out", tmp_path / "x4", *TINY)
    assert train(*arguments, "--init", source, "--set", "population_from=0") == 0
    (tmp_path / "x4" / "checkpoint.safetensors").unlink()
    assert train(*arguments, "--resume", "--set", "population_from=0") == 0
    first, second = load_checkpoint(tmp_path / "x4" / "checkpoint.safetensors")[1].history
    assert (first["recipe"]["network"]["scale"], first["init"]) == (2, "")
    assert (second["recipe"]["network"]["scale"], second["init"]) == (4, "checkpoint.safetensors")


def test_interrupted_run_resumes_to_the_same_weights(photographs: Path, tmp_path: Path) -> None:
    common = ["--data", str(photographs), "--set", "batch=2", "--set", "patch=8", "--threads", "1", "--steps", "400"]
    common += ["--set", "validate_every=100"]
    assert train("repsr-m1c4-x2", *common, "--out", tmp_path / "whole") == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "repsr_train", "repsr-m1c4-x2", *common, "--out", str(tmp_path / "halves")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    while "step 100/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    if process.returncode == 0:
        pytest.fail("the run was over before it could be interrupted")
    assert process.returncode == 130, message
    assert "continue with --resume" in message
    assert "Traceback" not in message
    assert not (tmp_path / "halves" / "checkpoint.safetensors").exists()
    assert train("repsr-m1c4-x2", *common, "--out", tmp_path / "halves", "--resume") == 0
    first, second = (load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "halves"))
    for key, value in first.state_dict().items():
        assert value.equal(second.state_dict()[key]), key


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"recipe": "resnet"}, 2, "unknown recipe 'resnet'"),
        ({"--data": "missing"}, 2, "no folder missing"),
        ({"--set": "lr=fast"}, 2, "expected float after lr="),
        ({"--steps": "0"}, 2, "steps is 0"),
        ({"--device": "tpu"}, 2, "unknown device 'tpu'"),
        ({"--init": "missing.safetensors"}, 1, "no file missing.safetensors"),
        ({"--resume": ""}, 2, "nothing to resume"),
        ({"--out": "/dev/null/run"}, 1, "cannot write"),
    ],
)
def test_bad_input_is_one_line(
    changes: dict[str, str],
    code: int,
    message: str,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {
        "--data": str(photographs),
        "--out": str(tmp_path / "run"),
        "--steps": "2",
        "--set": "batch=1",
        **changes,
    }
    recipe = options.pop("recipe", "repsr-m1c4-x2")
    arguments = [item for pair in options.items() for item in pair if item]
    assert train(recipe, *arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_second_run_in_one_folder_is_refused(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("repsr-m1c4-x2", "--data", photographs, "--out", tmp_path, *TINY)
    assert train(*arguments) == 0
    assert train(*arguments) == 2
    assert "already holds a training run" in capsys.readouterr().err


def test_show_prints_the_resolved_recipe(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert train("ecbsr-m4c16-x4", "--data", photographs, "--out", tmp_path, "--set", "lr=1e-4", "--show") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["lr"], shown["network"]["family"], shown["network"]["scale"]) == (1e-4, "ecbsr", 4)
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []
