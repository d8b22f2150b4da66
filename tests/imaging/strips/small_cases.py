"""Small pictures and a small model, cut into strips of a few rows as large ones are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from repsr_deploy.imaging.strips import StripsOutcome, upscale_strips
from repsr_deploy.imaging.upscaler import Progress, Upscaler
from repsr_deploy.runtimes import open_runtime
from tests.runtimes.models import plain_model, spec_of

BLOCK_BYTES = 5000
"""Tiles of 16 x 16, and a few of them in a block, for pictures of some 60 pixels."""


@cache
def upscaler_of(scale: int = 2, colour: Any = "rgb", seed: int = 0) -> Upscaler:
    """A small plain network."""
    return Upscaler(open_runtime(plain_model(spec_of(scale, 1, 4, colour), seed).SerializeToString(), "onnxruntime"))


def image_of(height: int, width: int, channels: int, dtype: Any = np.uint8, seed: int = 0) -> Any:
    """Random samples H x W x C; an alpha has places that are invisible, opaque and between."""
    random = np.random.default_rng(seed)
    image = random.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)
    if channels in (2, 4):
        image[height // 4 : height // 2, :, -1] = 0
        image[height // 2 :, width // 3 :, -1] = np.iinfo(dtype).max
    return image


def write_tiff(path: Path, image_hwc: Any, **options: Any) -> Path:
    """By another library."""
    channels = image_hwc.shape[2]
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if channels > 1:
        options["planarconfig"] = "contig"
    tifffile.imwrite(
        path,
        image_hwc if channels > 1 else image_hwc[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        metadata=None,
        **options,
    )
    return path


def run(
    source: Path,
    target: Path,
    upscaler: Upscaler | None = None,
    *,
    progress: Progress | None = None,
    restart: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> StripsOutcome:
    """In small strips."""
    return upscale_strips(
        source, target, upscaler or upscaler_of(), progress=progress, restart=restart, block_bytes=block_bytes
    )
