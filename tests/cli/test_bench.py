"""`repsr-bench` as people run it: what it prints and writes, and one clear line where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import skimage.data

from repsr_deploy.bench.report import read_report
from repsr_deploy.bench.table import grid
from repsr_deploy.cli.bench import main
from repsr_deploy.imaging.image_file import read_image, write_image
from tests.bench.families import checkpoint, model
from tests.bench.trtexec.stand_in import ELEVEN, install, write_model

QUICK = ["--shapes", "24x16", "--seconds", "0.05", "--threads", "1", "--runtimes", "onnxruntime"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and pictures."""
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "m.onnx")
    write_image(Path("hr/a.png"), skimage.data.chelsea()[:60, :80])
    Path("empty").mkdir()
    return tmp_path


def test_throughput(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["--json", "out/r.json", "--markdown", "out/r.md", "--plot", "out/r.png"]
    assert main(["throughput", "m.onnx", "--hr", "hr", "--batch", "1,2", *QUICK, *outputs]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "Throughput: m.onnx, as it is, onnxruntime, file fp32, computes fp32, 24x16" in captured.out
    assert captured.out.endswith("wrote out/r.json\nwrote out/r.md\nwrote out/r.png\n")
    report = read_report(here / "out/r.json")
    assert [row.key["batch"] for row in report.rows] == ["1", "2"]
    for cells in grid(report.rows, "").rows:
        assert [text for text in cells if text not in captured.out] == []
    assert (here / "out/r.md").read_text().startswith("# Throughput: m.onnx")
    assert read_image(here / "out/r.png").shape[2] >= 3


def test_a_failing_row_is_said_and_others_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model(here / "wrong.onnx", seed=1, precision="fp16")
    assert main(["throughput", "m.onnx", "wrong.onnx", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "failed" in out
    assert "no speed: wrong.onnx, as it is, onnxruntime, fp16" in out
    assert "fp16 must have 60" in out


def test_checkpoint_is_compared_with_its_fold(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(here / "c.safetensors")
    assert main(["throughput", "c.safetensors", *QUICK, "--json", "r.json"]) == 0
    capsys.readouterr()
    networks = [row.key["network"] for row in read_report(here / "r.json").rows]
    assert networks == ["folded", "branches"]


def test_compare(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["throughput", "m.onnx", *QUICK, "--json", "a.json"]) == 0
    content = json.loads((here / "a.json").read_text())
    (row,) = content["rows"]
    row["times_s"] = [2 * value for value in row["times_s"]]
    content["machine"]["threads"] = 64
    (here / "b.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["compare", "a.json", "a.json"]) == 0
    assert " same" in capsys.readouterr().out
    assert main(["compare", "a.json", "b.json", "--json", "c.json"]) == 0
    captured = capsys.readouterr()
    assert " slower" in captured.out
    assert "2.000" in captured.out
    assert "95% interval" in captured.out
    assert captured.err == "repsr-bench: warning: not the same machine or software: threads: A 1, B 64\n"
    assert json.loads((here / "c.json").read_text())["changes"][0]["ratio"] == pytest.approx(2)


def test_end_to_end(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repsr_deploy.bench.end_to_end.FULL_HD", (108, 192))
    options = ["--seconds", "0.05", "--runtime", "onnxruntime", "--no-video"]
    assert main(["end-to-end", "hr", "-m", "m.onnx", *options]) == 0
    out = capsys.readouterr().out
    for text in ("picture 80x60", "repsr-upscale", "bare runtime", "limited", "cores", "ms/MP"):
        assert text in out
    assert "repsr-upscale of a.png takes" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["throughput", "m.onnx", "--runtimes", "abacus"], "unknown runtime 'abacus'; expected some of onnxruntime"),
        (["throughput", "m.onnx", "--precisions", "fp4"], "unknown precision 'fp4'; expected some of fp32"),
        (["throughput", "m.onnx", "--shapes", "640*360"], "--shapes has '640*360'; expected WIDTHxHEIGHT"),
        (["throughput", "m.onnx", "--shapes", "0x360"], "shapes are ((360, 0),)"),
        (["throughput", "m.onnx", "--shapes", ","], "shapes are ()"),
        (["throughput", "m.onnx", "--batch", "two"], "--batch has 'two'; expected numbers of images"),
        (["throughput", "m.onnx", "--batch", "0"], "batches are (0,)"),
        (["throughput", "missing.onnx", *QUICK], "no model 'missing.onnx'"),
        (["throughput", "m.onnx", "--hr", "m.onnx"], "--hr m.onnx is no folder"),
        (["throughput", "m.onnx", "--hr", "empty"], "folder empty holds no image"),
        (["throughput", "m.onnx", "--json", "r.txt"], "output is r.txt; expected a name that ends in .json"),
        (["throughput"], "missing argument 'MODEL...'"),
        (["compare", "m.onnx", "m.onnx"], "m.onnx is not JSON"),
        (["compare", "a.json", "b.json"], "cannot read a.json"),
        (["end-to-end", "empty", "-m", "m.onnx"], "folder empty holds no image"),
        (["end-to-end", "hr", "-m", "photo-x9"], "no model 'photo-x9'; did you mean photo-x"),
    ],
)
def test_mistakes_are_one_line(here: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    assert main(args) in (1, 2)
    captured = capsys.readouterr()
    assert captured.err.startswith("repsr-bench: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("throughput", "compare", "end-to-end"):
        assert command in out


def test_trtexec(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = install(here / "bin", ELEVEN)
    write_model(here / "t.onnx")
    args = ["t.onnx", "--shapes", "64x64:360x640:1080x1920", "--program", str(program), "--json", "r.json"]
    assert main(["trtexec", *args]) == 0
    captured = capsys.readouterr()
    rows = {row.key["time"]: row for row in read_report(here / "r.json").rows}
    gpu, whole = rows["GPU alone"].timing, rows["end to end, with copies"].timing
    assert gpu is not None
    assert whole is not None
    assert gpu.median_s < whole.median_s
    assert rows["GPU alone"].figures["images_per_s"] == pytest.approx(1 / gpu.median_s)
    for text in (ELEVEN.version, "1x3x360x640", "GPU alone", "copy to the GPU", "built in", "of the layers' time"):
        assert text in captured.out
    assert captured.err == ""
    assert main(["trtexec", *args, "--verbose"]) == 0
    assert "&&&& PASSED" in capsys.readouterr().err


def test_trtexec_without_the_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trtexec", "m.onnx", "--program", "no-such-program"]) == 2
    assert "no-such-program is no program; expected trtexec or tensorrt_rtx" in capsys.readouterr().err
