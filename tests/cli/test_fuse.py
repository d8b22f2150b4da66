"""`repsr-fuse`, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.cli.fuse import main
from repsr_deploy.nets.network import linear_layers
from repsr_deploy.runtimes import open_runtime
from tests.nets.networks import FAMILIES, randomized, spec_of
from tests.support import declare_torchvision_schemas


def fuse(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def checkpoint(folder: Path, family: str = "repsr", **changes: object) -> Path:
    net = randomized(spec_of(family, **changes))  # type: ignore[arg-type]
    path = folder / "net.safetensors"
    history = [{"stage": "train", "step": 7}]
    save_checkpoint(path, net, CheckpointInfo(spec=net.spec, history=history, data_licence="CC0", psnr={"Set5": 31.5}))
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_export_writes_model_and_proof(
    family: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, proof = tmp_path / "model.onnx", tmp_path / "proof.json"
    assert (
        fuse(
            "export",
            checkpoint(tmp_path, family),
            "--out",
            out,
            "--proof",
            proof,
            "--probe",
            photographs / "coffee.png",
        )
        == 0
    )
    layers = len(linear_layers(randomized(spec_of(family))))
    assert f"proof passed: {layers} layers exact on 5 images" in capsys.readouterr().out
    report = json.loads(proof.read_text())
    assert report["summary"]["passed"] is True
    assert report["probes"][-1] == "coffee.png 201x201"
    info = open_runtime(out, "onnxruntime").info
    folded = spec_of(family).folded
    assert (info.name, info.scale, info.halo, info.data_licence) == (folded.name, 2, folded.halo, "CC0")
    assert info.proof == report["summary"]
    assert [entry["stage"] for entry in info.history] == ["train", "fold"]


def test_calibration_is_measured_and_makes_the_model_tileable(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint(tmp_path, "edsr-adadm")
    assert fuse("export", path, "--out", tmp_path / "whole.onnx") == 0
    assert "kept: factor exp(w log(deviation) + b) of every block: it depends on the image" in capsys.readouterr().out
    assert open_runtime(tmp_path / "whole.onnx", "onnxruntime").info.halo is None
    assert fuse("export", path, "--out", tmp_path / "model.onnx", "--calibrate", photographs) == 0
    said = capsys.readouterr().out
    assert "calibrated on 3 photographs: " in said
    assert "kept: factor" not in said
    info = open_runtime(tmp_path / "model.onnx", "onnxruntime").info
    assert info.halo == 8
    assert info.history[-1]["calibration"]["photographs"] == 3


def test_inspect_says_what_files_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(tmp_path, blocks=4, channels=16)
    assert fuse("export", path, "--out", tmp_path / "model.onnx") == 0
    capsys.readouterr()
    assert fuse("inspect", path) == 0
    said = capsys.readouterr().out
    for fact in ("RepSR-M4C16", "x2", "6 LR pixels", "44,124", "Plain-M4C16", "CC0", "Set5 31.5 dB", '"step": 7'):
        assert fact in said, fact
    assert fuse("inspect", tmp_path / "model.onnx") == 0
    said = capsys.readouterr().out
    for fact in ("ONNX model", "Plain-M4C16", "x2", "6 LR pixels", "11,548", "2.62 G", "CC0", '"passed": true'):
        assert fact in said, fact


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        ("missing", 1, "no file"),
        ("empty", 1, "not a readable safetensors file"),
        ("foreign", 1, "a network that spandrel does not know"),
        ("nan", 1, "itself overflows on every probe image"),
        ("name", 2, "expected a name that ends in .onnx, .xml, .engine, .plan, .safetensors, .pth"),
        ("proof", 2, "the proof would overwrite"),
        ("folder", 1, "cannot write"),
        ("probe", 1, "broken.png"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    damage: str, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, more = checkpoint(tmp_path), tmp_path / "out" / "model.onnx", []
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        from safetensors.torch import save_file

        declare_torchvision_schemas()
        save_file({"a": torch.zeros(1)}, path)
    elif damage == "nan":
        net = randomized(spec_of("repsr"))
        torch.nn.init.constant_(net.get_parameter("body.0.paths.1.expand.weight"), torch.nan)
        save_checkpoint(path, net, CheckpointInfo(spec=net.spec))
    elif damage == "name":
        out = tmp_path / "out" / "model.pkl"
    elif damage == "proof":
        more = ["--proof", str(path)]
    elif damage == "folder":
        out = Path("/dev/null/model.onnx")
    else:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        more = ["--probe", str(tmp_path / "broken.png")]
    assert fuse("export", path, "--out", out, *more) == code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["missing.onnx", "text.onnx", "text.pth"])
def test_inspect_names_what_it_cannot_read(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_text("no model")
    assert fuse("inspect", tmp_path / name) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert name in errors[0]


def test_inspect_reads_a_foreign_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = ["N", 3, "H", "W"]
    kernel = numpy_helper.from_array(np.full((3, 1, 5, 5), 0.02, np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[2] * 4, group=3)],
        "blur",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, image)],
        [kernel],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "blur.onnx").write_bytes(model.SerializeToString())
    assert fuse("inspect", tmp_path / "blur.onnx") == 0
    shown = capsys.readouterr().out
    for fact in ("blur", "x1", "2 LR pixels", "75 for each LR pixel", "says nothing about itself"):
        assert fact in shown, fact
