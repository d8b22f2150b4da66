"""What is particular to OpenVINO: its files, its precisions, and memory for many shapes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.runtimes import openvino as backend
from repsr_deploy.runtimes.openvino import OpenVinoRuntime
from repsr_deploy.runtimes.openvino_model import save_openvino
from tests.runtimes.models import foreign, half_model, image_model, int8_model, plain_model, spec_of

X_NCHW = np.random.default_rng(0).random((1, 3, 21, 34), np.float32)

VARIANTS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": lambda model: model,
    "fp16": lambda model: half_model(model, "fp16"),
    "bf16": lambda model: half_model(model, "bf16"),
    "int8": int8_model,
    "image": image_model,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_own_format_is_the_same_model(variant: str, tmp_path: Path) -> None:
    info = ModelInfo(
        name="Plain-M2C8", scale=2, halo=4, width=8, version="1.2", psnr={"set5": 37.11}, history=[{"a": [1, "ü"]}]
    )
    model = VARIANTS[variant](plain_model(spec_of(), info=info))
    source = tmp_path / "modèle.onnx"
    source.write_bytes(model.SerializeToString())
    out = tmp_path / "neu [1]" / "größe.xml"
    save_openvino(source, out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["größe.bin", "größe.xml"]
    before, after = open_runtime(source, "openvino"), open_runtime(out, "openvino")
    assert after.info == before.info
    np.testing.assert_array_equal(after.run(X_NCHW), before.run(X_NCHW))
    with pytest.raises(UsageError, match=r"runtime onnxruntime does not open .*größe.xml; expected one of openvino"):
        open_runtime(out, "onnxruntime")


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(b"no model at all")
    with pytest.raises(ModelFileError, match="is not a complete model"):
        save_openvino(source, tmp_path / "out.xml")
    source.write_bytes(plain_model(spec_of()).SerializeToString())
    with pytest.raises(RepsrError, match=r"cannot write .*out.xml"):
        save_openvino(source, source / "out.xml")  # a file where a folder is needed
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_files_of_its_own_format_that_are_no_model(tmp_path: Path) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "m.xml"
    source.write_bytes(foreign(plain_model(spec_of())))
    save_openvino(source, out)
    with pytest.raises(ModelFileError, match=r"says nothing about itself; expected .* or the .onnx file"):
        open_runtime(out, "openvino")
    source.write_bytes(plain_model(spec_of()).SerializeToString())
    save_openvino(source, out)
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelFileError, match=r"is not a complete model .* with its .bin beside it"):
        open_runtime(out, "openvino")
    out.write_text("<net>", encoding="utf-8")
    with pytest.raises(ModelFileError, match="is not a complete model"):
        open_runtime(out, "openvino")


def test_precisions_are_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(stored: str, *types: str) -> tuple[str, ...]:
        monkeypatch.setattr(backend, "_processor_types", lambda: frozenset(types))
        return backend.precisions(ModelInfo(name="m", scale=2, halo=4, precision=stored))  # pyright: ignore[reportArgumentType]

    assert offered("fp32", "fp32", "int8") == ("fp32",)
    assert offered("fp32", "fp32", "bf16") == ("fp32", "bf16")
    assert offered("fp16", "fp32", "bf16", "fp16") == ("fp32", "fp16", "bf16")
    assert offered("bf16", "fp32") == ("fp32",)
    assert offered("bf16", "fp32", "bf16") == ("bf16",)
    assert offered("int8", "fp32") == ("int8",)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_convolutions_run_in_the_precision_that_is_said(precision: str) -> None:
    """By OpenVINO's own word on what it executes."""
    model = plain_model(spec_of(2, 3, 16)).SerializeToString()
    if precision not in backend.precisions(ModelInfo(name="m", scale=2, halo=4)):
        pytest.skip(f"this processor has no {precision}")
    runtime = open_runtime(model, "openvino", precision=precision)  # pyright: ignore[reportArgumentType]
    runtime.run(X_NCHW)
    assert executed(runtime) == {precision.replace("fp", "f")}
    assert executed(open_runtime(model, "openvino")) == {"f32"}  # and by default not in its own default, bf16


def test_int8_runs_in_int8() -> None:
    runtime = open_runtime(int8_model(plain_model(spec_of(2, 3, 16))).SerializeToString(), "openvino")
    runtime.run(X_NCHW)
    kinds = executed(runtime)
    assert {"i8", "u8"} & kinds
    assert len(kinds) == 2  # the first convolution, which is not quantized


def executed(runtime: object) -> set[str]:
    """Types in which the convolutions of a compiled model run."""
    assert isinstance(runtime, OpenVinoRuntime)
    layers = [node.get_rt_info() for node in runtime.executed_graph().get_ordered_ops()]
    return {
        layer["runtimePrecision"].astype(str) for layer in layers if layer["layerType"].astype(str) == "Convolution"
    }


def test_nan_in_bfloat16_is_found_and_finite_weights_are_not_taken_for_it() -> None:
    model = half_model(plain_model(spec_of()), "bf16")
    item = next(item for item in model.graph.initializer if item.name == "body.0.weight")
    array = numpy_helper.to_array(item).copy()
    array.flat[0] = 2.0**100  # exponent bits that would read as NaN in float16
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    open_runtime(model.SerializeToString(), "openvino")
    array.flat[0] = np.nan
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    with pytest.raises(ModelFileError, match=r"holds NaN or infinity in 'body.0.weight'"):
        open_runtime(model.SerializeToString(), "openvino")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from Linux's /proc")
def test_many_shapes_take_no_more_and_more_memory() -> None:
    """With OpenVINO's own limits, 150 shapes of this network take 100 MB."""
    runtime = open_runtime(int8_model(plain_model(spec_of(2, 4, 16))).SerializeToString(), "openvino", threads=1)

    def resident_bytes() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024

    grown: list[int] = []
    for half in range(2):
        before = resident_bytes()
        for index in range(75):
            runtime.run(X_NCHW[:, :, : 10 + index % 11, : 4 + half * 15 + index // 5].copy())
        grown.append(resident_bytes() - before)
    assert grown[1] < 40 * 2**20, grown


def test_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install repsr-deploy\[openvino\]"):
        open_runtime(b"", "openvino")
