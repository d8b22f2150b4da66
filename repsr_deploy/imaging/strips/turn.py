"""How a stored picture is turned to be seen (Exif 2.32, table 6: orientation)."""

from __future__ import annotations

from dataclasses import dataclass

from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box


@dataclass(frozen=True)
class Turn:
    """From stored to seen: rows and columns exchanged, then each in the other order."""

    transposed: bool = False
    rows_back: bool = False
    columns_back: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) as seen of a picture as stored."""
        return (height, width) if self.transposed else (width, height)

    def image(self, image_hwc: Image) -> Image:
        """A stored image as seen; a view."""
        seen = image_hwc.swapaxes(0, 1) if self.transposed else image_hwc
        return seen[:: -1 if self.rows_back else 1, :: -1 if self.columns_back else 1]

    def box(self, box: Box, width: int, height: int) -> Box:
        """A box of a picture that is stored in `width` x `height`, where it is seen."""
        width, height = self.size(width, height)
        top, left, bottom, right = box.top, box.left, box.bottom, box.right
        if self.transposed:
            top, left, bottom, right = left, top, right, bottom
        if self.rows_back:
            top, bottom = height - bottom, height - top
        if self.columns_back:
            left, right = width - right, width - left
        return Box(top, left, bottom, right)


TURNS = {
    1: Turn(), 2: Turn(False, False, True), 3: Turn(False, True, True), 4: Turn(False, True, False),
    5: Turn(True), 6: Turn(True, False, True), 7: Turn(True, True, True), 8: Turn(True, True, False),
}  # fmt: skip
"""By orientation."""
