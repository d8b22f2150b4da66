"""Model repositories: configurations that Triton's own schema reads, and that say what the model's file says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.export.form import with_shape
from repsr_deploy.export.io import to_images
from repsr_deploy.export.saving import save_graph
from repsr_deploy.export.triton import Serving, add_model
from repsr_deploy.export.triton.config import model_config
from repsr_deploy.export.triton.pbtxt import Word, read, write
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.runtimes.ports import Port
from repsr_deploy.runtimes.tensorrt import why_unavailable
from repsr_deploy.runtimes.tensorrt.shapes import Shapes
from repsr_deploy.weights import find_model

PB: Any = model_config_pb2
INFO = ModelInfo(name="Plain-M4C16", scale=2, halo=6)
FLOAT = (Port("input", "float32", (None, 3, None, None)), Port("output", "float32", (None, 3, None, None)))
IMAGE = (Port("input", "uint8", (None, None, None, 3)), Port("output", "uint8", (None, None, None, 3)))
TYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.UINT8: "TYPE_UINT8"}


def parsed(text: str) -> Any:
    """By the real schema; raises where that does not know a field or a value."""
    return text_format.Parse(text, PB.ModelConfig())


def quiet(_: str) -> None:
    pass


def config_of(folder: Path) -> Any:
    return parsed((folder / "config.pbtxt").read_text())


def check_against_file(config: Any, file: Path) -> None:
    """Names, types, ranks and fixed sides of the tensors are those of the .onnx file."""
    graph = onnx.load(file).graph
    for told, actual in zip([*config.input, *config.output], [*graph.input, *graph.output], strict=True):
        kind = actual.type.tensor_type
        dims = [*([-1] if config.max_batch_size else []), *told.dims]
        assert told.name == actual.name
        assert PB.DataType.Name(told.data_type) == TYPES[kind.elem_type]
        assert len(dims) == len(kind.shape.dim)
        for side, dim in zip(dims, kind.shape.dim, strict=True):
            assert not dim.HasField("dim_value") or side == dim.dim_value


def check_warm_up(config: Any) -> None:
    """Every sample is a request that the configuration takes."""
    taken = config.input[0]
    assert config.model_warmup
    for sample in config.model_warmup:
        assert 1 <= sample.batch_size <= max(1, config.max_batch_size)
        ((name, data),) = sample.inputs.items()
        assert (name, data.data_type, data.zero_data) == (taken.name, taken.data_type, True)
        assert len(data.dims) == len(taken.dims)
        assert all(want in (-1, side) and side > 0 for want, side in zip(taken.dims, data.dims, strict=True))


def check_batching(config: Any) -> None:
    """As Triton checks it: no dynamic batching without batches, no preferred size above the largest."""
    if config.HasField("dynamic_batching"):
        assert all(0 < size <= config.max_batch_size for size in config.dynamic_batching.preferred_batch_size)
        assert config.dynamic_batching.max_queue_delay_microseconds > 0
    else:
        assert config.max_batch_size <= 1


@pytest.fixture(scope="module")
def images_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of io image and fixed sides."""
    model = ir.load(find_model("photo-x2"))
    info = ModelInfo.from_props(model.metadata_props)
    assert info is not None
    images = with_shape(to_images(model), (1, 48, 64))
    images.metadata_props.update(replace(info, io="image").to_props())
    return save_graph(images, tmp_path_factory.mktemp("images") / "images.onnx")


def test_a_repository_for_onnx_runtime(tmp_path: Path) -> None:
    source = find_model("photo-x2")
    added = add_model(source, tmp_path / "models", "sr", Serving(), quiet)
    assert (added.folder, added.version) == (tmp_path / "models" / "sr", 1)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "models", "models/sr", "models/sr/1", "models/sr/1/model.onnx", "models/sr/config.pbtxt",
    ]  # fmt: skip
    assert added.file.read_bytes() == source.read_bytes()
    config = config_of(added.folder)
    check_against_file(config, added.file)
    check_warm_up(config)
    check_batching(config)
    assert (config.name, config.backend, config.max_batch_size) == ("sr", "onnxruntime", 4)
    assert config.default_model_filename == added.file.name
    assert list(config.input[0].dims) == list(config.output[0].dims) == [3, -1, -1]
    assert {sample.batch_size for sample in config.model_warmup} == {1, 4}
    facts = {key: value.string_value for key, value in config.parameters.items()}
    assert facts == {"repsr.scale": "2", "repsr.halo": "6", "repsr.colour": "rgb", "repsr.io": "float"}
    (group,) = config.instance_group
    assert PB.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_AUTO"


def test_images_of_fixed_shape(images_onnx: Path, tmp_path: Path) -> None:
    added = add_model(images_onnx, tmp_path, "sr", Serving(), quiet)
    config = config_of(added.folder)
    check_against_file(config, added.file)
    check_warm_up(config)
    check_batching(config)
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [1, 48, 64, 3])
    assert list(config.output[0].dims) == [1, 96, 128, 3]
    for wrong, said in (
        (Serving(max_batch=4), "takes batches of 1 alone, not up to 4"),
        (Serving(shapes=Shapes.parse("48x48")), "takes images of width 64 alone, not 48"),
    ):
        with pytest.raises(UsageError, match=said):
            add_model(images_onnx, tmp_path, "other", wrong, quiet)
    assert not (tmp_path / "other").exists()


def test_a_repository_for_openvino(images_onnx: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for name, source in (("float", find_model("photo-x2")), ("images", images_onnx)):
        added = add_model(source, tmp_path, name, Serving(backend="openvino"), quiet)
        assert sorted(path.name for path in added.file.parent.iterdir()) == ["model.bin", "model.xml"]
        config = config_of(added.folder)
        check_against_file(config, source)
        check_warm_up(config)
        check_batching(config)
        assert (config.backend, config.max_batch_size, config.default_model_filename) == ("openvino", 0, "model.xml")
        (group,) = config.instance_group
        assert PB.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_CPU"
        images_nhwc = random.integers(0, 256, (1, 48, 64, 3), np.uint8)
        made, expected = (
            open_runtime(file, "openvino", precision="fp32").run_images(images_nhwc) for file in (added.file, source)
        )
        np.testing.assert_array_equal(made, expected)
    with pytest.raises(UsageError, match="leave --max-batch out"):
        Serving(backend="openvino", max_batch=2)


def test_a_configuration_for_tensorrt_has_the_engines_limits() -> None:
    serving = Serving(backend="tensorrt", max_batch=8, shapes=Shapes.parse("64x64:128x256:512x256"))
    for info, ports, dims in ((INFO, FLOAT, [3, -1, -1]), (replace(INFO, io="image"), IMAGE, [-1, -1, 3])):
        config = parsed(write(model_config("sr", info, ports, serving)))
        check_warm_up(config)
        check_batching(config)
        assert (config.backend, config.default_model_filename, config.max_batch_size) == ("tensorrt", "model.plan", 8)
        assert list(config.input[0].dims) == dims
        assert config.parameters["repsr.profile"].string_value == "1x64x64:8x128x256:8x512x256"
        (group,) = config.instance_group
        assert PB.ModelInstanceGroup.Kind.Name(group.kind) == "KIND_GPU"
    profile = serving.profile(FLOAT[0], INFO)
    assert (profile.smallest.count, profile.usual.count, profile.largest.count) == (1, 8, 8)


def test_sides_that_are_all_the_same_are_fixed() -> None:
    one = parsed(write(model_config("sr", INFO, FLOAT, Serving(shapes=Shapes.parse("256x320"), max_batch=1))))
    assert list(one.input[0].dims) == [3, 256, 320]
    assert list(one.output[0].dims) == [3, 512, 640]
    assert [(sample.batch_size, list(sample.inputs["input"].dims)) for sample in one.model_warmup] == [
        (1, [3, 256, 320])
    ]
    assert not one.HasField("dynamic_batching")
    rows = parsed(write(model_config("sr", INFO, FLOAT, Serving(shapes=Shapes.parse("64x320:256x320:512x320")))))
    assert list(rows.input[0].dims) == [3, -1, 320]
    check_warm_up(rows)


def test_one_channel_and_no_halo() -> None:
    info = replace(INFO, colour="y", halo=None, scale=3)
    ports = (Port("lr", "float32", (None, 1, None, None)), Port("hr", "float32", (None, 1, None, None)))
    config = parsed(write(model_config("y", info, ports, Serving())))
    assert (config.input[0].name, list(config.input[0].dims)) == ("lr", [1, -1, -1])
    assert list(config.model_warmup[0].inputs["lr"].dims) == [1, 360, 640]
    assert config.parameters["repsr.halo"].string_value == "none"
    with pytest.raises(UsageError, match="gives features"):
        model_config("f", replace(INFO, io="features"), FLOAT, Serving())


def test_another_version_keeps_the_configuration_that_is_there(tmp_path: Path) -> None:
    source = find_model("photo-x2")
    add_model(source, tmp_path, "sr", Serving(), quiet)
    path = tmp_path / "sr" / "config.pbtxt"
    edited = path.read_text().replace("max_queue_delay_microseconds: 3000", "max_queue_delay_microseconds: 500 # ours")
    edited += 'optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" } ] } }\n'
    assert edited.count("500 # ours") == 1
    path.write_text(edited)
    assert [add_model(source, tmp_path, "sr", Serving(), quiet).version for _ in range(2)] == [2, 3]
    (tmp_path / "sr" / "41").mkdir()
    assert add_model(source, tmp_path, "sr", Serving(), quiet).version == 42
    assert path.read_text() == edited
    parsed(edited)


@pytest.mark.parametrize(
    ("model", "serving", "said"),
    [
        ("photo-x4", Serving(), r"has repsr.scale 2, and this model has 4"),
        ("photo-x2", Serving(backend="openvino"), "has backend onnxruntime, and this model has openvino"),
        ("photo-x2", Serving(max_batch=8), "has max_batch_size 4, and this model has 8"),
        (
            "photo-x2",
            Serving(shapes=Shapes.parse("64x64")),
            "TYPE_FP32 3 x -1 x -1, and this model has TYPE_FP32 3 x 64",
        ),
    ],
)
def test_another_model_is_no_version(model: str, serving: Serving, said: str, tmp_path: Path) -> None:
    add_model(find_model("photo-x2"), tmp_path, "sr", Serving(), quiet)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=said):
        add_model(find_model(model), tmp_path, "sr", serving, quiet)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "text", ["input [", "input { name: }", "}", 'name: "sr', "parameters { key: 3 }", "input: 3", "\0"]
)
def test_a_configuration_that_cannot_be_read_is_left_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "sr").mkdir()
    (tmp_path / "sr" / "config.pbtxt").write_text(text)
    with pytest.raises(UsageError, match="another --name"):
        add_model(find_model("photo-x2"), tmp_path, "sr", Serving(), quiet)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "sr", tmp_path / "sr" / "config.pbtxt"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/abs", "-x", ".hidden", "a b", "a" * 101, 'a"b'])
def test_impossible_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model name is"):
        add_model(find_model("photo-x2"), tmp_path / "models", name, Serving(), quiet)
    assert not (tmp_path / "models").exists()


def test_weights_beside_the_model_come_along(tmp_path: Path) -> None:
    model = onnx.load(find_model("photo-x2"))
    source = tmp_path / "from" / "large.onnx"
    source.parent.mkdir()
    onnx.save(model, source, save_as_external_data=True, location="weights.data", size_threshold=0)
    batch_nchw = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    expected = open_runtime(source, "onnxruntime").run(batch_nchw)
    added = add_model(source, tmp_path / "models", "sr", Serving(), quiet)
    shutil.rmtree(source.parent)
    np.testing.assert_array_equal(open_runtime(added.file, "onnxruntime").run(batch_nchw), expected)
    model.graph.initializer[0].external_data[0].value = "../weights.data"
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="in another folder"):
        add_model(outside, tmp_path / "models", "other", Serving(), quiet)


def test_files_that_are_no_such_models_are_refused(tmp_path: Path) -> None:
    foreign = onnx.load(find_model("photo-x2"))
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    for name, said in (("foreign", "says nothing about itself"), ("text", "no ONNX model"), ("none", "does not exist")):
        with pytest.raises(ModelFileError, match=said):
            add_model(tmp_path / f"{name}.onnx", tmp_path / "models", "sr", Serving(), quiet)
    assert not (tmp_path / "models").exists()


def test_no_engine_without_tensorrt(tmp_path: Path) -> None:
    if why_unavailable("tensorrt") is None:
        pytest.skip("TensorRT is here")
    with pytest.raises(RuntimeUnavailableError):
        add_model(find_model("photo-x2"), tmp_path, "sr", Serving(backend="tensorrt"), quiet)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_an_engine(tmp_path: Path) -> None:
    if reason := why_unavailable("tensorrt"):
        pytest.skip(reason)
    serving = Serving(backend="tensorrt", max_batch=2, shapes=Shapes.parse("32x32:48x64:64x64"))
    added = add_model(find_model("photo-x2"), tmp_path, "sr", serving, quiet)
    assert sorted(path.name for path in added.file.parent.iterdir()) == ["model.plan", "model.plan.json"]
    engine = open_runtime(added.file, "tensorrt")
    assert engine.limits == serving.profile(FLOAT[0], INFO).limits
    check_warm_up(config_of(added.folder))


def test_the_text_format_is_read_as_protobuf_reads_it() -> None:
    text = """
    # a comment
    name: 'it\\'s "x"' backend : "a\\nb" max_batch_size: 0x10,
    input: [ { name: "a" dims: [ 1, -1 ] dims: 3; }, < name: "b", data_type: TYPE_FP32 > ]
    instance_group [ { count: 2 kind: KIND_CPU } ]
    parameters { key: "k" value: { string_value: "v" } }
    dynamic_batching { } version_policy: { all { } }
    """
    config, fields = parsed(text), read(text)
    assert fields["name"] == [config.name]
    assert fields["backend"] == [config.backend]
    assert fields["max_batch_size"] == [config.max_batch_size]
    assert [item["dims"] for item in fields["input"][:1]] == [list(config.input[0].dims)]
    assert [item["name"] for item in fields["input"]] == [[item.name] for item in config.input]
    assert fields["input"][1]["data_type"] == [Word("TYPE_FP32")]
    assert fields["instance_group"] == [{"count": [2], "kind": ["KIND_CPU"]}]
    assert fields["parameters"] == [{"key": ["k"], "value": [{"string_value": ["v"]}]}]
    assert fields["dynamic_batching"] == [{}]
    with pytest.raises(ValueError, match="in each other"):
        read("a {" * 1000)
