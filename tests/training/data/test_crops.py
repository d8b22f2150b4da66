"""Random crops, the same ones for ever."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.files import sha256
from repsr_deploy.metrics.resize import imresize
from repsr_train.data import CropSampler, Pair, load_photographs
from repsr_train.data.crops import area_distribution, plan_crops
from tests.training.data.scenes import coded_pair

SIDES = ((20, 31), (48, 17), (16, 16), (64, 40))
"""LR height and width of four photographs."""

# (scale, patch, batch, seed, step), crops as (photo, top, left, turns, mirror), start of the SHA-256 of the LR and HR
# bytes; computed with release 0.1.0. Results of training depend on them: they never change.
PINNED = [
    (
        (2, 12, 6, 3, 0),
        [(0, 5, 9, 1, 0), (1, 25, 4, 0, 0), (3, 23, 11, 3, 1), (3, 22, 12, 2, 1), (0, 1, 14, 3, 1), (3, 41, 8, 1, 1)],
        "c6ae2cb1e70ea2fe",
    ),
    (
        (2, 12, 6, 3, 7),
        [(3, 14, 21, 2, 1), (3, 26, 22, 1, 0), (3, 37, 28, 0, 1), (1, 0, 3, 0, 1), (3, 51, 23, 0, 0), (1, 35, 1, 3, 0)],
        "31d7954890b9ab62",
    ),
    ((4, 16, 4, 0, 7), [(0, 4, 13, 3, 1), (3, 2, 3, 2, 1), (3, 19, 11, 0, 1), (3, 22, 20, 2, 0)], "d91489723cdaf6db"),
    ((4, 16, 4, 0, 123456), [(2, 0, 0, 1, 1), (0, 4, 4, 0, 1), (3, 5, 6, 0, 0), (3, 14, 1, 1, 1)], "fa8ac5f60aaa54ff"),
    (
        (1, 12, 5, 11, 123456),
        [(1, 11, 0, 3, 1), (3, 45, 6, 1, 0), (0, 1, 10, 2, 0), (1, 24, 2, 0, 1), (3, 20, 8, 0, 0)],
        "3352873919972eb4",
    ),
]


def coded_pairs(scale: int) -> list[Pair]:
    return [coded_pair(index, height, width, scale) for index, (height, width) in enumerate(SIDES)]


@pytest.mark.parametrize(("setup", "crops", "digest"), PINNED)
def test_draws_never_change(setup: tuple[int, int, int, int, int], crops: list[tuple[int, ...]], digest: str) -> None:
    scale, patch, batch, seed, step = setup
    sampler = CropSampler(coded_pairs(scale), scale=scale, patch=patch, batch=batch, seed=seed)
    assert sampler.plan(step) == crops
    lr_nchw, hr_nchw = sampler.draw(step)
    assert lr_nchw.shape == (batch, 3, patch, patch)
    assert hr_nchw.shape == (batch, 3, patch * scale, patch * scale)
    assert sha256(lr_nchw.tobytes() + hr_nchw.tobytes())[:16] == digest


def test_the_plan_is_what_single_draws_give() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        patch, batch = int(random.integers(1, 40)), int(random.integers(1, 30))
        seed, step = (int(random.integers(10**6)) for _ in range(2))
        sides_n2 = random.integers(patch, patch + random.choice([1, 3, 5000]), (int(random.integers(1, 300)), 2))
        single = np.random.default_rng((seed, step))
        areas = sides_n2.prod(axis=1).astype(np.float64)
        expected = [
            (index, *(int(single.integers(limit)) for limit in (*(sides_n2[index] - patch + 1), 4, 2)))
            for index in single.choice(len(areas), size=batch, p=areas / areas.sum())
        ]
        distribution = area_distribution(sides_n2)
        assert plan_crops(sides_n2, distribution, patch=patch, batch=batch, seed=seed, step=step) == expected


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_every_crop_is_the_turned_and_mirrored_cut_of_its_plan(scale: int) -> None:
    pairs = coded_pairs(scale)
    sampler = CropSampler(pairs, scale=scale, patch=9, batch=40, seed=1)
    for step in range(3):
        for batch_nchw, factor in zip(sampler.draw(step), (1, scale), strict=True):
            for crop, found_chw in zip(sampler.plan(step), batch_nchw, strict=True):
                pair = pairs[crop.photo]
                image_hwc = pair.lr_hwc if factor == 1 else pair.hr_hwc
                top, left, side = crop.top * factor, crop.left * factor, 9 * factor
                cut_hwc = np.rot90(image_hwc[top : top + side, left : left + side], crop.turns)
                expected_hwc = cut_hwc[:, ::-1] if crop.mirror else cut_hwc
                assert np.array_equal(found_chw, expected_hwc.transpose(2, 0, 1))


def test_parts_are_slices_of_the_whole_batch() -> None:
    sampler = CropSampler(coded_pairs(2), scale=2, patch=7, batch=13, seed=5)
    whole = sampler.draw(3)
    for part in (slice(0, 6), slice(6, 13), slice(12, None), slice(1, 13, 4)):
        for one, other in zip(sampler.draw(3, part), whole, strict=True):
            assert np.array_equal(one, other[part])


def test_crops_are_aligned_and_depend_on_seed_and_step_alone(photographs: Path) -> None:
    pairs = load_photographs(photographs, 2).pairs
    sampler = CropSampler(pairs, scale=2, patch=16, batch=12, seed=3)
    lr_nchw, hr_nchw = sampler.draw(7)
    for low, high in zip(lr_nchw, hr_nchw, strict=True):
        reduced = imresize(high.transpose(1, 2, 0), Fraction(1, 2)).transpose(2, 0, 1)
        inner = (slice(None), slice(3, -3), slice(3, -3))  # a crop's own border was made from pixels outside it
        # rotated crops are reduced columns first, which rounds differently by one
        assert np.abs(reduced[inner].astype(int) - low[inner]).max() <= 1
    again = CropSampler(pairs, scale=2, patch=16, batch=12, seed=3).draw(7)
    assert np.array_equal(again[0], lr_nchw)
    assert not np.array_equal(sampler.draw(8)[0], lr_nchw)
    assert not np.array_equal(CropSampler(pairs, scale=2, patch=16, batch=12, seed=4).draw(7)[0], lr_nchw)


def test_crops_reach_every_orientation_and_favour_no_pixel() -> None:
    sampler = CropSampler([coded_pair(0, 8, 8, 1), coded_pair(1, 8, 24, 1)], scale=1, patch=8, batch=4000, seed=0)
    crops = sampler.plan(0)
    assert {(crop.turns, crop.mirror) for crop in crops} == {(turns, mirror) for turns in range(4) for mirror in (0, 1)}
    assert abs(np.mean([crop.photo for crop in crops]) - 3 / 4) < 0.03  # three times the area
    assert {crop.left for crop in crops if crop.photo == 1} == set(range(17))
    assert len({crop[:2].tobytes() for crop in sampler.draw(0)[0]}) == 8 * 17 + 8 - 8


def test_photographs_smaller_than_a_crop_are_left_out_and_counted() -> None:
    said: list[str] = []
    sampler = CropSampler(coded_pairs(2), scale=2, patch=17, batch=50, seed=0, report=said.append)
    assert [pair.name for pair in sampler.pairs] == ["0", "1", "3"]
    assert said == ["left out: 1 of 4 photographs, smaller than patch=17"]
    with pytest.raises(UsageError, match=r"patch=65, scale 2.*use a smaller patch"):
        CropSampler(coded_pairs(2), scale=2, patch=65, batch=1, seed=0)
