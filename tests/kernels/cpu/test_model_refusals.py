"""What is no plain network is refused in a sentence that names the node and says what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from repsr_kernels.cpu.network import Model, why_unavailable
from repsr_kernels.errors import NotPlainError
from tests.kernels.cpu.model_edits import (
    Edit,
    added,
    all_of,
    assert_refused,
    called,
    ending_in,
    features_only,
    inserted,
    node,
    rewired,
    stored,
    with_attribute,
    with_input_shape,
    with_tensor,
    zeros,
)  # fmt: skip
from tests.kernels.cpu.model_files import FLOAT, UINT8, Draft, plain

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)

NOT_PLAIN: dict[str, tuple[Edit, str]] = {
    "operator": (
        inserted("Sigmoid", "Conv"),
        r"^Sigmoid 'new' is no part of a plain network; expected convolutions of 3x3",
    ),
    "domain": (inserted("Relu", "Conv", domain="com.microsoft"), r"^com\.microsoft\.Relu 'new' is no part"),
    "no name": (all_of(inserted("Tanh", "Conv"), called("")), r"^Tanh 'new' is no part"),
    "kernel": (
        with_tensor("Conv", 1, zeros(2, 3, 5, 5)),
        r"^Conv 'conv0_node' has weights of shape 2x3x5x5; expected C x C x 3 x 3",
    ),
    "oblong kernel": (with_tensor("Conv", 1, zeros(2, 3, 3, 1)), r"shape 2x3x3x1"),
    "1D kernel": (with_tensor("Conv", 1, zeros(2, 3, 3)), r"shape 2x3x3"),
    "kernel_shape": (
        with_attribute("Conv", "kernel_shape", [5, 5]),
        r"^Conv 'conv0_node' has kernel_shape 5x5; expected 3x3",
    ),
    "strides": (with_attribute("Conv", "strides", [2, 2], 1), r"^Conv 'conv1_node' has strides 2x2; expected 1x1"),
    "dilations": (with_attribute("Conv", "dilations", [1, 2]), r"has dilations 1x2; expected 1x1"),
    "groups": (with_attribute("Conv", "group", 3), r"has 3 groups; expected 1"),
    "no pads": (with_attribute("Conv", "pads", None), r"has pads 0x0x0x0; expected 1x1x1x1"),
    "uneven pads": (with_attribute("Conv", "pads", [1, 1, 0, 2]), r"has pads 1x1x0x2"),
    "valid": (with_attribute("Conv", "auto_pad", "VALID"), r"has pads 0x0x0x0"),
    "pads of 1x1": (with_tensor("Conv", 1, zeros(2, 3, 1, 1)), r"has pads 1x1x1x1; expected 0x0x0x0"),
    "computed weights": (rewired("Conv", 1, "input"), r"^Conv 'conv0_node' has computed weights"),
    "many channels": (
        with_tensor("Conv", 1, zeros(65, 3, 3, 3)),
        r"^Conv 'conv0_node' gives 65 channels; expected 1 to 64",
    ),
    "no channels": (with_tensor("Conv", 1, zeros(0, 3, 3, 3)), r"gives 0 channels"),
    "odd tail": (
        all_of(with_tensor("Conv", 1, zeros(13, 2, 3, 3), 1), with_tensor("Conv", 2, zeros(13), 1), features_only),
        r"^Conv 'conv1_node' is the last convolution and gives 13 channels; expected 3 times the square",
    ),
    "slopes": (
        with_tensor("PRelu", 1, zeros(3, 1, 1)),
        r"^PRelu 'prelu0_node' has slopes of shape 3x1x1; expected one for each of 2 channels, or one",
    ),
    "slopes of a row": (with_tensor("PRelu", 1, zeros(2)), r"has slopes of shape 2"),
    "slopes of pixels": (
        with_tensor("PRelu", 1, zeros(2, 5, 7)),
        r"^PRelu 'prelu0_node' has something else at input 1 \('constant2'\); expected at most 64 constant floats",
    ),
    "two activations": (inserted("Relu", "PRelu"), r"^Relu 'new' is the second activation in a row"),
    "activation at the end": (
        inserted("Relu", "Conv", 1),
        r"^Conv 'conv1_node' is the last convolution and has an activation behind it",
    ),
    "activation of the picture": (
        all_of(added(0, "Relu", ["input"]), rewired("Conv", 0, "new")),
        r"^Relu 'new' does not stand behind a convolution",
    ),
    "sum within": (
        all_of(added(2, "Add", ["prelu0", "prelu0"], "twice"), rewired("Conv", 0, "new", 1)),
        r"^Add 'twice' adds other tensors than",
    ),
    "sum with a constant": (
        rewired("Add", 1, "constant1"),
        r"^Add 'add0_node' adds a constant; expected the enlarged picture",
    ),
    "sum of other shapes": (rewired("Add", 1, "input"), r"adds shapes 1x12x5x7 and 1x3x5x7; expected equal ones"),
    "other channels": (
        with_tensor("Gather", 1, np.array([0, 1, 2] * 4)),
        r"^Clip 'clip0_node' gives a sum with another picture than the enlarged one",
    ),
    "gathered rows": (
        with_attribute("Gather", "axis", 2),
        r"^Gather 'gather0_node' gathers along axis 2; expected channels, axis 1",
    ),
    "shuffle mode": (with_attribute("DepthToSpace", "mode", "XYZ"), r"has mode 'XYZ'; expected CRD or DCR"),
    "skip for CRD only": (with_attribute("DepthToSpace", "mode", None), r"gives a sum with another picture"),
    "blocksize": (
        with_attribute("DepthToSpace", "blocksize", 5),
        r"^DepthToSpace 'depthtospace0_node' has a blocksize of 5; expected 1 to 4",
    ),
    "other blocksize": (
        with_attribute("DepthToSpace", "blocksize", 1),
        r"gives shape 1x12x5x7 of a picture of 1x3x5x7; expected one enlarged by PixelShuffle",
    ),
    "range": (with_tensor("Clip", 2, np.float32(6)), r"^Clip 'clip0_node' clamps to 0\.\.6; expected 0\.\.1"),
    "open range": (lambda m: node(m, "Clip").input.pop(), r"clamps to 0\.\.inf"),
    "clamped before": (inserted("Clip", "PRelu", min=0.0, max=1.0), r"^Conv 'conv1_node' reads pixels that were moved"),
    "scaled": (
        all_of(stored("half", np.float32(0.5)), inserted("Mul", "Conv", more=("half",))),
        r"^Mul 'new' scales 0\.\.1 to 0\.\.0\.5; expected 0\.\.1 of 0\.\.255",
    ),
    "scaled by many": (
        inserted("Mul", "Conv", more=("constant1",)),
        r"^Mul 'new' has something else at input 1 \('constant1'\); expected one constant float",
    ),
    "squared": (inserted("Mul", "Conv", more=("conv0",)), r"^Mul 'new' computes with two tensors of pixels"),
    "rounded": (inserted("Round", "Add"), r"^Round 'new' rounds values of 0\.\.1"),
    "converted": (inserted("Cast", "Conv", to=TensorProto.INT32), r"^Cast 'new' converts to int32"),
    "moved": (inserted("Transpose", "PRelu", perm=[0, 1, 3, 2]), r"^Conv 'conv1_node' reads pixels that were moved"),
    "turned": (inserted("Transpose", "DepthToSpace", perm=[0, 1, 3, 2]), r"gives shape 1x3x14x10"),
    "enlarged early": (
        all_of(stored("times", [1, 1, 2, 2]), added(0, "Tile", ["input", "times"]), rewired("Conv", 0, "new")),
        r"reads pixels that were moved",
    ),
    "two inputs": (
        lambda m: m.graph.input.append(helper.make_tensor_value_info("other", FLOAT, [1])),
        r"^the model has 2 inputs and 1 outputs; expected one picture",
    ),
    "two outputs": (
        lambda m: m.graph.output.append(helper.make_tensor_value_info("conv0", FLOAT, None)),
        r"has 1 inputs and 2 outputs",
    ),
    "no output": (lambda m: m.graph.output.pop(), r"1 inputs and 0 outputs"),
    "four colours": (
        with_input_shape("N", 4, "H", "W"),
        r"^the model takes 'input' of shape \?x4x\?x\?; expected one picture",
    ),
    "channels last": (with_input_shape("N", "H", "W", 3), r"of shape \?x\?x\?x3"),
    "volume": (with_input_shape("N", 3, "D", "H", "W"), r"of shape \?x3x\?x\?x\?"),
    "integers": (with_input_shape("N", 3, "H", "W", dtype=TensorProto.INT64), r"takes 'input' of int64"),
    "no shape": (
        lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"),
        r"does not say of which shape 'input' is",
    ),
    "bytes to floats": (
        all_of(
            with_input_shape("N", "H", "W", 3, dtype=UINT8),
            added(0, "Cast", ["input"], to=FLOAT),
            rewired("Conv", 0, "new"),
        ),
        r"^Conv 'conv0_node' reads pixels that were moved",
    ),
    "output of the picture": (rewired("Clip", 0, "input"), r"^Clip 'clip0_node' clamps"),
    "output without layers": (
        all_of(added(-1, "Identity", ["input"], "same"), ending_in("new")),
        r"^Identity 'same' does not give what the last layer makes",
    ),
    "output before the end": (
        all_of(added(-1, "Identity", ["conv0"], "late"), ending_in("new")),
        r"^Conv 'conv0_node' is the last convolution and gives 2 channels",
    ),
    "long names": (
        all_of(inserted("Q" * 500, "Conv"), called("n" * 5000)),
        r"^Q{48}\.\.\. 'n{48}\.\.\.' is no part",
    ),
    "hostile names": (
        all_of(inserted("Op\n\x1b[31m\u202e", "Conv"), called("a\0b\r'é")),
        r"^Op\?\?\[31m\?\?\? 'a\?b\?'\?\?' is no part",
    ),
}


def test_branches() -> None:
    draft = Draft(channels=2)
    x = draft.conv("input", 3, 2)
    total = draft.node("Add", draft.node("Relu", x), draft.prelu(x))
    model = draft.model(draft.shuffle(draft.tail(total)))
    assert_refused(
        model, NotPlainError, r"^PRelu 'prelu0_node' reads 'conv0', which another node has read before; expected one"
    )
    draft = Draft(channels=2)
    total = draft.node("Add", draft.conv("input", 3, 2), draft.conv("input", 3, 2))
    model = draft.model(draft.shuffle(draft.tail(total)))
    assert_refused(
        model, NotPlainError, r"^Conv 'conv1_node' does not read what the layer before it gives; expected one"
    )


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_other_networks(name: str) -> None:
    edit, expected = NOT_PLAIN[name]
    Model((model := plain()).SerializeToString())
    edit(model)
    assert_refused(model, NotPlainError, expected)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"mode": "cubic"}, r"^Resize 'resize0_node' enlarges by mode 'cubic' with 'half_pixel'"),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, r"with 'align_corners'"),
        ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, r"by mode 'linear' with 'asymmetric'"),
        ({"mode": "linear", "antialias": 1}, r"by mode 'linear'"),
        ({"mode": "nearest", "nearest_mode": "floor"}, r"gives a sum with another picture"),
        ({"mode": "nearest", "nearest_mode": "other"}, r"by mode 'nearest'"),
    ],
)
def test_other_enlargements(attributes: dict[str, Any], expected: str) -> None:
    draft = Draft()
    model = draft.model(draft.node("Add", draft.shuffle(draft.layers()), draft.resized(**attributes)))
    assert_refused(model, NotPlainError, expected)


@pytest.mark.parametrize(
    "scales", [[1, 1, 2.5, 2.5], [1, 1, 2, 3], [1, 2, 2, 2], [1, 1, 5, 5], [1, 1, 2], [1, 1, 0.5, 0.5]]
)
def test_other_factors(scales: list[float]) -> None:
    draft = Draft()
    skip = draft.node("Resize", "input", "", draft.constant(np.array(scales, np.float32)), mode="nearest")
    model = draft.model(draft.node("Add", draft.shuffle(draft.layers()), skip))
    assert_refused(model, NotPlainError, r"^Resize 'resize0_node' enlarges by other factors; expected 1, 1, s, s")


def test_a_bilinear_skip_that_was_shuffled() -> None:
    """Only the picture itself, whole."""
    draft = Draft()
    shuffled = draft.node("Concat", draft.resized(mode="linear"), axis=1)
    turned = draft.node("Gather", shuffled, draft.integers(2, 1, 0), axis=1)
    model = draft.model(draft.node("Add", draft.shuffle(draft.layers()), turned))
    assert_refused(model, NotPlainError, r"gives a sum with another picture than the enlarged one")


def test_a_spread_of_channels_that_is_no_shuffle() -> None:
    draft = Draft()
    order = draft.integers(*([0] * 12))
    model = draft.model(draft.shuffle(draft.node("Gather", draft.layers(), order, axis=1)))
    assert_refused(
        model, NotPlainError, r"gives the last convolution's channels at other places than PixelShuffle does"
    )


def test_channels_in_another_order_are_put_right() -> None:
    """A shuffle of permuted channels is one of permuted weights."""
    draft = Draft()
    order = draft.integers(*np.random.default_rng(1).permutation(12))
    Model(draft.model(draft.shuffle(draft.node("Gather", draft.layers(), order, axis=1))).SerializeToString())


def test_many_layers() -> None:
    draft = Draft(channels=1)
    x = draft.head()
    for _ in range(510):
        x = draft.conv(x, 1, 1)
    assert Model(draft.model(draft.shuffle(draft.tail(x))).SerializeToString()).description.layers == 512
    draft = Draft(channels=1)
    for index in range(513):
        x = draft.conv(x if index else "input", 1 if index else 3, 1)
    assert_refused(draft.model(x), NotPlainError, r"^Conv 'conv512_node' is convolution 513; expected at most 512")


def test_shared_weights_make_no_large_model_of_a_small_file() -> None:
    draft = Draft(channels=16)
    x, weight = draft.head(), draft.constant(draft.kernel(16, 16).astype(np.float16))
    for _ in range(8):
        x = draft.node("Conv", x, weight, pads=[1] * 4)
    assert_refused(draft.model(draft.shuffle(draft.tail(x))), NotPlainError, r"shares its weights with other layers")
