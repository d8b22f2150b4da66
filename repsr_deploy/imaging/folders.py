"""Which file goes where: inputs, an output and naming rules become jobs before any work starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.animation import is_animated
from repsr_deploy.imaging.image_file import FORMATS, READ_ONLY, format_of
from repsr_deploy.imaging.kinds import VIDEO_ENDINGS, is_video
from repsr_deploy.imaging.search import Found, FoundFile, find_images, identity

__all__ = [
    "AUTO", "EXTENSIONS", "VIDEO_TARGETS", "Found", "FoundFile", "Job", "check_distinct", "check_inputs_survive",
    "check_writable", "earlier_results", "find_images", "is_folder", "nearest_folder", "plan_jobs",
]  # fmt: skip

AUTO = "auto"
EXTENSIONS = (AUTO, *(ending[1:] for ending, form in FORMATS.items() if form not in READ_ONLY))
"""Of pictures in a folder of results."""
VIDEO_TARGETS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Containers that hold an upscaled video; one of another kind goes to Matroska, which takes all that it may hold."""
GIF = ".gif"


@dataclass(frozen=True)
class Job:
    """One file to read and the file to write."""

    source: Path
    target: Path
    video: bool = False
    """What the source is taken for."""


def plan_jobs(
    files: Sequence[FoundFile], output: Path, *, into_folder: bool, extension: str = AUTO, suffix: str = ""
) -> list[Job]:
    """Give every file its target.

    Args:
        files: a missing one is planned, too: what reads it will say so.
        output: a folder, or the one file to be written.
        into_folder: what `output` is; names and folders then are those of the files.
        extension: of pictures; `auto` keeps that of each (and takes png for one that cannot be written).
        suffix: put behind each name in a folder: `out` makes `photo_out.png` of `photo.png`.

    Raises:
        UsageError: two files would go to one, a target has no fitting extension, or a suffix would leave the folder.
    """
    if extension not in EXTENSIONS:
        raise UsageError(f"extension is {extension!r}; expected one of {', '.join(EXTENSIONS)}")
    if Path(suffix).name != suffix:
        raise UsageError(f"suffix is {suffix!r}; expected part of a file name")
    if not into_folder:
        return [_single_job(file.path, output, extension) for file in files]
    jobs: list[Job] = []
    for file in files:
        video = is_video(file.path)
        name = _target_name(file.path, video, extension, suffix)
        jobs.append(Job(file.path, output / file.below / name, video))
    check_distinct((job.source, job.target) for job in jobs)
    return jobs


def _single_job(source: Path, target: Path, extension: str) -> Job:
    ending = target.suffix.lower()
    if is_video(source):
        if ending not in VIDEO_TARGETS:
            raise UsageError(
                f"output {target} has extension {target.suffix!r}, and {source} is a video; expected one of "
                f"{', '.join(VIDEO_TARGETS)}"
            )
        return Job(source, target, video=True)
    if extension != AUTO and FORMATS.get(ending) != FORMATS[f".{extension}"]:
        raise UsageError(f"output {target} is no {extension} file; leave --ext away, or name a folder")
    if not (ending == GIF and _moves(source)):
        format_of(target)
    return Job(source, target)


def _target_name(source: Path, video: bool, extension: str, suffix: str) -> str:
    own = source.suffix.lower()
    if video:
        ending = source.suffix if own in VIDEO_TARGETS else ".mkv"
    elif extension != AUTO:
        ending = f".{extension}"
    else:
        ending = source.suffix if own[1:] in EXTENSIONS or (own == GIF and _moves(source)) else ".png"
    return f"{source.stem}{'_' if suffix else ''}{suffix}{ending}"


def is_folder(output: str, *, several: bool) -> bool:
    """Whether an output is a folder: it exists as one, ends in a slash, or several files go there.

    Raises:
        UsageError: it must be one and cannot.
    """
    path = Path(output)
    if _is_dir(path) or output.endswith(("/", "\\")):
        return True
    if several and (os.path.lexists(path) or path.suffix.lower() in {*FORMATS, *VIDEO_ENDINGS}):
        raise UsageError(f"output {output} is a file, but the inputs may be several; name a folder")
    if not several and not path.suffix:
        raise UsageError(f"output {output} has no extension and is no folder; end it with / to make it one")
    return several


def check_distinct(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Refuse two files (source, target) that would be written to one.

    Raises:
        UsageError: so it is.
    """
    first: dict[Path, Path] = {}
    for source, target in pairs:
        other = first.setdefault(target, source)
        if other != source:
            raise UsageError(
                f"{other} and {source} would both be written to {target}; use two output folders, or rename one"
            )


def earlier_results(
    jobs: Sequence[Job], suffix: str, written: Callable[[Path], Iterable[Path]] = lambda target: (target,)
) -> set[Path]:
    """Sources that an earlier run has written: those with the suffix that are what another job writes.

    Args:
        written: all files that come with a target.
    """
    if not suffix:
        return set()
    targets = {file: job.source for job in jobs for file in written(job.target)}
    return {job.source for job in jobs if targets.get(job.source, job.source) != job.source}


def check_inputs_survive(jobs: Sequence[Job], others: Sequence[Path] = ()) -> None:
    """Refuse targets that are an input, under whatever name: the same path, a link, another spelling.

    Args:
        others: what else is written.

    Raises:
        UsageError: an input would be overwritten.
    """
    identities = {identity(job.source): job.source for job in jobs if os.path.exists(job.source)}  # noqa: PTH110
    for target in (*(job.target for job in jobs), *others):
        if os.path.exists(target) and identity(target) in identities:  # noqa: PTH110 - names may be too long
            source = identities[identity(target)]
            raise UsageError(f"{target} is the input {source} itself; choose another output, or use --suffix")


def check_writable(jobs: Sequence[Job]) -> None:
    """Refuse a place where nothing can be written, before hours are spent on results for it.

    Raises:
        RepsrError: a folder that is there may not be written to, or is on a file system that is read only.
    """
    for there in {nearest_folder(job.target) for job in jobs}:
        if _is_dir(there) and not os.access(there, os.W_OK | os.X_OK):
            raise RepsrError(
                f"cannot write to folder {there}: it is read-only, or its rights forbid it; choose a writable place"
            )


def nearest_folder(path: Path) -> Path:
    """Of the folders that a file is to be in, the innermost that is there."""
    return next((folder for folder in path.parents if os.path.lexists(folder)), path.parent)


def _moves(source: Path) -> bool:
    """Whether a picture's result may be a GIF: only animations are written as such."""
    try:
        return is_animated(source)
    except OSError:
        return False  # what reads it will say why


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir() raises for a name that is too long
