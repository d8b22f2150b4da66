"""From photographs to batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.colour import luma
from repsr_train.analysis.inputs import middle, parse_kinds, read_middle, to_batch
from tests.nets.networks import randomized, spec_of


def test_the_middle_is_the_middle() -> None:
    image_hwc = np.arange(7 * 10 * 3, dtype=np.uint8).reshape(7, 10, 3)
    assert np.array_equal(middle(image_hwc, 4), image_hwc[1:5, 3:7])
    assert np.array_equal(middle(image_hwc, 9), image_hwc[:, :9])
    assert np.array_equal(middle(image_hwc, 99), image_hwc)


def test_a_photograph_must_hold_the_crop(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    write_image(path, skimage.data.chelsea()[:70, :80])
    assert read_middle(path, 17, 4).shape == (68, 68, 3)
    with pytest.raises(UsageError, match=r"cat.png has 80x68 pixels; expected 72 .* at x4: choose --crop 17 or less"):
        read_middle(path, 18, 4)
    with pytest.raises(UsageError, match="crop is 7; expected 8"):
        read_middle(path, 7, 4)


def test_batches_are_what_a_network_sees() -> None:
    image_hwc = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    rgb = to_batch(image_hwc, randomized(spec_of("repsr")).double())
    assert rgb.dtype == torch.float64
    np.testing.assert_allclose(rgb[0].permute(1, 2, 0).numpy(), image_hwc / 255, atol=1e-7)
    y = to_batch(image_hwc, randomized(spec_of("repsr", colour="y")))
    np.testing.assert_allclose(y[0, 0].numpy(), luma(image_hwc) / 255, atol=1e-6)


def test_degradations_by_name() -> None:
    assert parse_kinds(["noise", "clean"]) == ("noise", "clean")
    assert parse_kinds([]) == ()
    with pytest.raises(UsageError, match=r"degradation is 'jpg'; did you mean 'jpeg'\? expected one of clean, blur"):
        parse_kinds(["clean", "jpg"])
    with pytest.raises(UsageError, match="'noise' is named twice"):
        parse_kinds(["noise", "clean", "noise"])
