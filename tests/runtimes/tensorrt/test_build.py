"""Engines from the real builder, in every precision and io; what it cannot build is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError
from repsr_deploy.files import file_sha256
from repsr_deploy.model_info import ModelIo, Precision
from tests.runtimes.tensorrt.conftest import Worker
from tests.runtimes.tensorrt.models import BLOCKS, model_info, typed_model, write_external, write_model

pytestmark = pytest.mark.tensorrt

PROFILE = "1x3x5x7:2x3x36x64:4x3x108x192"


@pytest.mark.parametrize("io", get_args(ModelIo))
@pytest.mark.parametrize("precision", get_args(Precision))
def test_every_precision_and_io_builds(worker: Worker, precision: Precision, io: ModelIo, tmp_path: Path) -> None:
    model = write_model(tmp_path, precision, io)
    done = worker.do("build", model=model, out=tmp_path / "made.engine", shapes=PROFILE)
    record = done["record"]
    assert record["convolutions"] == {precision: BLOCKS + 2}
    assert (record["recipe"]["info"]["precision"], record["recipe"]["info"]["io"]) == (precision, io)
    assert record["recipe"]["shapes"] == [[1, 5, 7], [2, 36, 64], [4, 108, 192]]
    assert record["plan_sha256"] == file_sha256(tmp_path / "made.engine")
    assert (tmp_path / "made.engine").stat().st_size == record["plan_bytes"] > 100_000
    assert {path.name for path in tmp_path.iterdir()} == {model.name, "made.engine", "made.engine.json"}


def test_default_shapes_and_one_shape(worker: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, "fp16")
    wide = worker.do("build", model=model, out=tmp_path / "wide.engine")["record"]
    assert wide["recipe"]["shapes"] == [[1, 1, 1], [1, 360, 640], [1, 1080, 1920]]
    one = worker.do("build", model=model, out=tmp_path / "one.engine", shapes="36x64")["record"]
    assert one["recipe"]["shapes"] == [[1, 36, 64]] * 3
    assert one["plan_sha256"] != wide["plan_sha256"]


def test_options_reach_the_builder(worker: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    plans = {
        name: worker.do("build", model=model, out=tmp_path / f"{name}.engine", shapes="36x64", **options)["record"]
        for name, options in {
            "default": {},
            "again": {},
            "tf32": {"tf32": True},
            "fast": {"level": 0, "workspace_bytes": 1 << 28},
        }.items()
    }
    assert plans["default"]["plan_sha256"] == plans["again"]["plan_sha256"]
    assert plans["default"]["plan_sha256"] != plans["tf32"]["plan_sha256"]
    assert plans["fast"]["recipe"]["options"]["workspace_bytes"] == 1 << 28


def test_an_engine_for_chosen_gpus(rtx: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, "fp16")
    anywhere = rtx.do("build", model=model, out=tmp_path / "a.engine")["record"]
    ada = rtx.do("build", model=model, out=tmp_path / "b.engine", compute_capabilities=["8.9"])["record"]
    assert ada["recipe"]["device"] is None
    assert ada["plan_sha256"] != anywhere["plan_sha256"]
    with pytest.raises(RepsrError, match=r"cannot build an engine from .*CUDA driver"):
        rtx.do("build", model=model, out=tmp_path / "c.engine", compute_capabilities=["current"])
    assert not (tmp_path / "c.engine").exists()


def test_progress_grows_to_the_end(worker: Worker, tmp_path: Path) -> None:
    reports = worker.do("build", model=write_model(tmp_path), out=tmp_path / "made.engine")["reports"]
    shares = [share for share, _ in reports]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len({phase for _, phase in reports}) > 2


def test_weights_in_another_file_are_found_and_count(worker: Worker, tmp_path: Path) -> None:
    contents: set[bytes] = set()
    digests: set[str] = set()
    for seed in (0, 1):
        model = write_external(tmp_path, seed)
        record = worker.do("build", model=model, out=tmp_path / "made.engine", shapes="36x64")["record"]
        contents.add(model.read_bytes())
        digests.add(record["recipe"]["model_sha256"])
    assert (len(contents), len(digests)) == (1, 2)


def test_the_content_of_a_file_builds_the_same(worker: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, "bf16", "image")
    inside = worker.do("build_bytes", model=model, out=tmp_path / "inside.engine")["record"]
    outside = worker.do("build", model=model, out=tmp_path / "outside.engine")["record"]
    assert inside["recipe"] == outside["recipe"]


@pytest.mark.parametrize(
    ("precision", "said"), [("fp32", "fp16"), ("fp32", "int8"), ("fp16", "fp32"), ("fp16", "bf16")]
)
def test_a_file_of_another_precision_than_it_says_is_refused(
    worker: Worker, precision: Precision, said: Precision, tmp_path: Path
) -> None:
    model = write_model(tmp_path, precision, info=model_info(said))
    with pytest.raises(ModelFileError, match=f"said to be {said}.* 4 {precision}.*would be an {precision} number"):
        worker.do("build", model=model, out=tmp_path / "made.engine")
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


def test_layers_that_stay_longer_are_counted(worker: Worker, tmp_path: Path) -> None:
    """int8 with the head in float32, as where the picture itself must not be rounded to 7 bits."""
    model = typed_model("int8")
    nodes = {node.name: node for node in model.graph.node}
    weight = np.random.default_rng(1).normal(size=(8, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "longer"))
    nodes["head.out"].input[:2] = ["input", "longer"]
    path = tmp_path / "mixed.onnx"
    path.write_bytes(model.SerializeToString())
    record = worker.do("build", model=path, out=tmp_path / "made.engine")["record"]
    assert record["convolutions"] == {"fp32": 1, "int8": BLOCKS + 1}


def test_every_parser_error_is_told(worker: Worker, tmp_path: Path) -> None:
    model = typed_model()
    tail = model.graph.node[-1]
    tail.output[0] = "clipped"
    model.graph.node.extend(
        [
            helper.make_node("Frobnicate", ["clipped"], ["frobbed"], name="first", domain="strange"),
            helper.make_node("Defrobnicate", ["frobbed"], ["output"], name="second", domain="strange"),
        ]
    )
    model.opset_import.append(helper.make_opsetid("strange", 1))
    path = tmp_path / "strange.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"cannot parse .*Frobnicate .*first.*Plugin not found.*; .*Defrobnicate"):
        worker.do("build", model=path, out=tmp_path / "made.engine")


def test_a_byte_image_that_is_transposed_first_is_refused_with_the_reason(worker: Worker, tmp_path: Path) -> None:
    model = typed_model(io="image")
    cast, transpose = model.graph.node[:2]
    transpose.input[0], transpose.output[0], cast.input[0], cast.output[0] = "input", "bytes", "bytes", "planes"
    model.graph.node.insert(0, transpose)
    del model.graph.node[2]
    path = tmp_path / "transposed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"operator Transpose .*UInt8 but must have type"):
        worker.do("build", model=path, out=tmp_path / "made.engine")


def test_shapes_that_the_model_does_not_take(worker: Worker, tmp_path: Path) -> None:
    model = typed_model()
    for axis, size in ((2, 36), (3, 64)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    path = tmp_path / "fixed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="takes any x 3 x 36 x 64 alone, not 1x1x1:1x360x640"):
        worker.do("build", model=path, out=tmp_path / "made.engine")
    worker.do("build", model=path, out=tmp_path / "made.engine", shapes="1x3x36x64:2x3x36x64:4x3x36x64")


def test_two_inputs_are_refused(worker: Worker, tmp_path: Path) -> None:
    model = typed_model()
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 3, "H", "W"]))
    model.graph.node[-1].input[0] = "mixed"
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Concat", ["other"], ["mixed"], axis=1))
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="has 2 inputs and 1 outputs"):
        worker.do("build", model=path, out=tmp_path / "made.engine")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("junk.onnx", b"not a model at all", "is no ONNX model"),
        ("model.txt", b"text", "is no .onnx file"),
        ("model.onnx", b"", "is empty"),
    ],
)
def test_what_is_no_model_is_refused(rtx: Worker, name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        rtx.do("build", model=tmp_path / name, out=tmp_path / "made.engine")


def test_a_foreign_model_is_told_what_to_do(rtx: Worker, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"says nothing about itself.*repsr-fuse export"):
        rtx.do("build", model=write_model(tmp_path, stated=False), out=tmp_path / "made.engine")


@pytest.mark.parametrize("option", [{"hardware": "ampere+"}, {"version_compatible": True}, {"timing_cache": "x"}])
def test_options_of_the_other_flavour_are_refused(rtx: Worker, option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(option))} is an option of tensorrt"):
        rtx.do("build", model=write_model(tmp_path), out=tmp_path / "made.engine", **option)


def test_an_interrupted_build_leaves_nothing(worker: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    done = worker.do("interrupted", model=model, out=tmp_path / "made.engine")
    assert done["interrupted"]
    assert max(done["shares"]) < 0.5, "the build went on"
    assert [path.name for path in tmp_path.iterdir()] == [model.name]
    worker.do("build", model=model, out=tmp_path / "made.engine")


def test_running_needs_a_gpu(worker: Worker, tmp_path: Path) -> None:
    reason = worker.do("reason")
    if reason is None:
        pytest.skip("this machine has a GPU")
    model = write_model(tmp_path)
    with pytest.raises(RuntimeUnavailableError, match=r"cannot be used here: no NVIDIA driver .*needs an NVIDIA GPU"):
        worker.do("open_engine", model=model)
    worker.do("build", model=model, out=tmp_path / "made.engine")
    with pytest.raises(RuntimeUnavailableError, match=f"runtime {worker.flavour} .*take runtime openvino"):
        worker.do("open_engine", model=tmp_path / "made.engine")
