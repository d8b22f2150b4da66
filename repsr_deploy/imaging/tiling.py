"""Even tiles that overlap by a model's halo, so that tiled and untiled output are the same picture. Pure arithmetic.

A tile is computed from its own pixels plus the halo around them, cut off at the image's border: there the network meets
its own zero padding, as it does on the whole image. Inside, what the padding spoils lies in the halo and is cropped.
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


def plan_tiles(height: int, width: int, *, tile: int, halo: int) -> list[Tile]:
    """Cover an image with ceil(size / tile) tiles along each side, whose sizes differ by at most one pixel.

    Raises:
        UsageError: `tile` is below `MIN_TILE`.
    """
    checked_tile(tile)
    tiles: list[Tile] = []
    for top, bottom in _even_spans(height, tile):
        for left, right in _even_spans(width, tile):
            source = Box(max(top - halo, 0), max(left - halo, 0), min(bottom + halo, height), min(right + halo, width))
            tiles.append(Tile(Box(top, left, bottom, right), source))
    return tiles


def checked_tile(tile: int) -> int:
    """`tile` itself.

    Raises:
        UsageError: it is below `MIN_TILE`.
    """
    if tile < MIN_TILE:
        raise UsageError(f"tile is {tile} pixels; expected at least {MIN_TILE}, or none for automatic")
    return tile


def tile_for_budget(budget_bytes: int, *, bytes_per_pixel: int, halo: int) -> int:
    """The tile side to use: `FAST_TILE`, or what the source, halo included, may have of `budget_bytes` if that is less.

    It is never below `MIN_TILE`.
    """
    return max(MIN_TILE, min(FAST_TILE, math.isqrt(budget_bytes // bytes_per_pixel) - 2 * halo))


def _even_spans(size: int, longest: int) -> list[tuple[int, int]]:
    count = math.ceil(size / longest)
    return list(pairwise(index * size // count for index in range(count + 1)))
