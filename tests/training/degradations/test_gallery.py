"""The gallery and its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.cli.errors import run
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_train.cli_degrade import app
from repsr_train.degradations.gallery import gallery


def test_the_command_writes_a_picture_that_follows_the_seed(tmp_path: Path) -> None:
    photo = tmp_path / "chelsea.png"
    write_image(photo, skimage.data.chelsea()[50:115, 100:171])

    def picture(name: str, *options: str) -> np.ndarray:
        out = tmp_path / name
        assert run(app, "repsr-train degrade", [str(photo), "--out", str(out), "--count", "2", *options]) == 0
        return read_image(out)

    first, again, other = picture("1.png"), picture("2.png"), picture("3.png", "--seed", "1")
    assert first.shape[1] > 1000
    assert np.array_equal(first[..., :3], again[..., :3])
    assert first.shape == other.shape
    assert not np.array_equal(first, other)
    top = first.shape[0] // 3
    assert np.array_equal(first[:top], other[:top])  # the test degradations do not follow it


def test_the_original_is_shown_as_it_is(tmp_path: Path) -> None:
    photo_hwc = np.zeros((64, 64, 3), np.uint8)
    photo_hwc[...] = (250, 10, 90)
    gallery(tmp_path / "flat.png", photo_hwc, name="flat", count=0)
    shown = read_image(tmp_path / "flat.png")[..., :3].reshape(-1, 3)
    assert (shown == (250, 10, 90)).all(axis=1).mean() > 0.1


@pytest.mark.parametrize(
    ("name", "side", "options", "message"),
    [
        ("out.jpg", 64, {}, "does not end in .png"),
        ("out.png", 63, {}, "at least 64 on each side for x4"),
        ("out.png", 64, {"count": -1}, "count -1"),
        ("out.png", 64, {"scale": 0}, "scale is 0"),
    ],
)
def test_impossible_requests_are_refused(
    tmp_path: Path, name: str, side: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        gallery(tmp_path / name, np.zeros((side, 80, 3), np.uint8), name="photo", **options)
    assert not list(tmp_path.iterdir())


def test_a_missing_photograph_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(app, "repsr-train degrade", [str(tmp_path / "none.png"), "--out", str(tmp_path / "out.png")])
    assert code == 1
    assert "none.png" in capsys.readouterr().err
