"""The plot shows every variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.imaging.image_file import read_image
from repsr_train.study.plot import COLOURS, draw_study
from tests.training.study.studies import result_of


@pytest.mark.parametrize("seeds", [1, 3])
def test_points_and_curves_of_every_variant_are_drawn(tmp_path: Path, seeds: int) -> None:
    psnr = {"plain": (31.1, 31.2, 31.3)[:seeds], "never": (31.6, 31.7, 31.8)[:seeds]}
    flat = dict.fromkeys(psnr, (0.1,) * seeds)
    draw_study(tmp_path / "small.png", result_of(psnr, flat, tmp_path))
    image_hwc = read_image(tmp_path / "small.png")[..., :3].astype(int)
    assert min(image_hwc.shape[:2]) > 400
    for colour in COLOURS[:2]:
        rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert np.count_nonzero(np.abs(image_hwc - rgb).max(axis=2) < 3) > 200
    rgb = [int(COLOURS[2][start : start + 2], 16) for start in (1, 3, 5)]
    assert not (np.abs(image_hwc - rgb).max(axis=2) < 3).any()  # there is no third variant
