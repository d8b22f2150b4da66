"""How good trained networks are: PSNR and SSIM on test sets, and the error of flat regions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.checkpoint import load_checkpoint, load_tensors
from repsr_deploy.errors import UsageError
from repsr_deploy.folding.fold import folded
from repsr_deploy.imaging.image_file import FORMATS
from repsr_deploy.metrics import quality
from repsr_deploy.metrics.evaluate import Upscale, mean_quality, read_reference
from repsr_deploy.metrics.quality import Metric, Quality
from repsr_deploy.metrics.resize import imresize
from repsr_deploy.nets.network import Network
from repsr_train.degradations.eight import KINDS, Kind, degraded, noise_seed
from repsr_train.folder import CHECKPOINT
from repsr_train.state import STATE
from repsr_train.study.catalogue import Measure, Weights
from repsr_train.study.flat import flat_square_sum
from repsr_train.validation import upscale

Uint8 = NDArray[np.uint8]

METRICS: tuple[Metric, ...] = ("psnr_y", "ssim_y", "psnr_rgb")


@dataclass(frozen=True)
class Picture:
    """A test picture: RGB of uint8, sides of the reference divisible by the scale."""

    name: str
    reference_hwc: Uint8
    lr_hwc: Uint8


Conditions = dict[str, list[Picture]]
"""Name of a test set, with the degradation if there are several -> its pictures."""


@dataclass(frozen=True)
class Score:
    """On one test set in one condition."""

    mean: Quality
    """Means over the pictures."""
    images: dict[str, Quality]
    """By name of the picture."""
    flat_error: float | None
    """Error of flat regions (`flat.py`), root mean square over all, levels of 255; None where there are none."""

    def value(self, measure: Measure) -> float | None:
        """One measure."""
        return self.flat_error if measure == "flat_error" else getattr(self.mean, measure)


def read_conditions(tests: Mapping[str, Path], scale: int, *, degradations: bool) -> Conditions:
    """The pictures of test sets (name -> folder), reduced by MATLAB's bicubic or in each of the eight degradations.

    Raises:
        UsageError: a folder without pictures.
        ImageFileError: a picture cannot be read or is too small.
    """
    kinds: Sequence[Kind] = KINDS if degradations else ("clean",)
    conditions: Conditions = {}
    for test, folder in tests.items():
        references = {path.name: read_reference(path, scale) for path in _pictures(folder)}
        for kind in kinds:
            conditions[f"{test} {kind}" if degradations else test] = [
                Picture(name, reference_hwc, degraded(reference_hwc, scale, kind, noise_seed(name, kind)))
                for name, reference_hwc in references.items()
            ]
    return conditions


def _pictures(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in FORMATS and path.is_file())
    if not paths:
        raise UsageError(f"no pictures in {folder}; expected a folder with {', '.join(sorted(FORMATS))}")
    return paths


def trained_network(folder: Path, weights: Weights) -> Network:
    """The multi-branch network of a finished run, in evaluation mode.

    Raises:
        ModelFileError: its files cannot be read.
    """
    net, _ = load_checkpoint(folder / CHECKPOINT)
    if weights == "last":
        tensors, _ = load_tensors(folder / STATE)
        net.load_state_dict({key.removeprefix("net."): tensors[key] for key in tensors if key.startswith("net.")})
    return net


def upscale_with(net: Network) -> Upscale:
    """Enlarge whole pictures with `net`, folded: uint8 H x W x 3 -> sH x sW x 3."""
    plain = folded(net)

    @torch.no_grad()
    def run(lr_hwc: Uint8) -> Uint8:
        return upscale(plain, lr_hwc)

    return run


def bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic enlargement."""
    return lambda lr_hwc: imresize(lr_hwc, scale)


def score(enlarge: Upscale, pictures: Sequence[Picture]) -> Score:
    """Measure a way of enlarging, by the protocol of `repsr_deploy.metrics.evaluate`."""
    images: dict[str, Quality] = {}
    total, tiles = 0.0, 0
    for picture in pictures:
        output_hwc = enlarge(picture.lr_hwc)
        scale = picture.reference_hwc.shape[0] // picture.lr_hwc.shape[0]
        images[picture.name] = quality.measure(output_hwc, picture.reference_hwc, border=scale, metrics=METRICS)
        square_sum, count = flat_square_sum(output_hwc, picture.reference_hwc)
        total, tiles = total + square_sum, tiles + count
    return Score(mean_quality(images.values()), images, math.sqrt(total / tiles) if tiles else None)
