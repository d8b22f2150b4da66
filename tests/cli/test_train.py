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
import torch

from repsr_deploy.checkpoint import load_checkpoint
from repsr_train.cli import main

TINY = ("--steps", "6", "--set", "batch=2", "--set", "patch=8", "--set", "validate_every=3", "--threads", "1")


def train(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_run_leaves_checkpoints_metrics_and_description(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--data", photographs, "--val", photographs, "--out", out, *TINY, "--data-licence", "CC0")
    assert train("repsr-m1c4-x2", *arguments, "--save-pth") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors",
        "checkpoint.pth",
        "checkpoint.safetensors",
        "curves.png",
        "metrics.jsonl",
        "run.json",
        "samples",
        "state.previous.safetensors",
        "state.safetensors",
        "tensorboard",
    ]
    net, info = load_checkpoint(out / "checkpoint.safetensors")
    assert net.spec.name == "RepSR-M1C4"
    assert info.data_licence == "CC0"
    described = json.loads((out / "run.json").read_text())
    assert described["photographs"]["count"] == 3
    assert described["recipe"]["steps"] == 6
    (entry,) = info.history
    assert entry["step"] == 6
    assert entry["data_fingerprint"] == described["photographs"]["fingerprint"]
    assert entry["recipe_hash"] == described["recipe_hash"]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[-1]["psnr_y"] == entry["validation_psnr_y"] > 10
    best = max(rows, key=lambda row: row["psnr_y"])
    assert load_checkpoint(out / "best.safetensors")[1].history[0]["step"] == best["step"]
    saved = torch.load(out / "checkpoint.pth", weights_only=True)
    assert all(torch.equal(value, saved["params_ema"][key]) for key, value in net.state_dict().items())


def test_degraded_training_is_scored_on_the_test_degradations(photographs: Path, tmp_path: Path) -> None:
    arguments = ("--data", photographs, "--val", photographs, "--out", tmp_path, *TINY, "--steps", "1")
    assert train("srresnet-dropout-m1c4-x2", *arguments) == 0
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(row["degraded"]) == 8


def test_history_goes_back_to_the_weights_that_a_run_started_from(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("repsr-m1c4-x2", "--data", photographs, "--out", tmp_path / "x2", *TINY) == 0
    source = tmp_path / "x2" / "checkpoint.safetensors"
    arguments = ("repsr-m1c4-x4", "--data", photographs, "--out", tmp_path / "x4", *TINY)
    assert train(*arguments, "--init-from", source, "--set", "population_from=0") == 0
    assert "new: tail.bias, tail.weight" in capsys.readouterr().err
    (tmp_path / "x4" / "checkpoint.safetensors").unlink()
    assert train(*arguments, "--resume", "--set", "population_from=0") == 0
    first, second = load_checkpoint(tmp_path / "x4" / "checkpoint.safetensors")[1].history
    assert (first["recipe"]["network"]["scale"], first["init_from"]) == (2, "")
    assert (second["recipe"]["network"]["scale"], second["init_from"]) == (4, "checkpoint.safetensors")


def test_interrupted_run_resumes_to_the_same_weights(photographs: Path, tmp_path: Path) -> None:
    common = ["--data", str(photographs), "--set", "batch=2", "--set", "patch=8", "--threads", "1", "--steps", "300"]
    common += ["--val", str(photographs), "--set", "validate_every=100"]
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
    assert "the same command with --resume continues" in message
    assert "Traceback" not in message
    assert train("repsr-m1c4-x2", *common, "--out", tmp_path / "halves", "--resume") == 0
    first, second = (load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "halves"))
    for key, value in first.state_dict().items():
        assert value.equal(second.state_dict()[key]), key


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"recipe": "resnet"}, 2, "unknown network 'resnet'"),
        ({"--data": "missing"}, 2, "no folder missing"),
        ({"--data": ""}, 2, "no --data is given"),
        ({"--val": "missing"}, 2, "no folder missing"),
        ({"--set": "lr=fast"}, 2, "lr is 'fast'; expected a number"),
        ({"--set": "pach=9"}, 2, "unknown key 'pach'; did you mean 'patch'?"),
        ({"--set": "patch=400"}, 2, "use a smaller patch"),
        ({"--set": "precision=fp16"}, 2, "precision is fp16, which needs a CUDA device"),
        ({"--config": "missing.yaml"}, 2, "cannot read missing.yaml"),
        ({"--steps": "0"}, 2, "steps is 0"),
        ({"--device": "tpu"}, 2, "unknown device 'tpu'"),
        ({"--init-from": "missing.safetensors"}, 1, "no file missing.safetensors"),
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
    if changes.get("--data") == "":
        del options["--data"]
    recipe = options.pop("recipe", "repsr-m1c4-x2")
    arguments = [item for pair in options.items() for item in pair if item]
    assert train(recipe, *arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_what_cannot_be_resumed_says_why(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("repsr-m1c4-x2", "--data", photographs, "--out", tmp_path / "run", *TINY)
    assert train(*arguments) == 0
    assert train(*arguments) == 2
    assert "already holds a training run" in capsys.readouterr().err
    assert train(*arguments, "--resume", "--set", "lr=1e-3") == 2
    assert "was trained with another recipe: lr was 0.002 and is 0.001; resume with the old" in capsys.readouterr().err
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    (fewer / "coffee.png").write_bytes((photographs / "coffee.png").read_bytes())
    assert train("repsr-m1c4-x2", "--data", fewer, "--out", tmp_path / "run", *TINY, "--resume") == 2
    assert "was trained on other photographs" in capsys.readouterr().err


def test_diverged_training_says_what_to_do(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data", photographs, "--out", tmp_path, *TINY, "--set", "spike_patience=2")
    source = tmp_path / "source"
    assert train("plain-m1c4-x2", *arguments, "--out", source) == 0
    broken = load_checkpoint(source / "checkpoint.safetensors")[0].state_dict()
    torch.save({name: value * float("nan") for name, value in broken.items()}, tmp_path / "broken.pth")
    assert train("plain-m1c4-x2", *arguments, "--init-from", tmp_path / "broken.pth") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "3 of the last 1000 steps were skipped" in error
    assert "the state of step 3 is in" in error
    assert "--set lr=0.001" in error
    assert (tmp_path / "state.safetensors").is_file()


def test_show_prints_the_resolved_recipe(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("lr: 0.5\nbatch: 3\n")
    started = time.monotonic()
    arguments = ("--data", photographs, "--out", tmp_path / "run", "--config", config, "--set", "lr=1e-4", "--show")
    assert train("ecbsr-m4c16-x4", *arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["lr"], shown["batch"], shown["network"]["scale"]) == (1e-4, 3, 4)
    assert time.monotonic() - started < 20
    assert not (tmp_path / "run").exists()


def test_list_names_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("edsr-adadm-m16c64-x2 ") and "1,000,000 steps" in line for line in lines)


@pytest.mark.parametrize("command", ["prepare", "degrade"])
def test_other_commands_are_reached_by_their_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(command, "--help") == 0
    assert f"repsr-train {command}" in capsys.readouterr().out
