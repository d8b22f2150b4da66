"""Reference shapes, against what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.folding.graph.shapes import contradiction, light_proto, reference_inputs, reference_shapes

Array = np.ndarray[Any, Any]
Node = tuple[str, str, str, dict[str, Any]]


def proto_of(
    nodes: Sequence[Node],
    constants: dict[str, Array] | None = None,
    shape: Sequence[int | str | None] | None = ("n", 3, "h", "w"),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    made = [
        helper.make_node(op, [name.strip("-") for name in inputs.split()], outputs.split(), name=outputs, **attributes)
        for op, inputs, outputs, attributes in nodes
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    imports = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(made, "network", [image], [output], tensors)
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def read(proto: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(proto)


def computed_shapes(proto: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Every node output's shape, as ONNX Runtime computes it."""
    everything = onnx.ModelProto.FromString(proto.SerializeToString())
    names = [name for node in proto.graph.node for name in node.output]
    del everything.graph.output[:]
    everything.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(everything.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(names, {"x": np.zeros(shape, np.float32)})
    return {name: np.asarray(result).shape for name, result in zip(names, results, strict=True)}


def check(proto: onnx.ModelProto, sides: tuple[int, int] = (46, 62)) -> dict[str, tuple[int, ...]]:
    """The reference shapes, after checking all of them."""
    model = read(proto)
    shapes, inputs = reference_shapes(model, sides), reference_inputs(model, sides)
    assert inputs["x"] == shapes["x"]
    expected = computed_shapes(proto, inputs["x"])
    assert {name: shapes.get(name) for name in expected} == expected
    return shapes


def kernel(out_channels: int, in_channels: int, side: int = 3) -> Array:
    return np.ones((out_channels, in_channels, side, side), np.float32)


PADDED = {"pads": [1, 1, 1, 1]}
SHUFFLE: list[Node] = [  # PixelShuffle(2) as old exporters write it: every side computed in the graph
    ("Conv", "x w", "f", PADDED),
    ("Shape", "f", "s", {}),
    *[("Gather", f"s i{k}", f"d{k}", {"axis": 0}) for k in range(4)],
    ("Div", "d1 four", "c", {}),
    *[("Unsqueeze", f"{name} zero", f"{name}_", {}) for name in ("d0", "c", "d2", "d3")],
    ("Concat", "d0_ c_ two two d2_ d3_", "split", {"axis": 0}),
    ("Reshape", "f split", "g", {}),
    ("Transpose", "g", "t", {"perm": [0, 1, 4, 2, 5, 3]}),
    ("Mul", "d2_ two", "h", {}),
    ("Cast", "d3_", "float_w", {"to": TensorProto.FLOAT}),
    ("Mul", "float_w two_float", "double_w", {}),
    ("Floor", "double_w", "floor_w", {}),
    ("Cast", "floor_w", "w2", {"to": TensorProto.INT64}),
    ("Concat", "d0_ c_ h w2", "joined", {"axis": 0}),
    ("Reshape", "t joined", "y", {}),
]
SHUFFLE_CONSTANTS: dict[str, Array] = {
    "w": kernel(12, 3),
    "four": np.array(4),
    "zero": np.array([0]),
    "two": np.array([2]),
    "two_float": np.array([2], np.float32),
    **{f"i{k}": np.array(k) for k in range(4)},
}


def test_dynamic_pixel_shuffle_through_integer_chains() -> None:
    shapes = check(proto_of(SHUFFLE, SHUFFLE_CONSTANTS))
    assert shapes["y"] == (1, 3, 92, 124)
    assert shapes["g"] == (1, 3, 2, 2, 46, 62)
    assert check(proto_of(SHUFFLE, SHUFFLE_CONSTANTS), (5, 9))["y"] == (1, 3, 10, 18)


def test_convolutions_pooling_and_resizing() -> None:
    nodes: list[Node] = [
        ("Conv", "x w", "a", {"strides": [2, 2], **PADDED}),
        ("AveragePool", "a", "b", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ("ConvTranspose", "b u", "c", {"strides": [3, 3]}),
        ("Resize", "c - scales", "d", {"mode": "nearest"}),
        ("Pad", "d pads", "e", {}),
        ("Split", "e", "p q", {"axis": 1, "num_outputs": 2}),
        ("GlobalAveragePool", "p", "y", {}),
    ]
    constants: dict[str, Array] = {
        "w": kernel(8, 3),
        "u": kernel(8, 6, 2),
        "scales": np.array([1, 1, 1.5, 2], np.float32),
        "pads": np.array([0, 0, 1, 2, 0, 0, 3, 4]),
    }
    check(proto_of(nodes, constants), (45, 61))


@pytest.mark.parametrize(("block", "sides"), [(2, (46, 62)), (4, (48, 64)), (32, (64, 96)), (64, (128, 192))])
def test_sides_that_the_network_can_take(block: int, sides: tuple[int, int]) -> None:
    shapes = check(proto_of([("SpaceToDepth", "x", "a", {"blocksize": block}), ("Neg", "a", "y", {})]))
    assert shapes["x"] == (1, 3, *sides)
    assert shapes["y"] == (1, 3 * block * block, sides[0] // block, sides[1] // block)


def test_sides_for_unshuffling_by_reshapes_and_for_u_shapes() -> None:
    unshuffle: list[Node] = [
        ("Shape", "x", "s", {}),
        ("Slice", "s two four", "sides", {}),
        ("Div", "sides eight", "small", {}),
        ("Slice", "small zero one", "h", {}),
        ("Slice", "small one two", "w", {}),
        ("Concat", "n h eight w eight", "shape", {"axis": 0}),
        ("Reshape", "x shape", "y", {}),
    ]
    constants = {name: np.array([k]) for name, k in (("zero", 0), ("one", 1), ("two", 2), ("four", 4), ("eight", 8))}
    shapes = check(proto_of(unshuffle, {**constants, "n": np.array([1, 3])}))
    assert shapes["y"] == (1, 3, 6, 8, 8, 8)
    pooled = {"kernel_shape": [4, 4], "strides": [4, 4]}
    u_shape: list[Node] = [
        ("MaxPool", "x", "a", pooled),
        ("Resize", "a - scales", "b", {"mode": "nearest"}),
        ("Concat", "x b", "y", {"axis": 1}),
    ]
    shapes = check(proto_of(u_shape, {"scales": np.array([1, 1, 4, 4], np.float32)}))
    assert shapes["y"] == (1, 6, 48, 64)


def test_static_sides_stay_and_failing_nodes_are_left_out() -> None:
    nodes: list[Node] = [("Neg", "x", "a", {}), ("SpaceToDepth", "a", "y", {"blocksize": 2}), ("Exp", "y", "z", {})]
    model = read(proto_of(nodes, shape=(2, 3, 15, 17)))
    assert reference_shapes(model) == {"x": (2, 3, 15, 17), "a": (2, 3, 15, 17)}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("n", "c", "h", "w"), (1, 6, 46, 62)),
        ((None, None, None, None), (1, 6, 46, 62)),
        (None, (1, 6, 46, 62)),
        (("n", 6, 20, "w"), (1, 6, 20, 62)),
    ],
)
def test_inputs_of_unknown_size(shape: Sequence[int | str | None] | None, expected: tuple[int, ...]) -> None:
    model = read(proto_of([("Conv", "x w", "y", {"group": 2})], {"w": kernel(4, 3)}, shape))
    assert reference_inputs(model) == {"x": expected}
    assert reference_shapes(model)["y"] == (1, 4, expected[2] - 2, expected[3] - 2)


def test_inputs_that_are_no_planes() -> None:
    assert reference_inputs(read(proto_of([("Neg", "x", "y", {})], shape=("n", "h", "w", 3)))) == {"x": (1, 46, 62, 3)}
    assert reference_inputs(read(proto_of([("Neg", "x", "y", {})], shape=("n", 5)))) == {"x": (1, 5)}
    assert reference_inputs(read(proto_of([("Neg", "x", "y", {})], shape=None))) == {}


def test_unknown_operators_hide_what_is_behind_them() -> None:
    nodes: list[Node] = [
        ("Neg", "x", "a", {}),
        ("Warp", "a", "b", {"domain": "company"}),
        ("Undreamt", "a", "c", {}),
        ("Add", "b c", "d", {}),
        ("Add", "a b", "y", {}),
    ]
    shapes = reference_shapes(read(proto_of(nodes, domains=["company"])))
    assert shapes == {"x": (1, 3, 46, 62), "a": (1, 3, 46, 62)}


def test_model_is_not_changed() -> None:
    proto = proto_of(SHUFFLE, SHUFFLE_CONSTANTS)
    model = read(proto)
    before = ir.serde.serialize_model(model).SerializeToString()
    reference_shapes(model)
    light_proto(model)
    assert ir.serde.serialize_model(model).SerializeToString() == before


def test_light_proto_holds_no_large_weight() -> None:
    proto = light_proto(read(proto_of([("Conv", "x w", "y", {})], {"w": kernel(100, 3), "b": np.ones(4)})))
    assert [tensor.name for tensor in proto.graph.initializer] == ["b"]
    assert [value.name for value in proto.graph.input] == ["x", "w"]
    assert proto.ByteSize() < 1000
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    assert [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim][1] == 100


def test_contradictions_are_seen_and_what_is_unknown_is_not() -> None:
    conv, view = read(proto_of([("Conv", "x w b", "y", {"group": 2}), ("Reshape", "x s", "z", {})])).graph
    assert contradiction(conv, [(1, 6, None, None), (4, 3, 3, 3), (4,)], None) is None
    assert contradiction(conv, [(1, None, None, None), (4, 3, 3, 3), None], None) is None
    assert contradiction(conv, [None, (4, 3, 3, 3), None], None) is None
    why = contradiction(conv, [(1, 3, None, None), (4, 3, 3, 3), (4,)], None)
    assert why == "its inputs are 1x3x?x?, 4x3x3x3, 4; expected 6 in dimension 1 of input 0"
    assert contradiction(conv, [(1, 6, 5, 5), (4, 3, 3, 3), (3,)], None) is not None
    assert contradiction(view, [(2, 6), (1,)], (12,)) is None
    assert contradiction(view, [(2, None), (1,)], (13,)) is None
    assert contradiction(view, [(2, 6), (1,)], (13,)) == "cannot turn 2x6 into 13: another number of elements"
