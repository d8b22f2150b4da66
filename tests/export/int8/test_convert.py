"""Int8 within a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_deploy.export.int8 import images
from repsr_deploy.export.int8.calibrate import calibrate
from repsr_deploy.export.int8.convert import Int8Result, to_int8
from repsr_deploy.export.int8.layers import PICTURE
from repsr_deploy.export.int8.plan import QuantPlan
from repsr_deploy.export.int8.qdq import write_qdq
from repsr_deploy.export.pictures import Pictures, photographs
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.rewrite import add_constant
from repsr_deploy.metrics.evaluate import score
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.weights import find_model
from tests.export.int8.graphs import Graph, chain, info_of, node_of, numbers_of, operand
from tests.runtimes.models import plain_model, spec_of


def silent(_: str) -> None:
    """Says nothing."""


def bundled(name: str) -> tuple[ir.Model, ModelInfo]:
    model = read_graph(find_model(name))
    info = ModelInfo.from_props(model.metadata_props)
    assert info is not None
    return model, info


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return images.cropped(dict(list(photographs((), 1).items())[:2]), 8, 144)


def runner(model: ir.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A model in ONNX Runtime, from picture to picture."""
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])

    def run(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        batch = image_hwc.transpose(2, 0, 1)[None].astype(np.float32) / 255
        output = np.asarray(session.run(None, {"input": batch})[0])
        return np.rint(np.clip(output[0], 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)

    return run


def psnr_y(model: ir.Model, shown: Pictures, scale: int) -> float:
    run = runner(model)
    values = [score(run, scale, picture, metrics=("psnr_y",), bicubic=False).model.psnr_y for picture in shown.values()]
    return float(np.mean([value for value in values if value is not None]))


def precisions(result: Int8Result) -> dict[str, str]:
    return {layer.name.removesuffix(".out_node"): layer.precision for layer in result.report.layers}


@pytest.fixture(scope="module")
def x2(pictures: Pictures) -> Int8Result:
    model, info = bundled("photo-x2")
    return to_int8(model, info, pictures, max_drop_db=0.15, say=silent)


def test_the_bundled_network_is_int8_but_for_its_head(x2: Int8Result, pictures: Pictures) -> None:
    report = x2.report
    assert precisions(x2) == {"head": "fp32", **dict.fromkeys(["body.0", "body.1", "body.2", "body.3", "tail"], "int8")}
    assert report.layers[0].reason == PICTURE
    assert all(layer.sensitivity_db is not None and layer.sensitivity_db < 0.15 for layer in report.layers[1:])
    assert report.precision == "int8"
    assert report.validation == report.photographs == tuple(pictures)


def test_its_figures_are_those_of_the_model(x2: Int8Result, pictures: Pictures) -> None:
    first, *others = x2.report.measured
    assert (first.runtime, [item.runtime for item in others]) == ("onnxruntime", ["openvino"])
    assert first.psnr_y_before == pytest.approx(psnr_y(bundled("photo-x2")[0], pictures, 2), abs=1e-3)
    assert first.psnr_y_after == pytest.approx(psnr_y(x2.model, pictures, 2), abs=1e-3)
    assert 0.01 < x2.report.drop_db == first.psnr_y_before - first.psnr_y_after <= 0.15
    assert all(item.drop_db == pytest.approx(first.drop_db, abs=0.02) for item in others)


def test_the_report_is_json_and_readable(x2: Int8Result) -> None:
    content = json.loads(json.dumps(x2.report.to_dict(), allow_nan=False))
    assert content["precision"] == "int8"
    assert content["layers"][5]["name"] == "tail.out_node"
    lines = x2.report.lines()
    assert lines["int8"] == "5 of 6 convolutions"
    assert lines["float: head.out_node"] == PICTURE
    assert "0.15 allowed" in lines["PSNR-Y in onnxruntime"]


@pytest.mark.parametrize("name", ["photo-x2", "photo-x4"])
def test_white_stays_white_and_colours_stay_what_they_are(name: str, pictures: Pictures) -> None:
    model, info = bundled(name)
    quantized = runner(calibrate(model, info, pictures).quantized())
    inside = slice(6 * info.scale, -6 * info.scale)
    for colour, picture in images.flat(30).items():
        expected, actual = (run(picture)[inside, inside].astype(int) for run in (runner(model), quantized))
        assert np.abs(actual.mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() <= 1, colour
        if colour in ("black", "white"):  # pixels of a tile of scale x scale, which repeats
            assert np.abs(actual - expected).max() <= 2, colour


def with_outlier(model: ir.Model, size: float) -> ir.Model:
    """Beside its own channels, body.2 reads others of that size, with weights of 0: the same network."""
    planted = model.clone()
    reader = node_of(planted, "body.2.out_node")
    features, weight = (operand(planted, str(reader.name), index) for index in (0, 1))
    factor = add_constant(planted.graph, "size", np.array(size, np.float32), None)
    gate = ir.node("Sigmoid", [operand(planted, "body.0.out_node", 0)], name="gate")
    large = ir.node("Mul", [gate.outputs[0], factor], name="large")
    both = ir.node("Concat", [features, large.outputs[0]], {"axis": 1}, name="both")
    for node in (gate, large, both):
        node.outputs[0].name, node.outputs[0].type = f"{node.name}.out", features.type
    planted.graph.insert_before(reader, [gate, large, both])
    reader.replace_input_with(0, both.outputs[0])
    kernel = numbers_of(weight)
    wider = np.concatenate([kernel, np.zeros_like(kernel)], axis=1)
    weight.const_value, weight.shape = ir.tensor(wider), ir.Shape(wider.shape)
    return planted


def test_the_one_sensitive_layer_is_found_and_stays_float(pictures: Pictures) -> None:
    model, info = bundled("photo-x2")
    said: list[str] = []
    result = to_int8(with_outlier(model, 3e4), info, pictures, max_drop_db=0.3, say=said.append)
    assert result.report.measured[0].psnr_y_before == pytest.approx(psnr_y(model, pictures, 2), abs=1e-3)
    assert [name for name, precision in precisions(result).items() if precision == "fp32"] == ["head", "body.2"]
    by_drop = sorted(result.report.layers[1:], key=lambda layer: layer.sensitivity_db or 0)
    assert by_drop[-1].name == "body.2.out_node"
    assert (by_drop[-1].sensitivity_db or 0) > 0.3 > (by_drop[-2].sensitivity_db or 0)
    assert by_drop[-1].reason.startswith("sensitive: costs ")
    assert result.report.drop_db <= 0.3
    assert any("body.2.out_node, alone in int8" in line for line in said)


def copier(folder: Path) -> ir.Model:
    """Three convolutions that give their input back: 8 bits do not fit into the 7 of symmetric int8."""
    graph = Graph()
    x = "input"
    for name, factor in (("head", 0.37), ("body", 0.5), ("tail", 1 / 0.185)):
        kernel = np.zeros((3, 3, 3, 3), np.float32)
        kernel[range(3), range(3), 1, 1] = factor
        x = graph.node("Conv", [x, graph.constant(f"{name}.weight", kernel)], name, kernel_shape=[3, 3], pads=[1] * 4)
    return graph.model(x, 1, folder)


def test_where_no_layer_fits_the_budget_the_network_stays_float_and_the_report_says_so(
    tmp_path: Path, pictures: Pictures
) -> None:
    model = copier(tmp_path)
    result = to_int8(model, info_of(scale=1), pictures, max_drop_db=20, say=silent)
    assert result.report.precision == "fp32"
    assert set(precisions(result).values()) == {"fp32"}
    assert ["DequantizeLinear" in node.op_type for node in result.model.graph] == [False] * 4
    assert psnr_y(result.model, pictures, 1) == np.inf
    assert result.report.drop_db == 0
    assert "the network stays float32" in result.report.lines()["int8"]
    assert json.loads(json.dumps(result.report.to_dict(), allow_nan=False))["measured"][0]["psnr_y_before"] == "inf"


def test_validation_pictures_decide(pictures: Pictures, x2: Int8Result) -> None:
    model, info = bundled("photo-x2")
    smooth = {"ramp": np.linspace(0, 255, 96 * 64 * 3).reshape(96, 64, 3).astype(np.uint8)}
    result = to_int8(model, info, pictures, max_drop_db=0.15, validation=smooth, say=silent)
    assert result.report.validation == ("ramp",)
    assert result.report.measured[0].psnr_y_before > 40 > x2.report.measured[0].psnr_y_before
    assert result.report.drop_db <= 0.15
    assert "fp32" in list(precisions(result).values())[1:]  # smooth pictures show more


def test_a_given_plan_is_written_as_it_is(pictures: Pictures) -> None:
    model, info = bundled("photo-x2")
    calibration = calibrate(model, info, pictures)
    plan = calibration.plan.without({"body.0.out_node"})
    result = to_int8(calibration.model, info, pictures, max_drop_db=1, plan=plan, say=silent)
    expected = ir.to_proto(write_qdq(calibration.model, plan)).SerializeToString()
    assert ir.to_proto(result.model).SerializeToString() == expected
    assert result.report.ranges is None
    assert result.report.layers[1].reason == "it is not in the plan"


def test_a_luma_network_is_measured_in_luma(tmp_path: Path, pictures: Pictures) -> None:
    onnx.save(plain_model(spec_of(colour="y")), tmp_path / "y.onnx")
    model = read_graph(tmp_path / "y.onnx")
    info = ModelInfo.from_props(model.metadata_props)
    assert info is not None
    result = to_int8(model, info, dict(list(pictures.items())[:1]), max_drop_db=5, say=silent)
    assert result.report.precision == "int8"
    assert result.model.graph.inputs[0].shape is not None
    assert result.model.graph.inputs[0].shape[1] == 1


def test_weights_may_lie_in_a_file_of_their_own(tmp_path: Path, pictures: Pictures) -> None:
    model, info = bundled("photo-x2")
    ir.save(model, tmp_path / "large.onnx", external_data="large.data")
    some = dict(list(pictures.items())[:1])
    apart, whole = (
        to_int8(source, info, some, max_drop_db=1, say=silent).model
        for source in (read_graph(tmp_path / "large.onnx"), model)
    )
    assert ir.to_proto(apart).graph.node == ir.to_proto(whole).graph.node
    assert psnr_y(apart, some, 2) == psnr_y(whole, some, 2)


def test_the_model_itself_is_not_changed(pictures: Pictures) -> None:
    model, info = bundled("photo-x2")
    before = ir.to_proto(model).SerializeToString()
    to_int8(model, info, dict(list(pictures.items())[:1]), max_drop_db=0.01, say=silent)
    assert ir.to_proto(model).SerializeToString() == before


def test_requests_that_cannot_be_met_are_named(tmp_path: Path, pictures: Pictures, x2: Int8Result) -> None:
    model, info = chain(tmp_path), info_of()
    graph = Graph()
    no_convolution = graph.model(graph.node("Relu", ["input"], "relu"), 1, tmp_path)
    graph = Graph()
    only_head = graph.model(graph.conv("input", "head", 3, 3), 1, tmp_path)
    flat = info_of(scale=1)
    for source, stated, chosen, budget, message in (
        (model, info, pictures, -0.1, "the budget is -0.1 dB; expected 0 or more"),
        (model, info, pictures, float("nan"), "the budget is nan dB"),
        (model, info, {}, 0.1, "no photographs to measure PSNR on"),
        (model, replace(info, precision="fp16"), pictures, 0.1, "precision fp16 and io float; int8 is made from fp32"),
        (model, replace(info, io="image"), pictures, 0.1, "io image"),
        (x2.model, bundled("photo-x2")[1], pictures, 0.1, "it is int8 already"),
        (no_convolution, flat, pictures, 0.1, "no convolution can be int8: there is none at all"),
        (only_head, flat, pictures, 0.1, "no convolution can be int8: one reads the picture itself"),
    ):
        with pytest.raises(UsageError, match=message):
            to_int8(source, stated, chosen, max_drop_db=budget, say=silent)
    with pytest.raises(UsageError, match="no photographs to calibrate on"):
        to_int8(model, info, {}, validation=pictures, say=silent)


def test_an_empty_plan_is_no_int8(pictures: Pictures) -> None:
    model, info = bundled("photo-x2")
    with pytest.raises(UsageError, match="the plan has no layers"):
        to_int8(model, info, pictures, plan=QuantPlan(layers=()), say=silent)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo-x2", "photo-x4"])
def test_the_bundled_networks_hold_a_tenth_of_a_decibel_on_kodak(name: str, shared_data: Path) -> None:
    model, info = bundled(name)
    kodak = photographs(sorted((shared_data / "val" / "kodak24").glob("*.webp")), info.scale)
    assert len(kodak) == 24
    result = to_int8(model, info, photographs((), info.scale), validation=kodak, say=silent)
    assert list(precisions(result).values()) == ["fp32", *["int8"] * 5]
    assert all(item.drop_db <= 0.1 for item in result.report.measured)
