"""Batches: colours, parts for processes, workers, degradations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics import colour
from repsr_deploy.metrics.resize import imresize
from repsr_train.batches import MARGIN, Batches, stored_scale, to_network
from repsr_train.config import Recipe
from repsr_train.data import Pair
from repsr_train.distributed import Processes
from repsr_train.overrides import assign
from repsr_train.recipes import recipe

from .conftest import CPU, SMALL, middle_pair


def batches_of(pairs: Sequence[Pair], chosen: Recipe, processes: Processes | None = None, workers: int = 0) -> Batches:
    return Batches(pairs, chosen, CPU, processes or Processes(), workers=workers)


def small(name: str, *changes: str) -> Recipe:
    return assign(recipe(name), [*SMALL, *changes])


def test_networks_see_rgb_or_the_luma_of_the_scores() -> None:
    crops_nchw = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8)
    rgb_nchw = to_network(crops_nchw, "rgb", CPU)
    np.testing.assert_array_equal((rgb_nchw * 255).round().numpy(), crops_nchw)
    assert rgb_nchw.is_contiguous(memory_format=torch.channels_last)
    luma_nchw = to_network(torch.from_numpy(crops_nchw), "y", CPU)
    expected = np.stack([colour.luma(crop.transpose(1, 2, 0)) for crop in crops_nchw])[:, None] / 255
    np.testing.assert_allclose(luma_nchw.numpy(), expected, atol=1e-6)


def test_a_run_of_batches_starts_anywhere(pairs: Sequence[Pair]) -> None:
    batches = batches_of(pairs, small("plain-m1c4-x2"))
    whole, later = list(batches.between(0, 5)), list(batches.between(3, 5))
    for first, second in zip(whole[3:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(whole[0][0], whole[1][0])
    assert whole[0][0].shape == (4, 3, 12, 12)
    assert whole[0][1].shape == (4, 3, 24, 24)
    assert torch.equal(next(batches.statistics(3)), whole[3][0])


@pytest.mark.parametrize("name", ["plain-m1c4-x2", "srresnet-m1c4-x2"])
def test_processes_share_the_planned_batch(name: str, pairs: Sequence[Pair]) -> None:
    chosen = small(name, "patch=8", "steps=2")
    pairs = [middle_pair(pair.name, scale=stored_scale(chosen)) for pair in pairs]
    whole = next(batches_of(pairs, chosen).between(1, 2))
    parts = [next(batches_of(pairs, chosen, Processes(rank, 2)).between(1, 2)) for rank in range(2)]
    for side in range(2):
        assert torch.equal(whole[side], torch.cat([part[side] for part in parts]))
    lr_nchw = next(batches_of(pairs, chosen, Processes(1, 2)).statistics(1))
    assert torch.equal(lr_nchw, whole[0])


def test_a_batch_that_cannot_be_shared_is_refused(pairs: Sequence[Pair]) -> None:
    with pytest.raises(UsageError, match="batch is 4, for 3 processes; expected a multiple of 3"):
        batches_of(pairs, small("plain-m1c4-x2"), Processes(0, 3))


def test_workers_cut_the_same_crops(pairs: Sequence[Pair]) -> None:
    chosen = small("plain-m1c4-x2")
    alone, helped = (list(batches_of(pairs, chosen, workers=workers).between(2, 5)) for workers in (0, 1))
    for first, second in zip(alone, helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_degraded_crops_lie_where_the_clean_ones_do(pairs: Sequence[Pair]) -> None:
    chosen = small("srresnet-m1c4-x2", "usm=false")
    assert stored_scale(chosen) == 1
    whole = [middle_pair(pair.name, scale=1) for pair in pairs]
    batches = batches_of(whole, chosen)
    lr_nchw, hr_nchw = next(batches.between(0, 1))
    assert lr_nchw.shape == (4, 3, 12, 12)
    assert hr_nchw.shape == (4, 3, 24, 24)
    alike: list[float] = []
    for low, high in zip(lr_nchw, hr_nchw, strict=True):
        hr_hwc = high.permute(1, 2, 0).double().numpy()
        assert any(_contains(pair.hr_hwc / 255, hr_hwc) for pair in whole)
        clean = imresize(hr_hwc, Fraction(1, 2))
        alike.append(np.corrcoef(clean.mean(-1).ravel(), low.mean(0).double().numpy().ravel())[0, 1])
    assert np.median(alike) > 0.7


def _contains(image_hwc: np.ndarray, crop_hwc: np.ndarray) -> bool:
    """Whether a crop, turned or mirrored, is a part of an image."""
    for turns in range(4):
        for mirrored in (crop_hwc, crop_hwc[:, ::-1]):
            crop = np.rot90(mirrored, turns)
            windows = np.lib.stride_tricks.sliding_window_view(image_hwc[..., 0], crop.shape[:2])
            corners = windows[np.abs(windows[..., 0, 0] - crop[0, 0, 0]) < 1e-6]
            if (np.abs(corners - crop[..., 0]) < 1e-6).all(axis=(1, 2)).any():
                return True
    return False


def test_degraded_training_needs_room_for_its_margin() -> None:
    chosen = small("srresnet-m1c4-x2", "patch=64")
    side = (64 + 2 * MARGIN) * 2
    with pytest.raises(UsageError, match="use a smaller patch"):
        batches_of([middle_pair("coffee", side - 2, scale=1)], chosen)
    batches_of([middle_pair("coffee", side, scale=1)], chosen)
