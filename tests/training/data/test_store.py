"""Stores as training data."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.resize import imresize
from repsr_train.data.photograph import read_photograph
from repsr_train.data.prepare import prepare
from repsr_train.data.store import open_store, verify_store
from tests.training.data.scenes import scene


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A store to change."""
    return shutil.copytree(store, tmp_path / "copied")


def cut_pixels(store: Path) -> str:
    """Cut the pixel file within its fourth photograph."""
    fourth = json.loads((store / "manifest.json").read_text())["images"][3]
    with (store / "pixels.u8").open("r+b") as file:
        file.truncate(fourth["offset"] + 100)
    return rf"pixels\.u8 is cut off after {fourth['offset'] + 100} of \d+ bytes: .* not whole is d-16-bit\.png"


def lengthen_pixels(store: Path) -> str:
    with (store / "pixels.u8").open("ab") as file:
        file.write(b"x")
    return "it belongs to another manifest"


def remove_pixels(store: Path) -> str:
    (store / "pixels.u8").unlink()
    return r"cannot read .*pixels\.u8: No such file"


def cut_lr(store: Path) -> str:
    with (store / "lr-x2.u8").open("r+b") as file:
        file.truncate(10)
    return r"lr-x2\.u8 is cut off after 10 of .* not whole is a-rgb\.png"


def change_manifest(change: Callable[[str], str], message: str) -> Callable[[Path], str]:
    def damage(store: Path) -> str:
        (store / "manifest.json").write_text(change((store / "manifest.json").read_text()))
        return message

    return damage


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_pairs_are_the_photographs_and_matlabs_reductions_of_them(mixed: Path, copied: Path, scale: int) -> None:
    photographs = open_store(copied, scale)
    expected = read_photograph(mixed / "mine" / "f-large.jpg").rgb_hwc
    large = next(pair for pair in photographs.pairs if pair.name == "f-large.jpg")
    assert np.array_equal(large.hr_hwc, expected[: 200 - 200 % scale, : 850 - 850 % scale])
    for pair in photographs.pairs:
        assert np.array_equal(pair.lr_hwc, imresize(pair.hr_hwc, Fraction(1, scale))), pair.name
        assert not pair.hr_hwc.flags.writeable
        assert not pair.hr_hwc.flags.owndata
    assert photographs.licence == "CC0; mine"
    assert len(photographs.unreadable) == 4
    verify_store(copied)


def test_a_missing_scale_is_added_once(copied: Path) -> None:
    said: list[str] = []
    first = open_store(copied, 3, said.append)
    assert said == [f"making {copied / 'lr-x3.u8'} from 9 photographs"]
    again = open_store(copied, 3, said.append)
    assert len(said) == 1
    for one, other in zip(first.pairs, again.pairs, strict=True):
        assert np.array_equal(one.lr_hwc, other.lr_hwc)
    manifest = verify_store(copied)
    assert sorted(manifest.lr) == [2, 3, 4]
    assert first.fingerprint == again.fingerprint == open_store(copied, 2).fingerprint
    (copied / "lr-x2.u8").unlink()
    open_store(copied, 2, said.append)
    assert said[1:] == [f"making {copied / 'lr-x2.u8'} from 9 photographs"]


def test_where_it_cannot_be_added_it_stays_in_memory(copied: Path) -> None:
    (copied / "lr-x3.u8").mkdir()  # nothing can be put there
    said: list[str] = []
    photographs = open_store(copied, 3, said.append)
    assert "LR images of scale 3 stay in memory: cannot write" in said[-1]
    for pair in pickle.loads(pickle.dumps(photographs.pairs)):
        assert np.array_equal(pair.lr_hwc, imresize(pair.hr_hwc, Fraction(1, 3)))


def test_photographs_too_small_for_a_scale_are_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "large.png", scene(0, 64, 70))
    write_image(tmp_path / "in" / "small.png", scene(1, 40, 70))
    write_image(tmp_path / "in" / "wide.png", scene(2, 66, 90))
    prepare([tmp_path / "in"], tmp_path / "store", min_side=40)
    said: list[str] = []
    photographs = open_store(tmp_path / "store", 8, said.append)
    assert "left out: 1 of 3 photographs" in said[0]
    assert [pair.name for pair in photographs.pairs] == ["large.png", "wide.png"]
    for pair in photographs.pairs:
        assert np.array_equal(pair.lr_hwc, imresize(pair.hr_hwc, Fraction(1, 8)))
    verify_store(tmp_path / "store")
    with pytest.raises(UsageError, match=r"no photograph of .* is 72 pixels wide and high, as scale 9 needs"):
        open_store(tmp_path / "store", 9)


def test_pairs_are_pickled_as_places(store: Path) -> None:
    pairs = open_store(store, 2).pairs
    pickled = pickle.dumps(pairs)
    assert len(pickled) < 10_000 < sum(pair.hr_hwc.size for pair in pairs)
    for one, other in zip(pairs, pickle.loads(pickled), strict=True):
        assert one.name == other.name
        assert np.array_equal(one.hr_hwc, other.hr_hwc)
        assert np.array_equal(one.lr_hwc, other.lr_hwc)
        assert not other.hr_hwc.flags.owndata


@pytest.mark.parametrize(
    "damage",
    [
        cut_pixels,
        lengthen_pixels,
        remove_pixels,
        cut_lr,
        change_manifest(lambda text: text[:-200], "is damaged"),
        change_manifest(lambda text: text.replace("store-1", "store-9"), "has format 'repsr-photograph-store-9'"),
        change_manifest(lambda text: text.replace('"height"', '"hight"', 1), "is damaged .*hight"),
        change_manifest(lambda text: text.replace('"offset": 0', '"offset": 3'), "do not follow each other"),
        change_manifest(lambda text: text.replace('pixels_sha256": "', 'pixels_sha256": "0', 1), "its fingerprint"),
    ],
)
def test_damage_is_named(copied: Path, damage: Callable[[Path], str]) -> None:
    message = damage(copied)
    with pytest.raises(RepsrError, match=message):
        open_store(copied, 2)


def test_changed_bytes_are_found_by_verifying(copied: Path) -> None:
    for name, message in (("pixels.u8", r"1 of 9 photographs .* the first is a-rgb\.png"), ("lr-x4.u8", "delete it")):
        data = bytearray((copied / name).read_bytes())
        data[1000] ^= 4
        (copied / name).write_bytes(data)
        open_store(copied, 2)
        with pytest.raises(RepsrError, match=message):
            verify_store(copied)
        data[1000] ^= 4
        (copied / name).write_bytes(data)
    verify_store(copied)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match="expected a store"):
        open_store(tmp_path, 2)
