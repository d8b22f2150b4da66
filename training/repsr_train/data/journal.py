"""The journal of a store in the making: one line for each finished source file, so that a killed run continues.

A line is written after the pixels it speaks of. What lies behind the last whole line, in the journal or in a pixel
file, is what a kill left half done: it is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from repsr_deploy.errors import RepsrError
from repsr_train.data.manifest import (
    FORMAT,
    PIXELS,
    Duplicate,
    Entry,
    Rejected,
    Settings,
    StoredImage,
    lr_bytes,
    lr_name,
    read_settings,
)
from repsr_train.data.pair import Uint8
from repsr_train.data.similarity import SMALL_HEIGHT, SMALL_WIDTH
from repsr_train.data.store import JOURNAL

KINDS: dict[str, Callable[..., Entry]] = {"StoredImage": StoredImage, "Rejected": Rejected, "Duplicate": Duplicate}


@dataclass(frozen=True)
class Line:
    """What became of one source file."""

    entry: Entry
    small_hwc: Uint8 | None = None
    """The tiny image (`similarity.py`) of a stored photograph."""

    def to_bytes(self) -> bytes:
        """As JSON, with its line feed."""
        small = None if self.small_hwc is None else self.small_hwc.tobytes().hex()
        content = {"kind": type(self.entry).__name__, "entry": asdict(self.entry), "small": small}
        return json.dumps(content).encode() + b"\n"

    @classmethod
    def from_bytes(cls, line: bytes) -> Self:
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the line is cut off, or no such line.
        """
        content = _read_line(line)
        small: str | None = content["small"]
        image = None if small is None else np.frombuffer(bytes.fromhex(small), np.uint8)
        shape = (SMALL_HEIGHT, SMALL_WIDTH, 3)
        return cls(KINDS[content["kind"]](**content["entry"]), None if image is None else image.reshape(shape))


class Journal:
    """The unfinished store in a folder, written by this process alone.

    Raises:
        RepsrError: another process writes it, or it was begun with other settings (says which).
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.lines: list[Line] = []
        """One for each source file that is finished, in order."""
        self._folder, self._settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self._file = stack.enter_context((folder / JOURNAL).open("a+b"))
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RepsrError(
                    f"another process is preparing {folder}; wait for it, or choose another place"
                ) from error
            self._read()
            self._pixels = [stack.enter_context(path.open("ab")) for path in self._paths()]
            self._cut()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def append(self, line: Line, images: Sequence[Uint8] = ()) -> None:
        """Write the images of a stored photograph, HR and then LR in the order of the scales, and the line.

        Raises:
            OSError: no space left, for instance.
        """
        for image_hwc, file in zip(images, self._pixels, strict=bool(images)):
            file.write(image_hwc.data)
            file.flush()
        self._file.write(line.to_bytes())
        self._file.flush()
        self.lines.append(line)

    def sync(self) -> None:
        """Have everything on the disk itself."""
        for file in self._pixels:
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Remove everything that was written."""
        for path in (*self._paths(), self._folder / JOURNAL):
            path.unlink()

    def remove(self) -> None:
        """Remove the journal alone: the store is finished."""
        (self._folder / JOURNAL).unlink()

    def _paths(self) -> list[Path]:
        return [self._folder / name for name in (PIXELS, *(lr_name(scale) for scale in self._settings.scales))]

    def _read(self) -> None:
        """Take over the lines of an earlier run, all but what is cut off."""
        self._file.seek(0)
        try:
            header = _read_line(self._file.readline())
        except ValueError:  # new, or killed within its first line
            self._file.truncate(0)
            self._file.write(json.dumps({"format": FORMAT, "settings": asdict(self._settings)}).encode() + b"\n")
            self._file.flush()
            return
        if header.get("format") != FORMAT:
            raise RepsrError(f"{self._folder} was begun by another version; delete it and start anew")
        changes = self._settings.changes_since(read_settings(header["settings"]))
        if changes:
            raise RepsrError(
                f"{self._folder} was begun with other settings: {changes}; continue with the same ones, or delete it"
            )
        for line in self._file:
            try:
                self.lines.append(Line.from_bytes(line))
            except ValueError:
                break

    def _cut(self) -> None:
        """Cut journal and pixel files behind the last photograph that is whole in all of them."""
        sizes = [path.stat().st_size for path in self._paths()]
        ends = [0] * len(sizes)
        whole = 0
        for line in self.lines:
            if isinstance(line.entry, StoredImage):
                height, width = line.entry.height, line.entry.width
                parts = [3 * height * width, *(lr_bytes(height, width, scale) for scale in self._settings.scales)]
                following = [end + part for end, part in zip(ends, parts, strict=True)]
                if any(end > size for end, size in zip(following, sizes, strict=True)):
                    break
                ends = following
            whole += 1
        del self.lines[whole:]
        for file, end in zip(self._pixels, ends, strict=True):
            file.truncate(end)
        self._file.seek(0)
        kept = sum(len(self._file.readline()) for _ in range(1 + whole))
        self._file.truncate(kept)


def _read_line(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError("the line is cut off")
    return json.loads(line)
