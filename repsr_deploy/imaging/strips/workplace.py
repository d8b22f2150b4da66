"""What is done of a picture, so that it goes on after an end of any kind: beside the target, until that is there.

The journal is a text file: a line that says what is being made, of what and by what, then a line for every block whose
tiles are on disk for sure. The tiles themselves are in the partial picture, in the same order. What stands behind the
last whole line, in either file, was being written when the process ended, and is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.strips.identity import Identity

_PICTURE, _JOURNAL = "picture.partial", "journal"


class Workplace:
    """The folder of an unfinished picture: its tiles, and the journal. Of one process at a time.

    Args:
        target: of the picture; the folder lies beside it.

    Raises:
        UsageError: another process works in it.
        OSError: the place cannot be written to.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        # names have 255 bytes at most, of up to four for a character
        self.folder = target.parent / f".{target.stem[:40]}.{sha256(os.fsencode(target.name)).hexdigest()[:8]}.strips"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._journal = _opened(self.folder / _JOURNAL)
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._picture = _opened(self.folder / _PICTURE)
        except BlockingIOError as error:
            self._journal.close()
            raise UsageError(
                f"{target} is being written by another process; expected one at a time, so wait for its end"
            ) from error
        except BaseException:
            self._journal.close()
            raise
        self.blocks: list[list[int]] = []
        """Of every block that is done, the bytes of each of its tiles."""

    def resume(self, identity: Identity, header: bytes, tiles: Sequence[int]) -> list[str]:
        """Go on where the last process stopped, if it was making the same; else start anew.

        Args:
            identity: what is to be made.
            header: what the partial picture starts with.
            tiles: of every block, how many it has.

        Returns:
            What differs, so that it starts anew; nothing where it goes on, or where there was nothing.
        """
        self._journal.seek(0)
        lines = self._journal.read().split(b"\n")[:-1]  # behind the last line end stands a torn line, or nothing
        known = _parsed(lines[0]) if lines else None
        same = isinstance(known, dict) and known == identity
        if not same:
            self.restart(identity, header)
            return _differences(identity, known) if isinstance(known, dict) else []
        end, room = len(header), self._picture.seek(0, os.SEEK_END)
        whole = len(lines[0]) + 1
        for line, count in zip(lines[1:], tiles, strict=False):
            lengths = _parsed(line)
            if not isinstance(lengths, list) or len(lengths) != count or end + sum(lengths) > room:
                break
            end += sum(lengths)
            whole += len(line) + 1
            self.blocks.append(lengths)
        _cut(self._journal, whole)
        _cut(self._picture, end)
        self.patch(header)
        return []

    def restart(self, identity: Identity, header: bytes) -> None:
        """Forget what was done."""
        self.blocks.clear()
        _cut(self._journal, 0)
        _cut(self._picture, 0)
        self.write([header])
        self._write_line(identity)

    def append(self, tiles: Sequence[bytes]) -> None:
        """Add a block to the partial picture; it is done once it is on disk."""
        self.write(tiles)
        os.fsync(self._picture.fileno())
        lengths = [len(tile) for tile in tiles]
        self._write_line(lengths)
        self.blocks.append(lengths)

    def write(self, pieces: Sequence[bytes]) -> int:
        """Add bytes to the end of the partial picture.

        Returns:
            Where they stand.
        """
        position = self._picture.tell()
        for piece in pieces:
            _write_all(self._picture, piece)
        return position

    def patch(self, header: bytes) -> None:
        """Replace the start of the partial picture."""
        self._picture.seek(0)
        _write_all(self._picture, header)
        self._picture.seek(0, os.SEEK_END)

    def finish(self) -> None:
        """Make the partial picture the target; nothing else is left."""
        os.fsync(self._picture.fileno())
        (self.folder / _PICTURE).replace(self.target)
        self.discard()

    def discard(self) -> None:
        """Remove everything."""
        for name in (_PICTURE, _JOURNAL):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a process that comes just now already has a journal there
            self.folder.rmdir()

    def close(self) -> None:
        """Let another process in."""
        try:
            self._picture.close()
        finally:
            self._journal.close()

    def _write_line(self, content: Any) -> None:
        _write_all(self._journal, json.dumps(content, sort_keys=True).encode() + b"\n")
        os.fsync(self._journal.fileno())


def _differences(identity: Identity, known: Identity) -> list[str]:
    return [name for name in {**identity, **known} if identity.get(name) != known.get(name)]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _opened(path: Path) -> FileIO:
    """For reading and writing, made where it is missing; unbuffered, so that a full disk shows where it is met."""
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")


def _cut(file: FileIO, length: int) -> None:
    file.truncate(length)
    file.seek(length)


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
