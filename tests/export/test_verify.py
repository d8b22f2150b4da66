"""`verify`: two model files compared as they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.export.checkpoint import export_checkpoint
from repsr_deploy.export.verify import open_model, verify_files
from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import parse_name


def write_checkpoint(folder: Path, name: str = "repsr-m2c8-x2", seed: int = 3) -> Path:
    """A trained form with random weights."""
    torch.manual_seed(seed)
    net = build(parse_name(name))
    path = folder / f"{name}-{seed}.safetensors"
    save_checkpoint(path, net.eval(), CheckpointInfo(spec=net.spec))
    return path


def plant(path: Path, size: float) -> Path:
    """The model with one weight changed."""
    model = onnx.load(path)
    weight = next(item for item in model.graph.initializer if len(item.dims) == 4)
    array = numpy_helper.to_array(weight).copy()
    array[0, 0, 1, 1] += size
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    changed = path.with_stem(f"{path.stem}-changed")
    onnx.save(model, changed)
    return changed


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A trained checkpoint and the model that it folds into."""
    checkpoint = write_checkpoint(tmp_path)
    export_checkpoint(checkpoint, tmp_path / "folded.onnx")
    return checkpoint, tmp_path / "folded.onnx"


def test_a_trained_checkpoint_and_its_fold_are_equal(pair: tuple[Path, Path]) -> None:
    verdict = verify_files(*pair)
    assert verdict.equal
    assert 0 < verdict.comparison.relative_error < 1e-6  # the weights of the file are float32
    assert verdict.psnr_db > 100
    assert verdict.clamp == (0.0, 1.0)
    assert verdict.lines()["verdict"] == "equal"
    assert json.loads(verdict.to_json())["equal"]
    assert not verify_files(*pair, tolerance=1e-10).equal


def test_the_same_file_is_identical(pair: tuple[Path, Path]) -> None:
    verdict = verify_files(pair[1], pair[1], tolerance=0)
    assert verdict.equal
    assert math.isinf(verdict.psnr_db)
    assert list(verdict.histogram) == ["0"]


def test_a_changed_weight_is_found(pair: tuple[Path, Path]) -> None:
    verdict = verify_files(pair[0], plant(pair[1], 1e-2))
    assert not verdict.equal
    assert verdict.lines()["verdict"] == "different"
    assert "allowed 2e-05" in verdict.lines()["smallest tolerance that would pass"]


def test_other_networks_are_different(tmp_path: Path) -> None:
    verdict = verify_files(write_checkpoint(tmp_path), write_checkpoint(tmp_path, seed=4))
    assert not verdict.equal
    assert verdict.clamp is None
    assert verdict.psnr_db < 40


@pytest.mark.parametrize(("other", "what"), [("repsr-m2c8-x4", "a scale of 2"), ("repsr-m2c8-x2-y", "channels of 3")])
def test_unlike_models_are_refused(tmp_path: Path, other: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        verify_files(write_checkpoint(tmp_path), write_checkpoint(tmp_path, other))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelFileError):
        open_model(tmp_path / "text.onnx")


def test_photographs_are_compared_too(pair: tuple[Path, Path]) -> None:
    verdict = verify_files(*pair, photographs={"cat": torch.rand(1, 3, 30, 41, dtype=torch.float64)})
    assert "cat" in verdict.probes


def foreign(path: Path, *, pad: int) -> Path:
    """A model of another tool: one convolution, x2, without metadata; without padding it crops."""
    weights: dict[str, Any] = {"w": np.random.default_rng(5).normal(size=(12, 3, 3, 3)).astype(np.float32)}
    nodes = [
        onnx.helper.make_node("Conv", ["image", "w"], ["c"], pads=[pad] * 4),
        onnx.helper.make_node("DepthToSpace", ["c"], ["out"], blocksize=2),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "foreign",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1, 3, None, None])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_geometry_of_a_foreign_model_is_found(tmp_path: Path) -> None:
    padded, cropping = (open_model(foreign(tmp_path / f"{pad}.onnx", pad=pad)) for pad in (1, 0))
    assert (padded.channels, padded.scale, padded.halo, padded.multiple) == (3, 2, 1, 1)
    assert (cropping.channels, cropping.scale, cropping.halo, cropping.multiple) == (3, 2, None, 1)
    with pytest.raises(UsageError, match="make pictures of"):
        verify_files(tmp_path / "1.onnx", tmp_path / "0.onnx")
