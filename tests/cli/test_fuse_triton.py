"""`repsr-fuse triton`, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.cli.fuse import main


def test_a_bundled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "triton",
        "photo-x2",
        "--out",
        str(tmp_path / "models"),
        "--max-batch",
        "2",
        "--shape",
        "32x32:64x64:99x99",
    ]
    assert main(arguments) == 0
    assert main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"wrote {tmp_path / 'models' / 'photo-x2' / '1' / 'model.onnx'}"
    assert second == first.replace("/1/", "/2/")
    text = (tmp_path / "models" / "photo-x2" / "config.pbtxt").read_text()
    assert text.startswith("# Plain-M4C16, fp32; repsr-fuse triton of repsr-deploy ")
    assert "max_batch_size: 2\n" in text
    assert "dims: [3, 64, 64]" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["photo-x9"], 2, "no model 'photo-x9'; did you mean photo-x"),
        (["photo-x2", "--backend", "pytorch"], 2, "--backend pytorch; expected onnxruntime, tensorrt, openvino"),
        (["photo-x2", "--backend", "openvino", "--max-batch", "3"], 2, "leave --max-batch out"),
        (["photo-x2", "--max-batch", "0"], 2, "--max-batch"),
        (["photo-x2", "--shape", "64"], 2, "expected MIN:OPT:MAX"),
        (["photo-x2", "--shape", "4x3x64x64"], 2, "expected HxW, and their number as --max-batch"),
        (["photo-x2", "--name", "../evil"], 2, "model name is '../evil'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triton", *arguments, "--out", str(tmp_path / "models")]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["triton", "photo-x2", "--out", str(tmp_path / "file")]) == 1
    assert "cannot write" in capsys.readouterr().err
