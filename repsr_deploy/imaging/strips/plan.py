"""What a large picture is cut into: strips of rows to read, blocks of them to upscale, tiles to store; arithmetic.

A block is upscaled from its own pixels and the model's halo around them, so that the blocks make the same picture as
the whole at once (`repsr_deploy.imaging.tiling`). Blocks lie on the grid of the result's tiles, so that each gives
whole ones. They are cut from the picture as it is stored, and turned before they are upscaled: tiles may be written in
any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.strips.turn import TURNS, Turn
from repsr_deploy.imaging.tiling import Box, Span, Tile

BLOCK_BYTES = 48 * 2**20
"""Memory for a strip of the picture, and for a block of the result; three of each may be held at a time."""
TILE_SIDE = 256
"""Side of a tile of the result, about, where the picture is no band of a few pixels."""
MOST_STRIP_BYTES = 2**28
"""Where rows are so wide that a strip cannot be as small as a block."""
_TILES_OF_A_BLOCK = 16  # at least, if its memory is to be made use of
_TIFF_UNIT = 16  # sides of TIFF tiles are multiples (TIFF 6.0, section 15)
_UPRIGHT = TURNS[1]
_Side = tuple[Span, Span]  # a core, and what it is computed from


@dataclass(frozen=True)
class Block:
    """What is upscaled at once."""

    stored: Box
    """Where its samples are in the picture as stored: core and halo."""
    tile: Tile
    """The same as seen: which pixels it yields, and from which."""


@dataclass(frozen=True)
class Strip:
    """Rows of the picture as stored, and the blocks that are made of them."""

    core: Span
    """The rows that it yields."""
    rows: Span
    """Those from which it is computed."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a picture is cut."""

    tile_width: int
    """Of the result as seen, pixels."""
    tile_length: int
    strips: tuple[Strip, ...]
    """From top to bottom as stored."""

    @property
    def blocks(self) -> list[Block]:
        """All, in the order in which they are made."""
        return [block for strip in self.strips for block in strip.blocks]

    def rows_done(self, done: int) -> int:
        """Rows of the picture as stored that are done with the first so many blocks."""
        for strip in self.strips:
            done -= len(strip.blocks)
            if done < 0:
                return strip.core[0]
        return self.strips[-1].core[1]


def plan_strips(
    width: int,
    height: int,
    *,
    pixel_bytes: int,
    scale: int,
    halo: int,
    turn: Turn = _UPRIGHT,
    least: tuple[int, int] = (1, 1),
    block_bytes: int = BLOCK_BYTES,
) -> Plan:
    """Cut a picture so that a strip of it and a block of the result take at most `block_bytes`, where tiles allow it.

    Args:
        width: of the picture as stored, as is `height`.
        pixel_bytes: of one pixel of the picture, and of the result.
        turn: from stored to seen.
        least: fewest (rows, columns) as seen that a block may be computed from, as far as the picture has them.

    Raises:
        ImageFileError: rows too wide for strips; the message names no file.
    """
    least_rows, least_columns = least[::-1] if turn.transposed else least
    row_bytes, made_bytes = width * pixel_bytes, pixel_bytes * scale**2
    tile_width, tile_length = _tile_size(width, height, pixel_bytes, scale, halo, block_bytes)
    rows_step, columns_step = tile_length // scale, tile_width // scale
    narrowest = min(columns_step + 2 * halo, width)
    row_limit = block_bytes // max(row_bytes, narrowest * made_bytes) - 2 * halo
    rows = _whole_steps(row_limit, rows_step, least_rows)
    tallest = min(rows + 2 * halo, height)
    columns = _whole_steps(block_bytes // (tallest * made_bytes) - 2 * halo, columns_step, least_columns)
    if tallest * row_bytes > MOST_STRIP_BYTES:
        raise ImageFileError(
            f"{tallest} rows of it, the fewest that can be upscaled at once, take {tallest * row_bytes >> 20} MiB; "
            f"expected at most {MOST_STRIP_BYTES >> 20}, so cut it into narrower pictures"
        )
    rows_back, columns_back = turn.rows_back, turn.columns_back
    if turn.transposed:
        rows_back, columns_back = columns_back, rows_back

    def block(rows: _Side, columns: _Side) -> Block:
        core, source = (Box(row[0], column[0], row[1], column[1]) for row, column in zip(rows, columns, strict=True))
        return Block(source, Tile(turn.box(core, width, height), turn.box(source, width, height)))

    across = _sides(width, columns, halo, least_columns, backwards=columns_back)
    down = _sides(height, rows, halo, least_rows, backwards=rows_back)
    seen_width, seen_length = turn.size(tile_width, tile_length)
    return Plan(
        tile_width=seen_width,
        tile_length=seen_length,
        strips=tuple(Strip(*side, tuple(block(side, column) for column in across)) for side in down),
    )


def _tile_size(
    width: int, height: int, pixel_bytes: int, scale: int, halo: int, block_bytes: int
) -> tuple[int, int]:  # fmt: skip
    """(width, length) of a tile of the result as stored; on both sides steps of the TIFF unit and of the scale.

    Less long where rows are so wide that a strip of the usual tiles would take too much; of a narrow band longer.
    """
    unit = math.lcm(_TIFF_UNIT, scale)
    small_part = math.isqrt(block_bytes // _TILES_OF_A_BLOCK // pixel_bytes)
    side = max(unit, min(TILE_SIDE, small_part) // unit * unit)
    affordable = (block_bytes // (width * pixel_bytes) - 2 * halo) * scale
    length = min(side, _rounded_up(height * scale, unit), max(unit, affordable // unit * unit))
    tile_width = min(_rounded_up(width * scale, unit), side**2 // length // unit * unit)
    if tile_width < side:
        length = min(_rounded_up(height * scale, unit), side**2 // tile_width // unit * unit)
    return tile_width, length


def _rounded_up(value: int, unit: int) -> int:
    return math.ceil(value / unit) * unit


def _whole_steps(limit: int, step: int, least: int) -> int:
    """The most steps below `limit`, one at least and no fewer than `least` pixels."""
    return max(limit // step, math.ceil(least / step), 1) * step


def _sides(size: int, step: int, halo: int, least: int, *, backwards: bool) -> list[_Side]:
    """Each core and its source along one side of the picture; the steps begin at its end when it is seen backwards."""
    sides: list[_Side] = []
    for start in range(0, size, step):
        core = (start, min(start + step, size))
        first, last = max(core[0] - halo, 0), min(core[1] + halo, size)
        if last - first < least:
            first = max(0, min(first, size - least))
            last = min(size, max(last, first + least))
        sides.append((core, (first, last)))
    if not backwards:
        return sides
    return [((size - core[1], size - core[0]), (size - last, size - first)) for core, (first, last) in reversed(sides)]
