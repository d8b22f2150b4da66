"""A first look at every source file, before the work: whole or broken, how large, and its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from repsr_deploy.errors import ImageFileError
from repsr_deploy.files import sha256
from repsr_deploy.imaging.container import read_container
from repsr_train.data.manifest import Rejected, Settings, SourceFile, lr_bytes
from repsr_train.data.parallel import map_in_order
from repsr_train.data.photograph import list_photographs, lossy_reduction, read_file, reduced_side


@dataclass(frozen=True, kw_only=True)
class Source(SourceFile):
    """A file that looks sound and large enough."""

    licence: str
    bytes: int
    """What it takes in the store, LR images included."""


def list_sources(settings: Settings) -> list[tuple[str, str, str]]:
    """Every image file as (folder, name, licence), in the order of the folders and sorted in each; each file once.

    Raises:
        UsageError: a folder is missing, or holds no image.
    """
    found: dict[Path, tuple[str, str, str]] = {}
    for folder, licence in zip(settings.folders, settings.licences, strict=True):
        for path in list_photographs(Path(folder)):
            found.setdefault(path.resolve(), (folder, str(path.relative_to(folder)), licence))
    return list(found.values())


def scan(
    settings: Settings, files: list[tuple[str, str, str]], workers: int, progress: Callable[[int, int], None]
) -> Iterator[Source | Rejected]:
    """Look at the header of every file, in order; `progress` gets (done, total)."""
    for done, outcome in enumerate(map_in_order(partial(_look, settings), files, workers), 1):
        progress(done, len(files))
        yield outcome


def _look(settings: Settings, file: tuple[str, str, str]) -> Source | Rejected:
    folder, name, licence = file
    path = Path(folder) / name
    hashed = ""
    try:
        data = read_file(path)
        hashed = sha256(data)
        container = read_container(data)
    except ImageFileError as error:
        reason = f"cannot read {path}: {error}" if hashed else str(error)
        return Rejected(folder=folder, name=name, sha256=hashed, reason=reason)
    reduction = lossy_reduction(data, max(container.width, container.height), settings.reduction)
    height, width = (reduced_side(side, reduction) for side in (container.height, container.width))
    if min(height, width) < settings.min_side:
        after = f" after its reduction by {reduction}" if reduction > 1 else ""
        reason = f"{path} is {width}x{height} pixels{after}; expected {settings.min_side} or more a side"
        return Rejected(folder=folder, name=name, sha256=hashed, reason=reason)
    size = 3 * height * width + sum(lr_bytes(height, width, scale) for scale in settings.scales)
    return Source(folder=folder, name=name, sha256=hashed, licence=licence, bytes=size)
