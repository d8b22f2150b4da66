"""What was compiled once: found again by everything that changes it, compiled again when it is not whole."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from repsr_kernels.cache_dir import cache_dir, locked
from repsr_kernels.errors import RepsrError, RuntimeUnavailableError

log = logging.getLogger(__name__)

CSRC = Path(__file__).parents[1] / "csrc"
TEXTS = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp")
_SEAL_BYTES = hashlib.sha256().digest_size

_failures: dict[Path, str] = {}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of the cache, there or not. Behind its content lies a seal, which loaders of programs do not look at."""

    prefix: str
    """Says to people what the file is."""
    key: str
    """Hexadecimal, of everything that changes the content: `key_of`."""
    suffix: str

    @property
    def path(self) -> Path:
        """Where it is to be."""
        return cache_dir("kernels", f"{self.prefix}-{self.key[:16]}{self.suffix}")

    def content(self) -> bytes | None:
        """What it holds; None where it is not there, damaged, or something else under its name."""
        try:
            data = self.path.read_bytes()
        except OSError:  # a folder that cannot be read or written to is named when the file is made
            return None
        content, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
        return content if seal == self._seal(content) else None

    def _seal(self, content: bytes) -> bytes:
        return hashlib.sha256(self.key.encode() + content).digest()

    def make(self, make: Callable[[Path], None]) -> None:
        """Have the content written by `make`, to the path that it is given; the file appears whole or not at all.

        Raises:
            RepsrError: the folder cannot be written to.
        """
        path = self.path
        try:
            with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
                made = Path(folder) / path.name
                make(made)
                with made.open("r+b") as file:
                    file.write(self._seal(file.read()))
                    file.flush()
                    os.fsync(file.fileno())
                made.replace(path)
        except OSError as error:
            raise RepsrError(
                f"cannot write {path}: {error.strerror or error}; set REPSR_CACHE to a writable folder"
            ) from error


def cached(entry: Entry, make: Callable[[Path], None]) -> Path:
    """The file of an entry, made first where there is none that is whole.

    One process makes it while others that want the same wait for it. What could not be made fails at once when it is
    asked for again.

    Raises:
        RuntimeUnavailableError: as `make` does.
        RepsrError: the cache folder cannot be written to.
    """
    path = entry.path
    if reason := _failures.get(path):
        raise RuntimeUnavailableError(reason)
    if entry.content() is not None:
        return path
    with locked(path):
        if entry.content() is not None:
            return path
        if path.exists():
            log.warning("%s is damaged or something else; making it again", path)
        try:
            entry.make(make)
        except RuntimeUnavailableError as error:
            _failures[path] = str(error)
            raise
    return path


def key_of(*parts: object) -> str:
    """Hexadecimal SHA-256 of this program's version and of the parts, by their `repr`."""
    return hashlib.sha256(repr((_version(), *parts)).encode()).hexdigest()


def texts_in(folders: Iterable[Path], suffixes: Sequence[str] = TEXTS) -> list[tuple[str, bytes]]:
    """Name and text of everything in these folders that a compiler may read, in one order everywhere."""
    files = (path for folder in dict.fromkeys(folders) for path in sorted(folder.iterdir()))
    return [(path.name, path.read_bytes()) for path in files if path.suffix in suffixes]


@cache
def _version() -> str:
    return version("repsr-deploy")
