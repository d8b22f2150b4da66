"""Frames of an animation as they are seen: pieces put on a canvas, one after the other, by one rule for all formats.

Sources: PNG 3 (W3C), section 11.3.6 and 12.5; RFC 9649 (WebP), section 2.7.1.1; GIF89a, section 23.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from repsr_deploy.imaging.animation.base import Animation
from repsr_deploy.imaging.bgr import turned
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box


def composited(animation: Animation) -> Iterator[Image]:
    """Every picture of an animation, upright: H x W x 2 or 4, always with alpha, each in memory of its own.

    The canvas starts transparent. Samples are those of the pieces, which are of one type, and gray or not.

    Raises:
        ImageFileError: a frame is damaged.
    """
    container = animation.container
    canvas: Image | None = None
    for piece in animation.pieces():
        image = _with_alpha(piece.image)
        if canvas is None:
            canvas = np.zeros((container.height, container.width, image.shape[2]), image.dtype)
        before = canvas.copy() if piece.disposal == "restore" else None
        place = canvas[piece.box.slices]
        place[...] = _over(image, place) if piece.over else image
        yield turned(canvas.copy(), container.orientation)
        if before is not None:
            canvas = before
        elif piece.disposal == "clear":
            place[...] = 0


def is_opaque(image: Image) -> bool:
    """Whether an image with alpha shows none of what lies behind it."""
    return bool((image[..., -1] == np.iinfo(image.dtype).max).all())


def changed_box(before: Image, after: Image) -> Box | None:
    """The smallest rectangle outside of which two images of one shape are equal; None where all of them is."""
    changed = (before != after).any(axis=2) if before.ndim == 3 else before != after
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _with_alpha(image: Image) -> Image:
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[2] in (2, 4):
        return image
    return np.concatenate([image, np.full_like(image[..., :1], np.iinfo(image.dtype).max)], axis=2)


def _over(front: Image, back: Image) -> Image:
    """Porter and Duff's `over`, on samples that are not premultiplied; rounded half to even."""
    full = np.iinfo(front.dtype).max
    share = front[..., -1:] / full
    behind = back[..., -1:] / full * (1 - share)
    alpha = share + behind
    colour = (front[..., :-1] * share + back[..., :-1] * behind) / np.where(alpha == 0, 1, alpha)
    return np.rint(np.concatenate([colour, alpha * full], axis=2)).astype(front.dtype)
