"""Sizes of results: pure arithmetic over (height, width)."""

from __future__ import annotations

import math

from repsr_deploy.errors import UsageError

MAX_FACTOR = 16.0

Size = tuple[int, int]
"""(height, width)"""


def checked_factor(factor: float) -> float:
    """`factor` itself.

    Raises:
        UsageError: it is not above 0, or above `MAX_FACTOR`.
    """
    if not 0 < factor <= MAX_FACTOR:
        raise UsageError(f"factor is {factor:g}; expected a number above 0, at most {MAX_FACTOR:g}")
    return factor


def checked_size(size: Size, target: Size) -> Size:
    """`target` itself.

    Raises:
        UsageError: it is below 1 x 1, or above `MAX_FACTOR` times `size`.
    """
    if min(target) < 1:
        raise UsageError(f"size of the result is {target[1]} x {target[0]}; expected 1 x 1 or more")
    if any(new > MAX_FACTOR * old for old, new in zip(size, target, strict=True)):
        raise UsageError(
            f"image is {size[1]} x {size[0]} pixels, and {target[1]} x {target[0]} are asked for; expected at most "
            f"{MAX_FACTOR:g} times each side"
        )
    return target


def scaled(size: Size, factor: float) -> Size:
    """Each side times `factor`, rounded half up, at least 1."""
    height, width = (max(1, math.floor(side * factor + 0.5)) for side in size)
    return height, width


def network_passes(size: Size, target: Size, scale: int) -> list[Size]:
    """Input size of every run of a network until one reaches the target along both sides: one at least."""
    sizes = [size]
    while scale > 1 and any(side * scale < wanted for side, wanted in zip(sizes[-1], target, strict=True)):
        sizes.append(scaled(sizes[-1], scale))
    return sizes
