"""Which kernel an operation takes, and over which grid."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from repsr_kernels.operations import Crop, FusedUpsample, Preprocess
from repsr_kernels.params import PADDINGS, SKIPS, TYPES
from repsr_kernels.tensors import ITEM_BYTES, Tensor, Type
from repsr_kernels.variants import (
    BLOCK,
    PICTURE_PIXELS,
    VIDEO_PIXELS,
    fused_variant,
    grid_of,
    usual_variants,
    variant_of,
)
from repsr_kernels.yuv import YuvColour, YuvFrame


class Memory:
    """Addresses that nobody touches, one behind the other."""

    def __init__(self) -> None:
        self._next = 4096

    def tensor(self, type: Type, shape: tuple[int, int, int, int], *, interleaved: bool = False) -> Tensor:  # noqa: A002
        """Rows behind each other."""
        _, channels, height, width = shape
        image = channels * height * width
        strides = (image, 1, width * channels, channels) if interleaved else (image, height * width, width, 1)
        address = self._next
        self._next += -(-shape[0] * image * ITEM_BYTES[type] // 256) * 256
        return Tensor(address, type, shape, strides)

    def frame(self, type: Type, count: int, height: int, width: int) -> YuvFrame:  # noqa: A002
        """NV12 or P010."""
        chroma = (count, 2, -(-height // 2), -(-width // 2))
        luma = self.tensor(type, (count, 1, height, width))
        return YuvFrame(luma, self.tensor(type, chroma, interleaved=True), colour=YuvColour(matrix="bt709"))


def fused(
    *, scale: int = 2, count: int = 1, height: int = 10, width: int = 10, channels: int = 3, interleaved: bool = False,
    video: Type | None = None, **options: Any,
) -> FusedUpsample:  # fmt: skip
    memory, crop = Memory(), options.get("crop") or Crop(top=0, left=0, rows=height, columns=width)
    rows, columns = crop.rows * scale, crop.columns * scale
    features = memory.tensor("fp16", (count, channels * scale**2, height, width), interleaved=interleaved)
    image = memory.tensor("uint8", (count, channels, height, width)) if options.get("skip", "none") != "none" else None
    out = (
        memory.frame(video, count, rows, columns) if video else memory.tensor("bf16", (count, channels, rows, columns))
    )
    return FusedUpsample(features=features, image=image, out=out, scale=scale, **options)


def preprocess(*, rows: int = 10, columns: int = 10, count: int = 1, video: Type | None = None) -> Preprocess:
    memory = Memory()
    source = memory.frame(video, count, 6, 6) if video else memory.tensor("uint8", (count, 1, 6, 6))
    return Preprocess(
        source=source, out=memory.tensor("fp32", (count, 3, rows, columns), interleaved=True), padding="wrap"
    )  # fmt: skip


def test_the_constants_of_fused_upsample() -> None:
    assert dict(variant_of(fused(scale=3, skip="bilinear")).constants) == {
        "scale": 3, "channels": 3, "pixels": PICTURE_PIXELS[3], "features": TYPES["fp16"], "planar": 1,
        "skip": SKIPS["bilinear"], "image": TYPES["uint8"], "out": TYPES["bf16"], "video": 0,
    }  # fmt: skip
    video = dict(variant_of(fused(scale=2, interleaved=True, video="uint16")).constants)
    assert (video["planar"], video["image"], video["out"], video["video"]) == (0, -1, TYPES["uint16"], 10)


def test_the_constants_of_preprocess() -> None:
    assert dict(variant_of(preprocess()).constants) == {
        "pixels": 8, "out": TYPES["fp32"], "planar": 0, "video": 0, "padding": PADDINGS["wrap"],
    }  # fmt: skip
    assert dict(variant_of(preprocess(video="uint8")).constants)["video"] == 8


def test_the_text_of_a_variant() -> None:
    variant = variant_of(fused(scale=2))
    lines = variant.text.splitlines()
    assert lines[0] == f"#define REPSR_NAME {variant.name}"
    assert lines[1:4] == ["#define REPSR_SCALE 2", "#define REPSR_CHANNELS 3", "#define REPSR_PIXELS 8"]
    assert "#define REPSR_IMAGE -1" in lines
    assert lines[-1] == '#include "fused_upsample.cu"'
    assert len(lines) == 2 + len(variant.constants)


def test_every_variant_has_a_name_of_its_own() -> None:
    variants = usual_variants()
    assert len({variant.name for variant in variants}) == len(set(variants)) == len(variants)
    none, first = (
        fused_variant(scale=2, channels=3, features="fp16", planar=True, skip=1, image=image, out="uint8", video=0)
        for image in (None, "fp16")
    )
    assert none.name != first.name
    assert all(re.fullmatch(r"[a-z]\w+", variant.name) for variant in (*variants, none))


def threads(operation: FusedUpsample | Preprocess) -> tuple[int, int, int]:
    """Along each axis."""
    grid, block = grid_of(operation)
    assert block == BLOCK
    return grid[0] * block[0], grid[1] * block[1], grid[2] * block[2]


@pytest.mark.parametrize("seed", range(20))
def test_enough_threads_and_not_a_block_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, count, height, width = (int(rng.integers(low, high)) for low, high in ((1, 5), (1, 9), (1, 300), (1, 2000)))
    crop = Crop(top=0, left=0, rows=int(rng.integers(1, height + 1)), columns=int(rng.integers(1, width + 1)))
    for video in (None, "uint8"):
        operation = fused(scale=scale, count=count, height=height, width=width, crop=crop, video=video)
        x, y, z = threads(operation)
        rows = crop.rows if video is None else -(-crop.rows * scale // 2)
        pixels = (PICTURE_PIXELS if video is None else VIDEO_PIXELS)[scale]
        assert 0 <= x * pixels - crop.columns < 32 * pixels
        assert 0 <= y - rows < 4
        assert z == count


def test_rows_and_columns_of_a_networks_input() -> None:
    assert grid_of(preprocess(rows=9, columns=257, count=2)) == ((2, 3, 2), BLOCK)
    assert grid_of(preprocess(rows=8, columns=256, video="uint8")) == ((1, 2, 1), BLOCK)


def test_grids_have_limits() -> None:
    assert grid_of(preprocess(rows=4 * 65536, columns=1))[0] == (1, 65535, 1)
    assert grid_of(preprocess(rows=1, columns=1, count=70000))[0] == (1, 1, 65535)
