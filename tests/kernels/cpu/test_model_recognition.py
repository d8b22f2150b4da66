"""Every spelling of a plain network is read, and computes what ONNX Runtime computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from repsr_kernels.cpu.network import Description, Skip, why_unavailable
from tests.kernels.cpu.model_files import SEEDS, Draft
from tests.kernels.cpu.model_runs import assert_same

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)

Spelling = Callable[[Draft], str]


def gathered(d: Draft) -> str:
    return d.ended()


def skip_first(d: Draft) -> str:
    return d.shuffle(d.node("Add", d.gathered(), d.layers()))


def resized(d: Draft) -> str:
    return d.node("Add", d.shuffle(d.layers()), d.resized())


def resized_first(d: Draft) -> str:
    return d.clip(d.node("Add", d.resized(), d.shuffle(d.layers())))


def resized_half_pixel(d: Draft) -> str:
    return d.node("Add", d.shuffle(d.layers()), d.resized(mode="nearest"))


def resized_prefer_ceil(d: Draft) -> str:
    how = {"coordinate_transformation_mode": "pytorch_half_pixel", "nearest_mode": "round_prefer_ceil"}
    return d.node("Add", d.shuffle(d.layers()), d.resized(**how))


def resized_to_sizes(d: Draft) -> str:
    shape = d.node("Shape", "input")
    low, high = (
        d.node("Slice", shape, d.integers(start), d.integers(end), d.integers(0)) for start, end in ((0, 2), (2, 2**62))
    )
    sizes = d.node("Concat", low, d.node("Mul", high, d.integers(d.scale)), axis=0)
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return d.node("Add", d.shuffle(d.layers()), d.node("Resize", "input", "", "", sizes, **how))


def tiled(d: Draft) -> str:
    skip = d.node("Tile", "input", d.integers(1, d.scale**2, 1, 1))
    return d.shuffle(d.node("Add", d.layers(), skip), mode="DCR")


def concatenated(d: Draft) -> str:
    skip = d.node("Concat", *["input"] * d.scale**2, axis=1)
    return d.shuffle(d.node("Add", d.layers(), skip), mode="DCR")


def shuffled_by_rows(d: Draft) -> str:
    return d.node("Add", d.shuffle(d.layers(), mode="DCR"), d.resized())


def repeated(d: Draft) -> str:
    apart = d.node("Unsqueeze", "input", d.integers(2))
    spread = d.node("Expand", apart, d.integers(1, 1, d.scale**2, 1, 1))
    shape = d.node("Shape", "input")
    sizes = [d.node("Slice", shape, d.integers(k), d.integers(k + 1), d.integers(0)) for k in (0, 2, 3)]
    merged = d.node("Concat", sizes[0], d.integers(-1), *sizes[1:], axis=0)
    return d.shuffle(d.node("Add", d.layers(), d.node("Reshape", spread, merged)))


def stacked(d: Draft) -> str:
    apart = d.node("Unsqueeze", "input", d.integers(2))
    joined = d.node("Concat", *[apart] * d.scale**2, axis=2)
    features = d.layers()
    return d.shuffle(d.node("Add", d.node("Reshape", joined, d.node("Shape", features)), features))


def sliced(d: Draft) -> str:
    colours = [d.node("Slice", "input", d.integers(c), d.integers(c + 1), d.integers(1)) for c in range(d.colours)]
    skip = d.node("Concat", *[each for each in colours for _ in range(d.scale**2)], axis=1)
    return d.shuffle(d.node("Add", skip, d.layers()))


def bilinear(d: Draft) -> str:
    return d.clip(d.node("Add", d.shuffle(d.layers()), d.resized(mode="linear")))


def bilinear_of_pytorch(d: Draft) -> str:
    how = {"coordinate_transformation_mode": "pytorch_half_pixel", "mode": "linear"}
    return d.node("Add", d.resized(**how), d.shuffle(d.layers()))


def no_skip(d: Draft) -> str:
    return d.clip(d.shuffle(d.layers()))


def with_identities(d: Draft) -> str:
    x = d.node("Identity", d.node("Identity", d.layers(d.node("Identity", "input"))))
    return d.node("Identity", d.clip(d.shuffle(d.node("Add", x, d.gathered()))))


NEAREST: tuple[Spelling, ...] = (
    gathered,
    skip_first,
    resized,
    resized_first,
    resized_half_pixel,
    resized_prefer_ceil,
    resized_to_sizes,
    tiled,
    concatenated,
    shuffled_by_rows,
    repeated,
    stacked,
    sliced,
    with_identities,
)
BILINEAR: tuple[Spelling, ...] = (bilinear, bilinear_of_pytorch)
SPELLINGS: tuple[tuple[Spelling, Skip], ...] = (
    *((each, "nearest") for each in NEAREST),
    *((each, "bilinear") for each in BILINEAR),
    (no_skip, "none"),
)


@pytest.mark.parametrize(("scale", "colours"), [(2, 3), (3, 3), (4, 1)])
@pytest.mark.parametrize(("spelling", "skip"), SPELLINGS, ids=[spelling.__name__ for spelling, _ in SPELLINGS])
def test_skips_and_shuffles(spelling: Spelling, skip: Skip, scale: int, colours: int) -> None:
    draft = Draft(scale=scale, colours=colours)
    model = draft.model(spelling(draft))
    clamps = any(node.op_type == "Clip" for node in model.graph.node)
    weights = 9 * (colours * 4 + 16 + 4 * colours * scale**2)
    assert assert_same(model) == Description(
        colours=colours, scale=scale, layers=3, channels=4, int8_layers=0, skip=skip, io="float", clamps=clamps,
        macs_per_pixel=weights,
    )  # fmt: skip


@pytest.mark.parametrize("skip", ["none", "nearest", "resized"])
@pytest.mark.parametrize("colours", [1, 3])
def test_scale_1_needs_no_shuffle(skip: str, colours: int) -> None:
    draft = Draft(scale=1, colours=colours)
    x = draft.layers()
    if skip != "none":
        x = draft.node("Add", x, draft.resized() if skip == "resized" else "input")
    description = assert_same(draft.model(x))
    assert (description.scale, description.skip) == (1, "none" if skip == "none" else "nearest")


def test_one_layer_is_a_network() -> None:
    draft = Draft()
    description = assert_same(draft.model(draft.shuffle(draft.conv("input", 3, 12))))
    assert (description.layers, description.channels) == (1, 0)


def test_a_model_of_one_size_is_read_at_that_size() -> None:
    """Its constants may depend on it."""
    draft = Draft()
    split = draft.node("Reshape", draft.layers(), draft.integers(-1, 3, 2, 2, 9, 13))
    turned = draft.node("Transpose", split, perm=[0, 1, 4, 2, 5, 3])
    shuffled = draft.node("Reshape", turned, draft.integers(1, 3, 18, 26))
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    skip = draft.node("Resize", "input", "", "", draft.integers(1, 3, 18, 26), **how)
    assert assert_same(draft.model(draft.node("Add", shuffled, skip), sides=(9, 13))).skip == "nearest"


def test_sizes_that_a_graph_computes() -> None:
    assert assert_same(SEEDS["spelled_out"]()).skip == "nearest"


@pytest.mark.parametrize("opset", [9, 10])
def test_old_operator_sets(opset: int) -> None:
    """Upsample, Resize without a region, Clip and axes as attributes, DepthToSpace without a mode."""
    draft = Draft()
    scales = draft.constant(np.array([1, 1, 2, 2], np.float32))
    skip = draft.node("Upsample" if opset < 10 else "Resize", "input", scales, mode="nearest")
    apart = draft.node("Squeeze", draft.node("Unsqueeze", draft.layers(), axes=[0]), axes=[0])
    total = draft.node("Add", draft.node("DepthToSpace", apart, blocksize=2), skip)
    model = draft.model(draft.node("Clip", total, min=0.0, max=1.0), opset=opset)
    model.ir_version = 4
    assert assert_same(model).clamps


ACTIVATIONS: dict[str, Callable[[Draft, str], str]] = {
    "one slope": lambda d, x: d.node("PRelu", x, d.constant(np.array([0.2], np.float32))),
    "scalar slope": lambda d, x: d.node("PRelu", x, d.number(0.3)),
    "slopes of 4 axes": lambda d, x: d.node("PRelu", x, d.constant(d.numbers(4).reshape(1, 4, 1, 1))),
    "slopes made of a row": lambda d, x: d.node(
        "PRelu", x, d.node("Unsqueeze", d.constant(d.numbers(4)), d.integers(1, 2))
    ),
    "relu": lambda d, x: d.node("Relu", x),
    "leaky": lambda d, x: d.node("LeakyRelu", x, alpha=0.15),
    "leaky by default": lambda d, x: d.node("LeakyRelu", x),
    "none": lambda d, x: x,
}


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(activation: Callable[[Draft, str], str]) -> None:
    draft = Draft()
    features = draft.tail(activation(draft, draft.conv("input", 3, 4)))
    assert_same(draft.model(draft.shuffle(features)))


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "all said": {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "group": 1},
    "pads said": {"auto_pad": "NOTSET", "pads": [1] * 4},
    "same upper": {"auto_pad": "SAME_UPPER"},
    "same lower": {"auto_pad": "SAME_LOWER"},
}


@pytest.mark.parametrize("attributes", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_attributes_of_convolutions(attributes: dict[str, Any]) -> None:
    draft = Draft()
    assert_same(draft.model(draft.shuffle(draft.tail(draft.conv("input", 3, 4, **attributes)))))


def test_convolutions_of_1x1_and_without_bias() -> None:
    draft = Draft()
    x = draft.prelu(draft.conv("input", 3, 4, size=1))
    x = draft.node("Conv", x, draft.constant(draft.kernel(4, 4)), pads=[1] * 4)
    x = draft.conv(x, 4, 12, size=1, auto_pad="VALID")
    assert assert_same(draft.model(draft.shuffle(x))).macs_per_pixel == 9 * (12 + 16 + 48)
