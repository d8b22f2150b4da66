"""The graph that is written: its form, and what runtimes make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from repsr_deploy.export.int8.calibrate import Calibration, calibrate
from repsr_deploy.export.int8.observe import observe
from repsr_deploy.export.int8.plan import QuantPlan
from repsr_deploy.export.int8.qdq import correct_biases, write_qdq
from repsr_deploy.export.pictures import Pictures
from repsr_deploy.export.saving import save_graph
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.read import read_graph
from tests.export.int8.graphs import Graph, chain, info_of, node_of, numbers_of, operand

PICTURES: Pictures = {"noise": np.random.default_rng(3).integers(0, 256, (42, 50, 3), np.uint8)}


@pytest.fixture
def calibration(tmp_path: Path) -> Calibration:
    return calibrate(chain(tmp_path), info_of(), PICTURES)


def image_of(*sides: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((1, 3, *sides), np.float32))


def test_the_form_is_what_all_runtimes_take(calibration: Calibration, tmp_path: Path) -> None:
    path = save_graph(write_qdq(calibration.model, calibration.plan), tmp_path / "int8.onnx")
    onnx.checker.check_model(path, full_check=True)
    model = read_graph(path)
    for name, layer in zip(("body_node", "tail_node"), calibration.plan.layers, strict=True):
        image, weight = (operand(model, name, index).producer() for index in (0, 1))
        assert image is not None
        assert weight is not None
        rounding = image.inputs[0].producer() if image.inputs[0] is not None else None
        assert rounding is not None
        assert [rounding.op_type, image.op_type, weight.op_type] == ["QuantizeLinear", *["DequantizeLinear"] * 2]
        assert rounding.inputs[0] is not None
        assert rounding.inputs[0].producer() is node_of(model, "act0_node" if name == "body_node" else "act1_node")
        for node in (rounding, image):  # one scale, zero point 0
            scale, zero = (numbers_of(value) for value in node.inputs[1:] if value is not None)
            assert (scale.shape, scale.dtype, scale.item()) == ((), np.float32, layer.input_scale)
            assert (zero.shape, zero.dtype, zero.item()) == ((), np.int8, 0)
        steps, scales, zeros = (numbers_of(value) for value in weight.inputs if value is not None)
        channels = len(steps)
        assert weight.attributes.get_int("axis", 1) == 0
        assert (steps.dtype, steps.shape[2:]) == (np.int8, (3, 3))
        assert (scales.dtype, scales.shape) == (np.float32, (channels,))
        assert (zeros.dtype, zeros.shape, zeros.any()) == (np.int8, (channels,), False)
        assert numbers_of(operand(model, name, 2)).dtype == np.float32  # TensorRT refuses quantized biases


def test_weights_are_stored_once(calibration: Calibration) -> None:
    model = write_qdq(calibration.model, calibration.plan)
    large = {
        name: value.dtype for name, value in model.graph.initializers.items() if value.shape and len(value.shape) == 4
    }
    assert sorted(map(str, large.values())) == ["FLOAT", "INT8", "INT8"]
    assert large["head.weight"] == ir.DataType.FLOAT


def test_a_skip_reads_what_was_not_rounded(tmp_path: Path) -> None:
    graph = Graph(1)
    x = graph.conv("input", "head", 3, 6)
    x = graph.node("Add", [x, graph.conv(x, "body", 6, 6)], "sum")
    both = [graph.conv(x, name, 6, 3) for name in ("first", "second")]
    model = graph.model(graph.node("Add", both, "result"), 1, tmp_path)
    calibration = calibrate(model, info_of(scale=1), PICTURES)
    quantized = write_qdq(calibration.model, calibration.plan)
    assert operand(quantized, "sum_node", 0).producer() is node_of(quantized, "head_node")
    assert operand(quantized, "first_node", 0) is operand(quantized, "second_node", 0)  # rounded once for both
    quantized.graph.sort()  # raises where a node reads what comes after it
    assert evaluate(quantized, {"input": image_of(9, 7)})


def by_hand(model: ir.Model, plan: QuantPlan, image: Tensor) -> Tensor:
    """The chain of these tests with rounding written out."""

    def of(name: str) -> Tensor:
        return torch.from_numpy(numbers_of(model.graph.initializers[name]).astype(np.float64))

    scales = {layer.name: layer.input_scale for layer in plan.layers}
    x = image.double()
    for conv, act in (("head", "act0"), ("body", "act1"), ("tail", "")):
        weight = of(f"{conv}.weight")
        if f"{conv}_node" in scales:
            scale = scales[f"{conv}_node"]
            x = scale * (x / scale).round().clamp(-128, 127)
            step = (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127).float().double()
            weight = step * (weight / step).round()
        x = F.conv2d(x, weight, of(f"{conv}.bias"), padding=1)
        x = torch.where(x < 0, of(f"{act}.slopes") * x, x) if act else x
    return (F.pixel_shuffle(x, 2) + F.interpolate(image.double(), scale_factor=2)).clamp(0, 1)


@pytest.mark.parametrize("kept", [(), ("tail_node",), ("body_node", "tail_node")])
def test_it_computes_what_the_plan_says(calibration: Calibration, kept: tuple[str, ...]) -> None:
    plan, image = calibration.plan.without(kept), image_of(21, 34)
    written = evaluate(write_qdq(calibration.model, plan), {"input": image})["output"]
    expected = by_hand(calibration.model, plan, image)
    assert (written - expected).abs().max() < 1e-9
    if not kept:  # another scale would be seen
        float_one = evaluate(calibration.model, {"input": image})["output"]
        assert 1e-3 < (written - float_one).abs().max() < 0.3


def steps_apart(actual: Any, expected: Any) -> tuple[float, float]:
    """Largest and mean difference."""
    difference = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64))
    return float(difference.max()), float(difference.mean())


def test_onnx_runtime_computes_the_same(calibration: Calibration) -> None:
    model, image = write_qdq(calibration.model, calibration.plan), image_of(21, 34)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    largest, mean = steps_apart(
        session.run(None, {"input": image.numpy()})[0], evaluate(model, {"input": image})["output"]
    )
    assert mean < 1e-4  # numbers halfway between two steps are rounded either way
    assert largest < 0.1


def test_openvino_computes_the_same_and_in_int8(calibration: Calibration, tmp_path: Path) -> None:
    model, image = write_qdq(calibration.model, calibration.plan), image_of(21, 34)
    path = save_graph(model, tmp_path / "int8.onnx")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    largest, mean = steps_apart(compiled([image.numpy()])[0], evaluate(model, {"input": image})["output"])
    assert mean < 1e-4
    assert largest < 0.1
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kernels = [str(info["runtimePrecision"].astype(str)) for info in layers if is_convolution(info)]
    assert kernels[0] == "f32"
    assert set(kernels[1:]) <= {"u8", "i8"}
    assert len(kernels) == 3


def is_convolution(info: Any) -> bool:
    return "layerType" in info and info["layerType"].astype(str) == "Convolution"


def test_corrected_biases_bring_the_mean_back(calibration: Calibration) -> None:
    """With coarse weights the mean of what the last layer gives would move."""
    coarse = calibration.model.clone()
    weight = operand(coarse, "tail_node", 1)
    numbers = numbers_of(weight).copy()
    numbers[:, 0, 0, 0] = 60 * np.abs(numbers).max()  # the others have two steps left
    weight.const_value = ir.tensor(numbers)
    source = str(operand(coarse, "tail_node", 0).name)
    image = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    plan = QuantPlan(layers=tuple(layer for layer in calibration.plan.layers if layer.name == "tail_node"))
    observed = observe(coarse, [source], [image])

    def mean(model: ir.Model) -> Tensor:
        inner = evaluate(model, {"input": image}, keep=["tail"])["tail"][..., 4:-4, 4:-4]
        return inner.mean(dim=(0, 2, 3))

    as_it_is = (mean(write_qdq(coarse, plan)) - mean(coarse)).abs().max()
    corrected = (mean(write_qdq(correct_biases(coarse, plan, observed), plan)) - mean(coarse)).abs().max()
    assert corrected < 0.3 * as_it_is


def test_a_bias_is_made_where_there_was_none(tmp_path: Path) -> None:
    graph = Graph(2)
    x = graph.conv(graph.conv("input", "head", 3, 6), "body", 6, 9, group=3, bias=False)
    calibration = calibrate(graph.model(graph.conv(x, "tail", 9, 3), 1, tmp_path), info_of(scale=1), PICTURES)
    corrected = correct_biases(calibration.model, calibration.plan, calibration.observed)
    assert numbers_of(operand(corrected, "body_node", 2)).shape == (9,)
    assert len(node_of(calibration.model, "body_node").inputs) == 2


def test_a_plan_for_another_graph_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    graph = Graph()
    other = graph.model(graph.conv("input", "only", 3, 3), 1, tmp_path)
    with pytest.raises(ValueError, match="the graph has no convolution 'body_node'"):
        write_qdq(other, calibration.plan)
