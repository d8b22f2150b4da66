"""Every family of networks upscales: tiled as untiled bit for bit, or whole where nothing else is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data

from repsr_deploy.errors import RuntimeUnavailableError, UsageError
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.fold import folded
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import build
from repsr_deploy.runtimes import Runtime, open_runtime, unavailable
from tests.nets.networks import FAMILIES, spec_of
from tests.runtimes.here import every_runtime

PLAIN = ("repsr", "ecbsr", "plain")
"""Families that fold into plain networks."""


def runtime_of(family: str, scale: int, name: str = "onnxruntime") -> Runtime:
    net = folded(build(spec_of(family, scale=scale)))
    info = ModelInfo(name=net.spec.name, scale=scale, halo=net.spec.halo, width=net.spec.width)
    return open_runtime(build_model(net, info).SerializeToString(), name, threads=1)


def every_case() -> list[Any]:
    """(runtime, family) of what can be cut into tiles; the native engine takes plain networks alone."""
    return [
        pytest.param(*runtime.values, family, marks=runtime.marks)
        for runtime in every_runtime()
        for family in FAMILIES
        if family != "edsr-adadm" and (family in PLAIN or runtime.values[0] != "native")
    ]


@pytest.mark.parametrize(("name", "family"), every_case())
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_change_no_bit(name: str, family: str, scale: int) -> None:
    runtime = runtime_of(family, scale, name)
    image = skimage.data.astronaut()[30:93, 170:241]
    floats = (image / 255).astype(np.float32)
    # bilinear enlargement by 3 has weights that both runtimes compute from the absolute position, rounded to float32
    inexact = family.startswith("srresnet") and scale == 3
    for picture, last_bits in ((image, 1), (floats, 2e-6)):
        tiled, whole = (Upscaler(runtime, tile=tile).upscale(picture) for tile in (24, 1000))
        if inexact:
            assert np.abs(tiled.astype(np.float64) - whole).max() <= last_bits
            assert (tiled != whole).mean() < (0.001 if picture is image else 1)
        else:
            np.testing.assert_array_equal(tiled, whole)
    whole = Upscaler(runtime).upscale(image)
    assert whole.shape == (63 * scale, 71 * scale, 3)
    assert len(np.unique(whole)) > 20


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in PLAIN])
def test_networks_with_residual_blocks_are_not_for_the_native_engine(family: str) -> None:
    if reason := unavailable().get("native"):
        pytest.skip(reason)
    with pytest.raises(RuntimeUnavailableError, match=r"runtime native does not compute the model: [A-Z]\w+ '.*'"):
        runtime_of(family, 2, "native")


def test_a_network_of_the_whole_image_is_not_tiled() -> None:
    runtime = runtime_of("edsr-adadm", 2)
    image = skimage.data.astronaut()[:400, :350]
    x_nchw = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    expected = np.rint(runtime.run(x_nchw)[0].transpose(1, 2, 0) * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(Upscaler(runtime).upscale(image), expected)
    with pytest.raises(UsageError, match="EDSR-AdaDM-M2C8 cannot be tiled"):
        Upscaler(runtime, tile=64)
