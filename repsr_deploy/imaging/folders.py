"""Which image goes where: inputs, an output and naming rules become jobs before any work starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.image_file import FORMATS, format_of

AUTO = "auto"
EXTENSIONS = (AUTO, "png", "jpg", "webp")


@dataclass(frozen=True)
class Job:
    """One image to read and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Found:
    """What inputs stand for."""

    images: list[Path]
    """Files, each once: those named, and those of the folders that have an image's extension."""
    skipped: int
    """Other files in the folders."""
    several: bool
    """Whether they need a folder to go to: more than one input was given, or a folder."""


def find_images(inputs: Sequence[Path]) -> Found:
    """Look into the folders among `inputs`, not into folders in them. A named file counts, whatever its extension.

    Raises:
        ImageFileError: a folder cannot be read, or holds no image.
    """
    images: list[Path] = []
    skipped = 0
    for path in inputs:
        if not path.is_dir():
            images.append(path)
            continue
        try:
            files = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        except OSError as error:
            raise ImageFileError(f"cannot read folder {path}: {error.strerror}; expected a readable one") from error
        inside = [file for file in files if file.suffix.lower() in FORMATS]
        if not inside:
            raise ImageFileError(
                f"folder {path} holds no image ({len(files)} other files); expected {', '.join(FORMATS)}"
            )
        images += inside
        skipped += len(files) - len(inside)
    unique: dict[str, Path] = {}
    for path in images:
        unique.setdefault(os.path.abspath(path), path)  # noqa: PTH100 - resolve() would make one of two links
    return Found(list(unique.values()), skipped, len(inputs) > 1 or any(path.is_dir() for path in inputs))


def plan_jobs(
    images: Sequence[Path], output: Path, *, into_folder: bool, extension: str = AUTO, suffix: str = ""
) -> list[Job]:
    """Give every image its target.

    Args:
        images: files.
        output: a folder, or the one file to be written.
        into_folder: what `output` is; names then are those of the images.
        extension: `auto` keeps that of each image (and takes png for one that cannot be written).
        suffix: put behind each name in a folder: `out` makes `photo_out.png` of `photo.png`.

    Raises:
        UsageError: two images would go to one file, a file is no image's name, or a suffix would leave the folder.
    """
    if extension not in EXTENSIONS:
        raise UsageError(f"extension is {extension!r}; expected one of {', '.join(EXTENSIONS)}")
    if Path(suffix).name != suffix:
        raise UsageError(f"suffix is {suffix!r}; expected part of a file name")
    if not into_folder:
        if extension != AUTO and format_of(output) != FORMATS[f".{extension}"]:
            raise UsageError(f"output {output} is no {extension} file; leave --ext away, or name a folder")
        format_of(output)
        return [Job(image, output) for image in images]
    jobs = [Job(image, output / _target_name(image, extension, suffix)) for image in images]
    first: dict[Path, Path] = {}
    for job in jobs:
        other = first.setdefault(job.target, job.source)
        if other != job.source:
            raise UsageError(
                f"{other} and {job.source} would both be written to {job.target}; use two output folders, or rename one"
            )
    return jobs


def is_folder(output: str, *, several: bool) -> bool:
    """Whether an output is a folder: it exists as one, ends in a slash, or several images go there.

    Raises:
        UsageError: it must be one and cannot.
    """
    path = Path(output)
    if path.is_dir() or output.endswith(("/", "\\")):
        return True
    if several and (path.exists() or path.suffix.lower() in FORMATS):
        raise UsageError(f"output {output} is a file, but the inputs may be several; name a folder")
    if not several and not path.suffix:
        raise UsageError(f"output {output} has no extension and is no folder; end it with / to make it one")
    return several


def check_inputs_survive(jobs: Sequence[Job]) -> None:
    """Refuse targets that are an input, under whatever name: the same path, a link, another spelling.

    Raises:
        UsageError: a job would overwrite an input, its own or another's.
    """
    identities = {_identity(job.source): job.source for job in jobs if job.source.exists()}
    for job in jobs:
        if job.target.exists() and _identity(job.target) in identities:
            source = identities[_identity(job.target)]
            raise UsageError(f"{job.target} is the input {source} itself; choose another output, or use --suffix")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _target_name(image: Path, extension: str, suffix: str) -> str:
    own = image.suffix if image.suffix.lower() in FORMATS else ".png"
    ending = own if extension == AUTO else f".{extension}"
    return f"{image.stem}{'_' if suffix else ''}{suffix}{ending}"
