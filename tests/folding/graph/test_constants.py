"""Constant folding: weight norm in every spelling, rounded once, never larger than it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.folding.graph.constants import fold_constants
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import infer_shapes, reference_inputs, reference_shapes

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)
V = RNG.normal(size=(16, 12, 3, 3)).astype(np.float32)
G = RNG.uniform(0.5, 2, size=(16, 1, 1, 1)).astype(np.float32)
NORMALIZED = G.astype(np.float64) * V / np.sqrt((V.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))
AXES = np.array([1, 2, 3])
OPSET = 18

Node = tuple[str, str, str, dict[str, Any]]


def graph_of(nodes: Sequence[Node], constants: dict[str, Array], output: str = "y", opset: int = OPSET) -> ir.Model:
    made = [
        helper.make_node(op, [name.strip("-") for name in inputs.split()], outputs.split(), name=op, **attributes)
        for op, inputs, outputs, attributes in nodes
    ]
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12, "h", "w"])],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def constant(model: ir.Model, name: str) -> Array:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


CONV: Node = ("Conv", "x w", "y", {})
WEIGHT_NORMS: dict[str, list[Node]] = {
    "g * (v / norm)": [("ReduceL2", "v axes", "n", {}), ("Div", "v n", "u", {}), ("Mul", "g u", "w", {})],
    "v * (g / norm)": [("ReduceL2", "v axes", "n", {}), ("Div", "g n", "s", {}), ("Mul", "v s", "w", {})],
    "sqrt of squares": [
        ("Mul", "v v", "q", {}),
        ("ReduceSum", "q axes", "t", {}),
        ("Sqrt", "t", "n", {}),
        ("Div", "v n", "u", {}),
        ("Mul", "u g", "w", {}),
    ],
    "pow and reciprocal": [
        ("Pow", "v two", "q", {}),
        ("ReduceSum", "q axes", "t", {}),
        ("Pow", "t half", "n", {}),
        ("Reciprocal", "n", "r", {}),
        ("Mul", "v r", "u", {}),
        ("Mul", "u g", "w", {}),
    ],
    "flattened": [
        ("Reshape", "v flat", "f", {}),
        ("LpNormalization", "f", "e", {"axis": 1, "p": 2}),
        ("Reshape", "e shape", "u", {}),
        ("Mul", "g u", "w", {}),
    ],
    "expanded norm": [
        ("ReduceL2", "v axes", "n", {}),
        ("Clip", "n tiny", "c", {}),
        ("Shape", "v", "s", {}),
        ("Expand", "c s", "b", {}),
        ("Div", "v b", "u", {}),
        ("Mul", "g u", "w", {}),
    ],
}
WEIGHT_NORM_INPUTS: dict[str, Array] = {
    "v": V,
    "g": G,
    "axes": AXES,
    "two": np.array(2, np.float32),
    "half": np.array(0.5, np.float32),
    "tiny": np.array(1e-12, np.float32),
    "flat": np.array([16, -1]),
    "shape": np.array(V.shape),
}


@pytest.mark.parametrize("spelling", WEIGHT_NORMS)
def test_weight_norm_is_rounded_once(spelling: str) -> None:
    model = graph_of([*WEIGHT_NORMS[spelling], CONV], WEIGHT_NORM_INPUTS)
    assert fold_constants(model) == ["w"]
    assert ops(model) == ["Conv"]
    weight = constant(model, "w")
    assert weight.dtype == np.float32
    # float32 all the way differs in about a third of the weights
    assert np.mean(weight != NORMALIZED.astype(np.float32)) < 0.001
    np.testing.assert_allclose(weight, NORMALIZED, rtol=2**-24, atol=0)
    assert model.graph.outputs[0].producer() is model.graph[0]


@pytest.mark.parametrize("kind", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE])
def test_result_has_its_own_type(kind: ir.DataType) -> None:
    model = graph_of([*WEIGHT_NORMS["sqrt of squares"], CONV], WEIGHT_NORM_INPUTS)
    short: dict[str, Array] = {}
    for name in "vg":
        short[name] = WEIGHT_NORM_INPUTS[name].astype(kind.numpy())
        model.graph.initializers[name].const_value = ir.Tensor(short[name], dtype=kind)
    v, g = (short[name].astype(np.float64) for name in "vg")
    assert fold_constants(model) == ["w"]
    weight = constant(model, "w")
    expected = (g * v / np.sqrt((v**2).sum((1, 2, 3), keepdims=True))).astype(kind.numpy())
    assert weight.dtype == kind.numpy()
    assert np.mean(weight != expected) < (0.5 if kind == ir.DataType.DOUBLE else 0.001)
    np.testing.assert_allclose(weight.astype(np.float64), expected.astype(np.float64), rtol=1e-12, atol=0)


def test_steps_keep_the_rounding_that_a_runtime_would_do() -> None:
    # 0.7 as float32 is a little less than 0.7: ten of them are 7.0 in float32, but 6.9999999 in float64.
    size: list[Node] = [("Mul", "scale ten", "s", {}), ("Floor", "s", "f", {}), ("Cast", "f", "k", {"to": 7})]
    constants: dict[str, Array] = {"scale": np.array([0.7], np.float32), "ten": np.array([10], np.float32)}
    model = graph_of([*size, ("Reshape", "x k", "y", {})], constants)
    assert fold_constants(model) == ["k"]
    assert constant(model, "k").tolist() == [7]


def test_a_cast_rounds() -> None:
    casts: list[Node] = [("Cast", "v", "h", {"to": TensorProto.FLOAT16}), ("Cast", "h", "w", {"to": TensorProto.FLOAT})]
    model = graph_of([*casts, CONV], {"v": V})
    assert fold_constants(model) == ["w"]
    np.testing.assert_array_equal(constant(model, "w"), V.astype(np.float16).astype(np.float32))


def test_weights_that_are_moved_around() -> None:
    nodes: list[Node] = [
        ("Transpose", "v", "t", {"perm": [1, 0, 2, 3]}),
        ("Concat", "t t", "c", {"axis": 0}),
        ("Slice", "c starts ends", "s", {}),
        ("Reshape", "s shape", "w", {}),
        CONV,
    ]
    constants = {"v": V, "starts": np.array([4]), "ends": np.array([16]), "shape": np.array([16, 12, 3, 3])}
    model = graph_of(nodes, constants)
    assert fold_constants(model) == ["w"]
    moved = np.concatenate([V.transpose(1, 0, 2, 3)] * 2)[4:16].reshape(16, 12, 3, 3)
    np.testing.assert_array_equal(constant(model, "w"), moved)


def test_values_that_others_read_stay_too() -> None:
    model = graph_of(
        [("Neg", "v", "a", {}), ("Exp", "a", "w", {}), ("Conv", "x a", "b", {}), ("Conv", "b w", "y", {})], {"v": V}
    )
    assert sorted(fold_constants(model)) == ["a", "w"]
    np.testing.assert_array_equal(constant(model, "a"), -V)
    np.testing.assert_array_equal(constant(model, "w"), np.exp(-V.astype(np.float64)).astype(np.float32))


def test_nothing_to_do_is_visible() -> None:
    model = graph_of([CONV], {"w": V})
    assert fold_constants(model) == []
    assert constant(model, "w") is not None


def test_graph_output_stays_computed() -> None:
    model = graph_of([("Neg", "v", "y", {})], {"v": V})
    assert fold_constants(model) == []
    assert ops(model) == ["Neg"]


@pytest.mark.parametrize(
    "growing",
    [
        [("Expand", "small shape", "y0", {}), ("Add", "x y0", "y", {})],
        [("Tile", "small shape", "y0", {}), ("Add", "x y0", "y", {})],
        [("ConstantOfShape", "shape", "y0", {}), ("Add", "x y0", "y", {})],
    ],
)
def test_large_results_stay_computed(growing: list[Node]) -> None:
    small = np.ones((1, 1, 1, 1), np.float32)
    model = graph_of(growing, {"small": small, "shape": np.array([1, 12, 4000, 4000])})
    assert fold_constants(model) == []
    assert ops(model) == [growing[0][0], "Add"]
    model = graph_of(growing, {"small": small, "shape": np.array([1, 1, 32, 32])})
    assert fold_constants(model) == ["y0"]


def test_what_reads_a_kept_large_result_is_kept() -> None:
    nodes: list[Node] = [
        ("Neg", "small", "a", {}),
        ("Expand", "a shape", "b", {}),
        ("Exp", "b", "c", {}),
        ("Mul", "a a", "d", {}),
        ("Add", "c d", "e", {}),
        ("Add", "x e", "y", {}),
    ]
    model = graph_of(nodes, {"small": np.full((1, 1, 1, 1), 3, np.float32), "shape": np.array([1, 12, 40, 40])})
    assert sorted(fold_constants(model)) == ["a", "d"]
    assert ops(model) == ["Expand", "Exp", "Add", "Add"]
    assert constant(model, "d").item() == 9


@pytest.mark.parametrize(
    ("kept", "constants"),
    [
        (("RandomNormalLike", "v", "w", {}), {"v": V}),
        (("Bernoulli", "v", "w", {}), {"v": np.full_like(V, 0.5)}),
        (("RandomUniform", "", "w", {"shape": [16, 12, 3, 3]}), {}),
        (
            ("DequantizeLinear", "q s", "w", {}),
            {"q": RNG.integers(-9, 9, V.shape, np.int8), "s": np.array(0.1, np.float32)},
        ),
        (("Relu", "v", "w", {"domain": "company"}), {"v": V}),
        (("Undreamt", "v", "w", {}), {"v": V}),
    ],
)
def test_operators_that_are_never_folded(kept: Node, constants: dict[str, Array]) -> None:
    model = graph_of([kept, CONV], constants)
    assert fold_constants(model) == []
    assert ops(model) == [kept[0], "Conv"]


def test_control_flow_is_kept_and_reads_folded_values() -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], [f"{name}_y"])], name, [], [onnx.ValueInfoProto(name=f"{name}_y")]
        )
        for name in ("then_branch", "else_branch")
    }
    model = graph_of([("Neg", "v", "w", {}), ("If", "c", "y", branches)], {"v": V, "c": np.array(True)})
    assert fold_constants(model) == ["w"]
    assert ops(model) == ["If"]
    inner = model.graph[0].attributes["then_branch"].as_graph()
    assert inner[0].inputs[1] is model.graph.initializers["w"]


def test_shape_folds_only_where_it_is_static() -> None:
    nodes: list[Node] = [
        ("Shape", "v", "s", {"start": 1}),
        ("Shape", "x", "d", {}),
        ("Concat", "s d", "c", {"axis": 0}),
        ("Cast", "c", "y", {"to": TensorProto.FLOAT}),
    ]
    model = graph_of(nodes, {"v": V})
    infer_shapes(model)
    assert fold_constants(model) == ["s"]
    assert constant(model, "s").tolist() == [12, 3, 3]
    model.graph.inputs[0].shape = ir.Shape([2, 12, 5, 7])
    assert fold_constants(model) == ["c"]
    assert constant(model, "c").tolist() == [12, 3, 3, 2, 12, 5, 7]


@pytest.mark.parametrize(
    "attributes",
    [{"value_int": 3}, {"value_ints": [3, 4]}, {"value_float": 0.5}, {"value_floats": [0.5, 1.5]}],
)
def test_constant_nodes_of_every_kind_are_lifted(attributes: dict[str, Any]) -> None:
    model = graph_of([("Constant", "", "c", attributes), ("Cast", "c", "k", {"to": 1}), ("Mul", "x k", "y", {})], {})
    assert fold_constants(model) == ["k"]
    np.testing.assert_array_equal(constant(model, "k"), np.float32(next(iter(attributes.values()))))


def test_strings_stay() -> None:
    model = graph_of([("Constant", "", "c", {"value_string": b"text"}), ("Undreamt", "x c", "y", {})], {})
    assert fold_constants(model) == []
    assert ops(model) == ["Constant", "Undreamt"]


# --- as PyTorch exports it --------------------------------------------------------------------------------------------


class _Upscaler(torch.nn.Module):
    """Weight norm between a PixelUnshuffle and a PixelShuffle, the latter as nodes or as reshapes."""

    def __init__(self, normalize: Any, *, spelled_out: bool) -> None:
        super().__init__()
        self.unshuffle = torch.nn.PixelUnshuffle(2)
        self.body = normalize(torch.nn.Conv2d(12, 16, 3, padding=1))
        self.tail = normalize(torch.nn.Conv2d(16, 48, 3, padding=1))
        self.spelled_out = spelled_out

    def forward(self, batch_nchw: torch.Tensor) -> torch.Tensor:
        features = self.tail(torch.relu(self.body(self.unshuffle(batch_nchw))))
        if not self.spelled_out:
            return torch.nn.functional.pixel_shuffle(features, 4)
        n, c, h, w = features.shape
        split = features.view(n, c // 16, 4, 4, h, w).permute(0, 1, 4, 2, 5, 3)
        return split.reshape(n, c // 16, h * 4, w * 4)


@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
@pytest.mark.parametrize("spelled_out", [False, True])
@pytest.mark.parametrize("opset", [9, 18])
@pytest.mark.parametrize("normalize", [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm])
def test_exported_weight_norm_and_pixel_shuffle(normalize: Any, opset: int, spelled_out: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = _Upscaler(normalize, spelled_out=spelled_out).eval()
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        network,
        (torch.rand(1, 3, 16, 24),),
        str(path),
        dynamo=False,
        opset_version=opset,
        do_constant_folding=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
    )
    model = read_graph(path)
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    for node, layer in zip(convolutions, (network.body, network.tail), strict=True):
        assert node.inputs[1] is not None
        tensor = node.inputs[1].const_value
        assert tensor is not None
        with torch.no_grad():
            np.testing.assert_allclose(tensor.numpy(), layer.double().weight.numpy(), rtol=2e-7, atol=1e-8)
    assert reference_inputs(model) == {"x": (1, 3, 46, 62)}
    shapes = reference_shapes(model)
    assert shapes["y"] == (1, 3, 92, 124)
    assert {str(value.name) for node in model.graph for value in node.outputs} <= shapes.keys()
