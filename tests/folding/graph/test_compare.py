"""The proof of two graphs: it passes on equal ones, and every planted fault makes it fail and say where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.errors import FoldError, ProofError
from repsr_deploy.folding.graph.compare import GraphProof, histogram, histogram_line, prove_graphs
from repsr_deploy.folding.graph.compare_probes import at_smallest_multiple, probes_for


@dataclass(frozen=True, kw_only=True)
class Cost:
    nodes: int


@dataclass(frozen=True, kw_only=True)
class Site:
    name: str


COSTS = (Cost(nodes=9), Cost(nodes=3))


def upscaler(
    *, channels: int = 3, block: int = 1, side: int | str = "side", second_output: bool = False, pad: bool = True
) -> ir.Model:
    """Two convolutions with a ReLU between them, then x2; `block`: on folded pixels, so that sides are multiples."""
    random = np.random.default_rng(7)
    wide = channels * block**2

    def weight(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (random.normal(size=shape) / 6).astype(np.float32)

    pads = [1, 1, 1, 1] if pad else [0, 0, 0, 0]
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["folded"], blocksize=block),
        helper.make_node("Conv", ["folded", "w1", "b1"], ["c1"], pads=pads),
        helper.make_node("Relu", ["c1"], ["r"]),
        helper.make_node("Conv", ["r", "w2", "b2"], ["c2"], pads=pads),
        helper.make_node("DepthToSpace", ["c2"], ["y"], blocksize=2 * block, mode="CRD"),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if second_output:
        nodes.append(helper.make_node("ReduceMean", ["r", "axes"], ["mean"], keepdims=0))
        outputs.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, None))
    weights = {
        "w1": weight(5, wide, 3, 3),
        "b1": weight(5),
        "w2": weight(4 * wide, 5, 3, 3),
        "b2": weight(4 * wide),
        "axes": np.array([2, 3]),
    }
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "upscaler",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, side, side])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))


def change(
    model: ir.Model, name: str, index: tuple[int, ...], value: Callable[[float], float], dtype: type = np.float64
) -> ir.Model:
    """The model with one number of a weight changed; exact weights are float64."""
    weight = model.graph.initializers[name]
    assert weight.const_value is not None
    array = weight.const_value.numpy().astype(dtype)
    array[index] = value(array[index])
    weight.const_value = ir.tensor(array, name=name)
    return model


def prove(before: ir.Model, after: ir.Model, *, halo: int | None = 2, border_allowed: bool = False) -> GraphProof:
    return prove_graphs(before, after, halo=halo, costs=COSTS, border_allowed=border_allowed, stored=upscaler())


def test_equal_graphs_pass_and_the_report_says_so() -> None:
    proof = prove_graphs(upscaler(), upscaler(), halo=2, costs=COSTS, sites=[Site(name="c1")], kept=["tail: why"])
    assert proof.passed
    assert proof.relative_error == 0
    (stored,) = proof.stored
    assert 0 < stored.relative_error < 1e-6  # really float32, really another runtime
    assert len({probe.split()[1] for probe in proof.probes}) == 2
    report = json.loads(proof.to_json())
    assert report["summary"]["nodes_before"] == 9
    assert report["summary"]["nodes_after"] == 3
    assert report["sites"] == [{"name": "c1"}]
    assert report["kept"] == ["tail: why"]
    assert report["whole"][0]["histogram"] == {"0": sum(report["whole"][0]["histogram"].values())}


@pytest.mark.parametrize("size", [1e-6, 1e-8])
def test_a_weight_that_is_slightly_off_is_found(size: float) -> None:
    with pytest.raises(ProofError, match="in float64 at output 'y'") as caught:
        prove(upscaler(), change(upscaler(), "w2", (3, 2, 1, 1), lambda weight: weight + size))
    message = str(caught.value)
    needed = re.search(r"smallest tolerance that would pass ([\d.e+-]+), allowed 1e-10", message)
    assert needed is not None
    assert size / 100 < float(needed[1]) < size
    assert re.search(r"histogram|fractions of the range: .*1e-\d+\.\.1e-\d+: [\d,]+", message)
    assert "\n" not in message


def test_swapped_channels_are_found() -> None:
    after = upscaler()
    weight = after.graph.initializers["w2"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy()[[1, 0, *range(2, 12)]], name="w2")
    with pytest.raises(ProofError, match="in float64"):
        prove(upscaler(), after)


def test_not_a_number_is_found() -> None:
    with pytest.raises(ProofError, match=r"smallest tolerance that would pass inf.*not finite: "):
        prove(upscaler(), change(upscaler(), "b2", (0,), lambda _: float("nan")))
    with pytest.raises(ProofError, match="itself gives NaN"):
        prove(change(upscaler(), "b2", (0,), lambda _: float("nan"), np.float32), upscaler())


def border_fault() -> ir.Model:
    """The first convolution pads by 0.1 instead of 0."""
    after = upscaler()
    convolution = next(node for node in after.graph if node.op_type == "Conv")
    pads = ir.Value(name="pads", const_value=ir.tensor(np.array([0, 0, 1, 1, 0, 0, 1, 1]), name="pads"))
    fill = ir.Value(name="fill", const_value=ir.tensor(np.array(0.1, np.float32), name="fill"))
    for value in (pads, fill):
        after.graph.register_initializer(value)
    padded = ir.node("Pad", [convolution.inputs[0], pads, fill])
    after.graph.insert_before(convolution, padded)
    convolution.replace_input_with(0, padded.outputs[0])
    convolution.attributes["pads"] = ir.AttrInt64s("pads", [0, 0, 0, 0])
    return after


def test_a_fault_in_the_border_alone_fails_unless_allowed() -> None:
    with pytest.raises(ProofError, match=r"most in the border: largest error interior 0, border 0\.[01]"):
        prove(upscaler(), border_fault())
    proof = prove_graphs(upscaler(), border_fault(), halo=2, costs=COSTS, border_allowed=True)
    assert proof.passed
    assert proof.relative_error == 0
    assert proof.border_change > 1e-3
    assert proof.summary()["border_change"] == proof.border_change


def test_a_border_wider_than_allowed_fails() -> None:
    with pytest.raises(ProofError, match="most in the interior"):
        prove(upscaler(), border_fault(), halo=1, border_allowed=True)


def test_a_wrong_file_fails_though_the_algebra_is_right(tmp_path: Path) -> None:
    wrong = upscaler()
    weight = wrong.graph.initializers["b2"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01), name="b2")
    ir.save(wrong, tmp_path / "wrong.onnx")
    with pytest.raises(ProofError, match="as it is stored at output 'y'"):
        prove_graphs(upscaler(), upscaler(), halo=2, costs=COSTS, stored=tmp_path / "wrong.onnx")


def test_a_file_that_does_not_run_fails(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(ProofError, match="ONNX Runtime cannot run the broken model"):
        prove_graphs(upscaler(), upscaler(), halo=2, costs=COSTS, stored=tmp_path / "broken.onnx")


def test_rounding_is_allowed_as_much_as_there_was_before() -> None:
    def rough() -> ir.Model:
        """The difference of two numbers that float32 can hardly tell apart."""
        model = upscaler()
        large = ir.Value(name="large", const_value=ir.tensor(np.array(3000.0, np.float32), name="large"))
        model.graph.register_initializer(large)
        (output,) = model.graph.outputs
        last = output.producer()
        assert last is not None
        up = ir.node("Add", [last.inputs[0], large])
        down = ir.node("Sub", [up.outputs[0], large])
        model.graph.insert_before(last, [up, down])
        last.replace_input_with(0, down.outputs[0])
        return model

    proof = prove_graphs(rough(), rough(), halo=2, costs=COSTS)
    (stored,) = proof.stored
    assert 2e-5 < stored.relative_error <= stored.comparison.tolerance
    assert stored.comparison.tolerance == pytest.approx(2 * stored.relative_error)
    with pytest.raises(ProofError, match="as it is stored"):
        prove_graphs(upscaler(), rough(), halo=2, costs=COSTS)  # it was not rough before


def test_every_output_is_compared_whatever_its_shape() -> None:
    before, after = upscaler(second_output=True), upscaler(second_output=True)
    proof = prove_graphs(before, after, halo=None, costs=COSTS)
    assert [item.output for item in proof.whole] == ["y", "mean"]
    scale = after.graph.outputs[1].producer()
    assert scale is not None
    scale.op_type = "ReduceMax"
    with pytest.raises(ProofError, match="at output 'mean'"):
        prove_graphs(before, after, halo=2, costs=COSTS)


def test_graphs_with_other_names_or_shapes_are_refused() -> None:
    renamed = upscaler()
    renamed.graph.outputs[0].name = "z"
    with pytest.raises(ProofError, match="different outputs: \\['y'\\] before and \\['z'\\] after"):
        prove(upscaler(), renamed)
    with pytest.raises(ProofError, match=r"after folding and .* before, on probe noise"):
        prove(upscaler(), upscaler(pad=False))


def test_networks_that_need_multiples_or_one_size_are_proven_there() -> None:
    proof = prove_graphs(upscaler(block=4), upscaler(block=4), halo=5, costs=COSTS)
    sides = [int(side) for probe in proof.probes for side in probe.split()[1].split("x")]
    assert all(side % 4 == 0 for side in sides)
    assert any(side % 8 for side in sides)
    fixed = prove_graphs(upscaler(side=24), upscaler(side=24), halo=40, costs=COSTS)
    assert {probe.split()[1] for probe in fixed.probes} == {"24x24"}
    assert fixed.passed


def test_photographs_are_probes_cropped_to_what_the_network_takes() -> None:
    photographs = {"cat": torch.rand(1, 3, 31, 46, dtype=torch.float64)}
    proof = prove_graphs(upscaler(block=2), upscaler(block=2), halo=2, costs=COSTS, photographs=photographs)
    assert "cat 46x30" in proof.probes


def test_probes_have_their_range_and_an_interior() -> None:
    probes = probes_for(channels=1, border=6, value_range=(0.0, 255.0))
    assert len(probes) == 2
    assert all(image.shape[:2] == (1, 1) and min(image.shape[2:]) > 2 * 6 for image in probes.values())
    assert all(image.min() >= 0 and 200 < image.max() <= 255 for image in probes.values())
    assert any(image.shape[2] % 2 and image.shape[3] % 2 for image in probes.values())


@pytest.mark.parametrize("needed", [1, 2, 4, 32, 64])
def test_smallest_multiple(needed: int) -> None:
    def run(multiple: int) -> str:
        if multiple % needed:
            raise FoldError(f"{multiple} is no multiple of {needed}")
        return f"works with {multiple}"

    assert at_smallest_multiple(run) == f"works with {needed}"


def test_smallest_multiple_gives_the_first_reason() -> None:
    def run(multiple: int) -> None:
        raise FoldError(f"fails at {multiple}")

    with pytest.raises(FoldError, match=r"^fails at 1$"):
        at_smallest_multiple(run)


def test_histogram_counts_decades() -> None:
    errors = torch.tensor([0.0, 0.0, 2e-17, -3e-12, 9.99e-12, 1.5, float("nan"), float("inf")], dtype=torch.float64)
    counts = histogram(errors)
    assert counts == {"0": 2, "0..1e-16": 1, "1e-12..1e-11": 2, "1e0..1e1": 1, "not finite": 2}
    assert histogram_line({"0": 3, "1e-12..1e-11": 1234}) == "0: 3, 1e-12..1e-11: 1,234 values"
