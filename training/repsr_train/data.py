"""Photographs as training crops: decoded once, reduced as MATLAB does, cropped at random without any state to save."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.files import sha256
from repsr_deploy.imaging.image_file import FORMATS, read_image
from repsr_deploy.metrics.evaluate import crop_to_multiple, reduce
from repsr_deploy.metrics.resize import imresize

Uint8 = NDArray[np.uint8]

LOSSY_TARGET_SIDE = 1600
"""Long side in pixels towards which a JPEG photograph is reduced, which removes its compression traces."""


@dataclass(frozen=True)
class Pair:
    """One photograph, uint8 RGB: HR H x W x 3 with sides divisible by the scale, LR H/s x W/s x 3."""

    name: str
    hr_hwc: Uint8
    lr_hwc: Uint8


@dataclass(frozen=True)
class PhotoSet:
    """Photographs of a folder, ready for use."""

    pairs: tuple[Pair, ...]
    fingerprint: str
    """Hash over the content of every file used."""
    unreadable: tuple[str, ...]
    """One line for each file that could not be used."""


def list_photographs(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted by path.

    Raises:
        UsageError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; expected a folder with photographs")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS and path.is_file())
    if not paths:
        raise UsageError(f"no photographs in {folder}; expected files with {', '.join(sorted(FORMATS))}")
    return paths


def lossy_reduction(data: bytes, long_side: int) -> int:
    """By how much to reduce a photograph before use: 1 for lossless files, 2 to 4 for large JPEG files."""
    if not data.startswith(b"\xff\xd8\xff") or long_side < LOSSY_TARGET_SIDE:
        return 1
    return min(4, max(2, round(long_side / LOSSY_TARGET_SIDE)))


def load_photographs(folder: Path, scale: int, report: Callable[[str], None] = lambda _: None) -> PhotoSet:
    """Decode all photographs below `folder` and make their LR versions, on all cores.

    A damaged file is named, left out and listed in the result; gray photographs become RGB, alpha is dropped.

    Raises:
        UsageError: no folder, or no readable photograph in it.
    """
    paths = list_photographs(folder)
    pairs: list[Pair] = []
    hashes: list[str] = []
    unreadable: list[str] = []

    def prepare(path: Path) -> tuple[Pair, str] | ImageFileError:
        try:
            data = path.read_bytes()
            return _make_pair(str(path.relative_to(folder)), data, read_image(path), scale), sha256(data)
        except OSError as error:
            return ImageFileError(f"cannot read {path}: {error.strerror or error}")
        except ImageFileError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, result in zip(paths, pool.map(prepare, paths), strict=True):
            if isinstance(result, ImageFileError):
                unreadable.append(str(result))
                report(f"left out: {result}")
            else:
                pairs.append(result[0])
                hashes.append(f"{path.relative_to(folder).as_posix()} {result[1]}")
    if not pairs:
        raise UsageError(f"none of the {len(paths)} files in {folder} is a readable photograph; first: {unreadable[0]}")
    return PhotoSet(tuple(pairs), sha256(json.dumps(hashes).encode())[:16], tuple(unreadable))


def _make_pair(name: str, data: bytes, image: NDArray[Any], scale: int) -> Pair:
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    image_hwc = np.ascontiguousarray(image[..., :3], dtype=np.uint8)
    reduction = lossy_reduction(data, max(image_hwc.shape[:2]))
    if reduction > 1:
        image_hwc = imresize(image_hwc, Fraction(1, reduction))
    hr_hwc = crop_to_multiple(image_hwc, scale)
    if min(hr_hwc.shape[:2]) < 8 * scale:
        raise ImageFileError(f"{name} is {image.shape[1]}x{image.shape[0]}, too small to train on")
    return Pair(name, hr_hwc, hr_hwc if scale == 1 else reduce(hr_hwc, scale))


class CropSampler:
    """Random crops with flips and rotations, drawn in proportion to the photographs' areas.

    A batch depends on (seed, step) alone, so training resumes bit for bit without saving any random state.
    """

    def __init__(self, pairs: Sequence[Pair], *, scale: int, patch: int, batch: int, seed: int) -> None:
        self.pairs = [pair for pair in pairs if min(pair.lr_hwc.shape[:2]) >= patch]
        if not self.pairs:
            raise UsageError(
                f"no photograph is {patch} LR pixels wide and high (patch={patch}, scale {scale}); use a smaller patch"
            )
        self.scale, self.patch, self.batch, self.seed = scale, patch, batch, seed
        areas = np.array([pair.lr_hwc.shape[0] * pair.lr_hwc.shape[1] for pair in self.pairs], np.float64)
        self.weights = areas / areas.sum()

    def draw(self, step: int) -> tuple[Uint8, Uint8]:
        """The crops of a step: LR N x 3 x P x P and HR N x 3 x sP x sP, uint8."""
        random = np.random.default_rng((self.seed, step))
        lr_nchw = np.empty((self.batch, 3, self.patch, self.patch), np.uint8)
        hr_nchw = np.empty((self.batch, 3, self.patch * self.scale, self.patch * self.scale), np.uint8)
        for slot, index in enumerate(random.choice(len(self.pairs), size=self.batch, p=self.weights)):
            pair = self.pairs[index]
            top, left = (int(random.integers(side - self.patch + 1)) for side in pair.lr_hwc.shape[:2])
            turns, mirror = int(random.integers(4)), bool(random.integers(2))
            for source, target, factor in ((pair.lr_hwc, lr_nchw, 1), (pair.hr_hwc, hr_nchw, self.scale)):
                rows = slice(top * factor, (top + self.patch) * factor)
                columns = slice(left * factor, (left + self.patch) * factor)
                crop = np.rot90(source[rows, columns], turns)
                target[slot] = (crop[:, ::-1] if mirror else crop).transpose(2, 0, 1)
        return lr_nchw, hr_nchw
