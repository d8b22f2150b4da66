"""Training photographs and crops."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.resize import imresize
from repsr_train.data import CropSampler, load_photographs, lossy_reduction


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_pairs_are_matlabs_reduction_of_whole_photographs(photographs: Path, scale: int) -> None:
    loaded = load_photographs(photographs, scale)
    assert [pair.name for pair in loaded.pairs] == ["camera.png", "chelsea.jpg", "coffee.png"]
    for pair in loaded.pairs:
        assert pair.hr_hwc.shape[0] == pair.lr_hwc.shape[0] * scale
        assert pair.hr_hwc.shape[1] == pair.lr_hwc.shape[1] * scale
        assert pair.hr_hwc.dtype == pair.lr_hwc.dtype == np.uint8
        assert np.array_equal(pair.lr_hwc, imresize(pair.hr_hwc, Fraction(1, scale)))
    coffee = skimage.data.coffee()
    hr_hwc = loaded.pairs[2].hr_hwc
    assert np.array_equal(hr_hwc, coffee[: hr_hwc.shape[0], : hr_hwc.shape[1]])


def test_large_jpeg_files_are_reduced_and_lossless_ones_are_not() -> None:
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG"
    assert [lossy_reduction(jpeg, side) for side in (900, 1600, 3000, 4200, 9000)] == [1, 2, 2, 3, 4]
    assert lossy_reduction(png, 9000) == 1


def test_damaged_photographs_are_named_and_left_out(photographs: Path, tmp_path: Path) -> None:
    whole = (photographs / "coffee.png").read_bytes()
    (tmp_path / "whole.png").write_bytes(whole)
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    write_image(tmp_path / "tiny.png", np.zeros((5, 5, 3), np.uint8))
    said: list[str] = []
    loaded = load_photographs(tmp_path, 2, said.append)
    assert [pair.name for pair in loaded.pairs] == ["whole.png"]
    assert len(loaded.unreadable) == 3
    assert all(any(name in line for line in said) for name in ("half.png", "empty.jpg", "tiny.png"))


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        load_photographs(tmp_path / "missing", 2)
    (tmp_path / "notes.txt").write_text("no photograph")
    with pytest.raises(UsageError, match="no photographs in"):
        load_photographs(tmp_path, 2)
    (tmp_path / "broken.png").write_bytes(b"no photograph")
    with pytest.raises(UsageError, match=r"none of the 1 files .* first: .*broken\.png"):
        load_photographs(tmp_path, 2)


def test_fingerprint_follows_content(photographs: Path, tmp_path: Path) -> None:
    first = load_photographs(photographs, 2).fingerprint
    assert load_photographs(photographs, 4).fingerprint == first
    (tmp_path / "coffee.png").write_bytes((photographs / "coffee.png").read_bytes())
    assert load_photographs(tmp_path, 2).fingerprint != first


def test_crops_are_aligned_and_depend_on_seed_and_step_alone(photographs: Path) -> None:
    pairs = load_photographs(photographs, 2).pairs
    sampler = CropSampler(pairs, scale=2, patch=16, batch=12, seed=3)
    lr_nchw, hr_nchw = sampler.draw(7)
    assert lr_nchw.shape == (12, 3, 16, 16)
    assert hr_nchw.shape == (12, 3, 32, 32)
    for low, high in zip(lr_nchw, hr_nchw, strict=True):
        reduced = imresize(high.transpose(1, 2, 0), Fraction(1, 2)).transpose(2, 0, 1)
        inner = (slice(None), slice(3, -3), slice(3, -3))  # a crop's own border was made from pixels outside it
        # rotated crops are reduced columns first, which rounds differently by one
        assert np.abs(reduced[inner].astype(int) - low[inner]).max() <= 1
    again = CropSampler(pairs, scale=2, patch=16, batch=12, seed=3).draw(7)
    assert np.array_equal(again[0], lr_nchw)
    assert not np.array_equal(sampler.draw(8)[0], lr_nchw)
    assert not np.array_equal(CropSampler(pairs, scale=2, patch=16, batch=12, seed=4).draw(7)[0], lr_nchw)


def test_crops_reach_every_orientation() -> None:
    ramp = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8)
    from repsr_train.data import Pair

    pair = Pair("ramp", np.repeat(ramp[..., None], 3, axis=2), np.repeat(ramp[..., None], 3, axis=2))
    sampler = CropSampler([pair], scale=1, patch=8, batch=64, seed=0)
    lr_nchw, hr_nchw = sampler.draw(0)
    assert np.array_equal(lr_nchw, hr_nchw)
    assert len({crop[0].tobytes() for crop in lr_nchw}) == 8


def test_patch_larger_than_every_photograph_is_refused(photographs: Path) -> None:
    with pytest.raises(UsageError, match="use a smaller patch"):
        CropSampler(load_photographs(photographs, 4).pairs, scale=4, patch=200, batch=1, seed=0)
