"""The one thing of Exif that changes a picture: its orientation (Exif 2.3, 4.6; TIFF 6.0, section 2)."""

from __future__ import annotations

import struct

_ORIENTATION_TAG = 0x0112


def orientation_of(exif: memoryview) -> int:
    """Orientation from a TIFF block, 1 to 8; 1 when there is none, or when the block makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(exif[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
