"""Folders of photographs become a store: decoded, reduced, rid of copies. Killed at any moment, it continues."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from repsr_deploy.errors import RepsrError, UsageError
from repsr_train.data.journal import Journal
from repsr_train.data.manifest import (
    MANIFEST,
    Duplicate,
    Entry,
    LrFile,
    Manifest,
    Rejected,
    Settings,
    StoredImage,
    lr_name,
    read_manifest,
    write_manifest,
)
from repsr_train.data.outcomes import outcomes
from repsr_train.data.pair import Report, quiet
from repsr_train.data.photograph import Reduction
from repsr_train.data.scan import Source, list_sources, scan
from repsr_train.data.store import JOURNAL, hash_file, verify_store

MIN_SIDE = 64

T = TypeVar("T")


class Interrupted(RepsrError):  # noqa: N818
    """The user stopped the work; everything done is kept."""

    exit_code = 130


def prepare(
    folders: Sequence[Path],
    out: Path,
    *,
    scales: Sequence[int] = (2, 4),
    reduction: Reduction = "auto",
    min_side: int = MIN_SIDE,
    licences: Sequence[str] = (),
    near_duplicates: bool = True,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
    report: Report = quiet,
    should_stop: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Make the store `out` of all photographs below `folders`, or continue to make it.

    The bytes of a store depend on the photographs and these settings, neither on interruptions nor on `workers`. A
    call for a finished store checks it and changes nothing.

    Args:
        scales: make LR images for these; others are made when training asks for them.
        reduction: of JPEG files, 1 to 8, or `auto` (2 to 4 for large ones).
        min_side: least side in pixels after the reduction.
        licences: one for all folders, one for each, or none.
        near_duplicates: drop copies in another size, format or quality; the first is kept.
        workers: threads; default one per core.
        progress: called with ("reading" or "preparing", files done, files in all).
        should_stop: asked before every file.

    Raises:
        UsageError: impossible settings, no usable photograph, or `out` holds something else.
        Interrupted: by `should_stop` or Ctrl-C.
        RepsrError: no space, or `out` was begun with other settings or photographs.
    """
    settings = Settings(
        folders=tuple(str(folder) for folder in folders),
        licences=tuple(licences) if len(licences) > 1 else (*licences, "")[:1] * len(folders),
        scales=tuple(sorted(set(scales))),
        reduction=reduction,
        min_side=min_side,
        near_duplicates=near_duplicates,
    )
    files = list_sources(settings)
    workers = workers or os.cpu_count() or 1
    looks = until(should_stop, scan(settings, files, workers, partial(progress, "reading")))
    try:
        if (out / MANIFEST).exists():
            return _check_finished(out, settings, looks, report)
        if out.is_dir() and any(out.iterdir()) and not (out / JOURNAL).exists():
            raise UsageError(f"{out} holds other files; choose a new folder for the store")
        with Journal(out, settings) as journal:
            sources = list(looks)
            _check_sources(out, journal, sources)
            _check_space(out, sources[len(journal.lines) :], settings)
            if journal.lines:
                report(f"continuing after {len(journal.lines)} of {len(sources)} files")
            with closing(outcomes(settings, journal.lines, sources, workers)) as work:
                for line, images in until(should_stop, work):
                    journal.append(line, images)
                    _tell(line.entry, report)
                    progress("preparing", len(journal.lines), len(sources))
            return _finish(out, settings, journal)
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped; what is done is kept in {out}, and the same command continues it") from error
    except OSError as error:
        raise RepsrError(
            f"cannot write {out}: {error.strerror or error}; what is done is kept, and the same command continues it "
            "once there is a writable place with free space"
        ) from error


def until(should_stop: Callable[[], bool], items: Iterable[T]) -> Iterator[T]:
    """`items`, and KeyboardInterrupt as soon as `should_stop` says so."""
    for item in items:
        if should_stop():
            raise KeyboardInterrupt
        yield item


def _finish(out: Path, settings: Settings, journal: Journal) -> Manifest:
    journal.sync()
    entries = [line.entry for line in journal.lines]
    images = tuple(entry for entry in entries if isinstance(entry, StoredImage))
    rejected = tuple(entry for entry in entries if isinstance(entry, Rejected))
    if not images:
        journal.discard()
        raise UsageError(f"none of the {len(entries)} files is a usable photograph; first: {rejected[0].reason}")
    lr_paths = {scale: out / lr_name(scale) for scale in settings.scales}
    manifest = Manifest(
        settings=settings,
        images=images,
        rejected=rejected,
        duplicates=tuple(entry for entry in entries if isinstance(entry, Duplicate)),
        lr={scale: LrFile(bytes=path.stat().st_size, sha256=hash_file(path)) for scale, path in lr_paths.items()},
    )
    write_manifest(out, manifest)
    journal.remove()
    return manifest


def _check_finished(out: Path, settings: Settings, looks: Iterable[Source | Rejected], report: Report) -> Manifest:
    """The manifest of a finished store, if it is the one that would be made, and whole."""
    manifest = read_manifest(out)
    changes = settings.changes_since(manifest.settings)
    if changes:
        raise UsageError(f"{out} is finished, with other settings: {changes}; choose another place")
    before = {(entry.path, entry.sha256) for entry in manifest.entries}
    changed = sorted(path for path, _ in before ^ {(source.path, source.sha256) for source in looks})
    if changed:
        raise UsageError(
            f"{out} is finished, and photographs have changed since, the first is {changed[0]}; choose another place"
        )
    verify_store(out)
    (out / JOURNAL).unlink(missing_ok=True)  # killed between the last two steps
    report(f"{out} is finished already, and whole")
    return manifest


def _check_sources(out: Path, journal: Journal, sources: Sequence[Source | Rejected]) -> None:
    """The files done must be the same as before, and one of all must be usable."""
    for index, line in enumerate(journal.lines):
        found = sources[index] if index < len(sources) else None
        if found is None or (found.path, found.sha256) != (line.entry.path, line.entry.sha256):
            raise RepsrError(
                f"{out} was begun with other photographs: {line.entry.path} has changed, or one before it was added; "
                f"delete {out} to start anew"
            )
    rejected = [source for source in sources if isinstance(source, Rejected)]
    if len(rejected) == len(sources):
        journal.discard()
        raise UsageError(f"none of the {len(sources)} files is a usable photograph; first: {rejected[0].reason}")


def _check_space(out: Path, sources: Sequence[Source | Rejected], settings: Settings) -> None:
    """The photographs must fit the disk; equal files are stored once."""
    sizes = [(source.sha256, source.bytes) for source in sources if isinstance(source, Source)]
    needed = sum(size for _, size in (dict(sizes).items() if settings.near_duplicates else sizes))
    free = shutil.disk_usage(out).free
    if needed > free:
        raise RepsrError(
            f"the photographs take up to {needed / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB free; "
            "free some, or choose another place"
        )


def _tell(entry: Entry, report: Report) -> None:
    if isinstance(entry, Rejected):
        report(f"left out: {entry.reason}")
    elif isinstance(entry, Duplicate):
        report(f"left out: {entry.path} is a copy of {entry.of}")
