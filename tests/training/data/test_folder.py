"""Training data from folders and stores."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.resize import imresize
from repsr_train.data import CropSampler, load_data, load_photographs
from repsr_train.data.prepare import prepare


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
    with pytest.raises(UsageError, match="no data"):
        load_data([], 2)
    with pytest.raises(UsageError, match="no folder"):
        load_data(tmp_path / "missing", 2)
    (tmp_path / "notes.txt").write_text("no photograph")
    with pytest.raises(UsageError, match="no photographs in"):
        load_data(tmp_path, 2)
    (tmp_path / "broken.png").write_bytes(b"no photograph")
    with pytest.raises(UsageError, match=r"none of the 1 files .* first: .*broken\.png"):
        load_data(tmp_path, 2)


def test_fingerprint_follows_content(photographs: Path, tmp_path: Path) -> None:
    first = load_photographs(photographs, 2).fingerprint
    assert load_photographs(photographs, 4).fingerprint == first
    (tmp_path / "coffee.png").write_bytes((photographs / "coffee.png").read_bytes())
    assert load_photographs(tmp_path, 2).fingerprint != first


def test_a_store_trains_as_its_folder_does(photographs: Path, tmp_path: Path) -> None:
    prepare([photographs], tmp_path / "store")
    draws = [
        CropSampler(load_data(path, 2).pairs, scale=2, patch=20, batch=9, seed=4).draw(5)
        for path in (photographs, tmp_path / "store")
    ]
    for one, other in zip(*draws, strict=True):
        assert np.array_equal(one, other)


def test_several_sources_are_one_set_in_their_order(photographs: Path, store: Path) -> None:
    single = [load_data(path, 2) for path in (store, photographs)]
    both = load_data([store, photographs], 2)
    assert [pair.name for pair in both.pairs] == [pair.name for part in single for pair in part.pairs]
    assert both.unreadable == single[0].unreadable
    assert both.licence == "CC0; mine"
    other = load_data([photographs, store], 2)
    assert len({both.fingerprint, other.fingerprint, *(part.fingerprint for part in single)}) == 4
    assert load_data([store], 2).fingerprint == single[0].fingerprint
