"""Files appear whole or not at all: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from repsr_deploy.errors import RepsrError


@contextmanager
def atomic_path(target: Path) -> Generator[Path]:
    """Yield a temporary path in the folder of `target`; rename it to `target` when the block ends without an error.

    The temporary name keeps the suffix, because image and model writers choose their format by it. A failure
    (a full disk, a missing right, an exception in the block) leaves neither a half file nor a changed `target`.

    Raises:
        RepsrError: the folder cannot be written to, or the disk is full.
    """
    target = Path(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp makes private files; a result has ordinary rights
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise RepsrError(
            f"cannot write {target}: {error.strerror or error}; choose a writable place with free space"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target` atomically."""
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` atomically, as UTF-8."""
    write_bytes(target, text.encode())


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    """Of this process; it can only be read by changing it, for all threads, so that is done once."""
    value = os.umask(0o077)
    os.umask(value)
    return value


_UMASK = _umask()
