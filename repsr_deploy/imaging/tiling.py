"""Even tiles that overlap by a model's halo, so that tiled and untiled output are the same picture. Pure arithmetic.

A tile is computed from its own pixels plus the halo around them, or more, but never from beyond the image's border:
there the network meets its own zero padding, as it does on the whole image. Inside, what the padding spoils lies in the
halo and is cropped. All tiles of a plan are computed from equally many pixels, because a runtime prepares
kernels or graphs for each shape that it meets: OpenVINO takes 2 to 5 ms and memory for every new one. ONNX Runtime,
which does not, pays with 2 % more pixels (1920 x 1080, M4C16).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from repsr_deploy.errors import UsageError

MIN_TILE = 16
"""Smallest tile side, LR pixels: below, most of the work is halo."""
FAST_TILE = 320
"""Tile side when none is asked for: its features stay in the processor's cache, its halo is little work. Two threads,
RepSR-M4C16, 1920x1080, time against the untiled network: x2 0.99 at 192, 0.89 at 320, 1.05 at 768; x4 1.01 to 1.06."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of an H x W array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def pixels(self) -> int:
        """Area."""
        return (self.bottom - self.top) * (self.right - self.left)

    def scaled(self, scale: int) -> Box:
        """The same rectangle in an image `scale` times as large."""
        return Box(self.top * scale, self.left * scale, self.bottom * scale, self.right * scale)

    def within(self, outer: Box) -> Box:
        """The same rectangle in the coordinates of `outer`."""
        return Box(
            self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left
        )  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One piece of work, in LR pixels."""

    core: Box
    """What the tile yields. The cores of a plan cover every pixel once."""
    source: Box
    """What it is computed from: the core and its halo, cut off at the image's border."""

    @property
    def crop(self) -> Box:
        """The core within the source."""
        return self.core.within(self.source)


Span = tuple[int, int]
"""Where pixels start and end along one side; the end is exclusive."""
BUILD_OTHERWISE = (
    "build it for other shapes (`repsr-fuse export --shape MIN:OPT:MAX`), or take a runtime without limits"
)


def plan_tiles(
    height: int,
    width: int,
    *,
    tile: int,
    halo: int,
    least: tuple[int, int] = (1, 1),
    most: tuple[int, int] | None = None,
) -> list[Tile]:
    """Cover an image with as few tiles along each side as `tile` and `most` allow; sizes differ by a pixel at most.

    Args:
        tile: longest side of a core.
        halo: how far the network looks; no source is cut closer to its core, but at the image's border.
        least: fewest (rows, columns) that a source may have.
        most: most (rows, columns); None for any number.

    Raises:
        UsageError: `tile` is below `MIN_TILE`; the image is smaller than `least`; `most` leaves too little beside halo.
    """
    checked_tile(tile)
    if height < least[0] or width < least[1]:
        raise UsageError(
            f"image is {width} x {height} pixels, and the engine was built for at least {least[1]} x {least[0]}; "
            f"{BUILD_OTHERWISE}"
        )
    row_limit, column_limit = most or (height, width)
    return [
        Tile(Box(core_top, core_left, core_bottom, core_right), Box(top, left, bottom, right))
        for (core_top, core_bottom), (top, bottom) in _spans(height, tile, halo, least[0], row_limit)
        for (core_left, core_right), (left, right) in _spans(width, tile, halo, least[1], column_limit)
    ]


def checked_tile(tile: int) -> int:
    """`tile` itself.

    Raises:
        UsageError: it is below `MIN_TILE`.
    """
    if tile < MIN_TILE:
        raise UsageError(f"tile is {tile} pixels; expected at least {MIN_TILE}, or none for automatic")
    return tile


def tile_for_budget(budget_bytes: int, *, bytes_per_pixel: int, halo: int, longest: int = FAST_TILE) -> int:
    """The tile side to use: `longest`, or what the source, halo included, may have of `budget_bytes` if that is less.

    It is never below `MIN_TILE`.
    """
    return max(MIN_TILE, min(longest, math.isqrt(budget_bytes // bytes_per_pixel) - 2 * halo))


def _spans(size: int, tile: int, halo: int, least: int, most: int) -> list[tuple[Span, Span]]:
    """Each core and its source along one side of an image."""
    if size > most:
        if most - 2 * halo < MIN_TILE:
            raise UsageError(
                f"the engine was built for at most {most} pixels, which leaves a tile {max(0, most - 2 * halo)} beside "
                f"the {halo} that it overlaps with each neighbour; expected {MIN_TILE} or more: {BUILD_OTHERWISE}"
            )
        tile = min(tile, most - 2 * halo)
    count = math.ceil(size / tile)
    cores = list(pairwise(index * size // count for index in range(count + 1)))
    longest = math.ceil(size / count)
    source = min(size, max(longest + 2 * halo, least))
    starts = [min(max(start - halo, 0), size - source) for start, _ in cores]
    return [(core, (start, start + source)) for core, start in zip(cores, starts, strict=True)]
