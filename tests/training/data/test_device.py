"""Crops cut on the training device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from repsr_train.data import CropSampler
from repsr_train.data.device import DeviceSampler, fits
from repsr_train.data.folder import load_data
from tests.training.data.scenes import coded_pair
from tests.training.data.test_crops import coded_pairs

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_crops_are_those_of_the_host(device: str, scale: int) -> None:
    sampler = CropSampler(coded_pairs(scale), scale=scale, patch=11, batch=60, seed=scale)
    on_device = DeviceSampler(sampler, torch.device(device))
    for step, part in ((0, None), (5, slice(3, 20)), (9, slice(59, 60))):
        for expected, found in zip(sampler.draw(step, part), on_device.draw(step, part), strict=True):
            assert found.dtype == torch.uint8
            assert found.device.type == device
            assert found.is_contiguous()
            assert np.array_equal(expected, found.cpu().numpy())


def test_a_store_is_taken_as_it_is(store: Path) -> None:
    sampler = CropSampler(load_data(store, 2).pairs, scale=2, patch=24, batch=30, seed=0)
    on_device = DeviceSampler(sampler, torch.device("cpu"))
    for expected, found in zip(sampler.draw(1), on_device.draw(1), strict=True):
        assert np.array_equal(expected, found.numpy())


def test_the_processor_keeps_its_own_way() -> None:
    assert not fits(torch.device("cpu"), [coded_pair(0, 8, 8, 1)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_takes_what_leaves_half_of_its_memory() -> None:
    small = coded_pair(0, 8, 8, 2)
    assert fits(torch.device("cuda"), [small])
    free, _ = torch.cuda.mem_get_info()
    assert not fits(torch.device("cuda"), [small] * (free // (small.hr_hwc.size + small.lr_hwc.size)))
