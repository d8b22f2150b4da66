"""BMP: headers and samples. Source: Windows GDI, bitmap storage (BITMAPINFOHEADER to BITMAPV5HEADER)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats.base import INCH_M, Container, cut_off, damaged, is_gray

SIGNATURE = b"BM"
_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_PLAIN, _RLE8, _RLE4, _MASKS, _MASKS_WITH_ALPHA = 0, 1, 2, 3, 6
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the samples of a file are stored."""

    width: int
    height: int
    upside_down: bool
    """As most are: the last row comes first."""
    bits: int
    compression: int
    start: int
    palette: NDArray[np.uint8]
    """Colours x 3 (RGB); none when the pixels hold colours."""
    masks: tuple[int, int, int, int]
    """Bits of red, green, blue and alpha."""
    density: tuple[float, float] | None

    @property
    def row_bytes(self) -> int:
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def gray(self) -> bool:
        return len(self.palette) > 0 and is_gray(*(self.palette[:, channel].tobytes() for channel in range(3)))


def read_bmp(data: memoryview) -> Container:
    """Read a BMP's headers.

    Raises:
        ImageFileError: cut off, damaged, or of a kind that is not read.
        struct.error: cut off.
    """
    layout = _layout(data)
    return Container(
        format="bmp",
        width=layout.width,
        height=layout.height,
        channels=1 if layout.gray else 4 if layout.masks[3] else 3,
        palette=len(layout.palette) > 0 and not layout.gray,
        density=layout.density,
    )


def decode_bmp(data: memoryview) -> NDArray[np.uint8]:
    """H x W, H x W x 3 or H x W x 4 samples of a file that `read_bmp` has read.

    Raises:
        ImageFileError: its compressed pixels are cut off.
    """
    layout = _layout(data)
    if layout.compression in (_RLE8, _RLE4):
        pixels = _run_lengths(data, layout)
    else:
        rows = np.frombuffer(data, np.uint8, layout.row_bytes * layout.height, layout.start)
        rows = rows.reshape(layout.height, layout.row_bytes)
        pixels = _indices(rows, layout) if layout.bits <= 8 else _colours(rows, layout)
    if layout.upside_down:
        pixels = pixels[::-1]
    if layout.bits > 8:
        return np.ascontiguousarray(pixels)
    table = np.zeros((256, 3), np.uint8)  # numbers beyond the palette are black, as everywhere
    table[: len(layout.palette)] = layout.palette
    return table[:, 0][pixels] if layout.gray else table[pixels]


def _layout(data: memoryview) -> _Layout:
    start, size = struct.unpack_from("<II", data, 10)
    if size not in _HEADERS:
        raise damaged(f"BMP has no header of {size} bytes")
    compression, colours, density = _PLAIN, 0, None
    if size == 12:
        width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, planes, bits, compression, _, across, down, colours = struct.unpack_from("<iiHHIIiiI", data, 18)
        if across > 0 and down > 0:
            density = (across * INCH_M, down * INCH_M)
    if planes != 1 or width < 0:
        raise damaged(f"BMP has no {planes} planes of width {width}")
    allowed = {_PLAIN: {1, 2, 4, 8, 16, 24, 32}, _RLE8: {8}, _RLE4: {4}, _MASKS: {16, 32}, _MASKS_WITH_ALPHA: {16, 32}}
    if bits not in allowed.get(compression, ()) or (size == 64 and compression >= _MASKS):
        raise ImageFileError(
            f"it is BMP of {bits} bits and compression {compression}; expected another, so save it as PNG"
        )
    masks, tables = _masks(data, size, bits, compression)
    layout = _Layout(
        width=width,
        height=abs(height),
        upside_down=height > 0,
        bits=bits,
        compression=compression,
        start=start,
        palette=_palette(data, tables, 3 if size == 12 else 4, min(colours or 2**bits, 2**bits), start)
        if bits <= 8
        else np.zeros((0, 3), np.uint8),
        masks=masks,
        density=density,
    )
    stored = 1 if compression in (_RLE8, _RLE4) else layout.row_bytes * layout.height
    if start < tables or start + stored > len(data):
        raise cut_off(data)
    return layout


def _masks(data: memoryview, size: int, bits: int, compression: int) -> tuple[tuple[int, int, int, int], int]:
    """Masks of the colours, and where what follows the headers starts."""
    end = 14 + size
    if bits <= 8:
        return (0, 0, 0, 0), end
    if compression == _PLAIN:
        return _DEFAULT_MASKS[bits], end
    count = 4 if compression == _MASKS_WITH_ALPHA or size >= 56 else 3
    masks = struct.unpack_from(f"<{count}I", data, 54)
    if size == 40:
        end += 4 * count
    for mask in masks:
        if mask >> bits or mask & (mask + (mask & -mask)):
            raise damaged(f"BMP has a mask of {mask:#x} for {bits} bits")
    red, green, blue, alpha = (*masks, 0)[:4]
    return (red, green, blue, alpha), end


def _palette(data: memoryview, start: int, entry_bytes: int, count: int, end: int) -> NDArray[np.uint8]:
    count = min(count, max(0, end - start) // entry_bytes)
    if count < 1 or start + count * entry_bytes > len(data):
        raise cut_off(data)
    entries = np.frombuffer(data, np.uint8, count * entry_bytes, start).reshape(count, entry_bytes)
    return entries[:, [2, 1, 0]]


def _indices(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    """Numbers of colours, of which a byte has 8, 4, 2 or 1, the first in its highest bits."""
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    numbers = (rows[..., None] >> shifts) & np.uint8(2**layout.bits - 1)
    return numbers.reshape(layout.height, -1)[:, : layout.width]


def _colours(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    """H x W x 3 or 4 samples of pixels that hold them; fewer bits are spread over 0 to 255."""
    pixel_bytes = layout.bits // 8
    pixels = rows[:, : layout.width * pixel_bytes].reshape(layout.height, layout.width, pixel_bytes)
    masks = layout.masks if layout.masks[3] else layout.masks[:3]
    samples = np.empty((layout.height, layout.width, len(masks)), np.uint8)
    whole = {0xFF << 8 * byte: byte for byte in range(pixel_bytes)}
    words = None
    for channel, mask in enumerate(masks):
        if mask in whole:
            samples[..., channel] = pixels[..., whole[mask]]
            continue
        if words is None:
            words = np.ascontiguousarray(pixels).view(f"<u{pixel_bytes}")[..., 0].astype(np.uint32)
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        most = max(1, mask >> shift)
        values = ((words & np.uint32(mask)) >> np.uint32(shift)).astype(np.float64)
        samples[..., channel] = np.rint(values * (255 / most))
    return samples


def _run_lengths(data: memoryview, layout: _Layout) -> NDArray[np.uint8]:
    """Numbers of colours as stored; what is skipped is 0."""
    pixels = np.zeros((layout.height, layout.width), np.uint8)
    column, row, at, four = 0, 0, layout.start, layout.compression == _RLE4
    while row < layout.height:
        if at + 2 > len(data):
            raise cut_off(data)
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = (
                np.full(count, value, np.uint8)
                if not four
                else np.resize(np.array((value >> 4, value & 15), np.uint8), count)
            )
        elif value == 0:
            column, row = 0, row + 1
            continue
        elif value == 1:
            return pixels
        elif value == 2:
            if at + 2 > len(data):
                raise cut_off(data)
            column, row, at = column + data[at], row + data[at + 1], at + 2
            continue
        else:
            count, stored = value, (value + 1) // 2 if four else value
            if at + stored > len(data):
                raise cut_off(data)
            run = np.frombuffer(data, np.uint8, stored, at)
            if four:
                run = np.stack((run >> 4, run & 15), axis=-1).ravel()[:count]
            at += stored + stored % 2
        if column < layout.width:
            pixels[row, column : column + count] = run[: layout.width - column]
        column += count
    return pixels
