"""Every network of spandrel's classes is found again by its weights, and reaches ONNX."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import save_file

from repsr_deploy.export.zoo import load_foreign, to_onnx
from tests.zoo.foreign import FOREIGN, foreign, state_of

SLOW = {"SPAN", "RealCUGAN", *(name for name in FOREIGN if "-" in name)}
VARIANTS = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in FOREIGN]


@pytest.mark.parametrize("name", VARIANTS)
def test_network_is_recognised_and_reaches_onnx(name: str, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    save_file(state_of(name), file)
    net = load_foreign(file)
    assert net.architecture == name.partition("-")[0]
    assert (net.in_channels, net.out_channels) == (3, 3)
    assert net.scale == (3 if name.endswith("x3") else 2)
    side = max(net.minimum, 16)
    x_nchw = torch.rand(1, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(net.module(x_nchw), foreign(name)(x_nchw.clone()))

    to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    assert not {node.op_type for node in model.graph.node} & {"SplitToSequence", "ScatterND", "Identity", "Loop", "If"}
    assert not any(node.domain for node in model.graph.node)
    assert not any(entry.key.startswith("pkg.") for node in model.graph.node for entry in node.metadata_props)
