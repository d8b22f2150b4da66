"""One file as one photograph."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from repsr_deploy.errors import ImageFileError
from repsr_deploy.files import sha256
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.resize import imresize
from repsr_train.data.photograph import as_rgb, lossy_reduction, read_photograph, reduced_side
from tests.training.data.scenes import scene


def test_every_layout_and_depth_becomes_rgb_of_8_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rgb_hwc = random.integers(0, 256, (33, 47, 3), np.uint8)
    deep_hwc = random.integers(0, 65536, (33, 47, 3), np.uint16)
    expected = {
        "gray": (rgb_hwc[..., 0], rgb_hwc[..., [0, 0, 0]]),
        "rgb": (rgb_hwc, rgb_hwc),
        "rgba": (np.dstack((rgb_hwc, rgb_hwc[..., 1])), rgb_hwc),
        "deep": (deep_hwc, np.rint(deep_hwc / 65535 * 255).astype(np.uint8)),
        "deep-gray": (deep_hwc[..., 0], np.rint(deep_hwc[..., [0, 0, 0]] / 65535 * 255).astype(np.uint8)),
    }
    for name, (image, rgb) in expected.items():
        write_image(tmp_path / f"{name}.png", image)
        photograph = read_photograph(tmp_path / f"{name}.png")
        assert np.array_equal(photograph.rgb_hwc, rgb), name
        assert photograph.rgb_hwc.flags.c_contiguous
        assert photograph.rgb_hwc.dtype == np.uint8
        assert photograph.sha256 == sha256((tmp_path / f"{name}.png").read_bytes())


def test_16_bits_are_rounded_not_cut() -> None:
    image = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
    assert as_rgb(image)[0, :, 0].tolist() == [0, 0, 1, 1, 2, 254, 255, 255]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    rgb_hwc = skimage.data.astronaut()
    Image.fromarray(rgb_hwc).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    assert np.abs(read_photograph(tmp_path / "cmyk.jpg").rgb_hwc.astype(int) - rgb_hwc).mean() < 2


def test_large_jpeg_files_are_reduced_and_lossless_ones_are_not() -> None:
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG"
    assert [lossy_reduction(jpeg, side) for side in (900, 1599, 1600, 3000, 4200, 9000)] == [1, 1, 2, 2, 3, 4]
    assert [lossy_reduction(jpeg, 900, chosen) for chosen in (1, 2, 8)] == [1, 2, 8]
    assert lossy_reduction(png, 9000) == lossy_reduction(png, 9000, 4) == 1


@pytest.mark.parametrize("reduction", [1, 2, 3, 8])
def test_a_chosen_reduction_is_matlabs(tmp_path: Path, reduction: int) -> None:
    write_image(tmp_path / "photo.jpg", scene(0, 101, 67), quality=90)
    photograph = read_photograph(tmp_path / "photo.jpg", reduction)
    decoded = np.asarray(cv2.imdecode(np.fromfile(tmp_path / "photo.jpg", np.uint8), cv2.IMREAD_COLOR_RGB))
    assert np.array_equal(photograph.rgb_hwc, imresize(decoded, Fraction(1, reduction)))
    assert photograph.rgb_hwc.shape[:2] == (reduced_side(101, reduction), reduced_side(67, reduction))
    assert photograph.reduction == reduction


def test_a_broken_or_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no photograph")
    for name in ("broken.png", "missing.png"):
        with pytest.raises(ImageFileError, match=name):
            read_photograph(tmp_path / name)
