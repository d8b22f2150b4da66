"""The self-test: what passes, and that every planted fault is caught in every runtime."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx import helper

from repsr_deploy.errors import FoldError, ModelFileError, ProofError, RuntimeUnavailableError
from repsr_deploy.export import selftest
from repsr_deploy.export.form import with_shape
from repsr_deploy.export.half import to_half
from repsr_deploy.export.half_plan import Half
from repsr_deploy.export.io import to_features, to_images
from repsr_deploy.export.saving import save_graph
from repsr_deploy.export.selftest import RuntimeCheck, self_test
from repsr_deploy.export.selftest_cases import LARGEST_SIDE, Cases
from repsr_deploy.folding.graph.rewrite import add_constant
from repsr_deploy.model_info import ModelInfo, ModelIo, Precision
from repsr_deploy.runtimes import BACKENDS, Candidate, Limits
from tests.export.graphs import evaluated, graph_of, image, kernel, plain, run_onnxruntime, run_openvino

node = helper.make_node
ANY_GRAPH = ("onnxruntime", "openvino")
HERE = (*ANY_GRAPH, "native")


def written(model: ir.Model, info: ModelInfo, folder: Path) -> Path:
    """The model as a file that says what it is."""
    stored = model.clone()
    stored.metadata_props.update(info.to_props())
    folder.mkdir(exist_ok=True)
    return save_graph(stored, folder / "model.onnx")


def formed(
    model: ir.Model, info: ModelInfo, precision: Precision, io: ModelIo, scratch: Path
) -> tuple[Path, ModelInfo]:
    """A file of a precision and an io."""
    new, skip = model, info.skip
    if precision in ("fp16", "bf16"):
        new = to_half(model, precision)
    if io == "image":
        new = to_images(new)
    elif io == "features":
        new, skip = to_features(new)
    described = replace(info, precision=precision, io=io, skip=skip)
    return written(new, described, scratch), described


def ran(checks: list[RuntimeCheck]) -> set[tuple[str, Precision]]:
    return {(check.runtime, check.precision) for check in checks if not check.reason}


@pytest.mark.parametrize("io", ["float", "image", "features"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_every_form_passes_in_every_runtime(precision: Precision, io: ModelIo, tmp_path: Path) -> None:
    model, info = plain()
    file, described = formed(model, info, precision, io, tmp_path)
    checks = self_test(file, model, described)
    assert {check.runtime for check in checks} == set(BACKENDS)  # none is left out
    runtimes = {name for name, _ in ran(checks)}
    assert runtimes == {"openvino", "native"} if precision == "bf16" else set(HERE)
    for check in checks:
        if check.reason:
            assert check.shapes == ()
            assert check.error is check.psnr is None
            continue
        assert check.shapes == (
            (1, 17, 23),
            (2, 32, 31),
            (1, 1, 5),
            (1, 2 * (info.halo or 0) + 3, 2 * (info.halo or 0) + 5),
        )
        assert check.error is not None
        assert check.psnr is not None
        assert (check.error < 2e-6) == ((precision, check.precision) == ("fp32", "fp32"))
        assert check.psnr > 55
        assert check.untested == ()


def test_a_runtime_without_the_precision_says_so(tmp_path: Path) -> None:
    model, info = plain()
    file, described = formed(model, info, "bf16", "float", tmp_path)
    rows = {check.runtime: check for check in self_test(file, model, described)}
    assert rows["onnxruntime"].reason == "computes no bf16 model on this machine"
    assert rows["onnxruntime"].precision == "bf16"
    assert "cannot be used here" in rows["tensorrt"].reason


@pytest.mark.parametrize("scale", [1, 3])
def test_luma_and_other_scales_pass(scale: int, tmp_path: Path) -> None:
    model, info = plain(scale, "y")
    assert {name for name, _ in ran(self_test(written(model, info, tmp_path), model, info))} == set(HERE)


def test_files_of_fixed_shape_get_images_of_that_shape(tmp_path: Path) -> None:
    model, info = plain()
    cases = Cases(written(with_shape(model, (2, None, 20)), info, tmp_path), model, info)
    halo = info.halo or 0
    assert [case.shape for case in cases.within(None)] == [(2, 17, 20), (2, 32, 20), (2, 1, 20), (2, 2 * halo + 3, 20)]
    described = replace(info, io="image")
    cases = Cases(written(with_shape(to_images(model), (1, 24, 30)), described, tmp_path), model, described)
    assert [case.shape for case in cases.within(None)] == [(1, 24, 30)]


def test_the_q_dq_graph_is_its_own_reference(tmp_path: Path) -> None:
    model, info = plain()
    quantized = model.clone()
    graph = quantized.graph
    conv = [item for item in graph if item.op_type == "Conv"][-1]
    x, w = conv.inputs[0], conv.inputs[1]
    assert x is not None
    assert w is not None
    scale = add_constant(graph, "scale", np.array(0.05, np.float32), None)
    zero = add_constant(graph, "zero", np.array(0, np.int8), None)
    small = add_constant(graph, "small", np.array(0.01, np.float32), None)
    for index, (value, step) in enumerate(((x, scale), (w, small))):
        nodes = [ir.node("QuantizeLinear", [value, step, zero])]
        nodes.append(ir.node("DequantizeLinear", [nodes[0].outputs[0], step, zero]))
        graph.insert_before(conv, nodes)
        conv.replace_input_with(index, nodes[1].outputs[0])
    described = replace(info, precision="int8")
    file = written(quantized, described, tmp_path)
    checks = self_test(file, model, described)
    assert {runtime for runtime, _ in ran(checks)} == set(ANY_GRAPH)
    assert ["QuantizeLinear" in check.reason for check in checks if check.runtime == "native"] == [True]
    assert all(check.psnr is None or check.psnr > 40 for check in checks)
    dcr(quantized)
    with pytest.raises(ProofError, match="differ"):
        _check_against(written(quantized, described, tmp_path / "broken"), file, described)


def _check_against(file: Path, other: Path, info: ModelInfo) -> None:
    """Run a file where the graph of another one is expected."""
    cases = Cases(other, plain()[0], info)
    selftest._check(file, Candidate("onnxruntime", "int8"), cases, info)  # pyright: ignore[reportPrivateUsage]


# Faults: each gives what a wrong exporter would write.


def dcr(model: ir.Model) -> None:
    """PixelShuffle's channels in the order of DepthToSpace's default."""
    for item in model.graph:
        if item.op_type == "DepthToSpace":
            item.attributes["mode"] = ir.AttrString("mode", "DCR")


def without_clamp(model: ir.Model) -> None:
    clip = model.graph[-1]
    assert clip.op_type == "Clip"
    clip.op_type = "Identity"
    clip.resize_inputs(1)


def low_clamp_missing(model: ir.Model) -> None:
    model.graph[-1].replace_input_with(1, None)


def slopes_along_rows(model: ir.Model) -> None:
    """A slope for every row instead of every channel."""
    slopes(model, lambda slope: slope.reshape(1, -1, 1))


def slopes_reversed(model: ir.Model) -> None:
    slopes(model, lambda slope: slope[::-1])


def one_slope(model: ir.Model) -> None:
    """The first channel's slope for all: nothing is wrong but below 0."""
    slopes(model, lambda slope: slope[:1])


def slopes(model: ir.Model, change: Callable[[Any], Any]) -> None:
    slope = next(item for item in model.graph if item.op_type == "PRelu").inputs[1]
    assert slope is not None
    assert slope.const_value is not None
    slope.const_value = ir.tensor(np.ascontiguousarray(change(slope.const_value.numpy())), name=slope.name)
    slope.shape = ir.Shape(slope.const_value.shape.numpy())


def fixed_inside(model: ir.Model) -> None:
    """A size that was a constant when the network was traced."""
    clip = model.graph[-1]
    sizes = add_constant(model.graph, "sizes", np.array([-1, 3, 34, 46]), None)
    reshape = ir.node("Reshape", [clip.inputs[0], sizes])
    model.graph.insert_before(clip, reshape)
    clip.replace_input_with(0, reshape.outputs[0])


def one_image(model: ir.Model) -> None:
    """The batch's size as it was when the network was traced."""
    clip = model.graph[-1]
    first = [add_constant(model.graph, name, np.array([k]), None) for name, k in (("a", 0), ("b", 1), ("c", 0))]
    cut = ir.node("Slice", [clip.inputs[0], *first])
    model.graph.insert_before(clip, cut)
    clip.replace_input_with(0, cut.outputs[0])


def skip_of_other_colours(model: ir.Model) -> None:
    order = model.graph.initializers["skip.channels"]
    assert order.const_value is not None
    order.const_value = ir.tensor(np.tile(np.arange(3), 4), name=order.name)


def edge_padding(model: ir.Model) -> None:
    """The first convolution without its padding, done by repeating the border."""
    conv = model.graph[0]
    conv.attributes["pads"] = ir.AttrInt64s("pads", [0] * 4)
    pads = add_constant(model.graph, "pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]), None)
    pad = ir.node("Pad", [conv.inputs[0], pads], {"mode": "edge"})
    model.graph.insert_before(conv, pad)
    conv.replace_input_with(0, pad.outputs[0])


def slightly_wrong_weight(model: ir.Model) -> None:
    weight = model.graph.initializers["tail.weight"]
    assert weight.const_value is not None
    numbers = weight.const_value.numpy().copy()
    numbers[0, 0, 1, 1] += 1e-3
    weight.const_value = ir.tensor(numbers, name=weight.name)


FAULTS = (
    dcr, without_clamp, low_clamp_missing, slopes_along_rows, slopes_reversed, one_slope, fixed_inside, one_image,
    skip_of_other_colours, edge_padding, slightly_wrong_weight,
)  # fmt: skip


@pytest.fixture(params=ANY_GRAPH)
def only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The self-test in a single runtime, computing in fp32."""
    return alone(request.param, monkeypatch)


def alone(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(selftest, "candidates", lambda info, file: [Candidate(name, "fp32")])  # type: ignore[reportUnknownLambdaType]
    return name


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_is_caught_in_every_runtime(fault: Callable[[ir.Model], None], only: str, tmp_path: Path) -> None:
    model, info = plain()
    broken = plain()[0]
    fault(broken)
    with pytest.raises(
        ProofError, match=f"{only} in fp32 .*(images of N x H x W [12]x(17|32|1)x|shape .None, 3, 34, 46)"
    ):
        self_test(written(broken, info, tmp_path), model, info)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_native_engine_refuses_a_fault_or_it_is_caught(
    fault: Callable[[ir.Model], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, info = plain()
    broken = plain()[0]
    fault(broken)
    alone("native", monkeypatch)
    file = written(broken, info, tmp_path)
    if fault in (without_clamp, slopes_reversed, one_slope, slightly_wrong_weight):
        with pytest.raises(ProofError, match="native in fp32 and the reference differ on images of N x H x W"):
            self_test(file, model, info)
    else:
        row = self_test(file, model, info)[0]
        assert (row.runtime, row.shapes) == ("native", ())
        assert "runtime native does not compute" in row.reason


@pytest.mark.parametrize("fault", [dcr, without_clamp, skip_of_other_colours], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_faults_are_seen_in_short_types_too(fault: Callable[[ir.Model], None], precision: Half, tmp_path: Path) -> None:
    model, info = plain()
    broken = plain()[0]
    fault(broken)
    described = replace(info, precision=precision)
    with pytest.raises(ProofError, match="differ on images"):
        self_test(written(to_half(broken, precision), described, tmp_path), model, described)


def test_a_wrap_around_in_bytes_is_caught(tmp_path: Path) -> None:
    """ONNX Runtime's Cast from 256 to uint8 gives 0; OpenVINO's gives 255, so that nothing is wrong there."""
    model, info = plain()
    images = to_images(model)
    without = next(item for item in images.graph if item.op_type == "Clip")
    without.op_type = "Identity"
    without.resize_inputs(1)
    described = replace(info, io="image")
    with pytest.raises(ProofError, match=r"onnxruntime in fp32 .*differ"):
        self_test(written(images, described, tmp_path), model, described)


def test_cut_off_instead_of_rounded_is_caught(only: str, tmp_path: Path) -> None:
    model, info = plain()
    images = to_images(model)
    next(item for item in images.graph if item.op_type == "Round").op_type = "Floor"
    described = replace(info, io="image")
    with pytest.raises(ProofError, match=f"{only} in fp32 .*differ"):
        self_test(written(images, described, tmp_path), model, described)


def test_features_with_another_skip_are_caught(only: str, tmp_path: Path) -> None:
    model, info = plain()
    features, _ = to_features(model)
    for skip in ("none", "bilinear"):
        described = replace(info, io="features", skip=skip)
        with pytest.raises(ProofError, match=f"{only} in fp32 .*differ"):
            self_test(written(features, described, tmp_path), model, described)


def unshuffled(order: str) -> ir.Model:
    """A network on PixelUnshuffle(x), as Real-ESRGAN x2 is: PyTorch's order is colour first, then place."""
    in_torch = [
        node("Reshape", ["x", "split"], ["six"]),
        node("Transpose", ["six"], ["turned"], perm=[0, 1, 3, 5, 2, 4]),
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Shape", ["turned"], ["sides"], start=4),
        node("Concat", ["n", "twelve", "sides"], ["sizes"], axis=0),
        node("Reshape", ["turned", "sizes"], ["s"]),
    ]
    nodes = [
        *(in_torch if order == "PyTorch" else [node("SpaceToDepth", ["x"], ["s"], blocksize=2)]),
        node("Conv", ["s", "w"], ["c"], pads=[1] * 4),
        node("PRelu", ["c", "slope"], ["p"]),
        node("DepthToSpace", ["p"], ["h"], blocksize=4, mode="CRD"),
        node("Clip", ["h", "low", "high"], ["y"]),
    ]
    # height and width are halved by a Reshape alone where they are known: N x 3 x H/2 x 2 x W/2 x 2 needs them
    before = [
        node("Shape", ["x"], ["xn"], start=0, end=2),
        node("Shape", ["x"], ["xh"], start=2, end=3),
        node("Div", ["xh", "two"], ["h2"]),
        node("Concat", ["xn", "h2", "two", "minus", "two"], ["split"], axis=0),
    ]
    weights = {
        "w": kernel(48, 12),
        "slope": np.linspace(-0.3, 0.5, 48, dtype=np.float32).reshape(48, 1, 1),
        "low": np.array(0, np.float32),
        "high": np.array(1, np.float32),
    }
    if order == "PyTorch":
        weights |= {"two": np.array([2]), "minus": np.array([-1]), "twelve": np.array([12])}
    return graph_of([*before, *nodes] if order == "PyTorch" else nodes, weights)


def test_the_order_of_pixel_unshuffle(only: str, tmp_path: Path) -> None:
    """Real-ESRGAN x2 as spandrel loads it, and what exporters make of it that take SpaceToDepth for PixelUnshuffle."""
    model, info = unshuffled("PyTorch"), ModelInfo(name="net", scale=2, halo=2)
    x_nchw = torch.from_numpy(image(8, 10).astype(np.float64))
    features = F.conv2d(F.pixel_unshuffle(x_nchw, 2), torch.from_numpy(kernel(48, 12)).double(), padding=1)
    slope = torch.linspace(-0.3, 0.5, 48).double().reshape(48, 1, 1)
    expected = F.pixel_shuffle(torch.where(features < 0, features * slope, features), 4).clamp(0, 1)
    np.testing.assert_allclose(evaluated(model, x_nchw.numpy()), expected.numpy(), rtol=0, atol=1e-7)

    (check, *_) = self_test(written(model, info, tmp_path), model, info)
    assert check.runtime == only
    assert check.shapes == ((1, 18, 24), (2, 32, 32), (1, 2, 6), (1, 8, 10))  # even, as the network needs
    with pytest.raises(ProofError, match=f"{only} in fp32 .*differ"):
        self_test(written(unshuffled("SpaceToDepth"), info, tmp_path), model, info)


def test_a_fault_of_a_runtime_itself_is_caught(tmp_path: Path) -> None:
    """OpenVINO 2026.4 moves a Gather of channels into the next convolution as if it were its own inverse."""
    nodes = [node("Gather", ["x", "turned"], ["g"], axis=1), node("Conv", ["g", "w"], ["y"], pads=[1] * 4)]
    model = graph_of(nodes, {"turned": np.array([1, 2, 0]), "w": kernel(3, 3)})
    info = ModelInfo(name="net", scale=1, halo=1)
    with pytest.raises(ProofError, match=r"openvino in fp32 .*differ"):
        self_test(written(model, info, tmp_path), model, info)


def test_what_no_image_reaches_is_said(tmp_path: Path) -> None:
    nodes = [
        node("Mul", ["x", "third"], ["m"]),
        node("PRelu", ["m", "slope"], ["p"]),
        node("Clip", ["p", "low", "high"], ["y"]),
    ]
    weights = {
        "slope": np.full((3, 1, 1), 0.1, np.float32),
        "third": np.array(1 / 3, np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(1, np.float32),
    }
    model, info = graph_of(nodes, weights), ModelInfo(name="net", scale=1, halo=0)
    rows = [check for check in self_test(written(model, info, tmp_path), model, info) if not check.reason]
    assert {check.untested for check in rows} == {("PRelu p below 0", "clamp below 0", "clamp above 1")}


def test_networks_that_lose_much_by_nature_are_measured_by_themselves(tmp_path: Path) -> None:
    """A large number added and taken away leaves few bits: that is the network's doing, not the file's."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Add", ["a", "far"], ["b"]),
        node("Conv", ["b", "v"], ["c"]),
        node("Sub", ["c", "far"], ["y"]),
    ]
    weights = {"w": kernel(3, 3), "v": np.eye(3, dtype=np.float32)[:, :, None, None], "far": np.array(90, np.float32)}
    model, info = graph_of(nodes, weights), ModelInfo(name="net", scale=1, halo=1, precision="bf16")
    (check,) = [
        check for check in self_test(written(to_half(model, "bf16"), info, tmp_path), model, info) if not check.reason
    ]
    assert check.psnr is not None
    assert check.psnr < 30
    swapped = to_half(model, "bf16")
    numbers = swapped.graph.initializers["v"]
    assert numbers.const_value is not None
    numbers.const_value = ir.tensor(numbers.const_value.numpy()[[1, 0, 2]], dtype=ir.DataType.BFLOAT16, name="v")
    with pytest.raises(ProofError, match="differ"):
        self_test(written(swapped, info, tmp_path), model, info)


def test_shapes_keep_within_limits_halos_and_what_the_network_takes(tmp_path: Path) -> None:
    model, info = plain()
    cases = Cases(written(model, info, tmp_path), model, info)
    limits = Limits(count=(1, 1), height=(8, 20), width=(8, 24))
    assert [case.shape for case in cases.within(limits)] == [
        (1, 17, 23), (1, 20, 24), (1, 8, 8), (1, 2 * (info.halo or 0) + 3, 2 * (info.halo or 0) + 5)
    ]  # fmt: skip
    wide = replace(info, halo=300)
    shapes = [case.shape for case in Cases(written(model, wide, tmp_path), model, wide).within(None)]
    assert shapes[-1] == (1, LARGEST_SIDE, LARGEST_SIDE + 2)

    mirror = graph_of(
        [node("Pad", ["x", "pads"], ["p"], mode="reflect"), node("Conv", ["p", "w"], ["y"])],
        {"pads": np.array([0, 0, 4, 4, 0, 0, 4, 4]), "w": kernel(3, 3, 9)},
    )
    info = ModelInfo(name="net", scale=1, halo=4)
    cases = Cases(written(mirror, info, tmp_path), mirror, info)
    assert [case.shape for case in cases.within(None)] == [(1, 17, 23), (2, 32, 31), (1, 11, 13)]
    with pytest.raises(FoldError, match="takes no images of shapes"):
        list(cases.within(Limits(count=(1, 1), height=(2, 3), width=(2, 3))))


def test_runtimes_that_fail_are_named(only: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, info = plain()
    file = written(model, info, tmp_path)

    def refuses(*_: object, **__: object) -> object:
        raise RuntimeUnavailableError("no such device")

    monkeypatch.setattr(selftest, "open_runtime", refuses)
    rows = self_test(file, model, info)
    assert [row.reason for row in rows if row.runtime == only] == ["no such device"]

    def breaks(*_: object, **__: object) -> object:
        raise ModelFileError("unreadable")

    monkeypatch.setattr(selftest, "open_runtime", breaks)
    with pytest.raises(ProofError, match=f"{only} in fp32 cannot open the exported file: unreadable"):
        self_test(file, model, info)


def test_nan_never_passes() -> None:
    from repsr_deploy.export.selftest_cases import Case

    images = np.zeros((1, 2, 2, 3), np.uint8)
    black, broken = np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 4, 4))
    case = Case((1, 2, 2), images, black, black, 1.0)
    broken[0, 0, 0, 0] = math.nan
    found = case.closeness(broken)
    assert not selftest._within(found, replace(found, error=math.inf, psnr_db=-math.inf))  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(ProofError, match=r"gives \(1, 3, 2, 2\); expected \(1, 3, 4, 4\)"):
        case.closeness(np.zeros((1, 3, 2, 2)))


def test_which_clips_hide_nan() -> None:
    """Why overflow is looked for before the clamp: OpenVINO's Clip gives a number for NaN, ONNX Runtime's does not."""
    nodes = [node("Sqrt", ["x"], ["r"]), node("Clip", ["r", "low", "high"], ["y"])]
    model = graph_of(nodes, {"low": np.array(0, np.float32), "high": np.array(1, np.float32)})
    below = np.full((1, 3, 4, 4), -1, np.float32)
    assert np.isnan(run_onnxruntime(model, below)).all()
    assert np.isfinite(run_openvino(model, below)).all()
