from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor

from repsr_deploy.errors import FoldError, UsageError
from repsr_deploy.export.compact import compact_names, save_compact, to_compact
from repsr_deploy.export.onnx import build_model
from repsr_deploy.export.zoo import load_foreign
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network
from tests.nets.networks import randomized, spec_of
from tests.support import declare_torchvision_schemas
from tests.zoo.export import export_to
from tests.zoo.foreign import foreign

declare_torchvision_schemas()
WIDTH, SCALE = 5, 2


def _ours(family: str = "repsr", **changes: Any) -> tuple[Network, ir.Model]:
    net = fold(randomized(spec_of(family, **changes))).net
    info = ModelInfo(name="net", scale=net.spec.scale, halo=net.spec.halo, colour=net.spec.colour)
    return net, ir.from_proto(build_model(net, info))


def _loaded(tensors: dict[str, Tensor], path: Path) -> torch.nn.Module:
    """What spandrel, and so every tool that uses it, makes of the file."""
    save_compact(path, tensors)
    net = load_foreign(path)
    assert net.architecture == "Compact"
    return net.module.double()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("family", ["repsr", "ecbsr", "plain"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_our_folded_networks_are_compact_networks(family: str, scale: int, suffix: str, tmp_path: Path) -> None:
    net, model = _ours(family, scale=scale, blocks=3, channels=6)
    theirs = _loaded(to_compact(model), tmp_path / f"net{suffix}")
    x_nchw = torch.rand(2, 3, 9, 14, dtype=torch.float64)
    with torch.no_grad():
        # the checkpoint is float32, and PixelShuffle before the skip sums in another order
        torch.testing.assert_close(theirs(x_nchw), net.float().double()(x_nchw), rtol=1e-12, atol=1e-12)


def test_luma_network(tmp_path: Path) -> None:
    net, model = _ours(colour="y")
    theirs = _loaded(to_compact(model), tmp_path / "net.pth")
    x_nchw = torch.rand(1, 1, 9, 14, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x_nchw), net.float().double()(x_nchw), rtol=1e-12, atol=1e-12)


def test_names_are_those_of_the_plain_network() -> None:
    net, model = _ours(blocks=2)
    tensors = to_compact(model)
    names = compact_names(2)
    assert set(tensors) == set(names)
    assert all(torch.equal(tensors[key], net.state_dict()[own].float()) for key, own in names.items())


@pytest.mark.parametrize("scale", [1, 2])
def test_exported_compact_gives_its_own_checkpoint(scale: int, tmp_path: Path) -> None:
    net = foreign("Compact")
    if scale == 1:
        from spandrel.architectures.Compact import Compact

        net = Compact(num_feat=8, num_conv=2, upscale=1).eval()
    tensors = to_compact(ir.load(export_to(net, tmp_path / "net.onnx")))
    state = net.state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], state[key]) for key in state)


def test_pth_is_as_real_esrgan_reads_it(tmp_path: Path) -> None:
    tensors = to_compact(_ours()[1])
    save_compact(tmp_path / "net.pth", tensors)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert list(content) == ["params"]
    assert all(value.dtype == torch.float32 for value in content["params"].values())


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not \.onnx"):
        save_compact(tmp_path / "net.onnx", {})


def _graph(*activations: str, **overrides: NodeProto | None) -> ModelProto:
    """conv - act - conv - act - conv - DepthToSpace + Resize; `overrides` replace nodes by their name."""
    random = np.random.default_rng(7)
    constants: dict[str, np.ndarray] = {"scales": np.array([1, 1, SCALE, SCALE], np.float32)}
    nodes: list[NodeProto] = []
    value, channels = "input", 3
    for place in range(3):
        out = WIDTH if place < 2 else 3 * SCALE**2
        constants[f"w{place}"] = random.normal(size=(out, channels, 3, 3)).astype(np.float32) * np.float32(0.3)
        constants[f"b{place}"] = random.normal(size=out).astype(np.float32)
        name = f"conv{place}"
        nodes.append(helper.make_node("Conv", [value, f"w{place}", f"b{place}"], [name], name, pads=[1, 1, 1, 1]))
        value, channels = name, out
        if place < 2:
            constants[f"s{place}"] = random.uniform(0.1, 0.5, (WIDTH, 1, 1)).astype(np.float32)
            constants["shared"] = np.array([0.3], np.float32)
            constants["along"] = random.uniform(0.1, 0.5, WIDTH).astype(np.float32)
            kind = activations[place] if activations else "PRelu"
            slopes = [f"s{place}"] if kind == "PRelu" else []
            attributes: dict[str, Any] = {"alpha": 0.15} if kind == "LeakyRelu" else {}
            nodes.append(helper.make_node(kind, [value, *slopes], [f"act{place}"], f"act{place}", **attributes))
            value = f"act{place}"
    nodes += [
        helper.make_node("DepthToSpace", [value], ["up"], "up", blocksize=SCALE, mode="CRD"),
        helper.make_node("Resize", ["input", "", "scales"], ["skip"], "skip", **_NEAREST),
        helper.make_node("Add", ["up", "skip"], ["output"], "sum"),
    ]
    constants |= {
        "w1x1": constants["w1"][:, :, 1:2, 1:2],
        "low": np.array(0, np.float32),
        "high": np.array(255, np.float32),
    }
    constants |= {"grouped": constants["w1"][:, :1]}
    nodes = [new for node in nodes if (new := overrides.get(node.name, node)) is not None]
    shapes = [helper.make_tensor_value_info(name, 1, ["N", 3, None, None]) for name in ("input", "output")]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "net", shapes[:1], shapes[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


_NEAREST: dict[str, Any] = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def _runs_as(model: ModelProto, tensors: dict[str, Tensor], path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x_nchw = np.random.default_rng(1).random((1, 3, 7, 12), dtype=np.float32)
    expected = np.asarray(session.run(None, {"input": x_nchw})[0])
    with torch.no_grad():
        actual = _loaded(tensors, path)(torch.from_numpy(x_nchw).double()).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * np.ptp(expected))


@pytest.mark.parametrize("activations", [("PRelu", "PRelu"), ("Relu", "Relu"), ("LeakyRelu", "Relu")])
def test_other_rectifiers_become_the_prelu_that_they_are(activations: tuple[str, str], tmp_path: Path) -> None:
    model = _graph(*activations)
    _runs_as(model, to_compact(ir.from_proto(model)), tmp_path / "net.pth")


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil"])
def test_other_spellings_of_the_nearest_skip(nearest: str, tmp_path: Path) -> None:
    how = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": nearest}
    model = _graph(skip=helper.make_node("Resize", ["input", "", "scales"], ["skip"], "skip", **how))
    _runs_as(model, to_compact(ir.from_proto(model)), tmp_path / "net.pth")


def test_one_slope_for_all_channels_and_no_bias(tmp_path: Path) -> None:
    model = _graph(
        act0=helper.make_node("PRelu", ["conv0", "shared"], ["act0"], "act0"),
        conv1=helper.make_node("Conv", ["act0", "w1"], ["conv1"], "conv1", pads=[1, 1, 1, 1]),
    )
    _runs_as(model, to_compact(ir.from_proto(model)), tmp_path / "net.pth")


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> Callable[[], dict[str, NodeProto]]:
    return lambda: {
        output if output != "output" else "sum": helper.make_node(op, inputs, [output], output, **attributes)
    }


MISFITS: dict[str, tuple[Callable[[], dict[str, NodeProto]], str]] = {
    "kernel": (_node("Conv", ["act0", "w1x1", "b1"], "conv1"), "Conv conv1 has a kernel of 1x1 in 1 groups, not 3x3"),
    "groups": (
        _node("Conv", ["act0", "grouped", "b1"], "conv1", pads=[1] * 4, group=5),
        "Conv conv1 has a kernel of 3x3 in 5 groups",
    ),
    "padding": (_node("Conv", ["act0", "w1", "b1"], "conv1"), r"Conv conv1 has pads \(0, 0, 0, 0\)"),
    "automatic padding": (
        _node("Conv", ["act0", "w1", "b1"], "conv1", auto_pad="SAME_UPPER"),
        "Conv conv1 has auto_pad SAME_UPPER",
    ),
    "stride": (
        _node("Conv", ["act0", "w1", "b1"], "conv1", pads=[1] * 4, strides=[2, 1]),
        r"Conv conv1 has strides \(2, 1\)",
    ),
    "dilation": (
        _node("Conv", ["act0", "w1", "b1"], "conv1", pads=[1] * 4, dilations=[2, 2]),
        r"Conv conv1 has dilations \(2, 2\)",
    ),
    "activation": (_node("Sigmoid", ["conv1"], "act1"), "Sigmoid act1 is where PRelu or Relu or LeakyRelu should be"),
    "shift": (_node("Sub", ["conv0", "shared"], "act0"), "Sub act0 is where PRelu"),
    "slopes along the width": (_node("PRelu", ["conv1", "along"], "act1"), r"PRelu act1 has slopes of shape \(5,\)"),
    "inner skip": (_node("Add", ["conv0", "conv1"], "act1"), "Add act1 is where PRelu"),
    "channel order": (
        _node("DepthToSpace", ["conv2"], "up", blocksize=2, mode="DCR"),
        "DepthToSpace up orders channels as DCR",
    ),
    "no shuffle": (_node("Relu", ["conv2"], "up"), "Relu up is where PixelShuffle should be"),
    "bilinear skip": (
        _node("Resize", ["input", "", "scales"], "skip", mode="linear"),
        "the skip Resize skip is linear",
    ),
    "shifted skip": (
        _node("Resize", ["input", "", "scales"], "skip", mode="nearest", nearest_mode="ceil"),
        r"skip is nearest \(half_pixel, ceil\), not nearest neighbour",
    ),
    "no skip": (_node("Relu", ["up"], "output"), "it ends in Relu output, where Compact adds the enlarged input"),
    "skip from elsewhere": (_node("Add", ["up", "up"], "output"), "Add output adds no enlargement of the input"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_compact_cannot_express_is_named(misfit: str) -> None:
    nodes, message = MISFITS[misfit]
    with pytest.raises(FoldError, match=message):
        to_compact(ir.from_proto(_graph(**nodes())))


def test_clip_to_another_range() -> None:
    model = _graph(sum=helper.make_node("Add", ["up", "skip"], ["unclipped"], "sum"))
    model.graph.node.append(helper.make_node("Clip", ["unclipped", "low", "high"], ["output"], "clip"))
    with pytest.raises(FoldError, match=r"Clip clip clips to \[0\.0, 255\.0\]"):
        to_compact(ir.from_proto(model))


def test_features_that_are_used_twice() -> None:
    model = _graph()
    model.graph.node.append(helper.make_node("Relu", ["act0"], ["unused"], "unused"))
    with pytest.raises(FoldError, match="what PRelu act0 gives is used 2 times: there is an inner skip"):
        to_compact(ir.from_proto(model))


@pytest.mark.parametrize("family", ["wdsr-a", "srresnet", "edsr", "edsr-bn"])
def test_residual_networks_are_refused(family: str) -> None:
    with pytest.raises(FoldError, match="Compact"):
        to_compact(_ours(family)[1])


def test_repeated_colours_in_another_order() -> None:
    _, model = _ours()
    (gather,) = (node for node in model.graph if node.op_type == "Gather")
    wrong = ir.tensor(np.tile(np.arange(3), 4))
    assert gather.inputs[1] is not None
    gather.inputs[1].const_value = wrong
    with pytest.raises(FoldError, match="does not repeat every colour 4 times in a row"):
        to_compact(model)


def test_widths_that_differ(tmp_path: Path) -> None:
    class Uneven(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (3, 4, 6, 12)
            self.layers = torch.nn.ModuleList(
                torch.nn.Conv2d(first, second, 3, padding=1) for first, second in pairwise(widths)
            )

        def forward(self, x_nchw: Tensor) -> Tensor:
            first, second, third = self.layers
            features = third(torch.relu(second(torch.relu(first(x_nchw)))))
            skip = torch.nn.functional.interpolate(x_nchw, scale_factor=2, mode="nearest")
            return torch.nn.functional.pixel_shuffle(features, 2) + skip

    model = export_to(Uneven().eval(), tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    with pytest.raises(FoldError, match="its convolutions are 4, 6 wide, not equally"):
        to_compact(ir.load(model))
