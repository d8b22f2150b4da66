"""Tiles of the kernel and the work that they are: the sizes of `NetworkPlan` in csrc/fused_network.cuh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repsr_kernels.errors import UsageError

Precision = Literal["fp16", "int8"]

WARPS = 12
STRIPS = (2, 3, 4, 6)
"""Choices: divisors of the number of warps whose columns exceed their margins."""
STRIP = 16
"""Columns: rows of an A operand."""
_GUARD = 256  # bytes
PIXEL_BYTES: dict[Precision, int] = {"fp16": 32, "int8": 16}
_ROW_MMAS: dict[Precision, int] = {"fp16": 3 * 3 * 2, "int8": 3 * 2 * 2}
"""Of 16 pixels x 16 outputs from 16 channels: rows of taps, steps of K for a row, halves of 8 channels. In int8 a step
of K = 32 is two taps, and a row of three is two steps."""
_HEAD_MMAS: dict[Precision, int] = {"fp16": 3 * 2, "int8": 3 * 2}
"""A row of four pixels of four channels is one step of K = 16; half of one in int8."""


@dataclass(frozen=True)
class Tile:
    """What a block makes at once."""

    strips: int
    """Strips of 16 columns that the layers compute; the tile is narrower by the margins."""
    rows: int
    """Of the tile, LR pixels."""


def margin(body: int) -> int:
    """Pixels around a tile that the first layer makes; it reads one more."""
    return body + 1


def tile_columns(body: int, tile: Tile) -> int:
    """Columns of a tile, LR pixels."""
    return STRIP * tile.strips - 2 * margin(body)


def shared_bytes(body: int, tile: Tile, precision: Precision = "fp16") -> int:
    """Two buffers of activations, the second one two rows smaller, and guards around them."""
    row = STRIP * tile.strips * PIXEL_BYTES[precision]
    rows = tile.rows + 2 * margin(body)
    return (2 * rows - 2) * row + 3 * _GUARD


def best_tile(body: int, limit_bytes: int, precision: Precision = "fp16") -> Tile:
    """The one that computes least beside its own pixels at scale 2, whatever the image.

    Raises:
        UsageError: none fits.
    """
    return min(_largest(body, limit_bytes, precision), key=lambda tile: overhead(2, body, tile, precision))


def chosen_tile(
    scale: int,
    body: int,
    limit_bytes: int,
    multiprocessors: int,
    height: int,
    width: int,
    precision: Precision = "fp16",
) -> Tile:
    """The one with which the busiest multiprocessor has least to do for an image of LR pixels.

    Raises:
        UsageError: none fits.
    """
    fitting = [
        Tile(tile.strips, rows)
        for tile in _largest(body, limit_bytes, precision)
        for rows in range(1, min(tile.rows, height) + 1)
    ]

    def work(tile: Tile) -> int:
        down, across = tiles_of(body, tile, height, width)
        return ceil_divided(down * across, multiprocessors) * tile_mmas(scale, body, tile, precision)

    return min(fitting, key=work)


def _largest(body: int, limit_bytes: int, precision: Precision) -> list[Tile]:
    """For each number of strips."""
    fitting = [tile for strips in STRIPS if (tile := tallest_tile(body, limit_bytes, strips, precision)) is not None]
    if not fitting:
        raise UsageError(f"{limit_bytes} bytes of shared memory hold no tile of a network with {body} + 2 layers")
    return fitting


def tallest_tile(body: int, limit_bytes: int, strips: int, precision: Precision = "fp16") -> Tile | None:
    """The one with so many strips; None where none fits, or margins leave no column of it."""
    row = shared_bytes(body, Tile(strips, 2), precision) - shared_bytes(body, Tile(strips, 1), precision)
    rows = (limit_bytes - shared_bytes(body, Tile(strips, 0), precision)) // row
    return Tile(strips, rows) if rows >= 1 and STRIP * strips > 2 * margin(body) else None


def tiles_of(body: int, tile: Tile, height: int, width: int) -> tuple[int, int]:
    """Tiles of an image of LR pixels, down and across."""
    return ceil_divided(height, tile.rows), ceil_divided(width, tile_columns(body, tile))


def layer_mmas(scale: int, body: int, precision: Precision = "fp16") -> list[int]:
    """Matrix products of each layer for 16 pixels of a row."""
    tail = ceil_divided(3 * scale**2, 16) * _ROW_MMAS[precision]
    return [_HEAD_MMAS[precision]] + [_ROW_MMAS[precision]] * body + [tail]


def layer_rows(body: int, tile: Tile) -> list[int]:
    """Rows that each layer makes for a tile."""
    return [tile.rows + 2 * (margin(body) - layer) for layer in range(body + 2)]


def tile_mmas(scale: int, body: int, tile: Tile, precision: Precision = "fp16") -> int:
    """Matrix products for a whole tile."""
    pairs = zip(layer_mmas(scale, body, precision), layer_rows(body, tile), strict=True)
    return tile.strips * sum(mmas * rows for mmas, rows in pairs)


def overhead(scale: int, body: int, tile: Tile, precision: Precision = "fp16") -> float:
    """Matrix products of a tile, over those that its own pixels would need without margins."""
    own = tile.rows * tile_columns(body, tile) / STRIP
    return tile_mmas(scale, body, tile, precision) / (own * sum(layer_mmas(scale, body, precision)))


def ceil_divided(number: int, divisor: int) -> int:
    """The whole number that is not less than the quotient."""
    return -(-number // divisor)
