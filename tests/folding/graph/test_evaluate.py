"""The float64 evaluation against ONNX's own test cases, and against the reference implementation at odd sizes."""

from __future__ import annotations

import itertools
import re
import warnings
import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph import evaluate_windows
from repsr_deploy.folding.graph.evaluate import HANDLERS, OLDEST_OPSET, evaluate
from repsr_deploy.folding.graph.evaluate_layout import as_tensor

Array = NDArray[Any]
OPSET = 20
OPERATORS = sorted({*HANDLERS, "Resize"} - {"Constant"})

SKIPPED = {
    r"^test_cast.*(FLOAT16|FLOAT4|FLOAT8|INT4|INT2|E8M0)|^test_cast_e8m0": "the case tests rounding to a narrow type",
    r"_uint(8|16|32|64)(_expanded)?$|^test_bitwise_not_3d$": "unsigned arithmetic wraps around",
    r"training": "training mode is refused",
    r"reduce_(max|min)_empty_set": "an image has pixels",
    r"string|STRING": "text is refused",
    r"identity_(sequence|opt)": "sequences are refused",
    r"quantizelinear_(u?int(2|4)$|uint16|e4m3|e5m2|float4|blocked)": "no image is computed with these types",
    r"dynamicquantizelinear_expanded": "the case rounds a half that float32 makes",
}
"""Name of a test case -> why it says nothing about images in float64."""


@pytest.fixture(scope="module")
def cases() -> Mapping[str, Sequence[Any]]:
    """ONNX's test cases by operator; those of functions written out as graphs are under `functions`."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases divide by zero on purpose
        loaded = load_model_tests(kind="node")
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for case in loaded:
        operators = [node.op_type for node in cast("onnx.ModelProto", case.model).graph.node]
        if set(operators) <= {*OPERATORS, "Constant"} and not any(re.search(item, case.name) for item in SKIPPED):
            found[operators[0] if len(operators) == 1 else "functions"].append(case)
    return found


def array_of(item: Any) -> Array:
    """Values of a test case; those of rare types are given as ONNX tensors."""
    return numpy_helper.to_array(item) if isinstance(item, TensorProto) else np.asarray(item)


def check_case(case: Any) -> None:
    """Evaluate a test case of ONNX, and compare with what it expects."""
    for opset in case.model.opset_import:
        opset.version = max(opset.version, OLDEST_OPSET)  # And, Or, Xor, Not and Shrink are as old as operator set 7
    model = ir.from_proto(case.model)
    for items, results in case.data_sets:
        inputs, expected = [array_of(item) for item in items], [array_of(item) for item in results]
        feeds = {str(value.name): as_tensor(array) for value, array in zip(model.graph.inputs, inputs, strict=True)}
        actual = evaluate(model, feeds)
        narrow = any(array.dtype.itemsize == 2 for array in (*inputs, *expected))
        assert len(actual) == len(expected), case.name
        for result, reference in zip(actual.values(), expected, strict=True):
            assert tuple(result.shape) == reference.shape, case.name
            assert result.is_floating_point() == as_tensor(reference).is_floating_point(), case.name
            np.testing.assert_allclose(
                result.double().numpy(),
                reference.astype(np.float64),
                rtol=max(case.rtol, 1e-2 if narrow else 0),
                atol=max(case.atol, 1e-2 if narrow else 1e-6),
                err_msg=case.name,
            )


@pytest.mark.parametrize("operator", OPERATORS)
def test_operator_agrees_with_the_test_cases_of_onnx(cases: Mapping[str, Sequence[Any]], operator: str) -> None:
    assert cases[operator], f"ONNX has no test case for {operator}"
    for case in cases[operator]:
        check_case(case)


def test_functions_written_out_agree_with_the_test_cases_of_onnx(cases: Mapping[str, Sequence[Any]]) -> None:
    assert len(cases["functions"]) > 100
    for case in cases["functions"]:
        check_case(case)


def graph_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, Array] | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of float64 inputs."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def random(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def run_node(operator: str, *inputs: Array | None, **attributes: Any) -> Array:
    """Evaluate a single node whose inputs are weights."""
    names = ["" if array is None else f"x{index}" for index, array in enumerate(inputs)]
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    node = helper.make_node(operator, names, ["y"], **attributes)
    return evaluate(ir.from_proto(graph_model([node], {}, weights=feeds)), {})["y"].numpy()


def run_reference(operator: str, *inputs: Array | None, **attributes: Any) -> Array:
    """The same in the reference implementation."""
    names = ["" if array is None else f"x{index}" for index, array in enumerate(inputs)]
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    node = helper.make_node(operator, names, ["y"], **attributes)
    return np.asarray(cast("list[Array]", ReferenceEvaluator(node, opsets={"": OPSET}).run(None, feeds))[0])


def check_node(operator: str, *inputs: Array | None, **attributes: Any) -> None:
    """Compare a single node with the reference implementation, both in float64."""
    actual, expected = run_node(operator, *inputs, **attributes), run_reference(operator, *inputs, **attributes)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("sides", "kernel", "channels", "attributes"),
    [
        ((13,), (3,), (4, 6), {"pads": [2, 0], "dilations": [2]}),
        ((11, 9), (3, 5), (4, 6), {"pads": [0, 3, 2, 1]}),
        ((11, 9), (3, 2), (4, 6), {"group": 2, "strides": [2, 3], "pads": [1, 0, 1, 1]}),
        ((12, 7), (3, 3), (5, 5), {"group": 5, "dilations": [2, 1], "pads": [2, 1, 2, 1]}),
        ((10, 13), (4, 3), (2, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((10, 13), (4, 3), (2, 3), {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
        ((10, 13), (4, 3), (2, 3), {"auto_pad": "VALID"}),
        ((5, 6, 7), (3, 1, 2), (2, 4), {"pads": [1, 0, 0, 1, 0, 1]}),
    ],
)
def test_convolution_at_odd_sizes(
    sides: tuple[int, ...],
    kernel: tuple[int, ...],
    channels: tuple[int, int],
    attributes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, given = channels
    x = random(2, taken, *sides)
    weight = random(given, taken // attributes.get("group", 1), *kernel, seed=2)
    check_node("Conv", x, weight, random(given, seed=3), **attributes)
    check_node("Conv", x, weight, **attributes)
    monkeypatch.setattr(evaluate_windows, "BAND_BYTES", 1)  # a row at a time
    check_node("Conv", x, weight, random(given, seed=3), **attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 3], "pads": [1, 0, 2, 1]},
        {"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 1], "strides": [1, 2]},
    ],
)
def test_transposed_convolution_at_odd_sizes(attributes: dict[str, Any]) -> None:
    x, weight, bias = random(1, 4, 7, 5), random(4, 3, 3, 4, seed=2), random(3, seed=3)
    check_node("ConvTranspose", x, weight, bias, **attributes)
    # the reference fails on groups and biases: two groups are two convolutions beside each other
    halves = [run_reference("ConvTranspose", x[:, part], weight[part], **attributes) for part in (np.s_[:2], np.s_[2:])]
    expected = np.concatenate(halves, axis=1) + random(6, seed=4)[:, None, None]
    actual = run_node("ConvTranspose", x, weight, random(6, seed=4), group=2, **attributes)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ],
)
def test_pooling_at_odd_sizes(operator: str, attributes: dict[str, Any]) -> None:
    check_node(operator, random(2, 3, 11, 8), **attributes)


@pytest.mark.parametrize("counted", [0, 1])
def test_average_counts_padding_when_asked(counted: int) -> None:
    sizes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    check_node("AveragePool", random(1, 2, 7, 6), count_include_pad=counted, **sizes)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    "placing", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
)
@pytest.mark.parametrize("scales", [(2.0, 3.0), (0.4, 1.7)])
def test_resize_at_odd_sizes(mode: str, placing: str, scales: tuple[float, float]) -> None:
    factors = np.array([1, 1, *scales], np.float32)
    check_node("Resize", random(1, 2, 7, 9), None, factors, mode=mode, coordinate_transformation_mode=placing)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_rounds_to_the_nearest_pixel_as_asked(nearest: str) -> None:
    sizes = np.array([1, 2, 14, 13])
    check_node("Resize", random(1, 2, 7, 9), None, None, sizes, mode="nearest", nearest_mode=nearest)


@pytest.mark.parametrize(
    "attributes",
    [
        {"exclude_outside": 1},
        {"cubic_coeff_a": -0.5},
        {"antialias": 1},
        {"coordinate_transformation_mode": "asymmetric"},
        {"coordinate_transformation_mode": "half_pixel_symmetric"},
    ],
)
def test_cubic_resize_has_options(attributes: dict[str, Any]) -> None:
    inputs = (random(1, 2, 9, 7), None, np.array([1, 1, 0.6, 2], np.float32))
    actual = run_node("Resize", *inputs, mode="cubic", **attributes)
    expected = run_reference("Resize", *inputs, mode="cubic", **attributes)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)  # the reference's coefficients are float32


@pytest.mark.parametrize("corners", [False, True])
def test_cubic_resize_is_exact_in_float64(corners: bool) -> None:
    x, placing = random(1, 2, 9, 7), "align_corners" if corners else "half_pixel"
    inputs = (x, None, None, np.array([1, 2, 18, 11]))
    actual = run_node("Resize", *inputs, mode="cubic", coordinate_transformation_mode=placing)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), (18, 11), mode="bicubic", align_corners=corners)
    np.testing.assert_allclose(actual, expected.numpy(), rtol=0, atol=1e-12)


def test_group_normalization_scales_groups_in_old_operator_sets() -> None:
    x, scale, shift = random(2, 6, 5, 3), random(2, seed=2), random(2, seed=3)
    groups = x.reshape(2, 2, -1)
    normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    expected = (normal * scale[:, None] + shift[:, None]).reshape(x.shape)
    actual = run_node("GroupNormalization", x, scale, shift, num_groups=2)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_of_single_axes(mode: str) -> None:
    axes, pads = np.array([-1, 2]), np.array([3, 1, 0, 2])
    value = np.array(0.7) if mode == "constant" else None
    check_node("Pad", random(1, 2, 5, 6), pads, value, axes, mode=mode)


def test_operators_without_a_handler_run_in_the_reference() -> None:
    assert "Det" not in HANDLERS
    x = random(3, 4, 4)
    model = graph_model([helper.make_node("Det", ["x"], ["y"])], {"x": [3, 4, 4]})
    actual = evaluate(ir.from_proto(model), {"x": torch.from_numpy(x)})["y"]
    np.testing.assert_allclose(actual.numpy(), np.linalg.det(x), rtol=1e-12)


def test_second_output_of_pooling_comes_from_the_reference() -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2], strides=[2, 2])
    model = graph_model([node], {"x": [1, 1, 4, 4]}, ["y", "places"])
    actual = evaluate(ir.from_proto(model), {"x": torch.from_numpy(x)})
    assert actual["places"].flatten().tolist() == [5, 7, 13, 15]


def test_everything_floating_is_float64_and_casts_do_not_round() -> None:
    third = np.array([1 / 3], np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["whole", "third"], ["y"]),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.INT64),
    ]
    model = ir.from_proto(graph_model(nodes, {"x": [1]}, ["y", "z"], {"third": third}))
    outputs = evaluate(model, {"x": torch.tensor([1 + 1e-12], dtype=torch.float64)}, keep=["half"])
    assert outputs["half"].dtype == outputs["y"].dtype == torch.float64
    assert outputs["half"].item() == 1 + 1e-12
    assert outputs["y"].item() == 1 + 1e-12 + float(third[0])
    assert outputs["z"].dtype == torch.int64


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16])
def test_narrow_weights_are_read_exactly(dtype: ir.DataType) -> None:
    stored = np.array([0.1, -3.7], dtype.numpy())
    weight = ir.tensor(stored, dtype=dtype, name="w")
    model = ir.from_proto(graph_model([helper.make_node("Identity", ["w"], ["y"])], {}, weights={"w": np.zeros(2)}))
    model.graph.initializers["w"].const_value = weight
    assert evaluate(model, {})["y"].tolist() == stored.astype(np.float64).tolist()


def test_inner_values_are_kept_on_request_and_initializers_replaced() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    model = ir.from_proto(graph_model(nodes, {"x": [2]}, weights={"w": np.array([2.0, 2.0])}))
    x = torch.tensor([-1.0, 3.0])
    kept = evaluate(model, {"x": x}, keep=["m", "w", "x"])
    assert {name: value.tolist() for name, value in kept.items()} == {
        "y": [0, 6],
        "m": [-2, 6],
        "w": [2, 2],
        "x": [-1, 3],
    }
    assert evaluate(model, {"x": x, "w": torch.tensor([0.5, 0.5])})["y"].tolist() == [0, 1.5]


def test_values_are_dropped_after_their_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[weakref.ref[Any]] = []
    alive: list[int] = []
    relu = HANDLERS["Relu"]

    def watched(call: Any) -> Any:
        alive.append(sum(reference() is not None for reference in results))
        result = relu(call)
        results.append(weakref.ref(result))
        return result

    monkeypatch.setitem(HANDLERS, "Relu", watched)
    names = ["x", *(f"v{index}" for index in range(9)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    evaluate(ir.from_proto(graph_model(nodes, {"x": [3]})), {"x": torch.rand(3)})
    assert alive == [0] + [1] * 9


@pytest.mark.parametrize(("condition", "expected"), [(True, 5.0), (False, -3.0)])
def test_if_takes_the_branch_of_its_condition_and_sees_outer_values(condition: bool, expected: float) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(operator, TensorProto.DOUBLE, [1])
        return helper.make_graph([helper.make_node(operator, ["x", "four"], [operator])], operator, [], [output])

    node = helper.make_node("If", ["condition"], ["y"], then_branch=branch("Add"), else_branch=branch("Sub"))
    weights = {"condition": np.array(condition), "four": np.array([4.0])}
    model = ir.from_proto(graph_model([node], {"x": [1]}, weights=weights))
    assert evaluate(model, {"x": torch.ones(1)})["y"].item() == expected


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Fused", ["x"], ["y"], "first", domain="com.microsoft"), "'first' .Fused. .*com.microsoft"),
        (
            helper.make_node("Loop", ["x"], ["y"], "second", body=helper.make_graph([], "b", [], [])),
            "'second'.*control",
        ),
        (helper.make_node("RandomNormal", [], ["y"], "third", shape=[2]), "'third' .RandomNormal.* float64"),
        (helper.make_node("MatMul", ["x", "x"], ["y"]), "'y' .MatMul. .*shapes \\(2, 3\\), \\(2, 3\\)"),
        (helper.make_node("Relu", ["later"], ["y"]), "'later' is used before"),
        (helper.make_node("Unheard", ["x"], ["y"]), "'y' .Unheard. .*refuses"),
    ],
)
def test_what_cannot_be_evaluated_names_the_node(node: onnx.NodeProto, message: str) -> None:
    later = helper.make_node("Relu", ["x"], ["later"])
    model = ir.from_proto(graph_model([node, later], {"x": [2, 3]}))
    with pytest.raises(FoldError, match=message):
        evaluate(model, {"x": torch.rand(2, 3)})


def test_old_operator_sets_are_refused() -> None:
    model = ir.from_proto(graph_model([helper.make_node("Softmax", ["x"], ["y"])], {"x": [2]}, opset=11))
    with pytest.raises(FoldError, match="operator set 11; expected 13"):
        evaluate(model, {"x": torch.rand(2)})


def test_missing_inputs_and_unknown_names_are_errors() -> None:
    model = ir.from_proto(graph_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}))
    with pytest.raises(ValueError, match="no input 'x'"):
        evaluate(model, {})
    with pytest.raises(ValueError, match="no value 'z'"):
        evaluate(model, {"x": torch.rand(2)}, keep=["z"])
