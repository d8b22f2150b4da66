"""`evaluate`: the protocol from picture to report, and the published bicubic values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.metrics.evaluate import (
    EvaluationReport,
    ImageScore,
    SkippedImage,
    evaluate,
    mean_quality,
    read_reference,
    score,
)
from repsr_deploy.metrics.quality import Quality, measure
from repsr_deploy.metrics.resize import imresize

BENCHMARKS = Path(__file__).parents[2].parent / "shared" / "data" / "test"


def bicubic(scale: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    return lambda image_hwc: imresize(image_hwc, scale)


def write(path: Path, image: NDArray[Any]) -> Path:
    """Write RGB, RGBA or gray as it is: OpenCV wants the channels in BGR(A) order."""
    order = {2: np.s_[...], 3: np.s_[..., ::-1]}[image.ndim]
    if image.ndim == 3 and image.shape[2] == 4:
        order = np.s_[..., [2, 1, 0, 3]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[order]))
    return path


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Odd sizes, on purpose."""
    return [
        write(tmp_path / "astronaut.png", data.astronaut()[100:231, 80:197]),
        write(tmp_path / "chelsea.png", data.chelsea()[60:161, 90:239]),
    ]


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmark pictures ../shared/data/test are not here")
@pytest.mark.parametrize(
    ("folder", "scale", "psnr_y"),
    [
        ("set5", 2, 33.68),
        ("set5", 3, 30.40),
        ("set5", 4, 28.43),
        ("set14", 2, 30.33),
        ("set14", 3, 27.63),
        ("set14", 4, 26.09),
        ("bsd100", 2, 29.56),
        ("bsd100", 4, 25.96),
    ],
)
def test_bicubic_check_values(folder: str, scale: int, psnr_y: float) -> None:
    paths = sorted((BENCHMARKS / folder).iterdir())
    report = evaluate(bicubic(scale), scale, paths, metrics=("psnr_y",), bicubic=False)
    assert report.model.psnr_y == pytest.approx(psnr_y, abs=0.01)


def test_report_follows_the_protocol_by_hand(photographs: list[Path]) -> None:
    """The steps of the protocol written out once more, for one picture at x3."""
    scale = 3
    reference = data.astronaut()[100:229, 80:197]
    low = imresize(reference, 1 / 3)
    assert low.shape == (43, 39, 3)
    nearest = low.repeat(3, axis=0).repeat(3, axis=1)

    report = evaluate(lambda image: image.repeat(3, axis=0).repeat(3, axis=1), scale, photographs)

    image = report.images[0]
    assert (image.name, image.width, image.height) == ("astronaut.png", 117, 129)
    assert image.model == measure(nearest, reference, border=3)
    assert image.bicubic == measure(imresize(low, 3), reference, border=3)
    assert image.model != image.bicubic


def test_upscale_sees_rgb_in_uint8(photographs: list[Path]) -> None:
    seen: list[NDArray[np.uint8]] = []

    def spy(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.append(image_hwc)
        return imresize(image_hwc, 2)

    evaluate(spy, 2, photographs, metrics=("psnr_y",))
    np.testing.assert_array_equal(seen[0], imresize(data.astronaut()[100:230, 80:196], 0.5))


def test_means_are_means(photographs: list[Path]) -> None:
    report = evaluate(bicubic(2), 2, photographs)
    assert report.model == report.bicubic
    values = [image.model.psnr_y or 0.0 for image in report.images]
    assert values[0] != values[1]
    assert report.model.psnr_y == pytest.approx(sum(values) / 2)
    assert mean_quality([Quality(psnr_y=1, ssim_y=2), Quality(psnr_y=3)]) == Quality(psnr_y=2)
    assert mean_quality([]) == Quality()


def test_cheap_form_measures_nothing_else(photographs: list[Path]) -> None:
    full = evaluate(bicubic(2), 2, photographs)
    cheap = evaluate(bicubic(2), 2, photographs, metrics=("psnr_y",), bicubic=False)
    assert cheap.model == Quality(psnr_y=full.model.psnr_y)
    assert cheap.bicubic is None
    assert all(image.bicubic is None for image in cheap.images)


@pytest.mark.parametrize("kind", ["gray", "16 bits", "opaque alpha"])
def test_other_pictures_count_as_rgb(tmp_path: Path, kind: str) -> None:
    photo = data.coffee()[:50, :61]
    gray = photo[..., 0]
    nearby = np.random.default_rng(0).integers(-128, 129, photo.shape)  # every sample that rounds to the same 8 bits
    variants = {
        "gray": (gray, np.stack([gray] * 3, axis=-1)),
        "16 bits": ((photo * 257.0 + nearby).clip(0, 65535).astype(np.uint16), photo),
        "opaque alpha": (np.dstack([photo, np.full_like(gray, 255)]), photo),
    }
    written, expected = variants[kind]
    reference = read_reference(write(tmp_path / "picture.png", written), 2)
    assert reference.dtype == np.uint8
    np.testing.assert_array_equal(reference, expected[:, :60])


def test_transparent_and_tiny_pictures_are_refused(tmp_path: Path) -> None:
    photo = data.coffee()[:50, :61]
    clear = write(tmp_path / "clear.png", np.dstack([photo, photo[..., 0]]))
    with pytest.raises(ImageFileError, match="partly transparent"):
        read_reference(clear, 2)
    tiny = write(tmp_path / "tiny.png", photo[:15, :20])
    with pytest.raises(ImageFileError, match=r"tiny\.png: 20x14 pixels are too few"):
        read_reference(tiny, 2)


def test_unreadable_files_stop_or_are_listed(tmp_path: Path, photographs: list[Path]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photographs[0].read_bytes()[:100])
    paths = [photographs[0], broken, photographs[1]]
    with pytest.raises(ImageFileError, match="broken"):
        evaluate(bicubic(2), 2, paths)
    seen: list[ImageScore | SkippedImage] = []
    report = evaluate(bicubic(2), 2, paths, skip_unreadable=True, progress=seen.append)
    assert [item.name for item in seen] == [path.name for path in paths]
    assert [skipped.name for skipped in report.skipped] == ["broken.png"]
    assert report.model == evaluate(bicubic(2), 2, photographs).model


@pytest.mark.parametrize("wrong", [3, 1])
def test_a_model_of_another_scale_is_refused(photographs: list[Path], wrong: int) -> None:
    with pytest.raises(UsageError, match="of scale 2"):
        evaluate(bicubic(wrong), 2, photographs)


def test_floating_point_output_is_refused(photographs: list[Path]) -> None:
    with pytest.raises(UsageError, match="float32"):
        evaluate(lambda image: imresize(image, 2).astype(np.float32), 2, photographs)  # pyright: ignore[reportArgumentType]


def test_impossible_requests_are_refused(photographs: list[Path]) -> None:
    with pytest.raises(UsageError, match="scale is 0"):
        evaluate(bicubic(2), 0, photographs)
    with pytest.raises(UsageError, match="0 pictures"):
        evaluate(bicubic(2), 2, [])


def test_json_holds_every_number(photographs: list[Path]) -> None:
    report = evaluate(bicubic(2), 2, photographs)
    content = json.loads(report.to_json())
    assert content["scale"] == 2
    assert "imresize" in content["protocol"]
    for image, item in zip(report.images, content["images"], strict=True):
        assert item["name"] == image.name
        assert item["model"]["ssim_rgb"] == image.model.ssim_rgb
        assert item["bicubic"]["psnr_y"] == image.model.psnr_y
    assert content["mean"]["model"]["psnr_rgb"] == report.model.psnr_rgb


def test_json_of_perfect_pictures_is_valid() -> None:
    flat = np.full((40, 40, 3), 90, np.uint8)
    image = score(bicubic(2), 2, flat, name="flat")
    assert image.model.psnr_y == math.inf
    report = EvaluationReport(scale=2, images=(image,), skipped=(), model=image.model, bicubic=None)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(report.to_json(), parse_constant=refuse)
    assert content["mean"]["model"] == {"psnr_y": "inf", "ssim_y": 1.0, "psnr_rgb": "inf", "ssim_rgb": 1.0}
