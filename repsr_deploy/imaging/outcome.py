"""What is asked for of many pictures, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import MAX_PIXELS, QUALITY
from repsr_deploy.imaging.picture import Picture

AS_THE_MODEL = Enlargement()
WidthHeight = tuple[int, int]
"""In this order, as tools say it; arrays have the other."""
Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Threads of the stages of a folder: `--jobs load:process:save`."""

    load: int
    process: int
    save: int


@dataclass(frozen=True)
class Outcome:
    """How one job ended."""

    job: Job
    error: RepsrError | None = None
    """Why it failed; None when the target is written, or was there."""
    size: WidthHeight = (0, 0)
    """Read."""
    new_size: WidthHeight = (0, 0)
    """Written."""
    seconds: float = 0.0
    """Reading, upscaling and writing."""
    skipped: bool = False
    """The target was there, and whole."""
    stages_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds that each stage took."""

    @property
    def status(self) -> Status:
        return "failed" if self.error is not None else "skipped" if self.skipped else "done"


Written = Callable[[Job, Picture, Picture], None]
"""Called when a target is written, with what was read and what was written. From several threads."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What is done to every picture, and how many at a time."""

    enlargement: Enlargement = AS_THE_MODEL
    quality: int = QUALITY
    max_pixels: int | None = MAX_PIXELS
    """See `read_picture`."""
    skip_existing: bool = False
    """Leave targets that are there and whole."""
    restart: bool = False
    """Begin again with a picture in strips that an earlier run has begun."""
    workers: Workers | None = None
    """None for what fits the machine."""
    written: Written | None = None
    """Not for animations and pictures in strips, which are never in memory as a whole."""
