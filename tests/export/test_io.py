"""Models from images to images, and up to the features: the same picture in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import helper

from repsr_deploy.errors import ModelFileError
from repsr_deploy.export.form import with_types
from repsr_deploy.export.half import to_half
from repsr_deploy.export.half_plan import Half
from repsr_deploy.export.io import to_features, to_images
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from repsr_kernels.reference.upsample import enlarged, summed
from tests.export.graphs import (
    content,
    evaluated,
    graph_of,
    image,
    kernel,
    plain,
    psnr,
    run_onnxruntime,
    run_openvino,
)
from tests.nets.networks import randomized, spec_of

node = helper.make_node


def bytes_of(x_nchw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same image as uint8 N x H x W x C."""
    return np.rint(x_nchw.transpose(0, 2, 3, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("colour", ["rgb", "y"])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_images_come_out_as_the_float_model_rounds(scale: int, colour: Colour) -> None:
    model, _ = plain(scale, colour)
    before = content(model)
    images = to_images(model)
    onnx.checker.check_model(ir.to_proto(images), full_check=True)
    assert content(model) == before
    channels = 1 if colour == "y" else 3
    assert images.graph.inputs[0].shape == ir.Shape(["N", "H", "W", channels])
    ends: set[float] = set()
    for count, height, width in ((1, 17, 21), (2, 1, 5)):
        x_nchw = image(height, width, count=count, channels=channels)
        levels = evaluated(model, x_nchw) * 255
        ends |= {levels.min(), levels.max()}
        expected = np.rint(levels).astype(np.uint8).transpose(0, 2, 3, 1)
        doubtful = np.abs(levels % 1 - 0.5).transpose(0, 2, 3, 1) < 1e-3  # float32 may round the other way
        for run in (run_onnxruntime, run_openvino):
            actual = run(images, bytes_of(x_nchw))
            assert actual.dtype == np.uint8
            np.testing.assert_array_equal(actual[~doubtful], expected[~doubtful])
        assert doubtful.mean() < 0.01
    assert 255 in ends  # the clamp was needed


@pytest.mark.parametrize(("precision", "least"), [("fp16", 60.0), ("bf16", 42.0)])
def test_images_of_a_short_model(precision: Half, least: float) -> None:
    model, _ = plain()
    x_nchw = image()
    actual = run_openvino(to_images(to_half(model, precision)), bytes_of(x_nchw)).transpose(0, 3, 1, 2) / 255
    assert psnr(actual, np.rint(evaluated(model, x_nchw) * 255) / 255) > least


def test_tensorrt_reads_bytes_through_casts_alone() -> None:
    images = to_images(plain()[0])
    readers = [use.node.op_type for use in images.graph.inputs[0].uses()]
    last = images.graph.outputs[0].producer()
    assert last is not None
    assert (readers, last.op_type) == (["Cast"], "Cast")
    eight_bit = [value for item in images.graph for value in item.outputs if value.dtype == ir.DataType.UINT8]
    assert eight_bit == [images.graph.outputs[0]]


@pytest.mark.parametrize("precision", [None, "fp16", "bf16"])
def test_a_clamp_is_added_where_there_is_none(precision: Half | None) -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    bare, (clamped, _) = graph_of(nodes, {"w": 3 * kernel(3, 3)}), plain()
    bare, clamped = (model if precision is None else to_half(model, precision) for model in (bare, clamped))
    assert [[item.op_type for item in to_images(model).graph].count("Clip") for model in (bare, clamped)] == [1, 1]
    x_nchw = image()
    levels = 255 * np.clip(evaluated(bare, x_nchw), 0, 1)
    actual = run_openvino(to_images(bare), bytes_of(x_nchw)).transpose(0, 3, 1, 2)
    assert np.abs(actual - levels).max() < (0.51 if precision is None else 4)  # wrapped around, it would be 255


def test_rounding_is_half_to_even() -> None:
    halves = np.arange(255).reshape(1, 15, 17) + 0.5
    plane = (halves / 255).astype(np.float32)
    exact = (plane * np.float32(255) == halves)[0]
    assert exact[:, 0::2].any()  # up and down
    assert exact[:, 1::2].any()
    nodes = [node("Mul", ["x", "zero"], ["z"]), node("Add", ["z", "plane"], ["y"])]
    model = graph_of(nodes, {"zero": np.float32(0), "plane": plane}, sides=(15, 17))
    for run in (run_onnxruntime, run_openvino):
        actual = run(to_images(model), np.zeros((1, 15, 17, 3), np.uint8))
        np.testing.assert_array_equal(actual[0, exact, 0], np.rint(halves[0, exact]))


def check_features(model: ir.Model, scale: int, channels: int = 3) -> str:
    """Compare the finished features with the whole network's picture; return the skip."""
    before = content(model)
    features, skip = to_features(model)
    onnx.checker.check_model(ir.to_proto(features), full_check=True)
    assert content(model) == before
    output = features.graph.outputs[0]
    assert output.name == model.graph.outputs[0].name
    assert output.dtype == ir.DataType.FLOAT
    x_nchw = image(7, 10, count=2, channels=channels).astype(np.float64)
    actual = evaluated(features, x_nchw)
    assert actual.shape == (2, channels * scale**2, 7, 10)
    expected = np.clip(evaluated(model, x_nchw), 0, 1)
    np.testing.assert_allclose(np.clip(summed(actual, x_nchw, scale, skip), 0, 1), expected, rtol=0, atol=1e-6)
    used = {value.name for item in features.graph for value in item.inputs if value is not None}
    assert set(features.graph.initializers) <= used
    return skip


@pytest.mark.parametrize("colour", ["rgb", "y"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_features_of_plain_networks(scale: int, colour: Colour) -> None:
    assert check_features(plain(scale, colour)[0], scale, channels=1 if colour == "y" else 3) == "nearest"


@pytest.mark.parametrize("family", ["srresnet", "wdsr-a", "edsr-bn"])
def test_features_of_other_families(family: str) -> None:
    net = fold(randomized(spec_of(family))).net
    model = with_types(ir.from_proto(build_model(net, ModelInfo(name="net", scale=net.spec.scale, halo=net.spec.halo))))
    if family == "wdsr-a":  # its skip is a convolution of its own
        assert check_features(model, net.spec.scale) == "none"
        return
    with pytest.raises(ModelFileError, match=r"ends in Clip <- (Add <- )?Conv.*io features needs"):
        to_features(model)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_features_of_a_short_model_are_float32(precision: Half) -> None:
    model, _ = plain()
    features, skip = to_features(to_half(model, precision))
    assert skip == "nearest"
    assert features.graph.outputs[0].dtype == ir.DataType.FLOAT
    x_nchw = image()
    finished = np.clip(summed(run_openvino(features, x_nchw), x_nchw, 2, skip), 0, 1)
    assert psnr(finished, evaluated(model, x_nchw)) > 44


def ending(skip: list[onnx.NodeProto], *, order: str = "CRD", **weights: Any) -> ir.Model:
    """Convolution, PixelShuffle x2, and nodes from `low`, `high` and `x` to `y`."""
    nodes = [
        node("Conv", ["x", "w"], ["low"], pads=[1] * 4),
        node("DepthToSpace", ["low"], ["high"], blocksize=2, mode=order),
        *skip,
    ]
    return graph_of(nodes, {"w": kernel(12, 3), **weights})


SCALES: dict[str, Any] = {"scales": np.array([1, 1, 2, 2], np.float32)}
FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
ADD = [node("Add", ["s", "high"], ["y"])]
FOREIGN: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "none": ([node("Identity", ["high"], ["y"])], {}, "none"),
    "Resize nearest": ([node("Resize", ["x", "", "scales"], ["s"], **FLOOR), *ADD], SCALES, "nearest"),
    "Resize linear": ([node("Resize", ["x", "", "scales"], ["s"], mode="linear"), *ADD], SCALES, "bilinear"),
    "ConvTranspose": (
        [node("ConvTranspose", ["x", "ones"], ["s"], strides=[2, 2], group=3), *ADD],
        {"ones": np.ones((3, 1, 2, 2), np.float32)},
        "nearest",
    ),
    "Concat before": (
        [
            node("Split", ["x"], ["r", "g", "b"], axis=1, num_outputs=3),
            node("Concat", [*"rrrrggggbbbb"], ["s"], axis=1),
            node("Add", ["s", "low"], ["t"]),
            node("DepthToSpace", ["t"], ["y"], blocksize=2, mode="CRD"),
        ],
        {},
        "nearest",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_skips_are_recognised_however_they_are_written(kind: str) -> None:
    nodes, weights, skip = FOREIGN[kind]
    model = ending(nodes, **weights)
    if kind == "none":
        model.graph.outputs[0] = model.graph[1].outputs[0]
    assert check_features(model, 2) == skip


ALIGNED = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ending([node("Relu", ["high"], ["y"])]), "ends in Relu <- DepthToSpace"),
        (ending([node("Relu", ["high"], ["y"])], order="DCR"), "ends in Relu <- DepthToSpace"),
        (
            ending([node("Clip", ["high", "zero", "two"], ["y"])], zero=np.float32(0), two=np.float32(2)),
            "ends in Clip <- DepthToSpace",
        ),
        (ending([node("Resize", ["x", "", "scales"], ["s"], **ALIGNED), *ADD], **SCALES), "ends in Add <- Resize"),
        (ending([node("Resize", ["x", "", "scales"], ["s"], **FLOOR), *ADD], **SCALES, order="DCR"), "ends in Add"),
        (
            ending([node("Conv", ["high", "v"], ["y"], pads=[1] * 4)], v=kernel(3, 3)),
            "ends in Conv <- DepthToSpace",
        ),
        (
            ending(
                [
                    node("Conv", ["high", "v"], ["more"], pads=[1] * 4),
                    node("DepthToSpace", ["more"], ["y"], blocksize=2, mode="CRD"),
                ],
                v=kernel(12, 3),
            ),
            "ends in DepthToSpace <- Conv",
        ),
    ],
)
def test_other_endings_are_named(model: ir.Model, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        to_features(model)


def test_only_batches_of_images_have_another_io() -> None:
    model = graph_of([node("Add", ["x", "x"], ["y"])])
    model.graph.inputs[0].type = ir.TensorType(ir.DataType.FLOAT16)
    for change in (to_images, to_features):
        with pytest.raises(ModelFileError, match="input 'x': FLOAT16"):
            change(model)
    model, _ = plain()
    model.graph.outputs.append(model.graph[0].outputs[0])
    with pytest.raises(ModelFileError, match=r"the graph has output .*expected one float32 batch"):
        to_images(model)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_finishing_is_what_pytorch_does(scale: int) -> None:
    random = np.random.default_rng(scale)
    features, image_nchw = random.normal(size=(2, 3 * scale**2, 5, 7)), random.random((2, 3, 5, 7))
    small, low = torch.from_numpy(image_nchw), torch.from_numpy(features)
    shuffled = F.pixel_shuffle(low, scale)
    skips = {
        "none": torch.zeros(()),
        "nearest": F.interpolate(small, scale_factor=scale, mode="nearest"),
        "bilinear": F.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False),
    }
    for skip, added in skips.items():
        expected = (shuffled + added).clamp(0, 1).numpy()
        finished = np.clip(summed(features, image_nchw, scale, skip), 0, 1)  # type: ignore[reportArgumentType]
        np.testing.assert_allclose(finished, expected, rtol=0, atol=1e-7)  # shares are float32
    np.testing.assert_array_equal(enlarged(image_nchw, scale, "nearest"), skips["nearest"].numpy())
