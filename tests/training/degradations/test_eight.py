"""The eight test degradations."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.evaluate import reduce
from repsr_deploy.metrics.quality import psnr
from repsr_train.degradations.eight import KINDS, Kind, degraded, noise_seed

Uint8 = NDArray[np.uint8]


@pytest.fixture(scope="module")
def hr_hwc() -> Uint8:
    return skimage.data.coffee()[:324, :444]


@pytest.fixture(scope="module")
def pictures(hr_hwc: Uint8) -> dict[Kind, Uint8]:
    return {kind: degraded(hr_hwc, 4, kind, noise_seed("coffee", kind)) for kind in KINDS}


def test_clean_is_the_reduction_of_the_evaluation(hr_hwc: Uint8, pictures: dict[Kind, Uint8]) -> None:
    assert np.array_equal(pictures["clean"], reduce(hr_hwc, 4))
    for scale in (1, 2, 3):
        assert np.array_equal(degraded(hr_hwc, scale, "clean", 0), reduce(hr_hwc, scale))


def test_all_are_different_pictures_of_the_same_size(pictures: dict[Kind, Uint8]) -> None:
    assert len(pictures) == len(KINDS) == 8
    assert {(picture.shape, picture.dtype.name) for picture in pictures.values()} == {((81, 111, 3), "uint8")}
    assert len({picture.tobytes() for picture in pictures.values()}) == 8


def test_distances_from_the_clean_picture_are_in_order(pictures: dict[Kind, Uint8]) -> None:
    distance = {kind: psnr(picture, pictures["clean"]) for kind, picture in pictures.items()}
    for kind in KINDS:
        if not kind.startswith("blur") and kind != "clean":
            blurred: Any = f"blur+{kind}"
            assert distance[blurred] < distance[kind] < distance["clean"]
    # JPEG smooths some of the noise away
    assert distance["noise"] < distance["noise+jpeg"] < distance["jpeg"] < distance["blur"] < distance["clean"]
    assert distance["noise"] == pytest.approx(20 * np.log10(255 / 20), abs=0.8)  # clipping takes some noise


def test_blur_is_a_gaussian_of_sigma_2_before_the_reduction(hr_hwc: Uint8, pictures: dict[Kind, Uint8]) -> None:
    blurred_hwc = cv2.GaussianBlur(hr_hwc, (21, 21), 2.0, borderType=cv2.BORDER_REFLECT_101)
    difference = np.abs(pictures["blur"].astype(np.int16) - reduce(np.asarray(blurred_hwc, np.uint8), 4))
    assert difference.max() <= 1  # OpenCV blurs uint8 in fixed point
    assert difference.mean() < 0.05


def test_noise_is_white_with_sigma_20(pictures: dict[Kind, Uint8]) -> None:
    clean, noisy = pictures["clean"].astype(np.float64), pictures["noise"].astype(np.float64)
    inside = (clean > 80) & (clean < 175)  # four sigma from clipping
    noise = (noisy - clean)[inside]
    assert noise.std() == pytest.approx(20, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=5 * 20 / np.sqrt(noise.size))


def test_jpeg_is_what_an_encoder_makes_of_the_picture_before(pictures: dict[Kind, Uint8]) -> None:
    steps: tuple[tuple[Kind, Kind], ...] = (("clean", "jpeg"), ("blur", "blur+jpeg"))
    for before, after in steps:
        bgr_hwc = cv2.cvtColor(pictures[before], cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr_hwc, [cv2.IMWRITE_JPEG_QUALITY, 50])
        decoded_hwc = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded_hwc is not None
        assert np.array_equal(pictures[after], cv2.cvtColor(decoded_hwc, cv2.COLOR_BGR2RGB))


def test_noise_repeats_and_depends_on_picture_and_degradation(hr_hwc: Uint8, pictures: dict[Kind, Uint8]) -> None:
    assert np.array_equal(pictures["noise"], degraded(hr_hwc, 4, "noise", noise_seed("coffee", "noise")))
    assert not np.array_equal(pictures["noise"], degraded(hr_hwc, 4, "noise", noise_seed("tea", "noise")))
    assert len({noise_seed(name, kind) for name in ("coffee", "tea") for kind in get_args(Kind)}) == 16
    assert noise_seed("coffee", "noise") == 5675953434820139637  # the same on every machine, for ever


def test_unknown_kinds_and_sizes_are_refused(hr_hwc: Uint8) -> None:
    unknown: Any = "noise+blur"
    with pytest.raises(UsageError, match=r"'noise\+blur'; expected one of clean, blur"):
        degraded(hr_hwc, 4, unknown, 0)
    with pytest.raises(UsageError, match="divisible by 4"):
        degraded(hr_hwc[:323], 4, "clean", 0)
