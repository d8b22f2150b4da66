"""The range of shapes for which an engine is built, and its text `MIN:OPT:MAX`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelIo
from repsr_deploy.runtimes.base import Limits

Dims = tuple[int, int, int, int]
_SHAPE = re.compile(r"(?:(?P<count>\d+)x(?P<channels>\d+)x)?(?P<height>\d+)x(?P<width>\d+)")


@dataclass(frozen=True)
class Shape:
    """One batch: images, and their sides in LR pixels."""

    count: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.count}x{self.height}x{self.width}"

    def dims(self, io: ModelIo, channels: int) -> Dims:
        """As a model of this io wants it: N x H x W x C for `image`, N x C x H x W otherwise."""
        if io == "image":
            return self.count, self.height, self.width, channels
        return self.count, channels, self.height, self.width

    @classmethod
    def of(cls, dims: Sequence[int], io: ModelIo) -> Self:
        """The shape with these `dims`."""
        count, height, width = (dims[axis] for axis in ((0, 1, 2) if io == "image" else (0, 2, 3)))
        return cls(count, height, width)

    def fits_in(self, other: Shape) -> bool:
        """Whether no side is larger than that of `other`."""
        return self.count <= other.count and self.height <= other.height and self.width <= other.width


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """An optimization profile: the engine takes every shape from `smallest` to `largest`, and is tuned for `usual`."""

    smallest: Shape
    usual: Shape
    largest: Shape

    def __post_init__(self) -> None:
        if min(self.smallest.count, self.smallest.height, self.smallest.width) < 1:
            raise UsageError(f"shape {self.smallest} has a side below 1; expected at least 1x1x1")
        if not (self.smallest.fits_in(self.usual) and self.usual.fits_in(self.largest)):
            raise UsageError(f"shapes {self} do not grow from MIN over OPT to MAX; expected that on every side")

    def __str__(self) -> str:
        return ":".join(map(str, self.all))

    @property
    def all(self) -> tuple[Shape, Shape, Shape]:
        """From the smallest to the largest."""
        return self.smallest, self.usual, self.largest

    @property
    def limits(self) -> Limits:
        """What an engine with this profile takes."""
        low, high = self.smallest, self.largest
        return Limits(count=(low.count, high.count), height=(low.height, high.height), width=(low.width, high.width))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MIN:OPT:MAX`, each `NxCxHxW` or `HxW` (one image), height first; one shape alone allows no other.

        Raises:
            UsageError: says what does not fit that syntax.
        """
        parts = text.split(":")
        if len(parts) not in (1, 3):
            raise _bad(text, f"has {len(parts)} parts")
        matches = [_SHAPE.fullmatch(part.strip()) for part in parts]
        for part, match in zip(parts, matches, strict=True):
            if match is None:
                raise _bad(text, f"has the part {part!r}")
            if match["channels"] not in (None, "1", "3"):
                raise _bad(text, f"has {match['channels']} channels; networks take 1 or 3")
        found = [match for match in matches if match is not None]
        if len({match["channels"] for match in found} - {None}) > 1:
            raise _bad(text, "mixes numbers of channels")
        shapes = [Shape(int(match["count"] or 1), int(match["height"]), int(match["width"])) for match in found]
        return cls(smallest=shapes[0], usual=shapes[len(shapes) // 2], largest=shapes[-1])


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        f"shapes {text!r}: {why}; expected MIN:OPT:MAX with each NxCxHxW or HxW, height first, "
        "such as 1x3x64x64:1x3x360x640:1x3x1080x1920, or one such shape"
    )


DEFAULT_SHAPES = Shapes(smallest=Shape(1, 1, 1), usual=Shape(1, 360, 640), largest=Shape(1, 1080, 1920))
"""Every single image up to Full HD: larger ones are tiled into it, none is too small."""
