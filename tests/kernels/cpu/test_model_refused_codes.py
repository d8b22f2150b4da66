"""Codes of 8 bits and pictures of bytes that the engine cannot compute, or that no network has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from repsr_kernels.cpu.network import Model, why_unavailable
from repsr_kernels.errors import ModelFileError, NotPlainError, RepsrError
from tests.kernels.cpu.model_edits import (
    Edit,
    all_of,
    assert_refused,
    ending_in,
    node,
    rewired,
    stored,
    with_attribute,
    with_number,
    with_tensor,
    zeros,
)  # fmt: skip
from tests.kernels.cpu.model_files import image, int8

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)


def both(place: int, value: Any) -> Edit:
    """Step or zero point of QuantizeLinear, and so of DequantizeLinear behind it, which reads the same."""
    return with_tensor("QuantizeLinear", place, value)


def activated_codes(model: onnx.ModelProto) -> None:
    """PRelu behind the codes instead of before them."""
    all_of(
        rewired("QuantizeLinear", 0, "conv0"), rewired("PRelu", 0, "dequantizelinear0"), rewired("Conv", 0, "prelu0", 1)
    )(model)
    nodes = {each.name: each for each in onnx.ModelProto.FromString(model.SerializeToString()).graph.node}
    prelu = nodes.pop("prelu0_node")
    order = [[each, prelu] if name == "dequantizelinear0_node" else [each] for name, each in nodes.items()]
    del model.graph.node[:]
    model.graph.node.extend(each for group in order for each in group)


def quantized_end(model: onnx.ModelProto) -> None:
    """The output itself in codes."""
    model.graph.node[-1].output[0] = "picture"
    step, zero = node(model, "QuantizeLinear").input[1:]
    model.graph.node.append(helper.make_node("QuantizeLinear", ["picture", step, zero], ["output"], name="end"))


CODES: dict[str, tuple[Edit, type[RepsrError], str]] = {
    "step 0": (
        both(1, np.float32(0)),
        ModelFileError,
        r"has QuantizeLinear 'quantizelinear0_node' with a step of 0, which must be above 0",
    ),
    "negative step": (both(1, np.float32(-0.5)), ModelFileError, r"with a step of -0\.5"),
    "denormal step": (both(1, np.float32(1e-40)), ModelFileError, r"with a step of 9\.9.*e-41"),
    "NaN step": (both(1, np.float32(np.nan)), ModelFileError, r"with NaN or infinity"),
    "steps of the input": (
        both(1, np.array([0.1, 0.2], np.float32)),
        NotPlainError,
        r"has something else at input 1 \('constant\d+'\); expected one constant float",
    ),
    "other codes": (both(2, np.int16(0)), NotPlainError, r"makes codes of type 5; expected int8 or uint8"),
    "other step": (
        all_of(stored("other", np.float32(0.02)), rewired("DequantizeLinear", 1, "other")),
        NotPlainError,
        r"^DequantizeLinear 'dequantizelinear0_node' has another step or zero point than the QuantizeLinear before it",
    ),
    "other zero": (
        all_of(stored("other", np.uint8(99)), rewired("DequantizeLinear", 2, "other")),
        NotPlainError,
        r"has another step or zero point",
    ),
    "zero step of weights": (
        with_number("DequantizeLinear", 1, 0, 1),
        ModelFileError,
        r"DequantizeLinear 'dequantizelinear1_node' with a step of 0",
    ),
    "uneven weights": (
        with_number("DequantizeLinear", 2, -128, 1),
        NotPlainError,
        r"has a weight of \d+ steps; expected -128 to 127",
    ),
    "steps of input channels": (
        with_attribute("DequantizeLinear", "axis", 1, 1),
        NotPlainError,
        r"has 12 steps for shape 12x2x3x3",
    ),
    "too few steps": (with_tensor("DequantizeLinear", 1, zeros(11) + 1, 1), NotPlainError, r"has 11 steps"),
    "no such axis": (with_attribute("DequantizeLinear", "axis", 7, 1), NotPlainError, r"has 12 steps"),
    "blocks": (with_attribute("DequantizeLinear", "block_size", 2, 1), NotPlainError, r"has 12 steps"),
    "wide weights": (
        with_tensor("DequantizeLinear", 0, np.full((12, 2, 3, 3), -(2**63), np.int64), 1),
        NotPlainError,
        r"^DequantizeLinear 'dequantizelinear1_node' reads something else than codes; expected a tensor of int8, uint8",
    ),
    "weights in floats": (
        all_of(stored("floats", zeros(12, 2, 3, 3)), rewired("Conv", 1, "floats", 1)),
        NotPlainError,
        r"^Conv 'conv1_node' reads codes with weights that are none",
    ),
    "codes read at once": (
        rewired("Conv", 0, "quantizelinear0", 1),
        NotPlainError,
        r"reads pixels that were moved",
    ),
    "floats for codes": (
        rewired("DequantizeLinear", 0, "prelu0"),
        NotPlainError,
        r"^DequantizeLinear 'dequantizelinear0_node' reads no codes; expected QuantizeLinear before it",
    ),
    "before the activation": (
        activated_codes,
        NotPlainError,
        r"^PRelu 'prelu0_node' reads codes; expected QuantizeLinear behind it",
    ),
    "at the end": (
        quantized_end,
        NotPlainError,
        r"^QuantizeLinear 'end' does not stand before a convolution",
    ),
}


@pytest.mark.parametrize("name", CODES)
def test_codes(name: str) -> None:
    edit, kind, expected = CODES[name]
    Model((model := int8()).SerializeToString())
    edit(model)
    assert_refused(model, kind, expected)


IMAGES: dict[str, tuple[Edit, str]] = {
    "other peak": (with_tensor("Div", 1, np.float32(256)), r"^Div 'div0_node' scales 0\.\.255 to 0\.\.0\.99609"),
    "by zero": (with_tensor("Div", 1, np.float32(0)), r"^Div 'div0_node' scales 0\.\.255 to 0\.\.inf"),
    "not scaled": (
        rewired("Conv", 0, "transpose0"),
        r"^Conv 'conv0_node' reads a picture of 0\.\.255; expected 0\.\.1",
    ),
    "not rounded": (
        rewired("Transpose", 0, "mul0", 1),
        r"^Cast 'cast1_node' converts to uint8; expected floats, or uint8 behind Round",
    ),
    "not multiplied": (rewired("Round", 0, "clip0"), r"^Round 'round0_node' rounds values of 0\.\.1"),
    "floats at the end": (
        ending_in("transpose1"),
        r"gives another kind of numbers than the model takes",
    ),
    "planes at the end": (
        with_attribute("Transpose", "perm", [0, 1, 2, 3], 1),
        r"^Cast 'output_node' gives shape|gives shape 1x14x1x10 of a picture of 1x1x5x7",
    ),
    "planes at the beginning": (
        with_attribute("Transpose", "perm", [0, 1, 2, 3]),
        r"^Conv 'conv0_node' reads pixels that were moved",
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    edit, expected = IMAGES[name]
    Model((model := image()).SerializeToString())
    edit(model)
    assert_refused(model, NotPlainError, expected)
