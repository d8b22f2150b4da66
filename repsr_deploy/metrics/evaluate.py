"""Score a way of enlarging on reference pictures, beside bicubic: one protocol for training and for commands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.bgr import channels_of
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.imaging.samples import as_uint8, rgb_of
from repsr_deploy.metrics.quality import METRICS, SSIM_WINDOW, Metric, Quality, measure
from repsr_deploy.metrics.resize import imresize

PROTOCOL = (
    "HR cropped at bottom and right to a multiple of the scale; LR by MATLAB imresize bicubic with antialiasing, each "
    "pass rounded to uint8; output and reference in uint8; Y: studio-range BT.601 (MATLAB rgb2ycbcr), not rounded; "
    "border of `scale` pixels left out; PSNR: peak 255; SSIM: Gaussian 11x11, sigma 1.5, valid region; "
    "mean: of the pictures' values; bicubic: the same imresize back to HR"
)

Upscale = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Scores of one picture."""

    name: str
    """File name."""
    width: int
    """Of the cropped HR picture, pixels."""
    height: int
    model: Quality
    bicubic: Quality | None
    """The same metrics for bicubic; None when not asked for."""


@dataclass(frozen=True, kw_only=True)
class SkippedImage:
    """A file without a score."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Scores of a set of pictures."""

    scale: int
    images: tuple[ImageScore, ...]
    skipped: tuple[SkippedImage, ...]
    model: Quality
    """Means over `images`."""
    bicubic: Quality | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite PSNR (identical pictures) is the string "inf"."""
        content = asdict(self)
        mean = {key: content.pop(key) for key in ("model", "bicubic")}
        return _plain({"protocol": PROTOCOL, "scale": content.pop("scale"), "mean": mean, **content})

    def to_json(self) -> str:
        """`to_dict` as indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def evaluate(
    upscale: Upscale,
    scale: int,
    hr_paths: Sequence[Path],
    *,
    metrics: Collection[Metric] = METRICS,
    bicubic: bool = True,
    skip_unreadable: bool = False,
    progress: Callable[[ImageScore | SkippedImage], None] | None = None,
) -> EvaluationReport:
    """Reduce each picture by `scale`, enlarge it again with `upscale`, and compare.

    Args:
        upscale: RGB h x w x 3 uint8 to RGB (scale h) x (scale w) x 3 uint8.
        scale: whole factor, at least 1.
        hr_paths: reference pictures.
        metrics: what to measure; `("psnr_y",)` with `bicubic=False` is the cheap form for validation during training.
        bicubic: measure bicubic as well.
        skip_unreadable: list files that cannot be scored under `skipped` instead of raising.
        progress: called after each file.

    Raises:
        ImageFileError: a file is unreadable or too small (unless skipped).
        UsageError: an impossible scale, no pictures, or an `upscale` that returns another size or type.
    """
    if scale < 1 or not hr_paths:
        raise UsageError(f"scale is {scale} with {len(hr_paths)} pictures; expected scale and pictures to be 1 or more")
    images: list[ImageScore] = []
    skipped: list[SkippedImage] = []
    for path in hr_paths:
        try:
            reference_hwc = read_reference(path, scale)
        except ImageFileError as error:
            if not skip_unreadable:
                raise
            outcome = SkippedImage(name=path.name, reason=str(error))
            skipped.append(outcome)
        else:
            outcome = score(upscale, scale, reference_hwc, name=path.name, metrics=metrics, bicubic=bicubic)
            images.append(outcome)
        if progress:
            progress(outcome)
    return EvaluationReport(
        scale=scale,
        images=tuple(images),
        skipped=tuple(skipped),
        model=mean_quality(image.model for image in images),
        bicubic=mean_quality(image.bicubic for image in images if image.bicubic) if bicubic else None,
    )


def score(
    upscale: Upscale,
    scale: int,
    reference_hwc: NDArray[np.uint8],
    *,
    name: str = "",
    metrics: Collection[Metric] = METRICS,
    bicubic: bool = True,
) -> ImageScore:
    """Score one RGB reference picture of uint8 whose sides are multiples of `scale`; see `evaluate`."""
    low_hwc = reduce(reference_hwc, scale)
    high_hwc = upscale(low_hwc)
    if high_hwc.shape != reference_hwc.shape or high_hwc.dtype != np.uint8:
        raise UsageError(
            f"upscaling {name} {low_hwc.shape} gave {high_hwc.dtype} {high_hwc.shape}; expected uint8 "
            f"{reference_hwc.shape}: is the model of scale {scale}?"
        )
    baseline = measure(imresize(low_hwc, scale), reference_hwc, border=scale, metrics=metrics) if bicubic else None
    height, width = reference_hwc.shape[:2]
    model = measure(high_hwc, reference_hwc, border=scale, metrics=metrics)
    return ImageScore(name=name, width=width, height=height, model=model, bicubic=baseline)


def read_reference(path: Path, scale: int) -> NDArray[np.uint8]:
    """Read a picture as RGB uint8 and crop it at the bottom and right to a multiple of `scale`.

    Gray becomes three equal channels, 16 bits become 8 (rounded), an opaque alpha channel is dropped.

    Raises:
        ImageFileError: unreadable, too small to be scored, or partly transparent.
    """
    image = as_uint8(read_image(path))
    if channels_of(image) in (2, 4) and image[..., -1].min() < 255:
        raise ImageFileError(f"{path}: partly transparent; expected an opaque picture, flatten it on a background")
    reference_hwc = np.ascontiguousarray(crop_to_multiple(rgb_of(image), scale))
    height, width = reference_hwc.shape[:2]
    least = 2 * scale + SSIM_WINDOW
    if min(height, width) < least:
        raise ImageFileError(f"{path}: {width}x{height} pixels are too few; expected {least} or more on each side")
    return reference_hwc


def crop_to_multiple(image_hwc: NDArray[Any], scale: int) -> NDArray[Any]:
    """Cut at the bottom and right so that both sides are multiples of `scale` (`modcrop` of the literature)."""
    height, width = (side - side % scale for side in image_hwc.shape[:2])
    return image_hwc[:height, :width]


def reduce(reference_hwc: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The LR picture of a reference whose sides are multiples of `scale`."""
    height, width = reference_hwc.shape[:2]
    return imresize(reference_hwc, 1 / scale, output_size=(height // scale, width // scale))


def mean_quality(qualities: Iterable[Quality]) -> Quality:
    """Mean of each metric; None where it was not measured."""
    rows = list(qualities)
    columns = {metric: [getattr(row, metric) for row in rows] for metric in METRICS}
    return Quality(**{key: float(np.mean(column)) for key, column in columns.items() if column and None not in column})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return "inf" if value == math.inf else value
