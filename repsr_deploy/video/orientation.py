"""How stored frames are turned to be seen: FFmpeg's display matrix."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cv2
from numpy.typing import NDArray

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True)
class Orientation:
    """A flip left to right, then a turn."""

    mirrored: bool = False
    clockwise: int = 0
    """Degrees: 0, 90, 180 or 270."""

    @property
    def swaps_sides(self) -> bool:
        """Whether width becomes height."""
        return self.clockwise in (90, 270)

    def turned(self, image_hwc: NDArray[Any]) -> NDArray[Any]:
        """The image as seen."""
        if self.mirrored:
            image_hwc = cv2.flip(image_hwc, 1)
        return cv2.rotate(image_hwc, _TURNS[self.clockwise]) if self.clockwise else image_hwc


_ORIENTATIONS = {
    (1, 0, 0, 1): Orientation(), (0, 1, -1, 0): Orientation(False, 90), (-1, 0, 0, -1): Orientation(False, 180),
    (0, -1, 1, 0): Orientation(False, 270), (-1, 0, 0, 1): Orientation(True), (0, 1, 1, 0): Orientation(True, 270),
    (1, 0, 0, -1): Orientation(True, 180), (0, -1, -1, 0): Orientation(True, 90),
}  # fmt: skip


def orientation_of(display_matrix: bytes | None) -> Orientation | None:
    """From the matrix of a frame (libavutil/display.h); None for a turn that is not by a right angle.

    A point p of the stored frame is seen at (a*x + c*y, b*x + d*y), y downwards, with a, b, c, d the 1st, 2nd, 4th
    and 5th number.
    """
    if display_matrix is None:
        return Orientation()
    numbers = struct.unpack_from("=9i", display_matrix)
    a, b, c, d = (numbers[i] / 65536 for i in (0, 1, 3, 4))
    longest = max(abs(a), abs(b), abs(c), abs(d)) or 1
    signs = [round(number / longest) for number in (a, b, c, d)]
    return _ORIENTATIONS.get((signs[0], signs[1], signs[2], signs[3]))
