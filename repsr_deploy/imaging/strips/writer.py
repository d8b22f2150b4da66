"""The result: a TIFF file of tiles, deflated after horizontal differencing. Source: TIFF 6.0, sections 14 and 15."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from repsr_deploy.imaging.formats import exif
from repsr_deploy.imaging.formats.ifd import LONG, SHORT, Value
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.strips.metadata import Metadata
from repsr_deploy.imaging.strips.tiff import Tag, numbers, pack_directory, pack_header, position
from repsr_deploy.imaging.strips.workplace import Workplace
from repsr_deploy.imaging.tiling import Box

_LEVEL = 1
"""Of photographs, six enlarged ones of Kodak: level 6 makes 3 % less of them, and takes 5 times as long."""
_DEFLATE, _DIFFERENCES, _CONTIGUOUS, _UNSIGNED = 8, 2, 1, 1  # by number, as the fields of a file say it
_BLACK_IS_ZERO, _RGB, _UNASSOCIATED_ALPHA = 1, 2, 2
_CLASSIC_BYTES = 2**32


@dataclass(frozen=True, kw_only=True)
class TiledTiff:
    """Form of a picture in tiles."""

    width: int
    height: int
    channels: int
    """1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    dtype: np.dtype[Any]
    """uint8 or uint16."""
    tile_width: int
    tile_length: int

    @property
    def across(self) -> int:
        """Tiles side by side."""
        return math.ceil(self.width / self.tile_width)

    @property
    def count(self) -> int:
        """Of tiles."""
        return self.across * math.ceil(self.height / self.tile_length)

    @property
    def raw_bytes(self) -> int:
        """Of all samples, before they are deflated."""
        return self.count * self.tile_width * self.tile_length * self.channels * self.dtype.itemsize

    @property
    def big(self) -> bool:
        """Whether it is a BigTIFF: when classic TIFF, of 4 GB, might not hold the tiles and what is said of them."""
        return self.raw_bytes * 1.01 + 64 * self.count + 2**26 > _CLASSIC_BYTES

    def tiles(self, box: Box) -> list[tuple[int, Box]]:
        """Numbers of the tiles that a box of whole ones has, row by row, and where they are, within the picture."""
        return [
            (
                top // self.tile_length * self.across + left // self.tile_width,
                Box(top, left, min(top + self.tile_length, box.bottom), min(left + self.tile_width, box.right)),
            )
            for top in range(box.top, box.bottom, self.tile_length)
            for left in range(box.left, box.right, self.tile_width)
        ]

    def deflated(self, block_hwc: Image, box: Box, pool: Executor) -> list[bytes]:
        """The tiles of a block as they stand in the file, in the order of `tiles`.

        Args:
            block_hwc: the samples of `box`.
        """
        return list(pool.map(self._deflated, (block_hwc[tile.within(box).slices] for _, tile in self.tiles(box))))

    def _deflated(self, tile_hwc: Image) -> bytes:
        height, width = tile_hwc.shape[:2]
        differences = np.zeros((self.tile_length, self.tile_width, self.channels), self.dtype.newbyteorder("<"))
        differences[:height, :width] = tile_hwc
        differences[:height, 1:width] -= tile_hwc[:, :-1]
        return zlib.compress(differences.data, _LEVEL)

    def header(self, first: int = 0) -> bytes:
        """Start of the file; without the position of the directory, of a file that is not whole."""
        return pack_header(first, big=self.big)

    def values(self, offsets: Sequence[int], lengths: Sequence[int]) -> dict[int, Value]:
        """What the file says about the samples, given where each tile stands."""
        colours = 1 if self.channels < 3 else 3
        extra = {Tag.EXTRA_SAMPLES: numbers(SHORT, _UNASSOCIATED_ALPHA)} if self.channels > colours else {}
        return {
            Tag.IMAGE_WIDTH: numbers(LONG, self.width),
            Tag.IMAGE_LENGTH: numbers(LONG, self.height),
            Tag.BITS_PER_SAMPLE: numbers(SHORT, *[8 * self.dtype.itemsize] * self.channels),
            Tag.COMPRESSION: numbers(SHORT, _DEFLATE),
            Tag.PHOTOMETRIC: numbers(SHORT, _RGB if colours == 3 else _BLACK_IS_ZERO),
            exif.ORIENTATION: numbers(SHORT, 1),
            Tag.SAMPLES_PER_PIXEL: numbers(SHORT, self.channels),
            Tag.PLANAR_CONFIGURATION: numbers(SHORT, _CONTIGUOUS),
            Tag.PREDICTOR: numbers(SHORT, _DIFFERENCES),
            Tag.TILE_WIDTH: numbers(LONG, self.tile_width),
            Tag.TILE_LENGTH: numbers(LONG, self.tile_length),
            Tag.TILE_OFFSETS: position(*offsets, big=self.big),
            Tag.TILE_BYTE_COUNTS: position(*lengths, big=self.big),
            Tag.SAMPLE_FORMAT: numbers(SHORT, *[_UNSIGNED] * self.channels),
            **extra,
        }


def complete(form: TiledTiff, boxes: Sequence[Box], workplace: Workplace, metadata: Metadata) -> None:
    """Make a file of the tiles: append what is said of them, and point to it.

    Args:
        boxes: of all blocks of the result, in the order in which they were appended.
    """
    tiles = [number for box in boxes for number, _ in form.tiles(box)]
    written = [length for block in workplace.blocks for length in block]
    starts = itertools.accumulate(written, initial=len(form.header()))
    offsets, lengths = [0] * form.count, [0] * form.count
    for number, start, length in zip(tiles, starts, written, strict=False):
        offsets[number], lengths[number] = start, length
    values = metadata.main | form.values(offsets, lengths)
    for tag, directory in metadata.inner.items():
        values[tag] = position(_append(workplace, directory, big=form.big), big=form.big)
    workplace.patch(form.header(_append(workplace, values, big=form.big)))


def _append(workplace: Workplace, values: Mapping[int, Value], *, big: bool) -> int:
    """Where a directory stands, at the next even place of the file."""
    at = workplace.write([])
    padding = at % 2
    workplace.write([bytes(padding), pack_directory(values, at + padding, big=big)])
    return at + padding
