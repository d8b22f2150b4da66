"""Real photographs of any size, as files that a client would send, and the mix of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.imaging.samples import Image

Photograph = NDArray[np.uint8]

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "val" / "kodak24"
"""Photographs beside the repository: not part of it."""
MIX: Mapping[float, int] = {0.1: 8, 0.4: 6, 1.0: 3, 4.0: 2, 12.0: 1}
"""Megapixels -> how many of twenty requests. Mean 1.3 megapixels; three quarters of the work in the largest three."""
THUMBNAIL_MEGAPIXELS = 0.1
VARIANTS = 3
"""Different pictures of each size."""
JPEG_QUALITY = 90
_ASPECT = 1.5


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file to send, and its size."""

    data: bytes
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Its area."""
        return self.width * self.height


@cache
def photographs() -> Sequence[Photograph]:
    """Real photographs, uint8 512 x W x 3: those beside the repository, else those inside scikit-image."""
    files = sorted(SHARED.glob("*.webp")) if SHARED.is_dir() else []
    if files:
        found = [read_image(file) for file in files]
    else:
        import skimage.data

        found = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut(), skimage.data.rocket()]
    return [_scaled(one, 512 / one.shape[0]) for one in found]


def _scaled(image_hwc: Photograph, factor: float) -> Photograph:
    size = (round(image_hwc.shape[1] * factor), round(image_hwc.shape[0] * factor))
    return np.asarray(cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA), np.uint8)


def decoded(data: bytes) -> Image:
    """A file's samples, whatever they are: H x W or H x W x C, RGB.

    Raises:
        ValueError: no picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"no picture: {data[:40]!r}")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


def mosaic(width: int, height: int, random: Random) -> Photograph:
    """Photographs side by side, each cut as it is: a picture H x W x 3 with the detail of one that a camera took."""
    rows: list[Photograph] = []
    for top in range(0, height, 512):
        row: list[Photograph] = []
        while sum(one.shape[1] for one in row) < width:
            row.append(random.choice(photographs()))
        rows.append(np.hstack(row)[: height - top, :width])
    return np.ascontiguousarray(np.vstack(rows))


def jpeg(image_hwc: Photograph, quality: int = JPEG_QUALITY) -> bytes:
    """As cameras and web sites write them: colour at half resolution."""
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"no JPEG of shape {image_hwc.shape}")
    return encoded.tobytes()


def picture(megapixels: float, random: Random) -> Picture:
    """A JPEG photograph 3:2 of about so many megapixels."""
    height = math.isqrt(round(megapixels * 1e6 / _ASPECT))
    width = round(height * _ASPECT)
    return Picture(data=jpeg(mosaic(width, height, random)), width=width, height=height)


class Mixture:
    """Pictures of the sizes of a mix, in a random order that keeps the mix: every round deals each of its cards once.

    Args:
        mix: megapixels -> how many in a round.
    """

    def __init__(self, mix: Mapping[float, int] = MIX, *, seed: int = 0) -> None:
        self._random = Random(seed)
        self.mix = mix
        self.pictures = {size: [picture(size, self._random) for _ in range(VARIANTS)] for size in mix}

    def deal(self) -> Iterator[Picture]:
        """Pictures without end."""
        cards = [size for size, count in self.mix.items() for _ in range(count)]
        while True:
            self._random.shuffle(cards)
            for size in cards:
                yield self._random.choice(self.pictures[size])

    @property
    def largest_bytes(self) -> int:
        """Size of the largest file."""
        return max(len(one.data) for group in self.pictures.values() for one in group)
