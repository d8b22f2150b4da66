"""The comparison of the upscaler with the bare runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from repsr_deploy.bench.upscaling import measure_upscaling, peak_memory_bytes
from repsr_deploy.errors import ProofError, RepsrError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.imaging.upscaler import Upscaler
from tests.nets.networks import spec_of
from tests.runtimes.models import plain_model

FIXED = ("--runtime", "onnxruntime")  # auto tries every backend first


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(plain_model(spec_of("plain")).SerializeToString())
    return path


def test_times_of_both_are_measured(model: Path) -> None:
    speed = measure_upscaling(Upscaler(model, threads=1), skimage.data.chelsea()[:90, :120], seconds=0.1)
    assert set(speed.timings) == {"bare runtime", "upscaler"}
    assert speed.upscaler_over_session > 0
    assert (speed.height, speed.width) == (90, 120)


def test_different_pictures_are_not_timed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upscale = Upscaler.upscale

    def wrong(upscaler: Upscaler, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return upscale(upscaler, image_hwc) ^ np.uint8(1)

    monkeypatch.setattr(Upscaler, "upscale", wrong)
    with pytest.raises(ProofError, match="different pictures"):
        measure_upscaling(Upscaler(model, threads=1), skimage.data.chelsea()[:90, :120], seconds=0.1)


def test_memory_is_that_of_the_command(model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "photo.png", skimage.data.chelsea())
    small = peak_memory_bytes(tmp_path / "photo.png", tmp_path / "out.png", str(model), FIXED)
    assert 30e6 < small < 400e6
    ballast = np.ones(10**8)  # 800 MB of this process must not count
    assert peak_memory_bytes(tmp_path / "photo.png", tmp_path / "out.png", str(model), FIXED) < 1.2 * small
    assert ballast.size
    large = np.tile(skimage.data.chelsea(), (5, 5, 1))
    write_image(tmp_path / "large.png", large)
    assert (
        peak_memory_bytes(tmp_path / "large.png", tmp_path / "large-out.jpg", str(model), FIXED)
        > small + 4 * large.size
    )
    with pytest.raises(RepsrError, match=r"failed with code 1: .*missing\.png"):
        peak_memory_bytes(tmp_path / "missing.png", tmp_path / "out.png", str(model), FIXED)
