"""Networks as PyTorch exports them, and the bundled models, are plain to the engine."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_kernels.cpu.network import Description, Model, Network, why_unavailable

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)

SCALE = 2


def resized(features: Tensor, x: Tensor) -> Tensor:
    return F.pixel_shuffle(features, SCALE) + F.interpolate(x, scale_factor=SCALE)


def bilinear(features: Tensor, x: Tensor) -> Tensor:
    total = F.interpolate(x, scale_factor=SCALE, mode="bilinear") + F.pixel_shuffle(features, SCALE)
    return total.clamp(0, 1)


def repeated(features: Tensor, x: Tensor) -> Tensor:
    return F.pixel_shuffle(features + x.repeat_interleave(SCALE**2, 1), SCALE)


def spread(features: Tensor, x: Tensor) -> Tensor:
    count, channels, height, width = x.shape
    apart = x[:, :, :, None, :, None].expand(count, channels, height, SCALE, width, SCALE)
    split = features.view(count, channels, SCALE, SCALE, height, width).permute(0, 1, 4, 2, 5, 3)
    sides = (count, channels, SCALE * height, SCALE * width)
    return split.reshape(sides) + apart.reshape(sides)


class Compact(nn.Module):
    """As SRVGGNetCompact, with one way or another to end."""

    def __init__(self, end: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(4)
        layers = [nn.Conv2d(3, 8, 3, 1, 1), nn.PReLU(8), nn.Conv2d(8, 8, 3, 1, 1), nn.PReLU(8)]
        self.body = nn.Sequential(*layers, nn.Conv2d(8, 3 * SCALE**2, 3, 1, 1))
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        """N x 3 x H x W to N x 3 x 2H x 2W."""
        return self.end(self.body(x), x)


def exported(net: nn.Module, opset: int, *, free: bool) -> bytes:
    """The file, for pictures of 8x12 or of any size."""
    file: Any = io.BytesIO()
    axes = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        net, (torch.rand(1, 3, 8, 12),), file, dynamo=False, opset_version=opset, input_names=["input"],
        output_names=["output"], dynamic_axes={"input": axes, "output": axes} if free else None,
    )  # fmt: skip
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
@pytest.mark.parametrize(("opset", "free"), [(11, False), (18, True)])
@pytest.mark.parametrize("end", [resized, bilinear, repeated, spread])
def test_exports_of_pytorch(end: Callable[[Tensor, Tensor], Tensor], opset: int, free: bool) -> None:
    net = Compact(end).eval()
    network = Network(Model(exported(net, opset, free=free)))
    description = network.description
    assert description.skip == ("bilinear" if end is bilinear else "nearest")
    assert description.clamps == (end is bilinear)
    x_nchw = torch.rand(1, 3, 8, 12)
    out = np.empty((3, 16, 24), np.float32)
    network.upscale_planes(x_nchw[0].numpy(), out, threads=1)
    with torch.no_grad():
        np.testing.assert_allclose(out, net(x_nchw)[0].numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_bundled_models(scale: int) -> None:
    content = (resources.files("repsr_deploy.weights") / f"photo-x{scale}.onnx").read_bytes()
    model = Model(content)
    assert model.description == Description(
        colours=3, scale=scale, layers=6, channels=16, int8_layers=0, skip="nearest", io="float", clamps=True,
        macs_per_pixel=9 * (3 * 16 + 4 * 256 + 16 * 3 * scale**2),
    )  # fmt: skip
    assert model.properties["repsr.scale"] == str(scale)
