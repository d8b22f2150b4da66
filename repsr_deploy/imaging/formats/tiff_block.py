"""One strip or tile as a TIFF that Pillow reads."""

from __future__ import annotations

from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile


class BlockFile(TiffImageFile):
    """Without Pillow's limit, which belongs to the whole program: the picture's size bounds what is decoded."""

    def load_prepare(self) -> None:
        """Room for the samples."""
        ImageFile.load_prepare(self)
