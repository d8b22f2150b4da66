"""What `repsr-upscale` is asked for, in one value that its parts share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import Precision
from repsr_deploy.video.options import VideoOptions

__all__ = ["LARGE_MODEL", "NAME", "PIPE", "SMALL_MODEL", "ModelChoice", "Request", "Workers", "parse_workers"]

NAME = "repsr-upscale"
PIPE = "-"
SMALL_MODEL, LARGE_MODEL = "photo-x2", "photo-x4"


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, and what runs it."""

    name: str
    """A bundled name or a file; empty for the bundled one that fits the factor."""
    runtime: str
    precision: Precision | None
    threads: int | None
    tile: int | None

    def open(self, factor: float | None = None) -> Upscaler:
        """The upscaler; see its constructor for errors.

        Args:
            factor: what is asked for, which decides between the bundled models.
        """
        name = self.name or (LARGE_MODEL if factor is not None and factor > 2 else SMALL_MODEL)
        return Upscaler(
            name, runtime=self.runtime, precision=self.precision, threads=self.threads, tile=self.tile
        )  # fmt: skip


def parse_workers(text: str) -> Workers | None:
    """What `--jobs` says; None for an empty text.

    Raises:
        UsageError: not three numbers from 1 to 999.
    """
    if not text:
        return None
    counts = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2}):([1-9]\d{0,2})", text)
    if counts is None:
        raise UsageError(f"jobs are {text!r}; expected LOAD:PROC:SAVE, as 2:1:2")
    load, process, save = map(int, counts.groups())
    return Workers(load=load, process=process, save=save)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A command line, parsed; each option is right in itself."""

    inputs: tuple[str, ...]
    """At least one; `-` is standard input."""
    output: str
    """Not empty; `-` is standard output."""
    model: ModelChoice
    enlargement: Enlargement
    extension: str
    suffix: str
    quality: int
    recursive: bool
    skip_existing: bool
    workers: Workers | None
    """None for a number that fits the machine."""
    report: Path | None
    """Where to write what became of every file, as JSON."""
    max_pixels: int | None
    """Of a picture that is decoded; None for any."""
    compare: bool
    ray: str
    """Address of a cluster; empty for this machine."""
    video: VideoOptions
    verbose: bool
