"""A study from photographs to its report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from repsr_deploy.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from repsr_deploy.errors import UsageError
from repsr_deploy.folding.fold import folded
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.metrics.evaluate import evaluate
from repsr_train.cli import main
from repsr_train.degradations.eight import KINDS
from repsr_train.folder import CHECKPOINT
from repsr_train.state import STATE
from repsr_train.study.runs import plan_runs
from repsr_train.study.scores import bicubic, read_conditions, score, trained_network, upscale_with
from repsr_train.study.study import Request, run_study
from repsr_train.validation import upscale
from tests.training.study.studies import SMALL


@pytest.fixture(scope="module")
def tests_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small photographs: a cup and a rocket before a flat sky, odd sizes."""
    folder = tmp_path_factory.mktemp("tests")
    write_image(folder / "cup.png", np.ascontiguousarray(skimage.data.coffee()[100:197, 200:331]))
    write_image(folder / "rocket.png", np.ascontiguousarray(skimage.data.rocket()[:115, :141]))
    return folder


@pytest.fixture(scope="module")
def finished(photographs: Path, tests_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study whose runs are trained, as `repsr-train` trains them, but nothing else is done."""
    out = tmp_path_factory.mktemp("study")
    runs = plan_runs(
        SMALL,
        data=[photographs],
        validation=[tests_folder],
        out=out,
        steps=2,
        seeds=(0, 1),
        settings=("validate_every=2",),
    )
    for run in runs:
        assert main([*run.arguments, "--out", str(run.folder), "--threads", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def request_(photographs: Path, tests_folder: Path, finished: Path) -> Request:
    return Request(
        study=SMALL,
        data=[photographs],
        validation=[tests_folder],
        tests={"Two": tests_folder},
        out=finished,
        steps=2,
        seeds=(0, 1),
        settings=("validate_every=2",),
    )


def evaluated(net: Any, folder: Path) -> dict[str, float | None]:
    """PSNR-Y by picture, by the project's own evaluation."""
    plain = folded(net)
    with torch.no_grad():
        report = evaluate(lambda lr_hwc: upscale(plain, lr_hwc), 2, sorted(folder.iterdir()), metrics=("psnr_y",))
    return {image.name: image.model.psnr_y for image in report.images}


def test_a_study_writes_its_numbers_report_and_pictures(request_: Request, finished: Path, tests_folder: Path) -> None:
    lines: list[str] = []
    result = run_study(request_, lines.append)
    assert lines[0] == "4 of 4 runs are finished already"
    content = json.loads((finished / "small.json").read_text())
    assert [(run["variant"], run["seed"]) for run in content["runs"]] == [
        (name, seed) for seed in (0, 1) for name in ("plain", "never")
    ]
    first = content["runs"][1]
    assert first["recipe"]["population_from"] == 1
    assert first["parameters_trained"] > first["parameters_folded"] > 0
    assert first["seconds"] > 0
    assert [step for step, _ in first["validation"]] == [2]
    net, _ = load_checkpoint(finished / "runs" / "never-0" / CHECKPOINT)
    found = {name: values["psnr_y"] for name, values in first["scores"]["averaged"]["Two"]["images"].items()}
    assert found == pytest.approx(evaluated(net, tests_folder))
    assert content["judgements"][0]["verdict"] == result.judgements[0].verdict
    assert content["versions"]["torch"] == torch.__version__
    assert f"`{request_.command}`" in (finished / "small.md").read_text()
    for name in ("small.png", "small-artifacts.png"):
        assert read_image(finished / name).std() > 10
        assert f"![{name}]({name})" in (finished / "small.md").read_text()


def test_last_weights_are_those_of_the_state_with_running_statistics(finished: Path, tests_folder: Path) -> None:
    folder = finished / "runs" / "never-0"
    averaged, last = (trained_network(folder, weights) for weights in ("averaged", "last"))
    state, _ = load_tensors(folder / STATE)
    for key, value in last.state_dict().items():
        torch.testing.assert_close(value, state[f"net.{key}"], rtol=0, atol=0)
    assert evaluated(averaged, tests_folder) != evaluated(last, tests_folder)
    conditions = read_conditions({"Two": tests_folder}, 2, degradations=False)
    found = {name: quality.psnr_y for name, quality in score(upscale_with(last), conditions["Two"]).images.items()}
    assert found == pytest.approx(evaluated(last, tests_folder))


def test_degraded_conditions_are_the_eight_and_get_worse(tests_folder: Path) -> None:
    conditions = read_conditions({"Two": tests_folder}, 4, degradations=True)
    assert list(conditions) == [f"Two {kind}" for kind in KINDS]
    scores = {name: score(bicubic(4), pictures).mean.psnr_rgb for name, pictures in conditions.items()}
    assert scores["Two clean"] == max(value for value in scores.values() if value is not None)
    report = evaluate(bicubic(4), 4, sorted(tests_folder.iterdir()), metrics=("psnr_rgb",))
    assert scores["Two clean"] == pytest.approx(report.model.psnr_rgb)


def test_empty_test_folders_and_impossible_requests_are_refused(request_: Request, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures in"):
        read_conditions({"none": tmp_path}, 2, degradations=False)
    changes: list[dict[str, Any]] = [{"tests": {}}, {"steps": 0}, {"seeds": ()}, {"seeds": (1, 1)}, {"seeds": (-1,)}]
    for change in changes:
        with pytest.raises(UsageError, match=r"give --data and --test|expected at least one step"):
            replace(request_, **change)


def test_runs_on_other_photographs_are_not_mixed(request_: Request, tmp_path: Path) -> None:
    shutil.copytree(request_.out, tmp_path, dirs_exist_ok=True)
    checkpoint = tmp_path / "runs" / "plain-1" / CHECKPOINT
    net, info = load_checkpoint(checkpoint)
    info.history[-1]["data_fingerprint"] = "others"
    save_checkpoint(checkpoint, net, info)
    with pytest.raises(UsageError, match=r"the photographs changed between the runs in .*others"):
        run_study(replace(request_, out=tmp_path), lambda _line: None)
