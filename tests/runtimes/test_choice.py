"""`auto`: the fastest with the same picture, measured once for a model and a machine."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import Candidate, choice_cache, choose, open_runtime
from repsr_deploy.runtimes import choice as choosing
from repsr_deploy.runtimes.choice import measuring_picture
from repsr_deploy.runtimes.openvino import OpenVinoRuntime
from repsr_deploy.runtimes.openvino_model import save_openvino
from repsr_kernels.cache_dir import cache_dir
from tests.runtimes.here import STORED, candidates_for
from tests.runtimes.models import features_model, half_model, plain_model, spec_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own for each test, and a short look at a small picture."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "kernels").symlink_to(cache_dir("kernels"))  # what was compiled is no choice
    monkeypatch.setattr(choosing, "MEASURING_S", 0.01)
    monkeypatch.setattr(choosing, "LONGEST_RUN_S", 0.003)
    monkeypatch.setenv("REPSR_CACHE", str(folder))
    return folder


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """No native engine here."""
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", "none")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "größe.onnx"
    target.write_bytes(plain_model(spec_of(2, 1, 8)).SerializeToString())
    return target


def files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.rglob("*") if entry.is_file())


def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr(choosing, "time_side_by_side", refuse)


def test_the_fastest_with_the_same_picture_is_taken(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    choice = choose(path, threads=1)
    assert {item.candidate for item in choice.measured} == set(candidates_for("fp32"))
    reference, *others = choice.measured
    assert reference.candidate == Candidate("onnxruntime", "fp32")
    assert math.isinf(reference.psnr_db)
    for item in others:
        assert (item.median_s is not None) == (item.psnr_db >= choosing.SAME_PICTURE_DB)
    fastest = min((item.median_s, item.candidate.runtime) for item in choice.measured if item.median_s is not None)
    assert choice.candidate.runtime == fastest[1]
    assert (choice.runtime.name, choice.runtime.precision) == (choice.candidate.runtime, choice.candidate.precision)
    assert caplog.messages[-1] == f"{path} runs in {choice.reason}"
    for item in choice.measured:
        assert str(item.candidate) in choice.reason
    assert "ms" in choice.reason


def test_what_was_measured_is_used_again(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = choose(path, threads=1)
    assert len(files(cache)) == 1
    with monkeypatch.context() as patch:
        no_measuring(patch)
        again = choose(path, threads=1)
        assert (again.candidate, again.measured, again.reason) == (first.candidate, first.measured, first.reason)
        assert open_runtime(path, threads=1).name == first.candidate.runtime
        with pytest.raises(AssertionError, match="measured"):  # other threads are another question
            choose(path, threads=2)
    other = path.with_name("other.onnx")
    other.write_bytes(plain_model(spec_of(2, 1, 8), seed=1).SerializeToString())
    path.write_bytes(other.read_bytes())
    with monkeypatch.context() as patch:
        no_measuring(patch)
        with pytest.raises(AssertionError, match="measured"):  # so are other weights
            choose(path, threads=1)


@pytest.mark.parametrize("change", ["version", "package", "processor", "cores"])
def test_another_machine_or_version_is_measured_anew(path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    choose(path, threads=1)
    match change:
        case "version":
            monkeypatch.setattr(choice_cache, "__version__", "99")
        case "package":
            monkeypatch.setattr(choice_cache, "package_version", lambda name: "99")  # pyright: ignore[reportUnknownLambdaType]
        case "processor":
            monkeypatch.setattr(choice_cache, "processor_name", lambda: "another")
        case _:
            monkeypatch.setattr(choice_cache.os, "cpu_count", lambda: 99)
    no_measuring(monkeypatch)
    with pytest.raises(AssertionError, match="measured"):
        choose(path, threads=1)


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "list", "no rows", "wrong row", "unknown runtime"])
def test_a_damaged_cache_is_measured_anew(path: Path, cache: Path, damage: str) -> None:
    choose(path, threads=1)
    (file,) = files(cache)
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    file.write_text(
        {
            "empty": "",
            "cut": text[: len(text) // 2],
            "other": text.replace('"cores"', '"colours"'),
            "list": "[]",
            "no rows": json.dumps(content | {"measured": []}),
            "wrong row": json.dumps(content | {"measured": [{"runtime": "openvino"}]}),
            "unknown runtime": text.replace('"openvino"', '"gone"').replace('"onnxruntime"', '"gone"'),
        }[damage],
        encoding="utf-8",
    )
    assert choose(path, threads=1).measured
    assert json.loads(file.read_text(encoding="utf-8"))["key"] == content["key"]


def test_a_cache_that_cannot_be_written_costs_time_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "file"))
    assert choose(path, threads=1).measured
    assert "the choice of a runtime is not kept: cannot write" in caplog.text


def test_another_picture_is_not_taken_however_fast(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted error: nothing counts as the same, not even an equal picture, so the reference is left."""
    monkeypatch.setattr(choosing, "SAME_PICTURE_DB", math.nan)
    choice = choose(path, threads=1)
    assert choice.candidate == Candidate("onnxruntime", "fp32")
    assert "another picture" in choice.reason
    assert [item.median_s for item in choice.measured[1:]] == [None] * (len(choice.measured) - 1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_the_only_one(path: Path, precision: Precision) -> None:
    able = [item for item in candidates_for("fp32") if item.precision == precision]
    if not able:
        with pytest.raises(RuntimeUnavailableError, match=f"no runtime computes .* in {precision}; here are"):
            choose(path, precision=precision)
        return
    choice = choose(path, precision=precision)
    assert choice.runtime.precision == precision
    assert {item.candidate for item in choice.measured} == (set(able) if len(able) > 1 else set())


@pytest.mark.usefixtures("no_native")
def test_the_only_candidate_is_not_measured(
    path: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_measuring(monkeypatch)
    assert open_runtime(path, "onnxruntime").name == "onnxruntime"  # nor is one that is named
    converted = tmp_path / "m.xml"
    save_openvino(path, converted)
    choice = choose(converted, precision="fp32")
    assert (choice.candidate, choice.measured) == (Candidate("openvino", "fp32"), ())
    assert "the only one here" in choice.reason
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose(path).candidate == Candidate("onnxruntime", "fp32")
    assert files(cache) == []


@pytest.mark.parametrize("stored", ["fp16", "bf16", "int8"])
def test_models_of_every_precision(stored: Precision) -> None:
    choice = choose(STORED[stored](plain_model(spec_of(2, 2, 16))).SerializeToString(), threads=1)
    assert choice.candidate in candidates_for(stored)


@pytest.mark.usefixtures("no_native")
def test_no_runtime_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = half_model(plain_model(spec_of()), "bf16").SerializeToString()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailableError, match=r"no runtime computes the model; .*onnxruntime cannot compute"):
        choose(model)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"no runtime computes .*; .*repsr-deploy\[cpu\].*\[openvino\]"):
        choose(path)


def test_not_a_model() -> None:
    with pytest.raises(ModelFileError, match="is not a complete ONNX model"):
        choose(b"no model")


def test_features_are_compared_as_pictures() -> None:
    model = plain_model(spec_of(2, 1, 8))
    choice = choose(features_model(model).SerializeToString(), threads=1)
    assert {item.candidate for item in choice.measured} == set(candidates_for("fp32"))
    assert all(item.psnr_db > 40 for item in choice.measured)
    assert choice.runtime.info.io == "features"  # as it is asked for: whoever wants pictures finishes them


def test_a_candidate_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """An operator that one of them does not know must not take the model away from the other."""
    caplog.set_level(logging.INFO)
    model = plain_model(spec_of())
    model.graph.node[-1].output[0] = "clamped"
    model.graph.node.append(onnx.helper.make_node("SampleOp", ["clamped"], ["output"], domain="com.microsoft"))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    choice = choose(model.SerializeToString())
    assert choice.candidate == Candidate("onnxruntime", "fp32")
    assert "openvino is left out: " in caplog.text


def test_a_candidate_that_cannot_run_is_left_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenVINO compiles when it first runs; a property that it does not know makes that fail."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(OpenVinoRuntime, "_properties", lambda self: {"NO_SUCH_PROPERTY": "1"})  # pyright: ignore[reportUnknownLambdaType]
    choice = choose(path)
    assert choice.candidate.runtime != "openvino"
    assert "openvino" not in {item.candidate.runtime for item in choice.measured}
    assert "openvino in fp32 is left out: OpenVINO cannot compile the model" in caplog.text


def test_broken_weights_are_an_error_for_auto(path: Path) -> None:
    """Opened by ONNX Runtime, which finds NaN when it runs, and refused by OpenVINO."""
    model = plain_model(spec_of())
    item = next(item for item in model.graph.initializer if item.name == "tail.bias")
    item.CopyFrom(onnx.numpy_helper.from_array(np.full(12, np.nan, np.float32), item.name))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="its weights are broken"):
        open_runtime(path).run_images(measuring_picture(16, 3)[None])


def test_a_large_network_is_measured_on_a_small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "LONGEST_RUN_S", 0.02)
    large, small = (
        choose(plain_model(spec_of(2, *size)).SerializeToString(), threads=1, precision="fp32").measured[0].side
        for size in ((3, 96), (1, 2))
    )
    assert 64 <= large < small <= 320


def test_the_picture_is_the_same_every_time_and_like_a_photograph() -> None:
    picture = measuring_picture(128, 3)
    assert (picture.shape, picture.dtype) == ((128, 128, 3), np.uint8)
    np.testing.assert_array_equal(picture, measuring_picture(128, 3))
    assert measuring_picture(65, 1).shape == (65, 65, 1)
    assert len(np.unique(picture)) > 200
    assert 60 < picture.mean() < 195
    levels = picture.astype(float)
    neighbours = np.corrcoef(levels[:, 1:].ravel(), levels[:, :-1].ravel())[0, 1]
    assert 0.7 < neighbours < 0.999  # noise has 0
    colours = np.corrcoef(levels[..., 0].ravel(), levels[..., 1].ravel())[0, 1]
    assert 0.5 < colours < 0.999
