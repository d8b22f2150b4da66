"""Graphs cut at nodes that cannot be computed: the rest folds, is proved, and is put together with them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.cut import Cut, cut, opaque_nodes
from repsr_deploy.folding.graph.emit import round_weights
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_inputs

CHANNELS = 4
IMAGE = (1, CHANNELS, "H", "W")
DOMAIN = "com.example"
EXACT = 1e-12
ROUNDED = 1e-5
"""Weights rounded to float32 after the fold."""
Dims = tuple[int | str, ...]


@dataclass
class Builder:
    """A graph of 4-channel images, written node by node; `x` goes in."""

    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])
    infos: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)

    def weight(self, name: str, *shape: int, positive: bool = False) -> str:
        numbers = self._generator.normal(size=shape).astype(np.float32) / 3
        self.weights.append(numpy_helper.from_array(np.abs(numbers) + 0.5 if positive else numbers, name))
        return name

    def node(self, operator: str, inputs: Iterable[str], output: str, name: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, [*inputs], [output], name or output, **attributes))  # type: ignore[reportArgumentType]
        return output

    def conv_norm(self, value: str, output: str) -> str:
        """A padded 3x3 and a batch normalization, which fold into one Conv."""
        conv = [value, self.weight(f"{output}.w", CHANNELS, CHANNELS, 3, 3), self.weight(f"{output}.b", CHANNELS)]
        self.node("Conv", conv, f"{output}.conv", pads=[1, 1, 1, 1])
        keys = {"scale": True, "shift": False, "mean": False, "var": True}
        numbers = [self.weight(f"{output}.{key}", CHANNELS, positive=positive) for key, positive in keys.items()]
        return self.node("BatchNormalization", [f"{output}.conv", *numbers], output)

    def custom(self, inputs: Iterable[str], output: str, shape: Dims | None = IMAGE) -> str:
        """A custom operator with a weight of its own, its output's shape declared or not."""
        if shape is not None:
            self.infos.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
        table = self.weight(f"{output}.table", 3)
        return self.node("Warp", [*inputs, table], output, f"{output}.warp", domain=DOMAIN, strength=0.5)

    def model(self, folder: Path, *outputs: str, rank: int = 4) -> ir.Model:
        dims = [None] * rank
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in outputs],
            self.weights,
            value_info=self.infos,
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 2)]
        proto = helper.make_model(graph, opset_imports=imports, ir_version=9)
        helper.set_model_props(proto, {"author": "somebody"})
        path = folder / "net.onnx"
        onnx.save(proto, path)
        return read_graph(path)

    def body(
        self, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[str]
    ) -> onnx.GraphProto:
        types = [TensorProto.BOOL if name.startswith("go") else TensorProto.FLOAT for name in outputs]
        shapes = [[] if name.startswith("go") else IMAGE for name in outputs]
        infos = [helper.make_tensor_value_info(*item) for item in zip(outputs, types, shapes, strict=True)]
        return helper.make_graph(nodes, "body", inputs, infos)

    def loop(self, state: str, captured: str, output: str) -> str:
        """Three times state = tanh(state * 0.5) + captured."""
        self.weights.append(numpy_helper.from_array(np.array(3, np.int64), "trips"))
        self.weights.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
        nodes = [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["state", "half"], ["scaled"]),
            helper.make_node("Tanh", ["scaled"], ["bent"]),
            helper.make_node("Add", ["bent", captured], ["next"]),
        ]
        inputs = [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, IMAGE),
        ]
        self.infos.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, IMAGE))
        return self.node("Loop", ["trips", "", state], output, "loop", body=self.body(nodes, inputs, ["go_on", "next"]))


def fold_around(model: ir.Model) -> tuple[Cut, ir.Model, ir.Model]:
    """The cut graph, folded and equal to it in float64, and the whole with the folded parts."""
    untouched = ir.to_proto(model)
    parts = cut(model)
    assert parts is not None
    folded = fold_graph(parts.model).model
    assert differences(parts.model, folded) < EXACT
    rounded = folded.clone()
    round_weights(rounded.graph)
    spliced = parts.splice(rounded)
    assert ir.to_proto(model) == untouched
    assert_whole(model, spliced)
    return parts, folded, spliced


def assert_whole(model: ir.Model, spliced: ir.Model) -> None:
    onnx.checker.check_model(ir.to_proto(spliced), full_check=True)
    assert names(spliced.graph.inputs) == names(model.graph.inputs)
    assert names(spliced.graph.outputs) == names(model.graph.outputs)
    assert spliced.opset_imports == model.opset_imports
    assert spliced.metadata_props == model.metadata_props
    for name in opaque_nodes(model):
        before, after = (ir.to_proto(item.graph.node(name)) for item in (model, spliced))
        assert before == after
    declared = {value.name: value.shape for node in spliced.graph for value in node.outputs}
    originals = {value.name: value.shape for node in model.graph for value in node.outputs}
    assert all(declared[name] == originals[name] for name in declared.keys() & originals.keys())


def with_tanh(model: ir.Model) -> ir.Model:
    """The model with a known operator in place of the custom one."""
    known = model.clone()
    for node in known.graph:
        if node.op_type == "Warp":
            node.resize_inputs(1)
            node.domain, node.op_type = "", "Tanh"
            node.attributes.clear()
    return known


def names(values: Iterable[ir.Value | None]) -> list[str | None]:
    return [None if value is None else value.name for value in values]


def operators(model: ir.Model) -> list[str]:
    return sorted(node.op_type for node in model.graph)


def random_images(model: ir.Model) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = reference_inputs(model, (13, 19))
    return {name: torch.rand(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def differences(before: ir.Model, after: ir.Model) -> float:
    images = random_images(before)
    assert names(before.graph.inputs) == names(after.graph.inputs)
    expected, actual = evaluate(before, images), evaluate(after, images)
    assert expected.keys() == actual.keys()
    return max(float((actual[name].double() - expected[name].double()).abs().max()) for name in expected)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, feeds)]


def test_both_sides_of_a_custom_node_fold(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv_norm(graph.custom([graph.conv_norm("x", "a")], "b"), "y")
    model = graph.model(tmp_path, "y")
    parts, _, spliced = fold_around(model)
    assert parts.stopped == (f"b.warp: custom operator {DOMAIN}::Warp",)
    assert names(parts.model.graph.inputs) == ["x", "b"]
    assert names(parts.model.graph.outputs) == ["y", "a"]
    assert DOMAIN not in parts.model.opset_imports
    assert operators(spliced) == ["Conv", "Conv", "Warp"]
    warp = spliced.graph.node("b.warp")
    assert names(warp.inputs) == ["a", "b.table"]
    conv = spliced.graph.outputs[0].producer()
    assert conv is not None
    assert conv.inputs[0] is warp.outputs[0]
    assert "a.mean" not in spliced.graph.initializers  # of the folded normalization
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


@pytest.mark.parametrize("side", ["a", "y"])
def test_a_fault_on_either_side_is_seen(tmp_path: Path, side: str) -> None:
    graph = Builder()
    graph.conv_norm(graph.custom([graph.conv_norm("x", "a")], "b"), "y")
    parts, folded, _ = fold_around(graph.model(tmp_path, "y"))
    output = next(value for value in folded.graph.outputs if value.name == side)
    weight = next(value for value in output.producer().inputs if value is not None and value.const_value is not None)  # type: ignore[reportOptionalMemberAccess]
    assert weight.const_value is not None
    wrong = weight.const_value.numpy().copy()
    wrong.flat[3] += 1e-6
    weight.const_value = ir.tensor(wrong, name=weight.name)
    assert differences(parts.model, folded) > 1e-8


def test_without_a_declared_shape_only_what_is_before_folds(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv_norm(graph.custom([graph.conv_norm("x", "a")], "b", shape=None), "y")
    model = graph.model(tmp_path, "y")
    parts, _, spliced = fold_around(model)
    assert parts.stopped[0].startswith(f"b.warp: custom operator {DOMAIN}::Warp; nodes behind it that stay, too: 2")
    assert names(parts.model.graph.inputs) == ["x"]
    assert names(parts.model.graph.outputs) == ["a"]
    assert operators(spliced) == ["BatchNormalization", "Conv", "Conv", "Warp"]
    assert {"y.mean", "y.w", "b.table"} <= spliced.graph.initializers.keys()
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


@pytest.mark.parametrize("shape", [(1, CHANNELS, 1, 1), (1, CHANNELS, 13, 19), (1, "C", "H", "W"), (1, CHANNELS, "L")])
def test_an_output_that_is_no_image_of_the_size_of_the_inputs_is_no_free_input(tmp_path: Path, shape: Dims) -> None:
    graph = Builder()
    a = graph.conv_norm("x", "a")
    graph.node("Relu", [graph.custom([a], "b", shape=shape)], "y")
    parts, _, spliced = fold_around(graph.model(tmp_path, "y", rank=len(shape)))
    assert names(parts.model.graph.inputs) == ["x"]
    assert "nodes behind it that stay, too: 1" in parts.stopped[0]
    assert operators(spliced) == ["Conv", "Relu", "Warp"]


def test_another_resolution_than_that_of_the_inputs_stops_at_the_node_where_they_meet(tmp_path: Path) -> None:
    graph = Builder()
    large = graph.conv_norm(graph.custom([graph.conv_norm("x", "a")], "b", shape=(1, CHANNELS, "H2", "W2")), "c")
    graph.weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    skip = graph.node("Resize", ["x", "", "scales"], "skip", mode="nearest")
    graph.conv_norm(graph.node("Add", [large, skip], "sum"), "y")
    parts, _, spliced = fold_around(graph.model(tmp_path, "y"))
    assert len(parts.stopped) == 2
    assert parts.stopped[1].startswith("sum: Add, whose shape is unknown")
    assert set(names(parts.model.graph.outputs)) == {"a", "c", "skip"}
    assert operators(spliced) == ["Add", "BatchNormalization", "Conv", "Conv", "Conv", "Resize", "Warp"]


def test_a_loop_gets_its_captured_value_from_the_folded_graph(tmp_path: Path) -> None:
    graph = Builder()
    captured = graph.conv_norm("x", "a")
    state = graph.conv_norm("x", "s")
    graph.conv_norm(graph.loop(state, captured, "l"), "y")
    model = graph.model(tmp_path, "y")
    parts, _, spliced = fold_around(model)
    assert parts.stopped == ("loop: Loop",)
    assert set(names(parts.model.graph.outputs)) == {"y", "a", "s"}
    assert operators(spliced) == ["Conv", "Conv", "Conv", "Loop"]
    feeds = {"x": np.random.default_rng(3).random((1, CHANNELS, 17, 23), np.float32)}
    before, after = run(model, feeds)[0], run(spliced, feeds)[0]
    assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()


def test_a_value_that_an_opaque_node_gives_to_a_loop_only(tmp_path: Path) -> None:
    graph = Builder()
    captured = graph.custom([graph.conv_norm("x", "a")], "b")
    graph.conv_norm(graph.loop("x", captured, "l"), "y")
    parts, _, spliced = fold_around(graph.model(tmp_path, "y"))
    assert names(parts.model.graph.inputs) == ["x", "l"]
    assert operators(spliced) == ["Conv", "Conv", "Loop", "Warp"]


def test_an_if_around_a_loop_stays_and_what_surrounds_it_folds(tmp_path: Path) -> None:
    graph = Builder()
    a = graph.conv_norm("x", "a")
    inner = Builder()
    inner.loop(a, a, "then")
    graph.weights += inner.weights
    graph.weights.append(numpy_helper.from_array(np.array(0.0, np.float32), "zero"))
    branches = {
        "then_branch": graph.body(inner.nodes, [], ["then"]),
        "else_branch": graph.body([helper.make_node("Neg", [a], ["else"])], [], ["else"]),
    }
    graph.node("ReduceMean", ["x"], "mean", keepdims=0)
    graph.node("Greater", ["mean", "zero"], "positive")
    graph.infos.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, IMAGE))
    graph.node("If", ["positive"], "b", "choice", **branches)
    graph.conv_norm("b", "y")
    model = graph.model(tmp_path, "y")
    parts, _, spliced = fold_around(model)
    assert parts.stopped == ("choice: If around Loop",)
    assert set(names(parts.model.graph.outputs)) == {"y", "a", "positive"}
    assert operators(spliced) == ["Conv", "Conv", "Greater", "If", "ReduceMean"]
    image = np.random.default_rng(3).random((1, CHANNELS, 17, 23), np.float32)
    for feeds in ({"x": image}, {"x": -image}):
        before, after = run(model, feeds)[0], run(spliced, feeds)[0]
        assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()


def test_an_if_that_can_be_computed_is_not_opaque(tmp_path: Path) -> None:
    graph = Builder()
    a = graph.conv_norm("x", "a")
    graph.weights.append(numpy_helper.from_array(np.array(0.0, np.float32), "zero"))
    graph.node("ReduceMean", ["x"], "mean", keepdims=0)
    graph.node("Greater", ["mean", "zero"], "positive")
    bodies = {
        f"{kind}_branch": graph.body([helper.make_node(operator, [a], [kind])], [], [kind])
        for kind, operator in (("then", "Neg"), ("else", "Abs"))
    }
    graph.node("If", ["positive"], "y", "choice", **bodies)
    assert cut(graph.model(tmp_path, "y")) is None


def test_a_custom_node_at_the_end(tmp_path: Path) -> None:
    graph = Builder()
    graph.custom([graph.conv_norm("x", "a")], "y")
    model = graph.model(tmp_path, "y", "a")
    parts, _, spliced = fold_around(model)
    assert names(parts.model.graph.inputs) == ["x"]
    assert names(parts.model.graph.outputs) == ["a"]
    assert operators(spliced) == ["Conv", "Warp"]
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


def test_two_custom_nodes_in_sequence(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv_norm(graph.custom([graph.custom([graph.conv_norm("x", "a")], "b"), "x"], "c"), "y")
    model = graph.model(tmp_path, "y")
    parts, _, spliced = fold_around(model)
    assert [line.split(":")[0] for line in parts.stopped] == ["b.warp", "c.warp"]
    assert names(parts.model.graph.inputs) == ["x", "c"]  # nobody but the second reads what the first gives
    assert operators(spliced) == ["Conv", "Conv", "Warp", "Warp"]
    assert names(spliced.graph.node("c.warp").inputs) == ["b", "x", "c.table"]
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


def test_unknown_and_random_operators_are_opaque(tmp_path: Path) -> None:
    graph = Builder()
    a = graph.conv_norm("x", "a")
    noise = graph.node("RandomNormalLike", [a], "noise")
    graph.infos.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, IMAGE))
    graph.conv_norm(graph.node("Sum", [graph.node("Mystery", [a], "u"), noise], "sum"), "y")
    model = graph.model(tmp_path, "y")
    assert opaque_nodes(model) == {"noise": "RandomNormalLike, random", "u": "unknown operator Mystery"}
    parts = cut(model)
    assert parts is not None
    assert names(parts.model.graph.inputs) == ["x", "noise", "u"]


def test_names_of_folded_weights_and_of_opaque_nodes_do_not_meet(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv_norm(graph.custom([graph.conv_norm("x", "a")], "b"), "y")
    plain = graph.model(tmp_path, "y")
    fresh = next(name for name in fold_around(plain)[1].graph.initializers if name.startswith("y."))
    table = next(tensor for tensor in graph.weights if tensor.name == "b.table")
    table.name = fresh
    graph.nodes[2].input[1] = fresh
    model = graph.model(tmp_path, "y")
    _, _, spliced = fold_around(model)
    warp = spliced.graph.node("b.warp")
    assert warp.inputs[1] is not None
    assert warp.inputs[1].const_value is not None
    assert np.array_equal(warp.inputs[1].const_value.numpy(), numpy_helper.to_array(table))
    assert operators(spliced) == ["Conv", "Conv", "Warp"]
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


def test_a_weight_of_both_parts_is_shared(tmp_path: Path) -> None:
    graph = Builder()
    a = graph.conv_norm("x", "a")
    graph.node("PRelu", [a, graph.weight("slope", CHANNELS, 1, 1)], "p")
    graph.node("PRelu", [graph.custom(["p", "slope"], "b"), "slope"], "y")
    model = graph.model(tmp_path, "y")
    _, _, spliced = fold_around(model)
    readers = {node.op_type for node, _ in spliced.graph.initializers["slope"].uses()}
    assert readers == {"PRelu", "Warp"}
    assert differences(with_tanh(model), with_tanh(spliced)) < ROUNDED


def test_nothing_opaque(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv_norm("x", "y")
    assert cut(graph.model(tmp_path, "y")) is None


def test_nothing_but_opaque_nodes(tmp_path: Path) -> None:
    graph = Builder()
    graph.custom(["x"], "y")
    with pytest.raises(FoldError, match=r"node 'y\.warp' \(custom operator com\.example::Warp\)"):
        cut(graph.model(tmp_path, "y"))
