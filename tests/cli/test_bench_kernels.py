"""`repsr-bench kernels` as people run it, on machines without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.bench.report import read_report
from repsr_deploy.cli.bench import main
from repsr_kernels.gpu.driver import find_device
from tests.bench.families import model

QUICK = ["kernels", "--shapes", "24x16", "--seconds", "0.01", "--threads", "1"]


def test_on_a_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = model(tmp_path / "m.onnx")
    outputs = ["--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")]
    options = ["--on", "processor", "--models", str(file), "--scales", "2,4"]
    assert main([*QUICK, *options, *outputs]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    report = read_report(tmp_path / "r.json")
    assert report.command == "kernels"
    works = [row.key["work"] for row in report.rows]
    assert [works.count(work) for work in ("preprocess", "fused_upsample", "copy")] == [2, 12, 1]
    assert works.count("whole step") % 3 == 0
    assert works.count("whole step") >= 6
    for row in report.rows:
        assert row.timing is not None, row.failure
        moved = row.figures.get("useful_bytes_per_s")
        assert (moved is None) == (row.key["work"] == "whole step")
        assert (row.figures.get("copy_share") is None) == (moved is None)
    assert report.rows[-1].figures["copy_share"] == 1.0
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("# Kernels: processor\n")
    for heading in ("GB/s", "of copy", "x first"):
        assert f"- {heading}: " in text


@pytest.mark.skipif(find_device() is not None, reason="a GPU is here")
def test_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--scales", "2", "--models", ""]) == 0
    assert "no GPU is measured: no NVIDIA driver" in capsys.readouterr().out
    assert main([*QUICK, "--on", "gpu"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("repsr-bench: error: no GPU to measure on: no NVIDIA driver")


def test_a_model_that_cannot_be_exported_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = model(tmp_path / "half.onnx", precision="fp16")
    assert main([*QUICK, "--on", "processor", "--scales", "3", "--models", str(file)]) == 0
    assert f"whole steps of {file} are not measured: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "abacus"], "'abacus' is not one of"),
        (["--scales", "two"], "--scales has 'two'; expected some of 2, 3, 4"),
        (["--scales", "5"], "scales are (5,); expected some of 2, 3, 4"),
        (["--scales", ""], "scales are (); expected some of 2, 3, 4"),
        (["--shapes", "24*16"], "--shapes has '24*16'; expected WIDTHxHEIGHT"),
        (["--json", "r.txt"], "output is r.txt; expected a name that ends in .json"),
        (["--models", "photo-x9", "--on", "processor"], "no model 'photo-x9'; did you mean photo-x"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main(["kernels", "--seconds", "0.01", *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("repsr-bench: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
