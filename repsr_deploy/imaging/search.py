"""What inputs stand for: files, those in folders, and the folders in these."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.image_file import FORMATS
from repsr_deploy.imaging.kinds import VIDEO_ENDINGS

JUNK = ("thumbs.db", "desktop.ini", "__macosx")
"""What systems leave in folders, in small letters. It is no user's file, so it is not counted either."""


@dataclass(frozen=True)
class FoundFile:
    """One file to work on."""

    path: Path
    below: Path = Path()
    """Its folder, seen from the one that was named."""


@dataclass(frozen=True)
class Found:
    """What inputs stand for."""

    files: list[FoundFile]
    """Each once: those named, and those of the folders that have a fitting extension."""
    skipped: int
    """Other files in the folders."""
    several: bool
    """Whether they need a folder to go to: more than one input was given, or a folder."""
    unreadable: list[ImageFileError] = field(default_factory=list[ImageFileError])
    """Folders inside that cannot be looked into."""

    @property
    def images(self) -> list[Path]:
        """The paths of the files."""
        return [file.path for file in self.files]


def find_images(
    inputs: Sequence[Path], *, recursive: bool = False, videos: bool = False, without: Path | None = None
) -> Found:
    """Look into the folders among `inputs`. A named file counts, whatever its extension.

    Hidden files and folders are passed over, and what systems leave behind (`Thumbs.db`, `__MACOSX`). Links are
    followed; a folder that is reached twice, as by a link in a circle, is entered once.

    Args:
        recursive: also look into the folders in them.
        videos: also those.
        without: a folder in them that is not entered, unless it is named itself: where the results go.

    Raises:
        ImageFileError: a named folder cannot be read, or holds no such file.
    """
    endings = (*FORMATS, *VIDEO_ENDINGS) if videos else (*FORMATS,)
    files: list[FoundFile] = []
    unreadable: list[ImageFileError] = []
    skipped = 0
    for path in inputs:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir() raises for a name that is too long
            files.append(FoundFile(path))
            continue
        inside: list[FoundFile] = []
        others = folders = 0
        for listing in _walk(path, recursive, without):
            if isinstance(listing, ImageFileError):
                unreadable.append(listing)
                continue
            fitting = [name for name in listing.files if Path(name).suffix.lower() in endings]
            inside += [FoundFile(path / listing.below / name, listing.below) for name in fitting]
            others += len(listing.files) - len(fitting)
            folders += len(listing.folders)
        if not inside and not unreadable:
            what = "image or video" if videos else "image"
            deeper = f"; --recursive looks into its {folders} folders" if folders and not recursive else ""
            raise ImageFileError(
                f"folder {path} holds no {what} ({others} other files); expected {', '.join(endings)}{deeper}"
            )
        files += inside
        skipped += others
    unique: dict[str, FoundFile] = {}
    for file in files:
        unique.setdefault(os.path.abspath(file.path), file)  # noqa: PTH100 - resolve() would make one of two links
    several = len(inputs) > 1 or any(os.path.isdir(path) for path in inputs)  # noqa: PTH112 - as above
    return Found([*unique.values()], skipped, several, unreadable)


@dataclass(frozen=True)
class _Listing:
    """Names in one folder, sorted."""

    below: Path
    files: list[str]
    folders: list[str]


def _walk(top: Path, recursive: bool, without: Path | None) -> Iterator[_Listing | ImageFileError]:
    """Folders from `top` down, each before those in it; an error in place of one that cannot be read.

    Raises:
        ImageFileError: `top` cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    if without is not None and os.path.exists(without) and identity(without) != identity(top):  # noqa: PTH110 - as above
        seen.add(identity(without))
    todo = [Path()]
    while todo:
        below = todo.pop()
        try:
            folder = identity(top / below)
            if folder in seen:
                continue
            seen.add(folder)
            listing = _list(top, below)
        except OSError as error:
            failure = ImageFileError(f"cannot read folder {top / below}: {error.strerror}; expected a readable one")
            if below == Path():
                raise failure from error
            yield failure
            continue
        yield listing
        if recursive:
            todo += [below / name for name in reversed(listing.folders)]


def _list(top: Path, below: Path) -> _Listing:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(top / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name.lower() in JUNK:
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif entry.is_symlink() or entry.is_file():  # a link that leads nowhere is a file that will be missed
                files.append(entry.name)
    return _Listing(below, files, folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def identity(path: Path) -> tuple[int, int]:
    """What a file or folder is under all its names.

    Raises:
        OSError: it is not there, or cannot be looked at.
    """
    status = path.stat()
    return status.st_dev, status.st_ino
