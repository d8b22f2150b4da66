"""The arithmetic of a pipeline's rows; the pipeline itself has tests of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.features_module import FeaturesModule
from repsr_deploy.bench.kernels.pipeline import TOGETHER, measure_pipeline, slowest_share
from repsr_deploy.bench.kernels.ways import Work
from repsr_deploy.errors import UsageError
from repsr_kernels.gpu.pipeline import StageTimes
from repsr_kernels.reference.upsample import summed
from tests.nets.networks import randomized, spec_of

WORK = Work(where="Card", what="pipeline", data="photo-x2", size="6x4")
FRAME = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


@dataclass
class Slow:
    """Repeats pixels; a frame takes 2 ms, and its slowest stage alone 1 ms."""

    wrong: bool = False
    frames: int = 0

    def run(self, frame: NDArray[Any]) -> NDArray[Any]:
        made = frame.repeat(2, 0).repeat(2, 1)
        return 255 - made if self.wrong else made

    def stream(self, frames: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for frame in frames:
            time.sleep(0.002)
            self.frames += 1
            yield self.run(frame)

    def measure(self, frame: NDArray[Any]) -> StageTimes:
        return StageTimes(copy_s=[1e-4], upload_s=[2e-4], compute_s=[9e-4, 1e-3, 5.0], download_s=[3e-4])


def measured(pipeline: Any) -> list[Any]:
    expected = FRAME.repeat(2, 0).repeat(2, 1)
    return measure_pipeline(WORK, pipeline, FRAME, expected, "fp16", frames=5, seconds=0.0)


def test_frames_together_against_the_slowest_stage_alone() -> None:
    slow = Slow()
    *stages, together = measured(slow)
    assert [stage.key["by"] for stage in stages] == [
        "copy, by the processor, alone", "upload, alone", "compute, alone", "download, alone"
    ]  # fmt: skip
    assert slow.frames % 5 == 0
    assert together.key["by"] == TOGETHER
    assert together.timing is not None
    assert 0.002 <= together.timing.median_s < 0.02
    assert together.figures["images_per_s"] == pytest.approx(1 / together.timing.median_s)
    assert slowest_share([*stages, together]) == pytest.approx(1e-3 / together.timing.median_s)


def test_a_wrong_picture_has_no_speed() -> None:
    (row,) = measured(Slow(wrong=True))
    assert "fp16 must have" in row.failure
    assert slowest_share([row]) is None


def test_module_of_features_is_the_network_before_its_skip() -> None:
    net = randomized(spec_of("repsr")).eval()
    image = torch.rand(2, 3, 9, 11)
    with torch.inference_mode():
        expected = net(image).clamp(0, 1).numpy()
        features = FeaturesModule(net)(image)
    assert features.shape == (2, 12, 9, 11)
    assert np.abs(np.clip(summed(features.numpy(), image.numpy(), 2, "nearest"), 0, 1) - expected).max() < 1e-4


def test_module_of_features_needs_such_an_end() -> None:
    with pytest.raises(UsageError, match="expected RepSR or ECBSR"):
        FeaturesModule(randomized(spec_of("edsr")))
