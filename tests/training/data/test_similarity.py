"""Near-duplicates."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data

from repsr_train.data.similarity import Similar, difference_hash, small_image
from tests.training.data.scenes import Uint8, scene


def as_jpeg(image_hwc: Uint8, quality: int) -> Uint8:
    encoded = cv2.imencode(".jpg", image_hwc, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


COPIES: dict[str, Callable[[Uint8], Uint8]] = {
    "jpeg": lambda image: as_jpeg(image, 20),
    "half": lambda image: np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8),
    "twice": lambda image: np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8),
    "noise": lambda image: (image + np.random.default_rng(0).normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8),
}
OTHERS: dict[str, Callable[[Uint8], Uint8]] = {
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "turned": lambda image: np.ascontiguousarray(image.swapaxes(0, 1)),
    "other colours": lambda image: np.ascontiguousarray(image[..., [2, 0, 1]]),
    "a quarter of it": lambda image: np.ascontiguousarray(image[: len(image) // 2, : image.shape[1] // 2]),
}


@pytest.fixture
def photographs() -> dict[str, Uint8]:
    return {"astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee(), "chelsea": skimage.data.chelsea()}


@pytest.fixture
def known(photographs: dict[str, Uint8]) -> Similar:
    similar = Similar()
    for name, image in photographs.items():
        similar.add(name, name, small_image(image))
    return similar


@pytest.mark.parametrize("change", COPIES)
def test_copies_are_found(known: Similar, photographs: dict[str, Uint8], change: str) -> None:
    for name, image in photographs.items():
        assert known.find("", small_image(COPIES[change](image))) == name


@pytest.mark.parametrize("change", OTHERS)
def test_other_pictures_are_none(known: Similar, photographs: dict[str, Uint8], change: str) -> None:
    for image in photographs.values():
        assert known.find("", small_image(OTHERS[change](image))) is None


def test_scenes_are_told_apart() -> None:
    similar = Similar()
    for seed in range(60):
        small = small_image(scene(seed))
        assert similar.find(str(seed), small) is None
        similar.add(str(seed), str(seed), small)
    assert similar.find("", small_image(scene(17))) == "17"


def test_flat_pictures_are_compared_by_their_pixels_alone() -> None:
    flat = small_image(np.full((50, 60, 3), 128, np.uint8))
    similar = Similar()
    similar.add("first", "its pixels", flat)
    assert similar.find("other pixels", flat) is None
    assert similar.find("its pixels", flat) == "first"


def test_the_hash_compares_neighbouring_cells() -> None:
    rising = np.arange(72, dtype=np.float64).reshape(8, 9)
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(-rising) == 0
    rising[0, 0] = 99  # one cell too bright: the first bit, and no other
    assert difference_hash(rising) == 2**63 - 1
