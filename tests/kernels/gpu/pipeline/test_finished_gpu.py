"""Pictures that are finished on a GPU, real or simulated, are those that are finished on the processor."""

from __future__ import annotations

import gc
import logging
from typing import Any

import numpy as np
import pytest

from repsr_deploy.errors import ModelFileError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelInfo, Precision, Skip
from repsr_deploy.runtimes.base import CheckedRuntime, Limits, WholePictures
from repsr_deploy.runtimes.finished import finished
from repsr_deploy.runtimes.finished_gpu import FinishedOnGpu
from repsr_kernels.gpu.context import GpuContext
from repsr_kernels.tensors import on_host
from tests.kernels.gpu.pipeline.examples import picture
from tests.kernels.gpu.pipeline.shift_network import HALO, ShiftNetwork, features_of

pytestmark = pytest.mark.gpu


class OnProcessor(CheckedRuntime):
    """The network of these tests as a runtime of io `features`."""

    name = "shifts"
    precision: Precision = "fp32"

    def __init__(self, skip: Skip = "nearest", limits: Limits | None = None) -> None:
        self.info = ModelInfo(name="shifts", scale=2, halo=HALO, io="features", skip=skip, width=3)
        self.limits = limits

    def _run(self, batch: Any) -> Any:
        return features_of(on_host(batch, "nchw"), 2).numpy()


class OnGpu(OnProcessor):
    """The same, whose features can stay on the GPU."""

    def __init__(self, gpu: GpuContext, skip: Skip = "nearest", limits: Limits | None = None) -> None:
        super().__init__(skip, limits)
        self.network = ShiftNetwork(gpu.cuda, skip=skip)
        self.network.range = (0.0, 1.0)

    def device_network(self) -> ShiftNetwork:
        """See `base.OnDevice`."""
        return self.network


def dark(height: int, width: int, seed: int = 0) -> Any:
    """Half of the range, as the network adds two of them."""
    return picture(height, width, seed) // 2


@pytest.mark.parametrize("skip", ["nearest", "bilinear"])
def test_the_same_pictures_in_tiles_and_at_once(gpu: GpuContext, skip: Skip) -> None:
    expected = Upscaler(OnProcessor(skip)).upscale(dark(75, 90))
    runtime = OnGpu(gpu, skip)
    for tile in (None, 16, 33):
        np.testing.assert_array_equal(Upscaler(runtime, tile=tile).upscale(dark(75, 90)), expected)
    whole = finished(runtime)
    assert isinstance(whole, FinishedOnGpu)
    assert isinstance(whole, WholePictures)
    np.testing.assert_array_equal(whole.run_images(np.stack([dark(75, 90)] * 2))[1], expected)


def test_other_images_are_finished_on_the_processor(gpu: GpuContext) -> None:
    rgb = dark(40, 30)
    alpha = (np.indices((40, 30)).sum(axis=0)[..., None] * 3).astype(np.uint8)
    for image in (rgb[..., 0], np.concatenate([rgb, alpha], axis=2), rgb.astype(np.uint16) * 257, rgb[..., :2]):
        expected = Upscaler(OnProcessor(), tile=20).upscale(image)
        np.testing.assert_array_equal(Upscaler(OnGpu(gpu), tile=20).upscale(image), expected)


def test_a_picture_goes_up_once_and_within_the_limits(gpu: GpuContext) -> None:
    runtime = OnGpu(gpu, limits=Limits(count=(1, 1), height=(1, 40), width=(1, 50)))
    calls: list[tuple[int, int]] = []
    made = Upscaler(runtime).upscale(dark(90, 120), progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(made, Upscaler(OnProcessor()).upscale(dark(90, 120)))
    assert runtime.network.runs == 3 * 3
    assert [done for done, _ in calls] == [30 * 120, 60 * 120, 90 * 120]  # rows of tiles, while the next ones run


def test_memory_that_runs_out_means_smaller_tiles(gpu: GpuContext, caplog: pytest.LogCaptureFixture) -> None:
    runtime = OnGpu(gpu)
    upscaler = Upscaler(runtime)
    runtime.network.memory_bytes = 12 * 50 * 50 * 4
    with caplog.at_level(logging.WARNING):
        made = upscaler.upscale(dark(91, 93))
    np.testing.assert_array_equal(made, Upscaler(OnProcessor()).upscale(dark(91, 93)))
    assert caplog.messages == ["not enough memory: trying again with tiles of 45 pixels"]


def test_broken_weights(gpu: GpuContext) -> None:
    runtime = OnGpu(gpu)
    runtime.network.capturable = False
    upscaler = Upscaler(runtime, tile=20)
    runtime.network.broken_values = 5
    for run in (lambda: upscaler.upscale(dark(40, 40)), lambda: upscaler.runtime.run_images(dark(40, 40)[None])):
        with pytest.raises(ModelFileError, match=r"shifts gives NaN or infinity in \d+ values .*broken"):
            run()
    runtime.network.broken_values = 0
    np.testing.assert_array_equal(upscaler.upscale(dark(40, 40)), Upscaler(OnProcessor()).upscale(dark(40, 40)))


def test_it_gives_everything_back_when_nobody_holds_it(gpu: GpuContext) -> None:
    runtime = OnGpu(gpu)
    upscaler = Upscaler(runtime)
    upscaler.upscale(dark(40, 40))
    assert runtime.network.lanes == 1
    del upscaler
    gc.collect()
    assert runtime.network.lanes == 0
    assert runtime.network.released
