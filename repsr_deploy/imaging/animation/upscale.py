"""Animations, enlarged frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.files import atomic_path
from repsr_deploy.imaging.animation.apng import write_apng
from repsr_deploy.imaging.animation.base import Animation, Shown
from repsr_deploy.imaging.animation.canvas import composited, is_opaque
from repsr_deploy.imaging.animation.gif_writer import write_gif
from repsr_deploy.imaging.animation.read import read_animation
from repsr_deploy.imaging.animation.webp import write_webp
from repsr_deploy.imaging.enlargement import Enlargement, enlarge, result_size
from repsr_deploy.imaging.image_file import write_picture
from repsr_deploy.imaging.metadata import described
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Progress, Upscaler

log = logging.getLogger(__name__)

_WRITERS: dict[str, Callable[[BinaryIO, Iterable[Image], Shown], None]] = {
    ".png": write_apng,
    ".webp": write_webp,
    ".gif": write_gif,
}


@dataclass(frozen=True, kw_only=True)
class AnimationOutcome:
    """What became of an animation."""

    size: tuple[int, int]
    """(width, height) read."""
    new_size: tuple[int, int]
    """(width, height) written."""
    frames: int
    """Written."""


def upscale_animation(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    enlargement: Enlargement,
    *,
    quality: int,
    max_pixels: int | None,
    progress: Progress | None = None,
) -> AnimationOutcome:
    """Enlarge every frame of an animated PNG, WebP or GIF, as it is seen, and write them with their times.

    All frames are decoded once before the first is enlarged, so that damage is found at once. A frame that equals the
    one before is enlarged once, and stays a frame of its own. A few frames are in memory at a time, beside the file.

    Durations are exact where the target can say them: PNG as fractions, WebP in milliseconds, GIF in hundredths of a
    second; otherwise every frame starts at the nearest such time. GIF's number of repetitions is taken as one less
    than the number of times that it is shown; WebP and PNG count these.

    Args:
        source: a GIF of one frame is read, too.
        target: `.png`, `.webp` or `.gif`. Another format that `write_picture` knows, which holds one picture, gets the
            first frame, or PNG's still picture for programs that know no animations; that is said in the log.
        quality: of WebP, 1 to 100; see `write_picture`.
        max_pixels: of a frame; None for any number.
        progress: called with the pixels done and to do, of all frames and runs of the network.

    Raises:
        ImageFileError: see `read_animation`; a frame is damaged, which is named; too large for the target's format.
        UsageError: an enlargement, extension or quality that is impossible.
        RepsrError: see `Upscaler.upscale`; the target cannot be written, and is then left as it was.
    """
    animation = read_animation(source, max_pixels=max_pixels)
    opaque = _survey(animation, source)
    count = len(animation.durations_s)
    extension = target.suffix.lower()
    write = _WRITERS.get(extension)
    pictures = _pictures(animation, opaque)
    size = animation.container.seen_size
    new_size = result_size(size, enlargement, upscaler.info.scale)
    about = _described(animation, opaque, str(source))
    if write is None or (count == 1 and not animation.has_hidden and extension != ".gif"):
        if count > 1:
            log.warning("%s holds one picture: of the %d frames of %s the first is written", target, count, source)
        image = enlarge(upscaler, next(pictures), enlargement, progress=progress)
        write_picture(target, replace(about, image_hwc=image), quality=quality)
        return AnimationOutcome(size=size, new_size=new_size, frames=1)
    if extension != ".png":
        if enlargement.depth == "16":
            log.warning("%s: animations hold 16 bits in PNG alone; these get 8", target)
        enlargement = replace(enlargement, depth="8")
        if animation.has_hidden:
            next(pictures)
            log.warning("%s: the still picture for programs that know no animations is left out", target)
    shown = Shown(
        width=new_size[0], height=new_size[1], durations_s=animation.durations_s, plays=animation.plays,
        has_hidden=animation.has_hidden, opaque=opaque, quality=quality, described=about, name=str(target),
    )  # fmt: skip
    pictures = _enlarged(pictures, count + animation.has_hidden, upscaler, enlargement, progress)
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        write(file, pictures, shown)
    return AnimationOutcome(size=size, new_size=new_size, frames=count)


def _survey(animation: Animation, source: Path) -> bool:
    """Decode every picture once; whether all of them are opaque."""
    opaque = True
    try:
        for image in composited(animation):
            opaque = opaque and is_opaque(image)
    except ImageFileError as error:
        raise ImageFileError(f"cannot decode {source}: {error}") from error
    return opaque


def _pictures(animation: Animation, opaque: bool) -> Iterator[Image]:
    """Every picture as it is seen, with alpha where one of them needs it; gray ones H x W x 1 or 2."""
    for image in composited(animation):
        yield image[..., :-1] if opaque else image


def _described(animation: Animation, opaque: bool, name: str) -> Picture:
    """What the file says about its frames, and the first of them."""
    return described(next(_pictures(animation, opaque)), animation.container, name)


def _enlarged(
    pictures: Iterator[Image], count: int, upscaler: Upscaler, enlargement: Enlargement, progress: Progress | None
) -> Iterator[Image]:
    """Every picture enlarged; one that equals the one before is the same array."""
    before: Image | None = None
    made: Image | None = None
    each = 0  # pixels that one picture takes, in all runs of the network

    for index, image in enumerate(pictures):

        def report(done: int, todo: int, index: int = index) -> None:
            nonlocal each
            each = todo
            if progress is not None:
                progress(index * each + done, count * each)

        if made is None or before is None or not np.array_equal(before, image):
            made = enlarge(upscaler, image, enlargement, progress=report)
        else:
            report(each, each)
        before = image
        yield made
