"""Large pictures, read from top to bottom through libvips: no more than a few rows of them are in memory."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import ImageFileError, RuntimeUnavailableError
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.strips.header import form_of, tiff_block
from repsr_deploy.imaging.strips.metadata import Metadata, metadata_of
from repsr_deploy.imaging.strips.tiff import Tag
from repsr_deploy.imaging.strips.turn import TURNS, Turn
from repsr_deploy.imaging.tiling import Span

log = logging.getLogger(__name__)

_ROWS_AT_ONCE_BYTES = 4 * 2**20
_MOST_PART_BYTES = 2**28  # of what libvips reads at once: two rows of tiles, or a strip as it is compressed
_UNCOMPRESSED = 1
_COLOURS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3}
_TYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}


@dataclass(frozen=True, kw_only=True)
class LargePicture:
    """A picture file that can be read in strips."""

    path: Path
    width: int
    """As stored."""
    height: int
    turn: Turn
    """From stored to seen."""
    channels: int
    """1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    dtype: np.dtype[Any]
    """uint8 or uint16."""

    @property
    def pixel_bytes(self) -> int:
        """Of one pixel."""
        return self.channels * self.dtype.itemsize

    def strips(self, spans: Sequence[Span]) -> Generator[Image]:
        """The rows of each span, H x W x C. Spans may overlap; neither their starts nor their ends go back.

        To be used up in one thread, as libvips demands.

        Raises:
            ImageFileError: damaged, or cut off.
        """
        import pyvips

        with _opened(self.path) as image:
            region = pyvips.Region.new(image)
            window, top = self._empty(0), 0
            for first, last in spans:
                strip = self._empty(last - first)
                known = window[first - top :]
                strip[: len(known)] = known
                self._read(region, first + len(known), strip[len(known) :])
                window, top = strip, first
                yield strip

    def metadata(self, scale: int) -> Metadata:
        """What is kept of it for a picture `scale` times as large, as seen.

        Raises:
            ImageFileError: it cannot be read.
        """
        with _opened(self.path) as image:
            return metadata_of(self.path, image, self.turn, scale)

    def _empty(self, rows: int) -> Image:
        return np.empty((rows, self.width, self.channels), self.dtype)

    def _read(self, region: Any, top: int, out: Image) -> None:
        step = max(1, _ROWS_AT_ONCE_BYTES // (self.width * self.pixel_bytes))
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            samples = region.fetch(0, top + start, self.width, len(rows))
            rows[...] = np.frombuffer(samples, self.dtype).reshape(rows.shape)


def open_large(path: Path) -> LargePicture:
    """Look at a picture file.

    Raises:
        RuntimeUnavailableError: libvips is not installed.
        ImageFileError: missing, no PNG, TIFF or JPEG, damaged, or of a kind that cannot be read in strips.
    """
    path = Path(path)
    with _opened(path) as image:
        refusal = _refusal(image) or (_tiff_refusal(path) if image.get("vips-loader").startswith("tiff") else None)
        if refusal:
            raise ImageFileError(f"{path} cannot be read in strips: {refusal}")
        if image.get_typeof("palette"):
            log.warning("%s has a palette: it becomes RGB", path)
        if image.get_typeof("n-pages") and image.get("n-pages") > 1:
            log.warning("%s has %d pictures: only the first is used", path, image.get("n-pages"))
        orientation = image.get("orientation") if image.get_typeof("orientation") else 1
        return LargePicture(
            path=path, width=image.width, height=image.height, turn=TURNS.get(orientation, TURNS[1]),
            channels=image.bands, dtype=_TYPES[image.format],
        )  # fmt: skip


def _refusal(image: Any) -> str | None:
    """Why a picture cannot be read in strips."""
    colours = _COLOURS.get(image.interpretation)
    if image.format not in _TYPES or colours is None:
        kind = f"{image.interpretation}, {image.format}"
        return f"its samples are {kind}; expected gray or RGB of 8 or 16 bits, so convert it"
    if image.bands not in (colours, colours + 1):
        return f"it has {image.bands} samples a pixel; expected {colours}, or {colours + 1} with an alpha"
    if image.get_typeof("interlaced"):
        return "it is interlaced or progressive, and each row needs the whole file; save it without that"
    if image.get_typeof("tile-height"):
        row_bytes = image.width * image.bands * _TYPES[image.format].itemsize * image.get("tile-height")
        if row_bytes > _MOST_PART_BYTES:
            return f"a row of its tiles takes {row_bytes >> 20} MiB; expected {_MOST_PART_BYTES >> 20} at most"
    return None


def _tiff_refusal(path: Path) -> str | None:
    """Why a TIFF file's strips cannot be read by rows: libvips holds one, as it is compressed, as a whole."""
    try:
        with tiff_block(path) as block:
            main = block.directory(block.first)
            compressed = block.number(main, Tag.COMPRESSION, _UNCOMPRESSED) != _UNCOMPRESSED
            longest = max(block.numbers(main, Tag.STRIP_BYTE_COUNTS, (0,)))
    except (OSError, ValueError, struct.error, ImageFileError) as error:
        return f"its first directory is damaged ({error}); copy or download it again"
    if compressed and longest > _MOST_PART_BYTES:
        return (
            f"one of its strips has {longest >> 20} MiB, compressed; expected {_MOST_PART_BYTES >> 20} at most, so "
            "save it with more strips, or with tiles"
        )
    return None


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Any]:
    """A file as an image of libvips, which reads it when it is asked for pixels."""
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise RuntimeUnavailableError(
            f"large pictures need libvips ({error}); install it with `pip install repsr-deploy[large]`"
        ) from error
    pyvips.cache_set_max(0)  # operations that libvips would keep, and with them rows and files
    try:
        # by descriptor: libvips takes brackets at the end of a name for options, and only names in UTF-8
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ImageFileError(f"cannot read {path}: {error.strerror}; expected a readable image file") from error
    try:
        source = pyvips.Source.new_from_descriptor(descriptor)
        load = getattr(pyvips.Image, f"{_form(descriptor, path)}load_source")
        yield load(source, access="sequential", fail_on="error", unlimited=True)
    except pyvips.Error as error:
        raise ImageFileError(f"cannot read {path}: {_said(error)}; copy or download it again") from error
    finally:
        os.close(descriptor)


def _form(descriptor: int, path: Path) -> str:
    start = os.pread(descriptor, 8, 0)
    form = form_of(start)
    if form is None:
        raise ImageFileError(
            f"cannot read {path} in strips: it starts with {start!r}; expected a PNG, TIFF or JPEG file"
        )
    return form


def _said(error: Exception) -> str:
    """The last line that a library gave for it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
