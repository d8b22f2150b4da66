"""The picture of artifacts shows the worst flat region, planted here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint, save_tensors
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.metrics.evaluate import reduce
from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.spec import parse_name
from repsr_train.folder import CHECKPOINT
from repsr_train.state import STATE
from repsr_train.study.picture import draw_artifacts, find_worst
from repsr_train.study.runs import Run
from repsr_train.study.scores import Picture
from tests.training.study.studies import SMALL

SHIFT = 6
"""Levels by which the last weights of the worse run are off."""


def nearest() -> Network:
    """A network that repeats pixels."""
    net = build(parse_name("plain-m1c4-x2"))
    with torch.no_grad():
        for parameter in net.get_submodule("tail").parameters():
            parameter.zero_()
    return net


def run_of(folder: Path, name: str, last: Mapping[str, Tensor]) -> Run:
    """A finished run: averaged weights that repeat pixels, and those last weights."""
    net = nearest()
    save_checkpoint(folder / CHECKPOINT, net, CheckpointInfo(spec=net.spec))
    save_tensors(folder / STATE, {f"net.{key}": value for key, value in last.items()}, {})
    variant = next(variant for variant in SMALL.variants if variant.name == name)
    return Run(variant=variant, seed=0, steps=1, folder=folder, arguments=())


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """The worse run is a constant brighter with its last weights."""
    good, bad = nearest().state_dict(), nearest().state_dict()
    bad["tail.bias"] += SHIFT / 255
    return [run_of(tmp_path / "a", "never", bad), run_of(tmp_path / "b", "plain", good)]


def picture_of(name: str, flat: list[tuple[int, int]]) -> Picture:
    """Noise, with flat tiles at those rows and columns."""
    image_hwc = np.random.default_rng(0).integers(0, 256, (80, 114, 3), np.uint8)
    for row, column in flat:
        image_hwc[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 100
    return Picture(name, image_hwc, reduce(image_hwc, 2))


def test_the_worst_flat_region_is_found(runs: list[Run]) -> None:
    pictures = [picture_of("noise.png", []), picture_of("flat.png", [(3, 5)])]
    # only the tile itself is flat, so its borders show the noise around it: the shift is what both do not share
    place = find_worst(runs[0], runs[1], {"set": pictures})
    assert place is not None
    assert (place.condition, place.picture.name, place.row, place.column) == ("set", "flat.png", 3, 5)
    assert 0.8 * SHIFT < place.excess < 1.1 * SHIFT
    reverse = find_worst(runs[1], runs[0], {"set": pictures})
    assert reverse is not None
    assert reverse.excess < 0
    assert find_worst(runs[0], runs[1], {"set": pictures[:1]}) is None


def test_the_picture_shows_references_outputs_and_errors(runs: list[Run], tmp_path: Path) -> None:
    path = tmp_path / "artifacts.png"
    assert not draw_artifacts(path, SMALL, runs, {"set": [picture_of("noise.png", [])]})
    assert not path.exists()
    assert draw_artifacts(path, SMALL, runs, {"set": [picture_of("flat.png", [(2, 2)])]})
    image_hwc = read_image(path)[..., :3]
    assert image_hwc.shape[1] > image_hwc.shape[0] > 400
    error = 128 + 16 * SHIFT  # the shift, enlarged, on gray
    assert np.count_nonzero(np.abs(image_hwc.astype(int) - error).max(axis=2) < 4) > 200
    swapped = replace(SMALL, picture=("plain", "never"))
    assert draw_artifacts(path, swapped, runs, {"set": [picture_of("flat.png", [(2, 2)])]})
