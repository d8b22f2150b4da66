"""The rectangles in which a frame is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repsr_kernels.errors import UsageError
from repsr_kernels.operations import Crop


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle that the network computes at once, in LR pixels of the frame."""

    core: Crop
    """What it yields."""
    source: Crop
    """What it is computed from: the core, and around it as much as the network sees, but at the frame's border."""

    @property
    def crop(self) -> Crop:
        """The core within the source."""
        return within(self.core, self.source)


def within(part: Crop, outer: Crop) -> Crop:
    """The same rectangle in the coordinates of another."""
    return Crop(top=part.top - outer.top, left=part.left - outer.left, rows=part.rows, columns=part.columns)


def whole(height: int, width: int) -> tuple[Tile]:
    """A frame in one piece."""
    everything = Crop(top=0, left=0, rows=height, columns=width)
    return (Tile(core=everything, source=everything),)


def yielded(tiles: Sequence[Tile]) -> Crop:
    """The rectangle that tiles yield together."""
    top, left = min(tile.core.top for tile in tiles), min(tile.core.left for tile in tiles)
    bottom = max(tile.core.top + tile.core.rows for tile in tiles)
    right = max(tile.core.left + tile.core.columns for tile in tiles)
    return Crop(top=top, left=left, rows=bottom - top, columns=right - left)


def checked_tiles(tiles: Sequence[Tile], height: int, width: int) -> tuple[Tile, ...]:
    """Tiles that can be computed one like the other and leave no pixel of what they yield unwritten.

    Raises:
        UsageError: none, sources of different sizes or beyond the frame, a core beyond its source, cores that overlap
            or leave gaps.
    """
    if not tiles:
        raise UsageError("no tiles; expected one at least")
    frame, like = Crop(top=0, left=0, rows=height, columns=width), tiles[0].source
    for tile in tiles:
        if (tile.source.rows, tile.source.columns) != (like.rows, like.columns):
            raise UsageError(
                f"tiles are computed from {like.rows} x {like.columns} and {tile.source.rows} x {tile.source.columns} "
                "pixels; expected equally many"
            )
        for name, part, outer in (("source", tile.source, frame), ("core", tile.core, tile.source)):
            if not _lies_in(part, outer):
                raise UsageError(f"{name} {part} of a tile does not lie in {outer}")
    _check_cover(tiles)
    return tuple(tiles)


def _lies_in(part: Crop, outer: Crop) -> bool:
    inner = within(part, outer)
    rows, columns = (inner.top, inner.top + inner.rows), (inner.left, inner.left + inner.columns)
    return 0 <= rows[0] < rows[1] <= outer.rows and 0 <= columns[0] < columns[1] <= outer.columns


def _check_cover(tiles: Sequence[Tile]) -> None:
    """Every pixel of what is yielded once: counted between the lines along which cores are cut."""
    cores = [tile.core for tile in tiles]
    rows = sorted({line for core in cores for line in (core.top, core.top + core.rows)})
    columns = sorted({line for core in cores for line in (core.left, core.left + core.columns)})
    times = np.zeros((len(rows), len(columns)), np.int64)
    for core in cores:
        down = slice(rows.index(core.top), rows.index(core.top + core.rows))
        across = slice(columns.index(core.left), columns.index(core.left + core.columns))
        times[down, across] += 1
    if (times[:-1, :-1] != 1).any():
        raise UsageError(f"the cores of {len(tiles)} tiles overlap or leave gaps; expected every pixel once")
