"""Graphs in fp16 and bf16: what is short, what stays float32, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper

from repsr_deploy.errors import UsageError
from repsr_deploy.export.half import kept_float32, to_half
from repsr_deploy.export.half_plan import Half
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.evaluate_types import rounded
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

HALVES: tuple[Half, ...] = ("fp16", "bf16")
DTYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
NUMPY = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
node = helper.make_node


def types(model: ir.Model) -> dict[str, list[ir.DataType | None]]:
    """Types of what the operators give, by operator."""
    found: dict[str, list[ir.DataType | None]] = {}
    for item in model.graph:
        found.setdefault(item.op_type, []).append(item.outputs[0].dtype)
    return found


def in_its_types(model: ir.Model, x_nchw: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray:
    feeds = {str(model.graph.inputs[0].name): torch.from_numpy(x_nchw)}
    return evaluate(model, feeds, hand=rounded)[str(model.graph.outputs[0].name)].numpy()


@pytest.mark.parametrize("precision", HALVES)
def test_weights_and_features_are_short_and_the_ends_float32(precision: Half) -> None:
    model, _ = plain()
    before = content(model)
    half = to_half(model, precision)
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    assert content(model) == before
    assert [value.dtype for value in (*half.graph.inputs, *half.graph.outputs)] == [ir.DataType.FLOAT] * 2
    assert [value.name for value in (*half.graph.inputs, *half.graph.outputs)] == ["input", "output"]
    assert set(types(half)["Conv"]) == set(types(half)["PRelu"]) == {DTYPES[precision]}
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        stored = half.graph.initializers[name].const_value
        assert stored is not None
        if "weight" in name or "bias" in name:
            expected = value.const_value.numpy().astype(NUMPY[precision])
            assert stored.numpy().dtype == NUMPY[precision]
            np.testing.assert_array_equal(stored.numpy(), expected)


def test_the_tail_is_short_in_fp16_and_float32_in_bf16() -> None:
    model, _ = plain()
    tail = ("Gather", "Add", "DepthToSpace", "Clip")
    short, long = (types(to_half(model, precision)) for precision in HALVES)
    assert {kind for operator in tail for kind in short[operator]} == {ir.DataType.FLOAT16}
    assert {kind for operator in tail for kind in long[operator]} == {ir.DataType.FLOAT}
    assert len(short["Cast"]) == len(long["Cast"]) == 2


def test_operator_sets() -> None:
    model, _ = plain()
    assert to_half(model, "fp16").opset_imports[""] == model.opset_imports[""] == 18
    half = to_half(model, "bf16")
    assert half.opset_imports[""] == 22
    assert half.metadata_props == model.metadata_props


@pytest.mark.parametrize(("precision", "least"), [("fp16", 62.0), ("bf16", 44.0)])
def test_the_picture_is_near_that_of_float32(precision: Half, least: float) -> None:
    model, _ = plain()
    x_nchw = image(count=2)
    expected, half = evaluated(model, x_nchw), to_half(model, precision)
    actual = in_its_types(half, x_nchw)
    assert least < psnr(actual, expected) < least + 30  # it was rounded, and no more than that
    assert psnr(run_openvino(half, x_nchw), expected) > least
    if precision == "fp16":
        assert psnr(run_onnxruntime(half, x_nchw), expected) > least


def test_a_skip_in_bf16_would_cost_the_picture() -> None:
    """Why the tail is float32: small features on the image itself."""
    weights = {"w": kernel(12, 3) * 0.02, "repeat": np.arange(3).repeat(4)}
    nodes = [
        node("Conv", ["x", "w"], ["f"], pads=[1] * 4),
        node("Gather", ["x", "repeat"], ["s"], axis=1),
        node("Add", ["f", "s"], ["t"]),
        node("DepthToSpace", ["t"], ["y"], blocksize=2, mode="CRD"),
    ]
    model, x_nchw = graph_of(nodes, weights), image()
    expected = evaluated(model, x_nchw)
    as_bf16 = psnr(expected.astype(ml_dtypes.bfloat16).astype(np.float64), expected)
    assert psnr(in_its_types(to_half(model, "bf16"), x_nchw), expected) > as_bf16 + 15


def test_the_convolution_of_a_skip_is_float32_in_bf16() -> None:
    weights = {
        "w": kernel(8, 3),
        "v": kernel(12, 8),
        "s": kernel(12, 3, 5),
        "mean": np.full((3, 1, 1), 0.4, np.float32),
    }
    nodes = [
        node("Sub", ["x", "mean"], ["m"]),
        node("Conv", ["m", "w"], ["a"], pads=[1] * 4, name="head"),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "v"], ["c"], pads=[1] * 4, name="tail"),
        node("Conv", ["m", "s"], ["d"], pads=[2] * 4, name="skip"),
        node("Add", ["c", "d"], ["e"]),
        node("DepthToSpace", ["e"], ["y"], blocksize=2, mode="CRD"),
    ]
    model = graph_of(nodes, weights)
    kinds = {item.name: item.outputs[0].dtype for item in to_half(model, "bf16").graph if item.op_type == "Conv"}
    assert kinds == {"head": ir.DataType.BFLOAT16, "tail": ir.DataType.BFLOAT16, "skip": ir.DataType.FLOAT}
    assert set(types(to_half(model, "fp16"))["Conv"]) == {ir.DataType.FLOAT16}


NORMALISATION = [
    node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
    node("ReduceMean", ["c", "axes"], ["mean"]),
    node("Sub", ["c", "mean"], ["centred"]),
    node("Mul", ["centred", "centred"], ["square"]),
    node("ReduceMean", ["square", "axes"], ["variance"]),
    node("Add", ["variance", "epsilon"], ["above"]),
    node("Sqrt", ["above"], ["deviation"]),
    node("Div", ["centred", "deviation"], ["normal"]),
    node("Mul", ["normal", "gain"], ["scaled"]),
    node("Conv", ["scaled", "w"], ["y"], pads=[1] * 4),
]
NORMALISATION_WEIGHTS = {
    "w": kernel(3, 3),
    "axes": np.array([1]),
    "epsilon": np.array(1e-12, np.float32),
    "gain": np.ones((3, 1, 1), np.float32),
}


@pytest.mark.parametrize("precision", HALVES)
def test_a_normalisation_is_float32_from_end_to_end(precision: Half) -> None:
    """Its square would underflow, and its deviation be 0: of a flat image, the result would be NaN."""
    model = graph_of(NORMALISATION, NORMALISATION_WEIGHTS)
    half = to_half(model, precision)
    kinds = types(half)
    assert set(kinds.pop("Conv")) == {DTYPES[precision]}
    assert len(kinds.pop("Cast")) == 4
    assert {kind for values in kinds.values() for kind in values} == {ir.DataType.FLOAT}
    x_nchw = 0.5 + 1e-4 * image()
    assert np.isfinite(in_its_types(half, x_nchw.astype(np.float32))).all()
    kept = kept_float32(model, precision)
    assert sorted(kept) == ["Div", "ReduceMean", "Sqrt"]
    assert kept["ReduceMean"] == "sums many numbers"


@pytest.mark.parametrize("precision", HALVES)
def test_a_shared_constant_is_there_in_both_types(precision: Half) -> None:
    weights = {"w": kernel(3, 3), "two": np.array(2.0, np.float32)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Mul", ["c", "two"], ["m"]),
        node("Conv", ["m", "w"], ["d"], pads=[1] * 4),
        node("Pow", ["d", "two"], ["y"]),
    ]
    half = to_half(graph_of(nodes, weights), precision)
    kinds = {name: value.dtype for name, value in half.graph.initializers.items()}
    assert kinds["two"] == ir.DataType.FLOAT
    assert kinds[f"two.{DTYPES[precision].name.lower()}"] == DTYPES[precision]
    assert kinds["w"] == DTYPES[precision]
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    assert psnr(run_openvino(half, image()), evaluated(graph_of(nodes, weights), image())) > 30


def test_what_a_type_does_not_hold_stays_float32() -> None:
    weights = {"w": kernel(3, 3), "huge": np.array(1e5, np.float32), "none": np.array(3e38, np.float32)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Clip", ["c", "", "none"], ["p"]),
        node("Conv", ["p", "w"], ["d"], pads=[1] * 4),
        node("Max", ["d", "huge"], ["m"]),
        node("Conv", ["m", "w"], ["y"], pads=[1] * 4),
    ]
    model = graph_of(nodes, weights)
    half = to_half(model, "fp16")
    assert types(half)["Max"] == [ir.DataType.FLOAT]
    assert types(half)["Clip"] == [ir.DataType.FLOAT16]  # without a bound that matters, it is none in either type
    assert kept_float32(model, "fp16") == {"Max": "has a constant above 6.55e+04"}
    assert kept_float32(model, "bf16") == {}


@pytest.mark.parametrize("precision", HALVES)
def test_scales_indices_and_sizes_stay_what_they_are(precision: Half) -> None:
    weights = {"w": kernel(3, 3), "scales": np.array([1, 1, 2, 2], np.float32), "order": np.array([2, 0, 1])}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Resize", ["c", "", "scales"], ["r"], mode="linear"),
        node("Gather", ["r", "order"], ["g"], axis=1),
        node("Shape", ["g"], ["shape"]),
        node("Reshape", ["g", "shape"], ["s"]),
        node("Conv", ["s", "w"], ["y"], pads=[1] * 4),
    ]
    half = to_half(graph_of(nodes, weights), precision)
    assert {name: value.dtype for name, value in half.graph.initializers.items()} == {
        "w": DTYPES[precision],
        "scales": ir.DataType.FLOAT,
        "order": ir.DataType.INT64,
    }
    assert types(half)["Resize"] == [DTYPES[precision]]
    assert len(types(half)["Cast"]) == 2
    onnx.checker.check_model(ir.to_proto(half), full_check=True)


@pytest.mark.parametrize("operator", ["HardSwish", "Mish"])
def test_what_tensorrt_lacks_in_bf16_stays_float32(operator: str) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node(operator, ["c"], ["a"]),
        node("Conv", ["a", "w"], ["y"], pads=[1] * 4),
    ]
    model = graph_of(nodes, {"w": kernel(3, 3)})
    assert types(to_half(model, "fp16"))[operator] == [ir.DataType.FLOAT16]
    assert types(to_half(model, "bf16"))[operator] == [ir.DataType.FLOAT]
    assert kept_float32(model, "bf16") == {operator: "has no bfloat16 version in TensorRT"}


def test_branches_read_values_in_the_type_that_they_had() -> None:
    def branch(operator: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(operator, TensorProto.FLOAT, None)
        return helper.make_graph([node(operator, ["c", "half"], [operator])], operator, [], [output])

    weights = {"w": kernel(3, 3), "half": np.array(0.5, np.float32), "yes": np.array(True)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("If", ["yes"], ["i"], then_branch=branch("Add"), else_branch=branch("Sub")),
        node("Conv", ["i", "w"], ["y"], pads=[1] * 4),
    ]
    model = graph_of(nodes, weights)
    half = to_half(model, "fp16")
    assert half.graph.initializers["half"].dtype == ir.DataType.FLOAT
    assert psnr(run_onnxruntime(half, image()), evaluated(model, image())) > 60


def test_an_output_that_is_read_on_keeps_its_name() -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1] * 4), node("Conv", ["y", "w"], ["z"], pads=[1] * 4)]
    model = graph_of(nodes, {"w": kernel(3, 3)})
    model.graph.outputs.append(model.graph[1].outputs[0])
    half = to_half(model, "fp16")
    assert [(value.name, value.dtype) for value in half.graph.outputs] == [
        ("y", ir.DataType.FLOAT),
        ("z", ir.DataType.FLOAT),
    ]
    assert types(half)["Conv"] == [ir.DataType.FLOAT16] * 2
    assert len(types(half)["Cast"]) == 3  # the second convolution reads the first one's features unrounded twice


def quantized(nodes: Sequence[onnx.NodeProto]) -> ir.Model:
    return graph_of(nodes, {"s": np.array(0.01, np.float32), "z": np.array(0, np.int8)})


def test_quantized_graphs_are_refused() -> None:
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    with pytest.raises(UsageError, match="has QuantizeLinear: it is int8 already"):
        to_half(quantized(nodes), "fp16")
