"""The guard against overflow: it sees what the clamp hides, names it, and takes a longer type."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import NodeProto, helper

from repsr_deploy.errors import FoldError, ModelFileError, UsageError
from repsr_deploy.export.form import with_shape
from repsr_deploy.export.guard import LONGEST_SIDE, safe_half
from repsr_deploy.export.half import to_half
from repsr_deploy.export.half_plan import Half
from repsr_deploy.export.io import to_features
from repsr_deploy.export.pictures import Pictures, as_batch, extremes
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.evaluate_types import rounded
from tests.export.graphs import content, evaluated, graph_of, kernel, plain, psnr

node = helper.make_node
CLAMP = {"low": np.array(0, np.float32), "high": np.array(1, np.float32)}


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Two real photographs, small."""
    from skimage import data

    return {"astronaut": data.astronaut()[40:120, 180:270], "coffee": data.coffee()[100:180:2, 200:300:2]}


def amplified(gain: float) -> ir.Model:
    """Features `gain` times too large, and made small again before the clamp."""
    weights = {"w": np.float32(gain) * kernel(8, 3), "v": kernel(3, 8, seed=1) / np.float32(gain), **CLAMP}
    nodes = [
        node("Conv", ["x", "w"], ["wide"], pads=[1] * 4),
        node("Relu", ["wide"], ["positive"]),
        node("Conv", ["positive", "v"], ["narrow"], pads=[1] * 4),
        node("Clip", ["narrow", "low", "high"], ["y"]),
    ]
    return graph_of(nodes, weights)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_harmless_network_gets_what_was_asked_for(precision: Half, pictures: Pictures) -> None:
    model, _ = plain()
    before = content(model)
    largest = {"fp16": 65504.0, "bf16": 3.3895314e38}[precision]
    guarded = safe_half(model, precision, pictures)
    assert content(model) == before
    assert (guarded.precision, guarded.notes) == (precision, ())
    half = to_half(model, precision)
    assert content(guarded.model) == content(half)
    sizes: list[float] = []

    def look(value: ir.Value, tensor: torch.Tensor) -> torch.Tensor:
        tensor = rounded(value, tensor)
        if value.dtype != ir.DataType.FLOAT:
            sizes.append(tensor.abs().max().item())
        return tensor

    worst = math.inf
    for name, picture in {**extremes(), **pictures}.items():
        x_nchw = as_batch(picture)
        output = evaluate(half, {"input": torch.from_numpy(x_nchw)}, hand=look)["output"].numpy()
        worst = min(worst, psnr(output, evaluated(model, x_nchw))) if name in pictures else worst
    assert guarded.headroom == pytest.approx(max(sizes) / largest)
    assert guarded.psnr == pytest.approx(worst, abs=0.01)


def test_the_clamp_would_have_hidden_it(pictures: Pictures) -> None:
    model = amplified(1e5)
    half = to_half(model, "fp16")
    x_nchw = torch.from_numpy(as_batch(pictures["astronaut"]))
    output = evaluate(half, {"x": x_nchw}, hand=lambda value, tensor: rounded(value, tensor).nan_to_num(0))
    assert np.isfinite(output["y"].numpy()).all()  # as a runtime's Clip does, which gives the lower bound for NaN


def test_overflow_names_tensor_picture_and_value_and_takes_bf16(pictures: Pictures) -> None:
    model = amplified(1e5)
    guarded = safe_half(model, "fp16", pictures)
    assert guarded.precision == "bf16"
    assert guarded.psnr > 50
    (note,) = guarded.notes
    assert note.startswith("not fp16: 'wide' reaches ")
    assert "on picture 'astronaut'; the largest number there is 6.55e+04" in note
    weights = model.graph.initializers["w"].const_value
    assert weights is not None
    wide = torch.nn.functional.conv2d(
        torch.from_numpy(as_batch(pictures["astronaut"])),
        torch.from_numpy(weights.numpy().astype(np.float16).astype(np.float32)),
        padding=1,
    )
    assert float(note.split("reaches ")[1].split()[0]) == pytest.approx(wide.abs().max().item(), rel=1e-3)


def test_only_an_extreme_overflows() -> None:
    """Hard edges, such as that of a white picture, make activations that no photograph makes."""
    flat = {"flat": np.full((40, 50, 3), 128, np.uint8)}
    corner = np.zeros((8, 3, 3, 3), np.float32)
    corner[..., 1, 1], corner[..., 1, 2] = 3e4, -3e4  # a difference of neighbours, summed over colours
    model = amplified(1.0)
    for name, numbers in (("w", corner), ("v", kernel(3, 8) * np.float32(1e-6))):
        model.graph.initializers[name].const_value = ir.tensor(numbers, name=name)
    (note,) = safe_half(model, "fp16", flat).notes
    assert "on picture 'white'" in note


def test_a_type_that_loses_too_much_is_not_taken(pictures: Pictures) -> None:
    weights = {"w": kernel(3, 3), "far": np.array(700, np.float32)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Add", ["a", "far"], ["b"]),
        node("Sub", ["b", "far"], ["c"]),
        node("Conv", ["c", "w"], ["y"], pads=[1] * 4),
    ]
    guarded = safe_half(graph_of(nodes, weights), "fp16", pictures)
    assert (guarded.precision, guarded.psnr) == ("fp32", math.inf)
    assert len(guarded.notes) == 2
    for note, precision, least in zip(guarded.notes, ("fp16", "bf16"), (60, 50), strict=True):
        assert note.startswith(f"not {precision}: ")
        assert f"dB from float32 on picture 'astronaut'; expected at least {least}" in note


def test_what_comes_near_and_what_stays_float32_is_said(pictures: Pictures) -> None:
    weights = {"w": np.float32(1.2e5) * kernel(8, 3), "v": kernel(3, 8) / np.float32(1e5), "e": np.float32(0.5)}
    nodes = [
        node("Conv", ["x", "w"], ["wide"], pads=[1] * 4),
        node("Conv", ["wide", "v"], ["narrow"], pads=[1] * 4),
        node("Pow", ["narrow", "e"], ["root"]),
        node("Mul", ["root", "e"], ["y"]),
    ]
    model = graph_of(nodes, weights)
    weights_w = model.graph.initializers["w"]
    positive = np.abs(kernel(8, 3)) * np.float32(1.2e4)
    weights_w.const_value = ir.tensor(positive, name="w")
    model.graph.initializers["v"].const_value = ir.tensor(np.abs(kernel(3, 8)) / np.float32(1e5), name="v")
    guarded = safe_half(model, "fp16", pictures)
    assert guarded.precision == "fp16"
    kept, near = guarded.notes
    assert kept == "in float32: Pow (overflows, or makes rounding errors large)"
    assert near.startswith("'wide' reaches ")
    assert "on picture 'white'" in near
    assert f"{guarded.headroom:.0%} of what fp16 holds: other pictures may overflow" in near


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Log", ["x"], ["dark"]), node("Relu", ["dark"], ["y"])], "inf in float32: 'dark' on picture 'black'"),
        ([node("Sub", ["x", "one"], ["below"]), node("Sqrt", ["below"], ["y"])], "nan in float32: 'y' on picture"),
        ([node("Mul", ["x", "huge"], ["far"]), node("Mul", ["far", "huge"], ["y"])], "inf in float32: 'y'"),
    ],
)
def test_a_network_that_is_broken_itself_is_refused(nodes: list[NodeProto], message: str) -> None:
    model = graph_of(nodes, {"one": np.array(1, np.float32), "huge": np.array(3e38, np.float32)})
    for wanted in ("fp16", "bf16", "fp32"):
        with pytest.raises(ModelFileError, match=message):
            safe_half(model, wanted, {"white": np.full((9, 9, 3), 255, np.uint8)})


def test_float32_is_looked_at_and_left_as_it_is(pictures: Pictures) -> None:
    model = amplified(1e5)
    guarded = safe_half(model, "fp32", pictures)
    assert (guarded.precision, guarded.notes, guarded.psnr) == ("fp32", (), math.inf)
    assert content(guarded.model) == content(model)
    assert 1e-34 < guarded.headroom < 1e-32


def stacked() -> ir.Model:
    """A network that takes images of even sides alone."""
    nodes = [
        node("SpaceToDepth", ["x"], ["s"], blocksize=2),
        node("Conv", ["s", "w"], ["c"], pads=[1] * 4),
        node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    return graph_of(nodes, {"w": kernel(12, 12)})


@pytest.mark.parametrize(
    "model",
    [
        plain(colour="y")[0],
        with_shape(plain()[0], (2, 33, 120)),
        with_shape(plain()[0], (1, 20, 20)),
        stacked(),
        to_features(plain()[0])[0],
    ],
    ids=["luma", "larger than the picture", "smaller", "even sides", "features"],
)
def test_pictures_fit_the_network(model: ir.Model, pictures: Pictures) -> None:
    guarded = safe_half(model, "fp16", pictures)
    assert guarded.precision == "fp16"
    assert guarded.psnr > 60


def test_large_pictures_are_cut_and_given_extremes_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from repsr_deploy.export import guard

    shapes: list[tuple[int, ...]] = []

    def watched(model: ir.Model, inputs: dict[str, torch.Tensor], **rest: object) -> dict[str, torch.Tensor]:
        shapes.extend(tuple(tensor.shape) for tensor in inputs.values())
        return evaluate(model, inputs, **rest)  # type: ignore[reportArgumentType]

    monkeypatch.setattr(guard, "evaluate", watched)
    large = np.random.default_rng(0).integers(0, 256, (LONGEST_SIDE + 31, 90, 3), np.uint8)
    safe_half(plain()[0], "fp32", {"large": large, **extremes()})
    assert shapes.count((1, 3, LONGEST_SIDE, 90)) == 1
    assert len(shapes) == 1 + 1 + len(extremes())  # the first finds out which sizes fit


def test_without_photographs_the_extremes_decide() -> None:
    guarded = safe_half(plain()[0], "fp16", {})
    assert guarded.precision == "fp16"
    assert 50 < guarded.psnr < 90


def test_other_requests_are_refused(pictures: Pictures) -> None:
    with pytest.raises(UsageError, match="wanted is 'int8'; expected one of fp16, bf16, fp32"):
        safe_half(plain()[0], "int8", pictures)
    four = graph_of([node("Relu", ["x"], ["y"])], channels=4, out_channels=4)
    with pytest.raises(ModelFileError, match=r"takes \{'x': 4\}.*one image of 1 or 3 channels"):
        safe_half(four, "fp16", pictures)
    with pytest.raises(FoldError, match="custom domain"):
        safe_half(graph_of([node("Fused", ["x"], ["y"], domain="com.example")]), "fp16", pictures)
