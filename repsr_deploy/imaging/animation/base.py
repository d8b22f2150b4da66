"""What the formats of animations share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import Container
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.tiling import Box

log = logging.getLogger(__name__)

ENDLESS = 0
Disposal = Literal["keep", "clear", "restore"]
"""What becomes of a piece before the next one: it stays, its place is cleared, or what was there comes back."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What one frame brings."""

    image: Image
    """uint8 or uint16, H x W (gray), or H x W x C; C is 2 or 4 with alpha (not premultiplied), 3 without."""
    box: Box
    """Its place in the picture, within it."""
    over: bool
    """Put over what is there, by its alpha; otherwise in place of it."""
    disposal: Disposal


@dataclass(frozen=True, kw_only=True, eq=False)
class Animation:
    """An animation file, before its frames are decoded."""

    container: Container
    """Its size as stored, orientation and metadata."""
    durations_s: tuple[Fraction, ...]
    """Of each frame; some are 0."""
    plays: int
    """How often it is shown in all; `ENDLESS`, or 1 and more."""
    pieces: Callable[[], Iterator[Piece]]
    """Decodes what each frame brings, the hidden picture first; an ImageFileError names the frame."""
    has_hidden: bool = False
    """Whether a still picture comes before the frames, for programs that know no animations (PNG alone has that)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """How the frames of an animation to be written are shown."""

    width: int
    height: int
    durations_s: tuple[Fraction, ...]
    plays: int
    has_hidden: bool
    opaque: bool
    """Whether frames have no alpha."""
    quality: int
    """Of WebP, 1 to 100."""
    described: Picture
    """What is said about all frames; its image is any of them."""
    name: str
    """Of the file, for messages."""


@contextmanager
def frame_errors(number: int, count: int) -> Generator[None]:
    """An error in the block names the frame, counted from 1, or the hidden picture, which is 0."""
    try:
        yield
    except ImageFileError as error:
        what = f"frame {number} of {count}" if number else "the still picture before its frames"
        raise ImageFileError(f"{what} is damaged: {error}") from error


def whole_units(shown: Shown, per_second: int, most: int) -> list[int]:
    """Durations in whole units, such that every frame starts at the unit nearest to its time, halves up.

    Those longer than `most` are cut, and that is said in the log.
    """
    starts, time_s = [0], Fraction(0)
    for duration_s in shown.durations_s:
        time_s += duration_s
        starts.append(int(time_s * per_second + Fraction(1, 2)))
    units = [after - before for before, after in pairwise(starts)]
    if max(units) > most:
        log.warning("%s: a frame of %d s becomes one of %g s", shown.name, max(units) // per_second, most / per_second)
    return [min(duration, most) for duration in units]
