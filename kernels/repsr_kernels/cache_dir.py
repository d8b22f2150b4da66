"""Where things lie that can be made again, by one process at a time: engines, compiled kernels, measured choices."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from repsr_kernels.errors import RepsrError

log = logging.getLogger(__name__)


def cache_dir(*parts: str) -> Path:
    """A folder below the user's cache folder; it need not exist yet.

    `REPSR_CACHE` names the cache folder itself; otherwise it is `repsr-deploy` in `XDG_CACHE_HOME` or in `~/.cache`
    (XDG base directory specification, which ignores paths that are not absolute).
    """
    if own := os.environ.get("REPSR_CACHE"):
        root = Path(own).expanduser().absolute()
    else:
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        root = (given if given.is_absolute() else Path.home() / ".cache") / "repsr-deploy"
    return root.joinpath(*parts)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock of a file that is about to be made, against other processes and other threads.

    The lock file stays: removing it would let two processes hold locks on two files of one name.

    Raises:
        RepsrError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise RepsrError(
            f"cannot write into {path.parent}: {error.strerror}; set REPSR_CACHE to a writable folder"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process is building %s; waiting for it", path.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
