"""Types, ways to store tensors, codes, bytes and features: read as what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_kernels.cpu.network import Model, Network, why_unavailable
from tests.kernels.cpu.model_files import FLOAT, SEEDS, UINT8, Draft, image
from tests.kernels.cpu.model_runs import picture, read, run_onnxruntime, upscaled

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)


def retyped(model: onnx.ModelProto, dtype: Any) -> onnx.ModelProto:
    """The same file with floats of another type."""
    new = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in new.graph.initializer:
        if tensor.data_type != TensorProto.INT64:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    return new


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_short_weights_are_widened_exactly(dtype: Any) -> None:
    """The same bits come out as of a file that says the same numbers in float32."""
    draft = Draft(channels=8)
    x = draft.layers(short := draft.node("Cast", "input", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))
    total = draft.clip(draft.shuffle(draft.node("Add", x, draft.gathered(short))))
    model = retyped(draft.model(draft.node("Cast", total, to=FLOAT)), dtype)
    x_nchw = picture()
    np.testing.assert_array_equal(upscaled(model, x_nchw), upscaled(retyped(model, np.float32), x_nchw))


def test_every_kind_of_float16_is_widened_exactly() -> None:
    """Denormal ones, the smallest and the largest: as biases where all weights are zero, they are what comes out."""
    random = np.random.default_rng(7).integers(0, 2**16, 600, np.uint16)
    edges = np.array([exponent << 10 | fraction for exponent in range(31) for fraction in (0, 1, 0x3FF)], np.uint16)
    numbers = np.concatenate([edges, edges | 0x8000, random]).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    for biases in np.resize(numbers, (-(-len(numbers) // 48), 48)):
        draft = Draft(scale=4)
        zeros = draft.constant(np.zeros((48, 3, 3, 3), np.float16))
        model = draft.model(draft.node("Conv", "input", zeros, draft.constant(biases), pads=[1] * 4), picture=False)
        out = np.empty((48, 1, 2), np.float32)
        Network(read(model)).features(np.ones((3, 1, 2), np.float32), out, threads=1)
        np.testing.assert_array_equal(out, np.broadcast_to(biases.astype(np.float32)[:, None, None], out.shape))


def test_images() -> None:
    model = image()
    description = read(model).description
    assert (description.io, description.clamps, description.colours) == ("image", True, 1)
    network = Network(read(model))
    image_hwc = np.random.default_rng(5).integers(0, 256, (9, 14, 1), np.uint8)
    out_hwc = np.empty((18, 28, 1), np.uint8)
    network.upscale_images(image_hwc, out_hwc, threads=1)
    expected = run_onnxruntime(model, image_hwc[None])[0]
    assert np.abs(out_hwc.astype(int) - expected).max() <= 1
    assert np.mean(out_hwc != expected) < 0.01


@pytest.mark.parametrize("clip", ["before", "behind", "of bytes", "none"])
@pytest.mark.parametrize("multiplies", [False, True])
def test_spellings_of_images(clip: str, multiplies: bool) -> None:
    draft = Draft()
    floats = draft.node("Cast", "input", to=FLOAT)
    scaled = (
        draft.node("Mul", draft.number(1 / 255), floats) if multiplies else draft.node("Div", floats, draft.number(255))
    )
    x = draft.node("Transpose", scaled, perm=[0, 3, 1, 2])
    y = draft.shuffle(draft.node("Add", draft.layers(x), draft.gathered(x)))
    y = draft.clip(y) if clip == "before" else y
    y = draft.node("Mul", y, draft.number(255))
    bounds = [draft.number(0), draft.number(255)]
    y = draft.node("Clip", y, *bounds) if clip == "behind" else y
    y = draft.node("Transpose", draft.node("Round", y), perm=[0, 2, 3, 1])
    y = draft.node("Clip", y, *bounds) if clip == "of bytes" else y
    description = read(draft.model(draft.node("Cast", y, to=UINT8), io=UINT8)).description
    assert (description.io, description.skip, description.clamps) == ("image", "nearest", True)


def test_features() -> None:
    draft = Draft(scale=3)
    model = draft.model(draft.layers(), picture=False)
    description = read(model).description
    assert (description.io, description.scale, description.skip, description.clamps) == ("features", 3, "none", False)
    x_nchw, out = picture(), np.empty((27, 9, 13), np.float32)
    Network(read(model)).features(x_nchw[0], out, threads=1)
    np.testing.assert_allclose(out, run_onnxruntime(model, x_nchw)[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("said", "io"), [({}, "float"), ({"repsr.io": '"features"'}, "features"), ({"repsr.io": '"float"'}, "float")]
)
def test_features_of_scale_1_are_what_the_file_says(said: dict[str, str], io: str) -> None:
    draft = Draft(scale=1)
    model = draft.model(draft.layers())
    helper.set_model_props(model, said)
    assert read(model).description.io == io


def test_properties_in_the_order_of_the_file() -> None:
    model = SEEDS["plain"]()
    assert list(read(model).properties.items()) == [("repsr.scale", "2"), ("name", "größe")]


CODES: dict[str, Callable[[Draft, NDArray[np.int8]], str]] = {
    "per channel": lambda d, c: d.code_conv(
        d.quantized(d.head(), 0.02, np.int8(0)),
        12,
        c,
        d.random.uniform(0.001, 0.01, 12).astype(np.float32),
        np.zeros(12, np.int8),
    ),
    "no zeros": lambda d, c: d.code_conv(
        d.quantized(d.head(), 0.02, np.int8(-7)), 12, c, d.random.uniform(0.001, 0.01, 12).astype(np.float32)
    ),
    "per tensor": lambda d, c: d.code_conv(
        d.quantized(d.head(), 0.02, np.uint8(128)), 12, c, np.float32(0.004), np.int8(0)
    ),
    "a row of one step": lambda d, c: d.code_conv(
        d.quantized(d.head(), 0.02, np.uint8(0)), 12, c, np.array([0.004], np.float32), np.array([3], np.int8) * 0
    ),
    "uint8 weights": lambda d, c: d.code_conv(
        d.quantized(d.head(), 0.02, np.uint8(255)),
        12,
        (c.astype(int) + 128).astype(np.uint8),
        np.float32(0.004),
        np.uint8(128),
    ),
    "only weights": lambda d, c: d.code_conv(d.head(), 12, c, np.float32(0.004), np.int8(0)),
    "also the first": lambda d, c: d.tail(
        d.prelu(d.code_conv(d.quantized("input", 1 / 255, np.uint8(0)), 4, c[:4, :3], np.float32(0.004)))
    ),
}


@pytest.mark.parametrize("name", CODES)
def test_codes(name: str) -> None:
    draft = Draft()
    codes = draft.random.integers(-127, 128, (12, 4, 3, 3)).astype(np.int8)
    model = draft.model(draft.shuffle(draft.node("Add", CODES[name](draft, codes), draft.gathered())))
    description = read(model).description
    assert description.int8_layers == (name != "only weights")
    x_nchw = picture()
    if name == "also the first":  # its picture is one of codes: exact levels
        x_nchw = (np.rint(x_nchw * 255) / 255).astype(np.float32)
    actual, expected = upscaled(model, x_nchw), run_onnxruntime(model, x_nchw)
    # an activation that lies between two codes may become either, which changes a few outputs by one step of both
    assert np.mean(np.abs(actual - expected) > 1e-5) < 0.02
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.02 * 0.01 * 127 + 1e-5)


def test_biases_of_codes() -> None:
    """As ONNX Runtime's own quantizer stores them: int32 in steps of input times weight."""
    draft = Draft()
    codes = draft.random.integers(-127, 128, (12, 4, 3, 3)).astype(np.int8)
    x = draft.quantized(draft.head(), 0.02, np.int8(3))
    weight = draft.node("DequantizeLinear", draft.constant(codes), draft.number(0.004), draft.constant(np.int8(0)))
    stored = draft.constant(draft.random.integers(-3000, 3000, 12).astype(np.int32))
    steps = draft.constant(np.full(12, 0.02 * 0.004, np.float32))
    bias = draft.node("DequantizeLinear", stored, steps, axis=0)
    model = draft.model(draft.shuffle(draft.node("Conv", x, weight, bias, pads=[1] * 4)))
    actual, expected = upscaled(model, x_nchw := picture()), run_onnxruntime(model, x_nchw)
    assert np.mean(np.abs(actual - expected) > 1e-5) < 0.02


def unpacked(tensor: TensorProto) -> bytes:
    """A tensor of floats in the way that old writers encode it: every number as a field of its own."""
    numbers = numpy_helper.to_array(tensor)
    message = b"".join(b"\x08" + bytes([dim]) for dim in numbers.shape) + b"\x10\x01"
    message += b"".join(b"\x25" + number.tobytes() for number in numbers.ravel())
    return message + b"\x42" + bytes([len(tensor.name)]) + tensor.name.encode()


def varint(value: int) -> bytes:
    """As the wire format writes it."""
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def test_all_ways_to_store_a_tensor() -> None:
    """Raw, as floats packed and unpacked, float16 in int32_data, in a Constant node: the same bits."""
    draft = Draft(dtype=np.float16)
    model = retyped(draft.model(draft.ended()), np.float32)
    x_nchw = picture()
    expected = upscaled(model, x_nchw)
    floats, halves, nodes = (onnx.ModelProto.FromString(model.SerializeToString()) for _ in range(3))
    for plain, packed, half in zip(
        model.graph.initializer, floats.graph.initializer, halves.graph.initializer, strict=True
    ):
        array = numpy_helper.to_array(plain)
        whole = array.dtype == np.int64
        packed.ClearField("raw_data")
        half.ClearField("raw_data")
        if whole:
            packed.int64_data.extend(array.ravel().tolist())
            half.int64_data.extend(array.ravel().tolist())
        else:
            packed.float_data.extend(array.ravel().tolist())
            half.data_type = TensorProto.FLOAT16
            half.int32_data.extend(array.astype(np.float16).ravel().view(np.uint16).tolist())
    constants = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in nodes.graph.initializer]
    rest = list(nodes.graph.node)
    del nodes.graph.initializer[:], nodes.graph.node[:]
    nodes.graph.node.extend([*constants, *rest])
    for other in (floats, halves, nodes):
        np.testing.assert_array_equal(upscaled(other, x_nchw), expected)

    tensors = [t for t in model.graph.initializer if t.data_type == FLOAT]
    kept = [t for t in model.graph.initializer if t.data_type != FLOAT]
    graph = onnx.GraphProto.FromString(model.graph.SerializeToString())
    del graph.initializer[:]
    graph.initializer.extend(kept)
    content = graph.SerializeToString()
    for tensor in tensors:
        message = unpacked(tensor)
        content += b"\x2a" + varint(len(message)) + message
    model.ClearField("graph")
    whole_file = model.SerializeToString() + b"\x3a" + varint(len(content)) + content
    network = Network(Model(whole_file))
    out = np.empty((3, 18, 26), np.float32)
    network.upscale_planes(x_nchw[0], out, threads=1)
    np.testing.assert_array_equal(out[None], expected)
