"""`repsr-fuse export` into every precision, io and kind of file, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from repsr_deploy.cli.fuse import main
from repsr_deploy.export.pictures import photographs
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import reduce, score
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import candidates, open_runtime


def fuse(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def info_in(path: Path) -> ModelInfo:
    props = {item.key: item.value for item in onnx.load(path).metadata_props}
    info = ModelInfo.from_props(props)
    assert info is not None
    return info


def conv_types(path: Path) -> set[int]:
    """Types of the values that convolutions read as weights, DequantizeLinear looked through."""
    graph = onnx.load(path).graph
    types = {item.name: item.data_type for item in graph.initializer}
    types |= {node.output[0]: types[node.input[0]] for node in graph.node if node.input and node.input[0] in types}
    return {types[node.input[1]] for node in graph.node if node.op_type == "Conv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "types"),
    [
        ("fp16", {onnx.TensorProto.FLOAT16}),
        ("bf16", {onnx.TensorProto.BFLOAT16}),
        ("int8", {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT}),
    ],
)
def test_the_bundled_model_in_every_precision(
    precision: str, types: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert fuse("export", "photo-x2", "--out", out, "--precision", precision, "--io", "image") == 0
    said = capsys.readouterr().out
    assert conv_types(out) == types
    info = info_in(out)
    assert (info.precision, info.io, info.scale, info.history[-1]["precision"]) == (precision, "image", 2, precision)
    present = candidates(info)
    assert present
    for candidate in present:
        assert f"self-test in {candidate.runtime}, {candidate.precision}: " in said
    reference_hwc = photographs((), 2)["coffee"]
    exact = score(Upscaler("photo-x2", runtime="onnxruntime").upscale, 2, reference_hwc, bicubic=False).model.psnr_y
    runtime = present[0].runtime
    actual = score(Upscaler(out, runtime=runtime).upscale, 2, reference_hwc, bicubic=False).model.psnr_y
    assert exact is not None
    assert actual is not None
    assert exact - actual < (0.2 if precision == "int8" else 0.02)
    assert ("int8: 5 of 6 convolutions" in said) == (precision == "int8")


def test_what_is_converted_already_stays_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    assert fuse("export", "photo-x2", "--out", first, "--precision", "fp16") == 0
    assert fuse("export", first, "--out", second) == 0
    assert conv_types(second) == {onnx.TensorProto.FLOAT16}
    assert info_in(second).precision == "fp16"
    assert fuse("export", first, "--out", tmp_path / "third.onnx", "--precision", "int8") == 2
    assert "is fp16 of io float already; int8 of io float is made of the fp32 model" in capsys.readouterr().err


def test_features_leave_the_tail_to_a_kernel(tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    assert fuse("export", "photo-x4", "--out", out, "--io", "features") == 0
    info = info_in(out)
    assert (info.io, info.skip) == ("features", "nearest")
    x_nchw = np.random.default_rng(0).random((1, 3, 21, 17), dtype=np.float32)
    assert open_runtime(out, "onnxruntime").run(x_nchw).shape == (1, 48, 21, 17)


def test_openvinos_own_files_carry_the_metadata(tmp_path: Path) -> None:
    assert fuse("export", "photo-x2", "--out", tmp_path / "model.xml") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    image_hwc = reduce(photographs((), 2)["rocket"], 2)
    exact = Upscaler("photo-x2", runtime="onnxruntime").upscale(image_hwc)
    actual = Upscaler(tmp_path / "model.xml", runtime="openvino", precision="fp32").upscale(image_hwc)
    assert np.abs(actual.astype(int) - exact).max() <= 1


def test_a_shape_and_an_operator_set(tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    assert fuse("export", "photo-x2", "--out", out, "--shape", "2x3x32x48", "--opset", 20) == 0
    model = onnx.load(out)
    assert model.opset_import[0].version == 20
    shape = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [2, 3, 64, 96]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--out", "a.onnx", "--precision", "int4"), "--precision int4; expected fp32, fp16, bf16, int8"),
        (("--out", "a.onnx", "--io", "tensor"), "--io tensor; expected float, image, features"),
        (("--out", "a.onnx", "--format", "openvino"), "format openvino is written to a file that ends in .xml"),
        (("--out", "a.onnx", "--shape", "8x8:16x16:32x32"), "is a range, which engines have"),
        (("--out", "a.onnx", "--shape", "wide"), "expected MIN:OPT:MAX"),
        (("--out", "a.onnx", "--opset", "3"), "the graph cannot be written in operator set 3"),
        (("--out", "a.safetensors", "--precision", "fp16"), "would be a checkpoint"),
        (("--out", "a.tflite"), "expected a name that ends in .onnx, .xml, .engine"),
    ],
)
def test_impossible_forms_are_one_line_and_leave_nothing(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fuse("export", "photo-x2", *arguments) == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
