"""What workers of the tests are given; imported by name in other processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from PIL import Image as PillowImage

from repsr_deploy.imaging.batch import BatchOptions
from repsr_deploy.imaging.upscaler import Upscaler


class Shelf(LocalFileSystem):
    """A shared file system that is reached by URL alone: shelf://tmp/x is the file /tmp/x."""

    protocol = ("shelf",)

    @classmethod
    def _strip_protocol(cls, path: str, *args: object, **kwargs: object) -> str:
        return "/" + str(path).removeprefix("shelf://").strip("/")


register_implementation("shelf", Shelf, clobber=True)


def prepare(model: Path | None) -> tuple[Upscaler, BatchOptions]:
    """The shipped model."""
    assert model is not None
    return Upscaler(model, runtime="onnxruntime", threads=1), BatchOptions(skip_existing=True)


def prepare_nothing(model: Path | None) -> tuple[Upscaler, BatchOptions]:
    """A defect."""
    raise ValueError(f"cannot prepare {model}")


def write_picture(path: Path, seed: int, size: tuple[int, int] = (21, 17)) -> Path:
    """Random pixels in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    PillowImage.fromarray(pixels).save(path)
    return path
