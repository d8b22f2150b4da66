"""Runs are planned once, trained in processes of their own, and go on after an interruption."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from repsr_deploy.checkpoint import load_tensors, save_tensors
from repsr_deploy.errors import RepsrError, UsageError
from repsr_train.cli import main
from repsr_train.folder import CHECKPOINT
from repsr_train.state import STATE, has_state
from repsr_train.study.runs import Interrupted, Run, plan_runs, train_all
from tests.training.study.studies import SMALL


def plan(photographs: Path, out: Path, *settings: str, steps: int = 3, seeds: tuple[int, ...] = (0,)) -> list[Run]:
    return plan_runs(SMALL, data=[photographs], validation=[], out=out, steps=steps, seeds=seeds, settings=settings)


def quiet(_line: str) -> None:
    pass


def test_runs_go_seed_by_seed_with_their_settings(photographs: Path, tmp_path: Path) -> None:
    runs = plan(photographs, tmp_path, "lr=3e-4", seeds=(2, 0))
    assert [run.name for run in runs] == ["plain-2", "never-2", "plain-0", "never-0"]
    assert runs[1].folder == tmp_path / "runs" / "never-2"
    arguments = runs[1].arguments
    assert arguments[0] == "repsr-m1c4-x2"
    assert arguments.index("lr=3e-4") > arguments.index("lr=1e-3")  # the last one counts
    assert {"population_from=1", "steps=3", "seed=2", "batch=2"} <= set(arguments)
    assert "population_from=1" not in runs[0].arguments


def test_a_folder_keeps_to_one_study(photographs: Path, tmp_path: Path) -> None:
    plan(photographs, tmp_path)
    assert len(plan(photographs, tmp_path, seeds=(0, 1))) == 4  # more seeds may come
    with pytest.raises(UsageError, match=r"holds run plain-0 with other settings \(new: steps=5\)"):
        plan(photographs, tmp_path, steps=5)


def test_wrong_settings_show_before_any_work(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'bach'; did you mean 'batch'"):
        plan(photographs, tmp_path, "bach=3")
    with pytest.raises(UsageError, match="--set population_from: that is what the variants of small differ in"):
        plan(photographs, tmp_path, "lr=1e-3", "population_from=0.5")
    assert not list(tmp_path.iterdir())


def test_a_run_is_finished_at_its_last_step(photographs: Path, tmp_path: Path) -> None:
    run = plan(photographs, tmp_path)[0]
    assert not run.is_finished
    assert main([*run.arguments, "--out", str(run.folder), "--threads", "1"]) == 0
    assert run.is_finished
    assert not replace(run, steps=5).is_finished
    state, _ = load_tensors(run.folder / STATE)
    save_tensors(run.folder / STATE, state, {"step": "2"})  # killed between writing the checkpoint and the state
    assert not run.is_finished


def test_a_failing_run_is_named_with_what_it_said(photographs: Path, tmp_path: Path) -> None:
    run = replace(plan(photographs, tmp_path)[0], arguments=("plain-m0c4-x2",))
    with pytest.raises(RepsrError, match=r"run plain-0 ended with code 2: repsr-train: error: network blocks is 0"):
        train_all([run], jobs=1, threads=1, device="cpu", say=quiet)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(photographs: Path, tmp_path: Path) -> None:
    run = plan(photographs, tmp_path / "halves", steps=150)[0]

    def interrupt() -> None:
        while not has_state(run.folder):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted, match="the same command continues"):
        train_all([run], jobs=2, threads=1, device="cpu", say=quiet)
    assert not run.is_finished
    assert has_state(run.folder)
    train_all([run], jobs=2, threads=1, device="cpu", say=quiet)
    assert run.is_finished
    whole = plan(photographs, tmp_path / "whole", steps=150)[0]
    assert main([*whole.arguments, "--out", str(whole.folder), "--threads", "1"]) == 0
    (halves, _), (expected, _) = (load_tensors(each.folder / CHECKPOINT) for each in (run, whole))
    assert all(bool((halves[key] == expected[key]).all()) for key in expected)
