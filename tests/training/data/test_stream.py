"""Crops cut by worker processes."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from repsr_deploy.errors import RepsrError
from repsr_train.data import CropSampler, load_data
from repsr_train.data.stream import streamed

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # two workers, even on one processor


@pytest.fixture
def sampler(store: Path) -> CropSampler:
    return CropSampler(load_data(store, 2).pairs, scale=2, patch=16, batch=5, seed=2)


def test_batches_come_in_order_and_equal_those_of_the_host(sampler: CropSampler) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    found = list(streamed(sampler, 3, 14, workers=2, part=slice(1, 4)))
    assert len(found) == 11
    for step, batches in enumerate(found, 3):
        for expected, batch in zip(sampler.draw(step, slice(1, 4)), batches, strict=True):
            assert np.array_equal(expected, batch.numpy())
    assert torch.equal(torch.get_rng_state(), state)
    assert multiprocessing.active_children() == []


def test_at_scale_1_both_halves_are_one_tensor(store: Path) -> None:
    sampler = CropSampler(load_data(store, 1).pairs, scale=1, patch=16, batch=5, seed=2)
    ((lr_nchw, hr_nchw),) = streamed(sampler, 6, 7, workers=1)
    assert lr_nchw.data_ptr() == hr_nchw.data_ptr()
    assert np.array_equal(hr_nchw.numpy(), sampler.draw(6)[1])


def test_workers_end_when_nobody_listens_any_more(sampler: CropSampler) -> None:
    batches = streamed(sampler, 0, 10**9, workers=2)
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    batches.close()
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.slow  # PyTorch looks after its workers every five seconds
def test_a_dead_worker_is_an_error(store: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(store, tmp_path / "copied")
    sampler = CropSampler(load_data(copied, 2).pairs, scale=2, patch=16, batch=5, seed=2)
    (copied / "pixels.u8").unlink()  # before the workers map it
    with pytest.raises(RepsrError, match="a data worker failed at step 4"):
        next(streamed(sampler, 4, 6, workers=1))
