"""Shape ranges: text, order, layouts, limits."""

from __future__ import annotations

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelIo
from repsr_deploy.runtimes.base import Limits
from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES, Shape, Shapes


@pytest.mark.parametrize(
    ("text", "smallest", "usual", "largest"),
    [
        ("1x3x64x48:2x3x360x640:4x3x1080x1920", (1, 64, 48), (2, 360, 640), (4, 1080, 1920)),
        ("64x48:360x640:1080x1920", (1, 64, 48), (1, 360, 640), (1, 1080, 1920)),
        (" 8x9 : 2x1x8x9 : 2x1x10x11 ", (1, 8, 9), (2, 8, 9), (2, 10, 11)),
        ("360x640", (1, 360, 640), (1, 360, 640), (1, 360, 640)),
        ("8x3x360x640", (8, 360, 640), (8, 360, 640), (8, 360, 640)),
    ],
)
def test_text(text: str, smallest: tuple[int, ...], usual: tuple[int, ...], largest: tuple[int, ...]) -> None:
    assert Shapes.parse(text).all == (Shape(*smallest), Shape(*usual), Shape(*largest))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the part ''"),
        ("64x64:128x128", "has 2 parts"),
        ("64x64:128x128:256x256:512x512", "has 4 parts"),
        ("64:128:256", "has the part '64'"),
        ("3x64x64", "has the part '3x64x64'"),
        ("64x-1", "has the part '64x-1'"),
        ("64*64", "has the part"),
        ("1x4x64x64", "has 4 channels; networks take 1 or 3"),
        ("1x3x8x8:1x1x9x9:1x3x10x10", "mixes numbers of channels"),
        ("0x64", "has a side below 1"),
        ("0x3x64x64", "has a side below 1"),
        ("64x64:32x128:256x256", "do not grow from MIN over OPT to MAX"),
        ("64x64:128x128:127x256", "do not grow from MIN over OPT to MAX"),
        ("2x3x64x64:1x3x128x128:4x3x128x256", "do not grow"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shapes.parse(text)


@pytest.mark.parametrize("io", ["float", "image", "features"])
def test_dims_and_back(io: ModelIo) -> None:
    shape = Shape(5, 36, 64)
    assert shape.dims(io, 3) == ((5, 36, 64, 3) if io == "image" else (5, 3, 36, 64))
    assert Shape.of(shape.dims(io, 1), io) == shape


def test_limits_are_the_ends() -> None:
    limits = Shapes.parse("2x3x5x7:3x3x36x64:4x3x108x192").limits
    assert limits == Limits(count=(2, 4), height=(5, 108), width=(7, 192))


def test_no_single_image_is_too_small_by_default() -> None:
    assert DEFAULT_SHAPES.smallest == Shape(1, 1, 1)
    assert str(DEFAULT_SHAPES) == "1x1x1:1x360x640:1x1080x1920"
