"""The ONNX Runtime backend: what it reads from a file, what it derives, and how it refuses what is no model."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from tests.runtimes.models import foreign, plain_model, spec_of


def graph_of(
    nodes: list[Any], constants: dict[str, Any], *, elem: int = TensorProto.FLOAT, sides: Any = ("H", "W")
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("input", elem, ["N", 3, *sides])],
        [helper.make_tensor_value_info("output", elem, ["N", 3, "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def test_a_file_says_everything_about_itself(tmp_path: Path) -> None:
    model = plain_model(spec_of(scale=3, colour="y"))
    path = tmp_path / "modèle.onnx"
    path.write_bytes(model.SerializeToString())
    runtime = open_runtime(path, threads=1)
    assert runtime.name == "onnxruntime"
    assert (runtime.info.scale, runtime.info.halo, runtime.info.colour) == (3, 4, "y")
    output = runtime.run(np.full((2, 1, 5, 7), 0.5, np.float32))
    assert output.shape == (2, 1, 15, 21)
    assert output.dtype == np.float32


@pytest.mark.parametrize(("scale", "blocks", "colour"), [(1, 1, "rgb"), (2, 3, "rgb"), (3, 1, "y"), (4, 2, "rgb")])
def test_a_foreign_file_is_derived_and_said_so(
    scale: int, blocks: int, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(scale=scale, blocks=blocks, colour=colour, channels=11)
    with caplog.at_level(logging.WARNING):
        info = open_runtime(foreign(plain_model(spec))).info
    assert (info.scale, info.halo, info.colour, info.width) == (
        scale,
        spec.halo,
        colour,
        max(11, spec.colours * scale**2),
    )
    assert f"derived scale {scale}, halo {spec.halo}" in caplog.text


def _conv(source: str, target: str, weight: str, **attributes: Any) -> Any:
    return helper.make_node("Conv", [source, weight], [target], **attributes)


def _kernel(size: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.1, (3, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("nodes", "halo"),
    [
        ([_conv("input", "output", "k5", pads=[2] * 4)], 2),
        ([_conv("input", "output", "k3", pads=[3] * 4, dilations=[3, 3])], 3),
        ([_conv("input", "output", "k5", auto_pad="SAME_UPPER")], 2),
        # one branch looks farther than the other: the farther one counts
        (
            [
                _conv("input", "a", "k3", pads=[1] * 4),
                _conv("a", "b", "k3", pads=[1] * 4),
                helper.make_node("Add", ["b", "input"], ["output"]),
            ],
            2,
        ),
        # after enlarging, two HR pixels are one LR pixel, and a half counts as a whole
        (
            [
                helper.make_node("Resize", ["input", "", "scales"], ["a"], mode="nearest", nearest_mode="floor",
                                 coordinate_transformation_mode="asymmetric"),
                _conv("a", "b", "k3", pads=[1] * 4),
                _conv("b", "c", "k3", pads=[1] * 4),
                _conv("c", "output", "k3", pads=[1] * 4),
            ],
            2,
        ),
        ([helper.make_node("Resize", ["input", "", "scales"], ["output"], mode="linear")], 1),
    ],
)  # fmt: skip
def test_derived_halo_is_where_the_influence_of_a_pixel_ends(nodes: list[Any], halo: int) -> None:
    """The reach is also measured: a pixel is changed, and what changes in the output is looked at."""
    constants = {"k3": _kernel(3, 1), "k5": _kernel(5, 2), "scales": np.array([1, 1, 2, 2], np.float32)}
    runtime = open_runtime(graph_of(nodes, constants))
    assert runtime.info.halo == halo
    before = np.random.default_rng(3).random((1, 3, 31, 31), dtype=np.float32)
    after = before.copy()
    after[:, :, 15, 15] += 0.25
    changed = np.argwhere((runtime.run(before) != runtime.run(after)).any(axis=(0, 1))) // runtime.info.scale
    assert np.abs(changed - 15).max() == halo


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("GlobalAveragePool", ["input"], ["a"]), "GlobalAveragePool"),
        (helper.make_node("Softmax", ["input"], ["a"], axis=3), "Softmax"),
        (helper.make_node("Transpose", ["input"], ["a"], perm=[0, 1, 3, 2]), "Transpose"),
    ],
)
def test_an_underivable_halo_is_refused(node: Any, words: str) -> None:
    model = graph_of(
        [node, helper.make_node("Sub", ["a", "a"], ["b"]), helper.make_node("Add", ["b", "input"], ["output"])], {}
    )
    if words == "Transpose":  # square probes alone would hide it, and ours are not square
        words = "cannot run"
    with pytest.raises(ModelFileError, match=words):
        open_runtime(model)


def _not_a_model(name: str) -> bytes:
    whole = plain_model(spec_of()).SerializeToString()
    conv = [_conv("input", "output", "k", pads=[1] * 4)]
    kernel = {"k": _kernel(3, 1)}
    return {
        "empty": b"",
        "text": b"no model at all\n" * 9,
        "truncated": whole[: len(whole) // 2],
        "half precision": graph_of(conv, {"k": _kernel(3, 1).astype(np.float16)}, elem=TensorProto.FLOAT16),
        "fixed size": graph_of(conv, kernel, sides=(64, 64)),
        "shrinks": graph_of([_conv("input", "output", "k", pads=[1] * 4, strides=[2, 2])], kernel),
    }[name]


@pytest.mark.parametrize("name", ["empty", "text", "truncated", "half precision", "fixed size", "shrinks"])
def test_not_a_model(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = _not_a_model(name)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for model in (data, path):
        with pytest.raises(ModelFileError, match="expected"):
            open_runtime(model)
    assert capfd.readouterr().err == ""


def test_files_that_are_no_model(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.safetensors"
    checkpoint.write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"repsr-fuse export .*net\.safetensors --out net\.onnx"):
        open_runtime(checkpoint)
    with pytest.raises(ModelFileError, match="is a folder"):
        open_runtime(tmp_path)
    with pytest.raises(ModelFileError, match="does not exist"):
        open_runtime(tmp_path / "none.onnx")


def test_metadata_that_contradicts_the_graph() -> None:
    info = ModelInfo(name="liar", scale=2, halo=4, colour="y")
    with pytest.raises(ModelFileError, match="says colour 'y' but takes 3 channels"):
        open_runtime(plain_model(spec_of(), info=info).SerializeToString())
    lying = open_runtime(plain_model(spec_of(), info=ModelInfo(name="liar", scale=3, halo=4)).SerializeToString())
    with pytest.raises(ModelFileError, match="the model says scale 3"):
        lying.run(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 1, 8, 8), np.float32),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 3, 8, 8), np.float64),
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((1, 3, 0, 8), np.float32),
    ],
)
def test_a_wrong_batch(batch: Any) -> None:
    with pytest.raises(UsageError, match="expect"):
        open_runtime(plain_model(spec_of()).SerializeToString()).run(batch)


def test_a_batch_need_not_be_contiguous() -> None:
    runtime = open_runtime(plain_model(spec_of()).SerializeToString())
    batch = np.random.default_rng(0).random((1, 9, 8, 3), dtype=np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(runtime.run(batch), runtime.run(np.ascontiguousarray(batch)))


def test_unknown_runtime_and_threads() -> None:
    with pytest.raises(UsageError, match="unknown runtime 'openvino'; expected one of onnxruntime"):
        open_runtime(b"", "openvino")
    with pytest.raises(UsageError, match="threads is 0"):
        open_runtime(b"", threads=0)


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install repsr-deploy\[cpu\]"):
        open_runtime(b"")
