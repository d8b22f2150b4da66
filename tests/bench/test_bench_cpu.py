"""The processor benchmark on tiny pictures: every figure from a real run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from repsr_deploy.bench.cpu.contestants import NATIVE, Contestant, find_contestants, find_engine
from repsr_deploy.bench.cpu.heat import run_heat
from repsr_deploy.bench.cpu.memory import memory_row
from repsr_deploy.bench.cpu.models import Model, random_spec, read_model
from repsr_deploy.bench.cpu.pipelines import FEATURES, open_pipeline, ways_of
from repsr_deploy.bench.cpu.pytorch import plain_network
from repsr_deploy.bench.cpu.random_network import random_network
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Report, Row, read_report
from repsr_deploy.bench.verify import psnr_db
from repsr_deploy.cli.bench import main
from repsr_deploy.errors import UsageError
from repsr_deploy.export.compact import to_compact
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import parse_name

NAME = "plain-m1c16-x2"
HEIGHT, WIDTH = 21, 37
ENGINE, WHY_NO_ENGINE = find_engine()
needs_engine = pytest.mark.skipif(not ENGINE.instruction_sets, reason="; ".join(WHY_NO_ENGINE))


class Run(NamedTuple):
    """What one call of the command left."""

    folder: Path
    report: Report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cpu")
    outputs = [f"--json={folder / 'cpu.json'}", f"--markdown={folder / 'cpu.md'}", f"--plot={folder / 'cpu.png'}"]
    quick = ["--no-memory", "--no-torch-compile", "--threads=2", "--seconds=0.01", f"--shapes={WIDTH}x{HEIGHT},16x8"]
    assert main(["cpu", f"--models={NAME},plain-m1c8-x3", *quick, *outputs]) == 0
    return Run(folder, read_report(folder / "cpu.json"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(NAME, tmp_path_factory.mktemp("model"), lambda text: None)[0]


def of(rows: list[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if wanted.items() <= row.key.items()]


def test_everybody_takes_part_and_is_right(run: Run) -> None:
    rows = list(run.report.rows)
    assert [row.name for row in rows if row.failure] == []
    for row in rows:
        assert row.timing is not None
        assert (row.figures["verified_db"] or 0) > {"fp32": 70, "bf16": 45, "int8": 37}[row.key["computes"]]
    first = of(rows, model=NAME, input=f"{WIDTH}x{HEIGHT}", threads="2")
    assert {("openvino", "fp32"), ("openvino", "int8"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= {
        (row.key["runtime"], row.key["computes"]) for row in first
    }
    assert of(first, runtime="pytorch", computes="fp32")


def test_first_model_has_all_shapes_and_one_thread(run: Run) -> None:
    rows = list(run.report.rows)
    assert {row.key["input"] for row in of(rows, model=NAME)} == {f"{WIDTH}x{HEIGHT}", "16x8"}
    assert {row.key["input"] for row in of(rows, model="plain-m1c8-x3")} == {f"{WIDTH}x{HEIGHT}"}
    assert {row.key["model"] for row in of(rows, threads="1")} <= {NAME}


@needs_engine
def test_engine_has_all_figures(run: Run) -> None:
    rows = list(run.report.rows)
    native = of(rows, runtime=NATIVE, model=NAME, input="16x8", threads="2")
    assert {row.key["computes"] for row in native} == {
        precision for precisions in ENGINE.instruction_sets.values() for precision in precisions
    }
    for row in native:
        assert row.timing is not None
        figures = {name: value for name, value in row.figures.items() if value is not None}
        macs = 9 * (3 * 16 + 16 * 16 + 16 * 12) * 16 * 8
        assert figures["macs_per_s"] == pytest.approx(macs / row.timing.median_s)
        assert figures["instruction_share"] * figures["cycles_per_dot"] == pytest.approx(0.5)
        assert figures["times_best_other"] > 0
        peak = run.report.peaks[f"{row.key['computes']} by {row.key['instructions']}, 2 threads"]
        assert figures["instruction_share"] == pytest.approx(figures["macs_per_s"] / peak)
    (best,) = of(native, computes="fp32", instructions=ENGINE.best("fp32") or "")
    assert (best.figures["times_one_thread"] or 0) > 0


@needs_engine
def test_report_judges_and_says_the_clock(run: Run) -> None:
    judged = [line for line in run.report.notes if line.startswith(("met: ", "not met: "))]
    assert any("times as fast as our bf16" in line for line in judged) == bool(ENGINE.best("bf16"))
    assert any("2 threads, times as fast as 1" in line for line in judged) or not ENGINE.best("int8")
    assert any("GHz" in line for line in run.report.notes)


def test_document_and_plot_are_written(run: Run) -> None:
    text = (run.folder / "cpu.md").read_text()
    assert text.startswith("# Processor")
    assert "OpenVINO" in text or "openvino" in text
    assert (run.folder / "cpu.png").read_bytes().startswith(b"\x89PNG")


def test_every_way_gives_the_same_picture(model: Model) -> None:
    slowest = [*ENGINE.instruction_sets][:1]
    everybody, notes = find_contestants(model, ENGINE, wanted=slowest, threads=1, single=False, compiled=False)
    assert notes == []
    image_hwc = photograph_like(HEIGHT, WIDTH)
    pictures: dict[tuple[str, str], np.ndarray] = {}
    for one in everybody:
        for way in ways_of(one):
            out_hwc = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
            open_pipeline(one, way, HEIGHT, WIDTH)(image_hwc, out_hwc)
            pictures[str(one), way] = out_hwc
    fp32 = [picture for (name, _), picture in pictures.items() if "in fp32" in name]
    assert len(fp32) >= 6
    assert {name for name, way in pictures if way == FEATURES} >= {
        f"{name} + our kernel in fp32, 1 thread" for name in ("onnxruntime", "openvino")
    }
    for picture in fp32:
        assert np.abs(picture.astype(int) - fp32[0]).max() <= 1


def test_wrong_picture_has_no_speed(model: Model, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(random_network(parse_name(NAME), seed=1))
    right = Contestant(runtime="onnxruntime", computes="fp32", threads=1, file=model.file("fp32"))
    wrong = replace(right, file=other)
    gone = replace(right, file=tmp_path / "missing.onnx")
    entries = run_heat(model, [right, wrong, gone], HEIGHT, WIDTH, seconds=0.01, progress=lambda text, part: None)
    assert entries[0].timing is not None
    assert entries[0].verified_db == math.inf
    assert entries[1].timing is entries[2].timing is None
    assert "dB to the fp32 reference; fp32 must have" in entries[1].failure
    assert "missing.onnx" in entries[2].failure


def test_memory_is_that_of_a_process(model: Model) -> None:
    one = Contestant(runtime="onnxruntime", computes="fp32", threads=1, file=model.file("fp32"))
    row = memory_row(NAME, one, "whole", 32, 48, scale=2)
    assert row.key["input"] == "48x32"
    assert row.timing is not None
    assert 4e6 < (row.figures["beyond_bytes"] or 0) < 1e9  # ONNX Runtime itself
    failed = memory_row(NAME, replace(one, file=Path("missing.onnx")), "whole", 32, 48, scale=2)
    assert "missing.onnx" in failed.failure


def test_random_network_is_the_same_in_int8_and_in_pytorch() -> None:
    picture_nchw = photograph_like(HEIGHT, WIDTH).astype(np.float32).transpose(2, 0, 1)[None] / 255
    for name in ("plain-m3c20-x2", "plain-m1c8-x1", "plain-m1c8-x4"):
        spec = parse_name(name)
        made: dict[str, np.ndarray] = {}
        for precision in ("fp32", "int8"):
            content = random_network(spec, precision)
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            info = ModelInfo.from_props(session.get_modelmeta().custom_metadata_map)
            assert info is not None
            assert (info.name, info.scale, info.precision, info.halo) == (spec.name, spec.scale, precision, spec.halo)
            made[precision] = np.asarray(session.run(None, {"input": picture_nchw})[0])
        assert 40 < psnr_db(made["int8"], made["fp32"]) < 70
        assert 0.02 < np.std(made["fp32"] - picture_nchw.repeat(spec.scale, 2).repeat(spec.scale, 3)) < 0.2


def test_pytorch_has_the_weights_of_the_file(model: Model) -> None:
    net = plain_network(model.file("fp32"))
    assert sum(value.numel() for value in net.state_dict().values()) == sum(
        value.numel() for value in to_compact(ir.load(model.file("fp32"))).values()
    )
    assert all(value.dtype == torch.float32 for value in net.state_dict().values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "repsr-m4c16-x2"], "is no plain network"),
        (["--models", "missing.onnx"], "no model 'missing.onnx'"),
        (["--models", NAME, "--instruction-sets", "mmx"], "no instruction set 'mmx' here"),
        (["--shapes", "640"], "expected WIDTHxHEIGHT"),
        (["--shapes", "0x4"], "one or more"),
        (["--plot", "speed.svg"], "expected a name that ends in .png"),
    ],
)
def test_mistakes_are_said_at_once(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cpu", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_names_of_random_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = random_spec("plain-m16c64-x2")
    assert spec is not None
    assert (spec.blocks, spec.channels, spec.scale) == (16, 64, 2)
    assert random_spec("photo-x2") is None
    with pytest.raises(UsageError, match="expected plain-mMcC-xS"):
        random_spec("ecbsr-m4c16-x2")
    monkeypatch.chdir(tmp_path)
    Path("plain-m16c64-x2").touch()  # a file of that name is meant
    assert random_spec("plain-m16c64-x2") is None


def test_files_of_a_model(model: Model) -> None:
    files: Mapping[str, Path] = {precision: model.file(precision) for precision in ("fp32", "bf16", "int8")}
    assert files["fp32"] == files["bf16"] != files["int8"]
    assert model.macs_per_pixel in (9 * (3 * 16 + 16 * 16 + 16 * 12), None)
