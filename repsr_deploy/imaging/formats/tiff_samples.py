"""Image of a TIFF: its blocks are inflated one by one and put together here, whatever their layout.

libtiff (in Pillow) inflates what Python cannot, as rows of plain bytes: so there is one definition of what samples
mean, and a block that is cut off or damaged is an error, not gray. Sources: as in `tiff`.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from repsr_deploy.imaging.formats import tiff
from repsr_deploy.imaging.formats.base import damaged
from repsr_deploy.imaging.formats.ifd import Value, directory_bytes, longs, shorts
from repsr_deploy.imaging.formats.tiff import Layout
from repsr_deploy.imaging.samples import Image

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels


def decode_tiff(data: memoryview) -> Image:
    """H x W or H x W x C samples (gray, gray and alpha, RGB, RGB and alpha) of a file that `read_tiff` has read.

    Raises:
        ImageFileError: its blocks are damaged, or do not fit together.
    """
    layout = tiff.layout_of(data)
    stored = _stored(data, layout)
    if layout.codec_values is None:
        return _colours(stored, layout)
    if layout.photometric == tiff.CMYK:
        return _rgb_of_inks(stored)
    return np.ascontiguousarray(stored[..., 0] if stored.shape[2] == 1 else stored)


def _stored(data: memoryview, layout: Layout) -> Image:
    """H x W x samples, as stored; fewer than 8 bits are a byte each, and blocks that are pictures are decoded."""
    samples = layout.samples
    if layout.codec_values is not None and layout.photometric != tiff.CMYK:
        samples = layout.channels
    result = np.empty((layout.height, layout.width, samples), np.uint16 if layout.bits == 16 else np.uint8)
    planes = layout.samples if layout.separate else 1
    width, height = layout.block_width, layout.block_height
    if not width or not height:
        raise damaged("TIFF has strips or tiles without pixels")
    across, down = -(-layout.width // width), -(-layout.height // height)
    if len(layout.blocks) < across * down * planes:
        raise damaged(f"TIFF has {len(layout.blocks)} strips or tiles, expected {across * down * planes}")
    number = 0
    for plane in range(planes):
        channels = slice(plane, plane + 1) if layout.separate else slice(None)
        for top in range(0, layout.height, height):
            rows = height if layout.tiled else min(height, layout.height - top)
            for left in range(0, layout.width, width):
                start, length = layout.blocks[number]
                number += 1
                decode = _block if layout.codec_values is None else _picture_block
                block = decode(data[start : start + length], layout, rows)
                target = result[top : top + rows, left : left + width, channels]
                target[...] = block[: target.shape[0], : target.shape[1]]
    return result


def _block(stored: memoryview, layout: Layout, rows: int) -> Image:
    """Rows x block width x samples of one strip or tile."""
    samples = 1 if layout.separate else layout.samples
    row_bytes = (layout.block_width * samples * layout.bits + 7) // 8
    flat = np.frombuffer(_inflated(stored, layout, rows, row_bytes), np.uint8, rows * row_bytes)
    if layout.bits < 8:
        shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
        numbers = (flat.reshape(rows, row_bytes, 1) >> shifts) & np.uint8(2**layout.bits - 1)
        return numbers.reshape(rows, -1, 1)[:, : layout.block_width]
    block = flat.view(f"{layout.order}u2").astype(np.uint16) if layout.bits == 16 else flat
    block = block.reshape(rows, layout.block_width, samples)
    return np.cumsum(block, axis=1, dtype=block.dtype) if layout.differences else block


def _inflated(stored: memoryview, layout: Layout, rows: int, row_bytes: int) -> bytes | memoryview:
    """At least rows x row_bytes bytes."""
    expected = rows * row_bytes
    if layout.reversed_bits:
        stored = memoryview(np.packbits(np.unpackbits(np.frombuffer(stored, np.uint8), bitorder="little")).tobytes())
    if layout.compression == tiff.NONE:
        content: bytes | memoryview = stored
    elif layout.compression in (tiff.DEFLATE, tiff.OLD_DEFLATE):
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(stored, expected)
            stream.decompress(stream.unconsumed_tail, 1)  # the checksum at the end
        except zlib.error as error:
            raise damaged(f"a TIFF strip or tile does not inflate ({error})") from error
    else:
        content = _by_libtiff(stored, layout.compression, rows, row_bytes)
    if len(content) < expected:
        raise damaged(f"a TIFF strip or tile has {len(content)} bytes, expected {expected}")
    return content


def _by_libtiff(stored: memoryview, compression: int, rows: int, row_bytes: int) -> bytes:
    """A block inflated as if it were a gray picture of its bytes."""
    values = {258: shorts("<", 8), 262: shorts("<", tiff.MIN_IS_BLACK), 277: shorts("<", 1)}
    return _decoded(stored, compression, row_bytes, rows, values, "L").tobytes()


def _picture_block(stored: memoryview, layout: Layout, rows: int) -> Image:
    """Rows x block width x channels of a strip or tile that is a picture."""
    if layout.compression == tiff.JPEG and not bytes(stored[-16:]).rstrip(b"\0").endswith(b"\xff\xd9"):
        raise damaged("a JPEG in a TIFF strip or tile has no end")  # libjpeg fills it with gray
    mode = "CMYK" if layout.photometric == tiff.CMYK else _MODES[layout.channels]
    image = _decoded(stored, layout.compression, layout.block_width, rows, layout.codec_values or {}, mode)
    return image.reshape(rows, layout.block_width, -1)


def _decoded(stored: memoryview, compression: int, width: int, rows: int, values: dict[int, Value], mode: str) -> Image:
    """A block as a TIFF of its own, decoded by libtiff: samples of a mode of Pillow."""
    from repsr_deploy.imaging.formats.tiff_block import BlockFile

    values = values | {
        256: longs("<", width), 257: longs("<", rows), 259: shorts("<", compression), 273: longs("<", 8),
        278: longs("<", rows), 279: longs("<", len(stored)),
    }  # fmt: skip
    at = 8 + len(stored)
    file = b"".join((b"II*\0", struct.pack("<I", at), stored, directory_bytes(values, at, "<")))
    try:
        with BlockFile(io.BytesIO(file)) as picture:
            return np.asarray(picture if picture.mode == mode else picture.convert(mode))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError) as error:
        raise damaged(f"a TIFF strip or tile cannot be decoded ({error})") from error


def _colours(stored: Image, layout: Layout) -> Image:
    """What samples mean."""
    colours, alpha = stored[..., : layout.colours], layout.alpha
    full_scale = 65535 if layout.bits == 16 else 2**layout.bits - 1
    if layout.photometric == tiff.PALETTE:
        table = np.array(layout.palette, np.uint16).reshape(3, -1).T
        table = table.astype(np.uint8) if table.max(initial=0) < 256 else (table >> 8).astype(np.uint8)
        colours = table[colours[..., 0]][..., : layout.channels - (alpha is not None)]
    elif layout.photometric == tiff.CMYK:
        colours = _rgb_of_inks(colours)
    else:
        if layout.photometric == tiff.MIN_IS_WHITE:
            colours = np.subtract(full_scale, colours, dtype=stored.dtype)
        if layout.bits < 8:
            colours = colours * np.uint8(255 // full_scale)
    if alpha is None:
        return np.ascontiguousarray(colours[..., 0] if colours.shape[2] == 1 else colours)
    opacity = stored[..., alpha : alpha + 1]
    if layout.premultiplied:
        colours = _divided(colours, opacity)
    return np.concatenate((colours, opacity), axis=-1)


def _rgb_of_inks(inks: Image) -> Image:
    """Red, green and blue of light that cyan, magenta, yellow and black let through."""
    full_scale = int(np.iinfo(inks.dtype).max)
    result = np.empty((*inks.shape[:2], 3), inks.dtype)
    for row, stored in zip(result, inks, strict=True):
        light = full_scale - stored.astype(np.uint32)
        row[...] = (light[..., :3] * light[..., 3:] + full_scale // 2) // full_scale
    return result


def _divided(colours: Image, opacity: Image) -> Image:
    """Colours that have been multiplied by alpha, without it; where nothing is seen they are black."""
    full_scale = int(np.iinfo(colours.dtype).max)
    result = np.empty_like(colours)
    for row, stored, weights in zip(result, colours, opacity, strict=True):
        divisor = np.maximum(weights, 1).astype(np.uint32)
        row[...] = np.minimum((stored * np.uint32(full_scale) + divisor // 2) // divisor, full_scale)
    return result
