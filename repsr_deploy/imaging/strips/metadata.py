"""What a large picture's file says beside the samples, as tags of the TIFF file of the result."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats import exif, xmp
from repsr_deploy.imaging.formats.ifd import ASCII, BYTE, RATIONAL, SHORT, UNDEFINED, Block, Directory, Value
from repsr_deploy.imaging.profile import fitting_profile
from repsr_deploy.imaging.strips.geo import is_georeferenced, scaled_georeference
from repsr_deploy.imaging.strips.header import tiff_block
from repsr_deploy.imaging.strips.tiff import Tag, numbers
from repsr_deploy.imaging.strips.turn import TURNS, Turn

log = logging.getLogger(__name__)

_FRACTIONS = {RATIONAL, RATIONAL + 5}  # the latter signed
_MOVED = {exif.EXIF_IFD, exif.GPS_IFD, exif.INTEROPERABILITY_IFD}
_SHAPES = (b'{"shape"', b"ImageJ=", b"<?xml", b"<OME")  # descriptions by which programs know the size
_INCH, _MM_PER_INCH = 2, 25.4
_MOST_DENSITY, _FINEST_DENSITY = 400_000, 10_000


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Tags, little-endian."""

    main: dict[int, Value] = field(default_factory=dict[int, Value])
    """Of the picture's directory."""
    inner: dict[int, dict[int, Value]] = field(default_factory=dict[int, dict[int, Value]])
    """Of the directories to which it points, by the tags that do."""


def metadata_of(path: Path, image: Any, turn: Turn, scale: int) -> Metadata:
    """What is kept for the picture as seen, `scale` times as large; what is damaged is left out, which is logged.

    Args:
        image: the file as libvips has opened it.
    """

    def data(name: str) -> bytes | None:
        return image.get(name) if image.get_typeof(name) else None

    is_tiff = image.get("vips-loader").startswith("tiff")
    size = turn.size(image.width * scale, image.height * scale)
    main, inner = _described(path, _tiff_exif(path) if is_tiff else data("exif-data"), size)
    packet = data("xmp-data")
    renewed = xmp.renewed(packet, *size) if packet else None
    if packet and renewed is None:
        log.warning("%s: its XMP metadata is damaged and is left out", path)
    profile = fitting_profile(data("icc-profile-data"), image.bands, str(path))
    for tag, kind, value in ((exif.XMP, BYTE, renewed), (exif.ICC, UNDEFINED, profile)):
        if value is not None:
            main[tag] = Value(kind, len(value), value)
    if image.get_typeof("resolution-unit") or image.xres != 1:  # libvips has 1 where nothing is stated
        density = (image.yres, image.xres) if turn.transposed else (image.xres, image.yres)
        main |= _density(*(per_mm * _MM_PER_INCH for per_mm in density))
    if is_tiff:
        main |= _georeference(path, turn, scale)
    return Metadata(main=main, inner=inner)


def _tiff_exif(path: Path) -> bytes | None:
    """What a TIFF file says about its picture, as an Exif block."""
    with tiff_block(path) as block:
        try:
            return exif.block_of_tiff(block, block.directory(block.first))
        except (struct.error, ImageFileError):
            log.warning("%s has damaged Exif tags, which are left out", path)
            return None


def _georeference(path: Path, turn: Turn, scale: int) -> dict[int, Value]:
    """Where on Earth the pixels of a TIFF file lie."""
    with tiff_block(path) as block:
        try:
            directory = block.directory(block.first)
            if not is_georeferenced(directory):
                return {}
            if turn == TURNS[1]:
                return scaled_georeference(block, directory, scale)
            log.warning("%s says where on Earth it lies, which is left out, as the picture is turned", path)
        except (struct.error, ValueError, ImageFileError):
            log.warning("%s has damaged GeoTIFF tags, which are left out", path)
    return {}


def _described(
    path: Path, block: bytes | None, size: tuple[int, int]
) -> tuple[dict[int, Value], dict[int, dict[int, Value]]]:
    """What an Exif block says, for a file in which it does not stand at the start.

    Returns:
        As in `Metadata`. Makers' notes are kept as they are, although some point to places in the block.
    """
    if block is None:
        return {}, {}
    try:
        renewed = exif.renewed(bytes(exif.without_prefix(memoryview(block))), *size)
        if renewed is not None:
            return _tags(Block.of(memoryview(renewed)))
    except (struct.error, ImageFileError):
        pass
    log.warning("%s: its Exif metadata is damaged and is left out", path)
    return {}, {}


def _tags(block: Block) -> tuple[dict[int, Value], dict[int, dict[int, Value]]]:
    directory = block.directory(block.first)
    main = _little_endian(block, directory, exif.STORAGE)
    description = main.get(Tag.IMAGE_DESCRIPTION)
    if description is not None and description.kind == ASCII and description.data.startswith(_SHAPES):
        del main[Tag.IMAGE_DESCRIPTION]
    inner = {
        tag: _little_endian(block, block.directory(block.number(directory, tag)), _MOVED)
        for tag in (exif.EXIF_IFD, exif.GPS_IFD)
        if tag in directory.entries
    }
    return main, {tag: values for tag, values in inner.items() if values}


def _little_endian(block: Block, directory: Directory, without: frozenset[int] | set[int]) -> dict[int, Value]:
    values: dict[int, Value] = {}
    for tag, entry in directory.entries.items():
        if tag not in without and entry.count:
            value = block.value(entry)
            unit = len(value.data) // value.count // (2 if value.kind in _FRACTIONS else 1)
            data = np.frombuffer(value.data, f"{block.order}u{unit}").astype(f"<u{unit}").tobytes()
            values[tag] = Value(value.kind, value.count, data)
    return values


def _density(across: float, down: float) -> dict[int, Value]:
    """Pixels an inch."""
    values = {Tag.RESOLUTION_UNIT: numbers(SHORT, _INCH)}
    for tag, density in ((Tag.X_RESOLUTION, across), (Tag.Y_RESOLUTION, down)):
        fraction = Fraction(min(density, _MOST_DENSITY)).limit_denominator(_FINEST_DENSITY)
        values[tag] = numbers(RATIONAL, fraction.numerator, fraction.denominator)
    return {**values}
