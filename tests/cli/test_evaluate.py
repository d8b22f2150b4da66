"""`repsr-eval` with a real model: a plain network of zeros, which is nearest-neighbour enlargement."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from repsr_deploy import __version__
from repsr_deploy.cli.errors import run
from repsr_deploy.cli.evaluate import NAME, app
from repsr_deploy.export.onnx import build_model
from repsr_deploy.metrics.evaluate import evaluate
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import StackSpec


def nearest(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image_hwc.repeat(2, axis=0).repeat(2, axis=1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    spec = StackSpec(family="plain", scale=2, blocks=1, channels=2)
    net = build(spec)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path / "nearest.onnx"
    info = ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, version=__version__)
    path.write_bytes(build_model(net, info).SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs of odd sizes and unfriendly names, and files that are no pictures."""
    folder = tmp_path / "bilder für [den] Test"
    folder.mkdir()
    for name, photo in {
        "[red]ästhetik.png": data.astronaut()[90:191, 80:197],
        "b.png": data.coffee()[:78, :81],
    }.items():
        folder.joinpath(name).write_bytes(cv2.imencode(".png", photo[..., ::-1])[1].tobytes())
    folder.joinpath("notes.txt").write_text("not a picture", encoding="utf-8")
    folder.joinpath(".hidden.png").write_text("not a picture either", encoding="utf-8")
    return folder


def paths(folder: Path) -> list[Path]:
    return [folder / "[red]ästhetik.png", folder / "b.png"]


def test_table_shows_each_picture_and_the_mean(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, NAME, [str(model), "--hr", str(folder)]) == 0
    captured = capsys.readouterr()
    expected = evaluate(nearest, 2, paths(folder))
    assert expected.bicubic is not None
    for name, model_quality, bicubic_quality in [
        ("[red]ästhetik.png", expected.images[0].model, expected.images[0].bicubic),
        ("b.png", expected.images[1].model, expected.images[1].bicubic),
        ("mean of 2", expected.model, expected.bicubic),
    ]:
        line = next(line for line in captured.out.splitlines() if name in line)
        numbers = [float(word) for word in line.split(name)[1].split()]
        assert bicubic_quality is not None
        qualities = (model_quality, bicubic_quality)
        wanted = [value for quality in qualities for value in (quality.psnr_y, quality.ssim_y, quality.psnr_rgb)]
        np.testing.assert_allclose(numbers, np.array(wanted, float), atol=0.00501)
        assert numbers[0] != numbers[3]
    assert "notes" not in captured.out + captured.err
    assert "error" not in captured.err


def test_json_holds_model_protocol_versions_and_numbers(model: Path, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "scores.json"
    assert run(app, NAME, [str(model), "--hr", str(folder), "--json", str(target)]) == 0
    content = json.loads(target.read_text(encoding="utf-8"))
    expected = evaluate(nearest, 2, paths(folder)).to_dict()
    assert {key: content[key] for key in expected} == expected
    assert content["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert content["model"]["info"]["name"] == "Plain-M1C2"
    assert content["versions"]["repsr-deploy"] == __version__
    assert content["versions"]["onnxruntime"]
    assert content["runtime"] == {"name": "onnxruntime", "precision": "fp32"}
    assert [path.name for path in target.parent.iterdir()] == ["scores.json"]


def test_another_runtime_is_measured_and_named(model: Path, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    args = [str(model), "--hr", str(folder), "--json", str(target), "--runtime", "openvino", "--precision", "fp32"]
    assert run(app, NAME, args) == 0
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["runtime"] == {"name": "openvino", "precision": "fp32"}
    assert content["versions"]["openvino"]
    expected = evaluate(nearest, 2, paths(folder)).to_dict()
    assert {key: content[key] for key in expected} == expected


def test_unreadable_pictures_are_named_skipped_and_exit_code_1(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.joinpath("empty.png").touch()
    folder.joinpath("truncated.png").write_bytes(paths(folder)[0].read_bytes()[:2000])
    target = tmp_path / "scores.json"
    assert run(app, NAME, [str(model), "--hr", str(folder), "--json", str(target)]) == 1
    captured = capsys.readouterr()
    assert "mean of 2" in captured.out
    errors = [line for line in captured.err.splitlines() if line.startswith("repsr-eval: error: skipped")]
    assert len(errors) == 2
    assert "empty.png" in errors[0]
    assert "truncated.png" in errors[1]
    assert [item["name"] for item in json.loads(target.read_text(encoding="utf-8"))["skipped"]] == [
        "empty.png",
        "truncated.png",
    ]


def test_nothing_readable_is_exit_code_1_without_a_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hr"
    folder.mkdir()
    folder.joinpath("empty.png").touch()
    assert run(app, NAME, [str(model), "--hr", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "empty.png" in captured.err


@pytest.mark.parametrize("case", ["no folder", "no pictures", "no option", "unknown model"])
def test_bad_usage_is_one_line(case: str, model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = folder / "empty"
    empty.mkdir()
    args, code, words = {
        "no folder": ([str(model), "--hr", str(folder / "missing")], 2, "missing is no folder"),
        "no pictures": ([str(model), "--hr", str(empty)], 2, "empty holds no picture"),
        "no option": ([str(model)], 2, "--hr"),
        "unknown model": (["photo-x99", "--hr", str(folder)], 2, "photo-x99"),
    }[case]
    assert run(app, NAME, args) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words in captured.err


def test_a_checkpoint_is_sent_to_export(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "net.safetensors"
    checkpoint.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert run(app, NAME, [str(checkpoint), "--hr", str(folder)]) == 1
    assert "repsr-fuse export" in capsys.readouterr().err


def test_unwritable_json_keeps_the_table(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "b.png" / "scores.json"  # a file where a folder is needed
    assert run(app, NAME, [str(model), "--hr", str(folder), "--json", str(target)]) == 1
    captured = capsys.readouterr()
    assert "mean of 2" in captured.out
    assert captured.err.splitlines()[-1].startswith("repsr-eval: error: cannot write")


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, NAME, ["--help"]) == 0
    text = capsys.readouterr().out
    for words in ("PSNR", "BT.601", "bicubic", "--hr", "--json", "--runtime", "photo-x2"):
        assert words in text
