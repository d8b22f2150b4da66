"""The network on a GPU, real or simulated, and what the compiler says about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from repsr_kernels.compile.nvcc import nvcc
from repsr_kernels.compile.resources import resources_of
from repsr_kernels.compile.toolkit import ARCHITECTURES
from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.fused_network import launch, reference
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights
from repsr_kernels.fused_network.plan import Tile
from repsr_kernels.fused_network.variants import BLOCK, variant_of
from repsr_kernels.tensors import Tensor, on_host, place
from tests.kernels.compile.conftest import user_cache
from tests.kernels.fused_network.emulated import random_image, random_weights

KERNELS = ((2, 3), (2, 6), (4, 3), (4, 6))
"""Scales and strips."""
REGISTERS = 65536  # of a multiprocessor, CUDA programming guide


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [number for number in ARCHITECTURES if number >= 80])
def test_registers_hold_everything(architecture: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled once for each change of the kernels: kept in the user's own cache folder."""
    try:
        compiler = nvcc()
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("REPSR_CACHE", str(user_cache()))
    variants = [variant_of(random_weights(1, scale=scale, body=4), Tile(strips, 9)) for scale, strips in KERNELS]
    for found in resources_of(variants, architecture, compiler):
        assert found.fits, found
        assert found.registers * BLOCK[0] <= REGISTERS, found


def test_memory_of_the_host_is_refused() -> None:
    image, out = np.zeros((5, 7, 3), np.uint8), np.zeros((10, 14, 3), np.uint8)
    network = PlacedWeights.on_host(random_weights(1, scale=2, body=4))
    operation = FusedNetwork(network=network, image=on_host(image, "nhwc"), out=on_host(out, "nhwc"))
    with pytest.raises(UsageError, match="memory of the host; expected a GPU's"):
        launch.launch(operation)


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [2, 4])
def test_equals_the_reference_but_for_the_order_of_sums(cuda: Any, scale: int) -> None:
    """At most a level apart, almost everywhere equal, and nothing written between the rows."""
    weights = random_weights(2, scale=scale, body=4)
    image = random_image(3, 2, 21, 45)
    expected = reference.upscaled(weights, image.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    before = np.random.default_rng(4).integers(0, 256, (2, 21 * scale, 45 * scale * 3 + 7), np.uint8)

    def on_gpu(array: np.ndarray[Any, Any], shape: tuple[int, ...], pitch: int) -> Tensor:
        memory = cuda.to_device(array)
        strides = (pitch * shape[1], pitch, 3, 1)
        return place(int(memory), "uint8", shape, strides, "nhwc", device=0, owner=memory)

    out = on_gpu(before, expected.shape, before.shape[2])
    launch.launch(FusedNetwork(network=launch.upload(weights), image=on_gpu(image, image.shape, 45 * 3), out=out))
    cuda.Context.synchronize()
    after = cuda.from_device(out.owner, before.shape, np.uint8)
    found = after[..., : 45 * scale * 3].reshape(expected.shape)
    distance = np.abs(found.astype(int) - expected)
    assert distance.max() <= 1
    assert (distance > 0).mean() < 0.02
    np.testing.assert_array_equal(after[..., 45 * scale * 3 :], before[..., 45 * scale * 3 :])
