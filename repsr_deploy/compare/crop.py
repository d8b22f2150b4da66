"""The part of a large picture that is shown, at the same place before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repsr_deploy.imaging.samples import Image

SHOWN_PIXELS = 2**24
"""Most pixels of a result that are shown: what browsers decode at once, and a page of some 10 MB."""
SHOWN_SIDE = 2**13
"""Longest side that is shown: below the limit of WebP, also when two stand side by side."""


@dataclass(frozen=True)
class Span:
    """Rows or columns: the same part of a side before and after."""

    before: slice
    after: slice


def shown_part(before_hwc: Image, after_hwc: Image) -> tuple[Image, Image]:
    """Both pictures, or the same middle part of both where the second has too many pixels to be shown.

    Returns:
        Views. Where sides are not whole multiples, the part starts and ends where pixels of both begin, as nearly as
        it can be found.
    """
    height, width = after_hwc.shape[:2]
    side = min(SHOWN_SIDE, max(SHOWN_PIXELS // max(1, min(height, width)), math.isqrt(SHOWN_PIXELS)))
    rows = _middle(before_hwc.shape[0], height, side)
    columns = _middle(before_hwc.shape[1], width, side)
    return before_hwc[rows.before, columns.before], after_hwc[rows.after, columns.after]


def _middle(before: int, after: int, room: int) -> Span:
    """At most `room` of `after` pixels, around the middle, and what they are of `before` pixels."""
    if after <= room:
        return Span(slice(0, before), slice(0, after))
    scale = after / before
    length = max(1, math.floor(room / scale))
    reach = max(1, length // 16)
    first = (before - length) // 2

    def off_grid(border: int) -> float:
        return abs(border * scale - round(border * scale))

    start = min(range(first, min(first + reach, before)), key=off_grid)
    stop = min(range(min(start + length, before), max(start, start + length - reach), -1), key=off_grid)
    return Span(slice(start, stop), slice(round(start * scale), round(stop * scale)))
