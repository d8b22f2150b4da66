"""Reading any ONNX file: one canonical form that computes the same, and an error that names what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.errors import ModelFileError
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.read_opset import OPSET
from repsr_deploy.folding.graph.shapes import reference_shapes

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
KERNEL = RNG.normal(size=(3, 3, 3, 3)).astype(np.float32)
BIG_KERNEL = RNG.normal(size=(16, 8, 3, 3)).astype(np.float32)  # above 1024 elements: set aside by ONNX's passes
WEIGHTS = Path(__file__).parents[3] / "repsr_deploy" / "weights"


def value(name: str, shape: Sequence[int | str] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def node(op_type: str, inputs: str, outputs: str, name: str | None = None, **attributes: Any) -> onnx.NodeProto:
    """`inputs` and `outputs` are names between blanks; `-` leaves one out."""
    names = [[name.strip("-") for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op_type, *names, name=name, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = OPSET,
    shape: Sequence[int | str] = ("n", 3, "h", "w"),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    domains: Sequence[str] = (),
    **fields: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes), "network", [value("x", shape)], list(outputs) or [value("y")], list(initializers)
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **fields)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def run(proto: onnx.ModelProto, batch_nchw: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"x": batch_nchw})]


def image(channels: int = 3) -> Array:
    return RNG.normal(size=(1, channels, 7, 9)).astype(np.float32)


def read_equal(proto: onnx.ModelProto, folder: Path, tolerance: float = 1e-6, channels: int = 3) -> ir.Model:
    """The graph, after checking that ONNX Runtime computes the same from it as from the file."""
    graph = read_graph(saved(proto, folder))
    written = ir.serde.serialize_model(graph)
    onnx.checker.check_model(written, full_check=True)
    batch_nchw = image(channels)
    for expected, actual in zip(run(proto, batch_nchw), run(written, batch_nchw), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return graph


def ops(graph: ir.Model) -> list[str]:
    return [each.op_type for each in graph.graph]


def refuse(proto: onnx.ModelProto, folder: Path, *words: str) -> None:
    path = saved(proto, folder)
    with pytest.raises(ModelFileError) as caught:
        read_graph(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


CONV = node("Conv", "x w", "y", name="first", pads=[1, 1, 1, 1])


# --- canonical form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photo-x2", "photo-x4"])
def test_bundled_model_keeps_its_nodes_and_metadata(name: str, tmp_path: Path) -> None:
    proto = onnx.load(WEIGHTS / f"{name}.onnx")
    graph = read_graph(WEIGHTS / f"{name}.onnx")
    assert ops(graph) == [each.op_type for each in proto.graph.node]
    assert dict(graph.metadata_props) == {entry.key: entry.value for entry in proto.metadata_props}
    shapes = reference_shapes(graph)
    scale = int(name[-1])
    assert shapes["output"] == (1, 3, 46 * scale, 62 * scale)


UPSAMPLING = [
    (opset, op_type, scales)
    for opset, op_type in ((7, "Upsample"), (9, "Upsample"), (10, "Resize"))
    for scales in ((2.0, 2.0), (3.0, 3.0), (1.5, 2.5))
]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("opset", "op_type", "scales"), [*UPSAMPLING, (10, "Resize", (0.5, 0.5)), (10, "Resize", (0.7, 0.6))]
)
def test_old_upsampling_samples_as_before(
    opset: int, op_type: str, scales: tuple[float, float], mode: str, tmp_path: Path
) -> None:
    if opset == 7:
        read_equal(model([node("Upsample", "x", "y", mode=mode, scales=[1.0, 1.0, *scales])], opset=7), tmp_path)
    else:
        factors = tensor("factors", np.array([1, 1, *scales], np.float32))
        read_equal(model([node(op_type, "x factors", "y", mode=mode)], [factors], opset=opset), tmp_path)


OLD_NODES: dict[str, tuple[int, list[onnx.NodeProto]]] = {
    "pad": (9, [node("Pad", "x", "y", pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5)]),
    "slice": (9, [node("Slice", "x", "y", axes=[1], starts=[1], ends=[3])]),
    "split": (11, [node("Split", "x", "a b", axis=1, split=[1, 2]), node("Concat", "b a", "y", axis=1)]),
    "clip": (9, [node("Clip", "x", "y", min=-0.5, max=0.5)]),
    "mean": (11, [node("ReduceMean", "x", "y", axes=[2, 3])]),
    "squeeze": (11, [node("Unsqueeze", "x", "a", axes=[0]), node("Squeeze", "a", "y", axes=[0])]),
    "softmax over three axes": (11, [node("Softmax", "x", "y", axis=1)]),
    "dropout": (9, [node("Dropout", "x", "a", ratio=0.5), node("Relu", "a", "y")]),
}


@pytest.mark.parametrize("name", OLD_NODES)
def test_old_opset_is_converted(name: str, tmp_path: Path) -> None:
    opset, nodes = OLD_NODES[name]
    graph = read_equal(model(nodes, opset=opset), tmp_path)
    assert graph.opset_imports[""] == OPSET
    assert not {"Dropout", "Identity", "Constant"} & set(ops(graph))


def test_conversion_keeps_large_weights_and_metadata(tmp_path: Path) -> None:
    proto = model(
        [node("Conv", "x big", "y", name="only", pads=[1, 1, 1, 1])],
        [tensor("big", BIG_KERNEL)],
        opset=9,
        shape=("n", 8, "h", "w"),
        producer_name="someone",
    )
    proto.metadata_props.add(key="author", value="known")
    graph = read_equal(proto, tmp_path, channels=8)
    assert [each.name for each in graph.graph.inputs] == ["x"]
    assert (graph.producer_name, graph.metadata_props["author"]) == ("someone", "known")
    big = graph.graph.initializers["big"].const_value
    assert big is not None
    np.testing.assert_array_equal(big.numpy(), BIG_KERNEL)


def test_newer_opset_is_left(tmp_path: Path) -> None:
    graph = read_equal(model([CONV], [tensor("w", KERNEL)], opset=21), tmp_path)
    assert graph.opset_imports[""] == 21


def test_identity_and_dropout_go_and_outputs_keep_their_names(tmp_path: Path) -> None:
    nodes = [
        node("Identity", "x", "a"),
        node("Conv", "a w", "b"),
        node("Dropout", "b", "c mask"),
        node("Identity", "c", "y"),
        node("Identity", "c", "again"),
        node("Identity", "x", "same"),
        node("Relu", "y", "z"),
    ]
    outputs = [value(name) for name in ("y", "z", "again", "same")]
    graph = read_equal(model(nodes, [tensor("w", KERNEL)], outputs=outputs), tmp_path)
    assert [each.name for each in graph.graph.outputs] == ["y", "z", "again", "same"]
    # One value cannot have two names, nor can an input be renamed: those two stay.
    assert sorted(ops(graph)) == ["Conv", "Identity", "Identity", "Relu"]


def test_active_dropout_and_training_batch_norm_stay(tmp_path: Path) -> None:
    ones = [tensor(name, np.ones(3, np.float32)) for name in "gbmv"]
    nodes = [
        node("Dropout", "x ratio on", "a"),
        node("BatchNormalization", "a g b m v", "y mean var", training_mode=1),
        node("Relu", "y", "z"),
    ]
    constants = [tensor("ratio", np.float32(0.5)), tensor("on", np.array(True)), *ones]
    graph = read_graph(saved(model(nodes, constants, outputs=[value("z")]), tmp_path))
    assert ops(graph) == ["Dropout", "BatchNormalization", "Relu"]
    assert graph.graph[1].attributes["training_mode"].as_int() == 1


def test_dropout_stays_where_its_mask_is_read(tmp_path: Path) -> None:
    nodes = [node("Dropout", "x", "a mask"), node("Not", "mask", "dropped"), node("Relu", "a", "y")]
    outputs = [value("y"), value("dropped", kind=TensorProto.BOOL)]
    assert ops(read_equal(model(nodes, outputs=outputs), tmp_path)) == ["Dropout", "Not", "Relu"]


def test_constants_become_initializers_and_unused_ones_go(tmp_path: Path) -> None:
    kernel = node("Constant", "", "w", value=tensor("", KERNEL))
    slope = node("Constant", "", "s", value_float=0.25)
    nodes = [kernel, slope, node("Conv", "x w", "a"), node("PRelu", "a s", "y"), node("Exp", "a", "unused")]
    graph = read_equal(model(nodes, [tensor("never", KERNEL)]), tmp_path)
    assert ops(graph) == ["Conv", "PRelu"]
    assert set(graph.graph.initializers) == {"w", "s"}


def test_initializers_are_no_inputs(tmp_path: Path) -> None:
    proto = model([CONV], [tensor("w", KERNEL)])
    proto.graph.input.append(value("w", KERNEL.shape))
    graph = read_equal(proto, tmp_path)
    assert [each.name for each in graph.graph.inputs] == ["x"]


def test_functions_are_inlined(tmp_path: Path) -> None:
    body = [node("Neg", "a", "b"), node("Relu", "b", "c")]
    function = helper.make_function("mine", "Rectify", ["a"], ["c"], body, [helper.make_opsetid("", OPSET)])
    proto = model([node("Rectify", "x", "y", domain="mine")], domains=["mine"], functions=[function])
    assert ops(read_equal(proto, tmp_path)) == ["Neg", "Relu"]


def test_nodes_are_sorted_and_named(tmp_path: Path) -> None:
    proto = model([node("Relu", "a", "y"), node("Conv", "x w", "a")], [tensor("w", KERNEL)])
    graph = read_graph(saved(proto, tmp_path))
    assert [each.name for each in graph.graph] == ["Conv:a", "Relu:y"]


def test_sparse_initializer_is_a_weight(tmp_path: Path) -> None:
    dense = np.where(RNG.random(KERNEL.shape) < 0.2, KERNEL, 0).astype(np.float32)
    proto = model([CONV])
    (where,) = np.nonzero(dense.ravel())
    sparse = helper.make_sparse_tensor(tensor("w", dense.ravel()[where]), tensor("at", where), dense.shape)
    proto.graph.sparse_initializer.append(sparse)
    as_node = model([node("Constant", "", "w", sparse_value=sparse), CONV])
    for spelling in (proto, as_node):
        weight = read_graph(saved(spelling, tmp_path)).graph.initializers["w"].const_value
        assert weight is not None
        np.testing.assert_array_equal(weight.numpy(), dense)


@pytest.mark.parametrize("opset", [11, OPSET])
def test_unknown_operators_and_control_flow_stay(opset: int, tmp_path: Path) -> None:
    axes: dict[str, Any] = {"axes": [0]} if opset < 13 else {}
    extra = "" if opset < 13 else " zero"
    then = helper.make_graph(
        [node("Unsqueeze", "a" + extra, "t", **axes), node("Squeeze", "t" + extra, "u", **axes)],
        "then",
        [],
        [value("u")],
    )
    otherwise = helper.make_graph([node("Add", "a captured", "v")], "otherwise", [], [value("v")])
    nodes = [
        node("Conv", "x w", "a"),
        node("If", "condition", "b", then_branch=then, else_branch=otherwise),
        node("Warp", "b", "c", domain="company"),
        node("Undreamt", "c", "d"),
        node("Relu", "d", "y"),
    ]
    constants = [tensor("w", KERNEL), tensor("captured", np.array([2], np.float32)), tensor("zero", np.array([0]))]
    proto = model(nodes, constants, opset=opset)  # without an import of `company`
    proto.graph.input.append(value("condition", [], TensorProto.BOOL))
    graph = read_graph(saved(proto, tmp_path))
    assert ops(graph) == ["Conv", "If", "Warp", "Undreamt", "Relu"]
    assert [each.domain for each in graph.graph] == ["", "", "company", "", ""]
    assert "captured" in graph.graph.initializers
    assert set(graph.opset_imports) == {"", "company"}
    inner = graph.graph[1].attributes["then_branch"].as_graph()
    squeezes = [each for each in inner if each.op_type == "Squeeze"]
    assert len(squeezes[0].inputs) == 2  # axes are an input since opset 13, in subgraphs too


def test_quantized_model_passes(tmp_path: Path) -> None:
    scales = [
        tensor("s", np.float32(0.02)),
        tensor("z", np.uint8(128)),
        tensor("q", RNG.integers(0, 255, (3, 3, 1, 1), np.uint8)),
    ]
    nodes = [
        node("QuantizeLinear", "x s z", "a"),
        node("QLinearConv", "a s z q s z s z", "b"),
        node("DequantizeLinear", "b s z", "c"),
        node("DequantizeLinear", "q s z", "k"),
        node("Conv", "c k", "y"),
    ]
    assert ops(read_equal(model(nodes, scales), tmp_path)) == [each.op_type for each in nodes]


@pytest.mark.parametrize("kind", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE])
def test_other_floats_are_left_as_they_are(kind: ir.DataType, tmp_path: Path) -> None:
    weight = ir.serde.serialize_tensor(ir.Tensor(KERNEL.astype(kind.numpy()), dtype=kind, name="w"))
    proto = model([CONV], [weight], outputs=[value("y", kind=kind.value)])
    proto.graph.input[0].type.tensor_type.elem_type = kind.value
    graph = read_graph(saved(proto, tmp_path))
    assert (graph.graph.outputs[0].dtype, graph.graph.initializers["w"].dtype) == (kind, kind)
    assert reference_shapes(graph)["y"] == (1, 3, 46, 62)


def test_infinite_bounds_are_no_broken_weights(tmp_path: Path) -> None:
    bounds = [tensor("low", np.float32(0)), tensor("high", np.float32(np.inf))]
    assert ops(read_equal(model([node("Clip", "x low high", "y")], bounds), tmp_path)) == ["Clip"]


def test_external_data_stays_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    big = model([node("Conv", "x big", "y", name="only")], [tensor("big", BIG_KERNEL)], shape=("n", 8, "h", "w"))
    onnx.save(big, path, save_as_external_data=True, location="network.data", size_threshold=0)
    weight = read_graph(path).graph.initializers["big"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    np.testing.assert_array_equal(weight.numpy(), BIG_KERNEL)


def test_a_thousand_nodes_are_read_quickly(tmp_path: Path) -> None:
    kernels = [tensor(f"w{k}", KERNEL) for k in range(500)]
    nodes = [
        each
        for k in range(500)
        for each in (node("Conv", f"v{k} w{k}", f"a{k}", pads=[1, 1, 1, 1]), node("Relu", f"a{k}", f"v{k + 1}"))
    ]
    nodes = [node("Identity", "x", "v0"), *nodes]
    path = saved(model(nodes, kernels, opset=11, outputs=[value("v500")]), tmp_path)
    start = time.process_time()
    graph = read_graph(path)
    assert len(reference_shapes(graph)) == 1001 + 500
    assert time.process_time() - start < 2


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist; expected an .onnx file"),
        (b"", "is empty; expected an .onnx file"),
        (b"PK\x03\x04 a zip of pickles, no network", "is not a complete ONNX model"),
        (model([CONV], [tensor("w", KERNEL)]).SerializeToString()[:-200], "is not a complete ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
        (helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString(), "holds no outputs"),
    ],
)
def test_no_model(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_folder_and_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match="is no file; expected"):
        read_graph(tmp_path)
    path = saved(model([CONV], [tensor("w", KERNEL)]), tmp_path)

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ModelFileError, match=r"cannot read .*: Permission denied; expected a readable"):
        read_graph(path)


def test_opsets_out_of_reach(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    refuse(model([CONV], [tensor("w", KERNEL)], opset=newest + 1), tmp_path, f"opset {newest + 1}", "upgrade onnx")
    refuse(model([CONV], [tensor("w", KERNEL)], opset=6), tmp_path, "opset 6; expected 7 or newer")
    proto = model([CONV], [tensor("w", KERNEL)])
    del proto.opset_import[:]
    refuse(proto, tmp_path, "does not say which ONNX opset")


def test_an_operator_that_cannot_be_converted_is_named(tmp_path: Path) -> None:
    # TopK without the `k` that it had as an attribute; behind an unknown operator, shape inference lets it pass.
    nodes = [
        node("Relu", "x", "a"),
        node("Warp", "a", "b", domain="company"),
        node("TopK", "b", "c d", name="best"),
        node("Exp", "c", "y"),
    ]
    words = ["cannot convert node 'best' (TopK) from opset 9 to 18", "attribute 'k'", "export it again with opset 18"]
    refuse(model(nodes, opset=9, domains=["company"]), tmp_path, *words)


def test_names_that_nobody_or_two_produce(tmp_path: Path) -> None:
    refuse(model([CONV]), tmp_path, "node 'first' (Conv) reads 'w'", "which no node, input or initializer produces")
    twice = [node("Relu", "x", "y", name="one"), node("Neg", "x", "y", name="two")]
    refuse(model(twice), tmp_path, "node 'two' (Neg) and node 'one' (Relu) both produce 'y'")
    refuse(model([node("Relu", "x", "x", name="one")]), tmp_path, "an input or initializer both produce 'x'")
    refuse(model([node("Relu", "x", "z")]), tmp_path, "nothing produces the output 'y'")
    branch = helper.make_graph([node("Relu", "missing", "t", name="deep")], "then", [], [value("t")])
    inside = node("If", "condition", "y", name="choice", then_branch=branch, else_branch=branch)
    condition = [tensor("condition", np.array(True))]
    refuse(model([inside], condition), tmp_path, "inside node 'choice' (If)", "node 'deep' (Relu) reads 'missing'")


def test_cycle(tmp_path: Path) -> None:
    nodes = [node("Add", "x b", "a", name="one"), node("Relu", "a", "b", name="two"), node("Neg", "b", "y")]
    refuse(model(nodes), tmp_path, "node 'one' (Add) depends on its own output", "expected a graph without cycles")


def test_cyclic_functions(tmp_path: Path) -> None:
    body = [node("Again", "a", "c", domain="mine")]
    function = helper.make_function("mine", "Again", ["a"], ["c"], body, [helper.make_opsetid("mine", 1)])
    proto = model([node("Again", "x", "y", domain="mine")], domains=["mine"], functions=[function])
    refuse(proto, tmp_path, "a function cannot be inlined", "mine::Again -> mine::Again")


def test_broken_initializers(tmp_path: Path) -> None:
    short = tensor("w", KERNEL)
    short.raw_data = short.raw_data[:-4]
    refuse(model([CONV], [short]), tmp_path, "initializer 'w'", "of shape 3x3x3x3")
    proto = model([CONV])
    broken = helper.make_sparse_tensor(tensor("w", np.ones(1, np.float32)), tensor("at", np.array([81])), [3, 3, 3, 3])
    proto.graph.sparse_initializer.append(broken)
    refuse(proto, tmp_path, "sparse initializer 'w' is broken")


@pytest.mark.parametrize("position", [0, -1])
@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_weights_that_are_not_finite(number: float, word: str, position: int, tmp_path: Path) -> None:
    big = np.ones((1_500_000 // 27, 3, 3, 3), np.float32)  # more than one chunk
    big.reshape(-1)[position] = number
    refuse(model([CONV], [tensor("w", big)]), tmp_path, f"tensor 'w' of first holds {word}", "train or export it again")
    bound = [tensor("low", np.float32(np.nan))]
    refuse(model([node("Clip", "x low", "y")], bound), tmp_path, "'low'", "holds NaN")


def test_weights_that_become_nan_when_computed(tmp_path: Path) -> None:
    nodes = [node("ReduceL2", "v axes", "norm"), node("Div", "v norm", "w"), CONV]
    constants = [tensor("v", np.zeros_like(KERNEL)), tensor("axes", np.array([1, 2, 3]))]
    refuse(model(nodes, constants), tmp_path, "tensor 'w' of first holds NaN")


CONTRADICTIONS: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto], list[str]]] = {
    "channels": ([CONV], [tensor("w", KERNEL[:, :2])], ["node 'first' (Conv)", "expected 2 in dimension 1 of input 0"]),
    "bias": (
        [node("Conv", "x w b", "y", name="first")],
        [tensor("w", KERNEL), tensor("b", np.ones(2, np.float32))],
        ["node 'first' (Conv)", "3x3x3x3, 2; expected 3 in dimension 0 of input 2"],
    ),
    "transposed": (
        [node("ConvTranspose", "x w", "y", name="up")],
        [tensor("w", KERNEL[:2])],
        ["node 'up' (ConvTranspose)", "expected 2 in dimension 1"],
    ),
    "norm": (
        [node("BatchNormalization", "x g g g g", "y", name="bn")],
        [tensor("g", np.ones(4, np.float32))],
        ["bn"],
    ),
    "sum": ([node("Add", "x w", "y", name="sum")], [tensor("w", np.ones((2, 1, 1), np.float32))], ["sum", "Add"]),
    "rank": ([node("Conv", "x w", "y", name="flat")], [tensor("w", KERNEL[0])], ["flat", "Conv"]),
    "types": ([node("Add", "x w", "y", name="mixed")], [tensor("w", np.array([1.0]))], ["mixed"]),
    "reshape": (
        [node("Shape", "w", "s"), node("Reshape", "b s", "y", name="view")],
        [tensor("w", KERNEL), tensor("b", np.ones(80, np.float32))],
        ["node 'view' (Reshape)", "cannot turn 80 into 3x3x3x3"],
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("opset", [11, OPSET])
def test_shapes_that_contradict_each_other(name: str, opset: int, tmp_path: Path) -> None:
    nodes, constants, words = CONTRADICTIONS[name]
    refuse(model(nodes, constants, opset=opset), tmp_path, *words, "correct or export the model again")


def test_declared_shape_that_contradicts_the_nodes(tmp_path: Path) -> None:
    proto = model([CONV], [tensor("w", KERNEL)], outputs=[value("y", ["n", 4, "h", "w"])])
    refuse(proto, tmp_path, "contradict each other", "first")


def external(folder: Path) -> Path:
    path = folder / "network.onnx"
    onnx.save(
        model([CONV], [tensor("w", KERNEL)]), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    return path


def _remove(data: Path) -> None:
    data.unlink()


def _shorten(data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-4])


def _move_out(data: Path) -> None:
    elsewhere = data.parent.parent / "elsewhere.bin"
    data.rename(elsewhere)
    data.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_remove, "w.bin, which does not exist"),
        (_shorten, "w.bin has 320 bytes for 'w'; expected 324"),
        (_move_out, "initializer 'w' does not hold"),
    ],
)
def test_external_data_that_is_not_there(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder)
    read_graph(path)
    damage(folder / "w.bin")
    with pytest.raises(ModelFileError) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
