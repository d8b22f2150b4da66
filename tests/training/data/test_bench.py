"""Speed of the ways to cut crops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from repsr_deploy.errors import ProofError
from repsr_train.data import CropSampler, load_data
from repsr_train.data.bench import check_equal, loader_speed
from repsr_train.data.device import DeviceSampler


@pytest.mark.slow  # starts a worker process, which imports PyTorch
def test_every_way_is_measured_and_the_result_is_json(store: Path) -> None:
    pairs = load_data(store, 2).pairs
    result = loader_speed(pairs, scale=2, patch=16, batch=4, device=torch.device("cpu"), workers=1, seconds=0.1)
    assert json.loads(json.dumps(result)) == result
    assert list(result["patches_per_s"]) == ["host", "device (cpu)", "stream (1 workers)"]
    for name, speed in result["patches_per_s"].items():
        times_s = result["times_s"][name]
        assert len(times_s) >= 5
        assert 1 / max(times_s) - 1 <= speed <= 1 / min(times_s) + 1
    assert result["photographs"] == len(pairs)


def test_other_crops_are_noticed(store: Path) -> None:
    pairs = load_data(store, 2).pairs
    one, other = (CropSampler(pairs, scale=2, patch=16, batch=4, seed=seed) for seed in (0, 1))
    check_equal(one, DeviceSampler(one, torch.device("cpu")).draw(0), "device")
    with pytest.raises(ProofError, match="the crops of the device differ"):
        check_equal(one, DeviceSampler(other, torch.device("cpu")).draw(0), "device")
