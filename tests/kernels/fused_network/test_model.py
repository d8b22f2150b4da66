"""Weights from ONNX files, and the networks that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import repsr_deploy.weights
from repsr_kernels.errors import UsageError
from repsr_kernels.fused_network.model import weights_from
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights
from repsr_kernels.fused_network.weights import Layer, NetworkWeights
from repsr_kernels.tensors import on_host
from tests.kernels.fused_network.emulated import random_weights

BUNDLED = Path(repsr_deploy.weights.__file__).parent


@pytest.mark.parametrize(("name", "scale"), [("photo-x2", 2), ("photo-x4", 4)])
def test_bundled_networks(name: str, scale: int) -> None:
    weights = weights_from(BUNDLED / f"{name}.onnx")
    assert (weights.scale, weights.body) == (scale, 4)
    parameters = sum(
        part.size
        for layer in weights.layers
        for part in (layer.kernel_oihw, layer.bias, layer.slope)
        if part is not None
    )
    assert parameters == {2: 11548, 4: 16768}[scale]  # of the model cards
    passes = 1 * (384 + 32) + (4 + {2: 1, 4: 3}[scale]) * (1152 + 32)
    assert weights.packed.shape == (passes,)


def _node(model: onnx.ModelProto, kind: str, index: int = 0) -> Any:
    return [node for node in model.graph.node if node.op_type == kind][index]


def _set(model: onnx.ModelProto, name: str, values: Any) -> None:
    (found,) = [item for item in model.graph.initializer if item.name == name]
    found.CopyFrom(numpy_helper.from_array(np.asarray(values), name))


def _attribute(kind: str, name: str, value: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = _node(model, kind, -1)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend(kept + ([] if value is None else [helper.make_attribute(name, value)]))

    return change


def _insert_relu(model: onnx.ModelProto) -> None:
    node = _node(model, "PRelu", 1)
    node.op_type = "LeakyRelu"


CHANGES: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "no padding": (_attribute("Conv", "pads", None), "tail.out_node has pads = None"),
    "strides": (_attribute("Conv", "strides", [2, 2]), "tail.out_node has strides"),
    "other shuffle": (_attribute("DepthToSpace", "mode", "DCR"), "mode = b'DCR'"),
    "other activation": (_insert_relu, "LeakyRelu"),
    "other range": (lambda model: _set(model, "range.high", np.float32(255)), r"clamps to \[0.0, 255.0\]"),
    "other skip": (lambda model: _set(model, "skip.channels", np.arange(12) % 3), "takes the channels"),
    "half precision": (
        lambda model: _set(model, "body.1.weight", np.zeros((16, 16, 3, 3), np.float16)),
        "constants of float16",
    ),
    "other width": (
        lambda model: _set(model, "body.1.weight", np.zeros((24, 16, 3, 3), np.float32)),
        r"shape \(24, 16, 3, 3\); expected \(16, 16, 3, 3\)",
    ),
    "skip of features": (lambda model: _node(model, "Gather").input.__setitem__(0, "tail.out"), "Gather of tail.out"),
    "no clip": (lambda model: model.graph.node.pop(), "the graph ends"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_networks_are_refused(change: str, tmp_path: Path) -> None:
    model = onnx.load(BUNDLED / "photo-x2.onnx")
    alter, said = CHANGES[change]
    alter(model)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UsageError, match=said):
        weights_from(tmp_path / "other.onnx")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "none.onnx"):
        with pytest.raises(UsageError, match=name):
            weights_from(tmp_path / name)


def test_weights_that_half_precision_cannot_hold() -> None:
    head, *others = random_weights(1, scale=2, body=4).layers
    kernel = head.kernel_oihw.copy()
    kernel[3, 1, 2, 0] = 70000
    with pytest.raises(UsageError, match=r"layer 0 has a weight of size 70000"):
        NetworkWeights(layers=(replace(head, kernel_oihw=kernel), *others))


def test_layers_that_do_not_fit() -> None:
    weights = random_weights(1, scale=2, body=4)
    with pytest.raises(UsageError, match="2 layers"):
        NetworkWeights(layers=weights.layers[:2])
    with pytest.raises(UsageError, match="16 channels"):
        NetworkWeights(layers=weights.layers[:-1])
    with pytest.raises(UsageError, match="slope of shape None"):
        NetworkWeights(layers=tuple(replace(layer, slope=None) for layer in weights.layers))
    tail: Layer = weights.layers[-1]
    with pytest.raises(UsageError, match="layer 5 has a slope"):
        NetworkWeights(layers=(*weights.layers[:-1], replace(tail, slope=np.zeros(12, np.float32))))


def test_pictures_that_do_not_fit() -> None:
    network = PlacedWeights.on_host(random_weights(1, scale=2, body=4))
    image, out = np.zeros((5, 7, 3), np.uint8), np.zeros((10, 14, 3), np.uint8)
    with pytest.raises(UsageError, match="out is uint8"):
        FusedNetwork(network=network, image=on_host(image, "nhwc"), out=on_host(out[1:], "nhwc"))
    with pytest.raises(UsageError, match="image is fp32"):
        FusedNetwork(network=network, image=on_host(image.astype(np.float32), "nhwc"), out=on_host(out, "nhwc"))
    with pytest.raises(UsageError, match="overlaps"):
        FusedNetwork(network=network, image=on_host(out[:5, :7], "nhwc"), out=on_host(out, "nhwc"))
    other = replace(network, weights=random_weights(1, scale=2, body=3))
    with pytest.raises(UsageError, match="weights lie"):
        FusedNetwork(network=other, image=on_host(image, "nhwc"), out=on_host(out, "nhwc"))
