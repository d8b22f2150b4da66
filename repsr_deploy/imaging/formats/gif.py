"""GIF: blocks. Source: GIF89a (CompuServe), sections 17 to 27."""

from __future__ import annotations

import struct

from repsr_deploy.imaging.formats.base import MAX_PARTS, Container, cut_off, damaged, is_gray, too_many_parts

SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_CONTROL = 0xF9


def read_gif(data: memoryview) -> Container:
    """Walk a GIF to its end; the last byte, which says that it is the end, may be missing.

    Raises:
        ImageFileError: cut off or damaged.
        struct.error, IndexError: cut off.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13
    palette = _palette(data, position, flags)
    position += len(palette)
    images, transparent, gray = 0, False, True
    for _ in range(MAX_PARTS):
        if images and position == len(data):
            break
        kind = data[position]
        if kind == _END:
            break
        if kind == _EXTENSION:
            if data[position + 1] == _CONTROL and not images and data[position + 2] == 4:
                transparent = bool(data[position + 3] & 1)
            position = _behind_blocks(data, position + 2)
        elif kind == _IMAGE:
            left, top, columns, rows, local = struct.unpack_from("<HHHHB", data, position + 1)
            own = _palette(data, position + 10, local)
            if not images:
                width, height = max(width, left + columns), max(height, top + rows)
                used = bytes(own or palette)
                gray = is_gray(used[::3], used[1::3], used[2::3])
            images += 1
            position = _behind_blocks(data, position + 11 + len(own))
        else:
            raise damaged(f"GIF has no block {kind:#x}")
    else:
        raise too_many_parts("GIF blocks")
    if not images:
        raise damaged("it has no picture")
    return Container(
        format="gif",
        width=width,
        height=height,
        channels=(1 if gray else 3) + transparent,
        animated=images > 1,
        palette=not gray,
    )


def _palette(data: memoryview, start: int, flags: int) -> memoryview:
    """The table of colours that flags announce, three bytes each."""
    end = start + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    if end > len(data):
        raise cut_off(data)
    return data[start:end]


def _behind_blocks(data: memoryview, position: int) -> int:
    """Behind blocks of up to 255 bytes and the empty one that ends them."""
    while length := data[position]:
        position += 1 + length
    return position + 1
