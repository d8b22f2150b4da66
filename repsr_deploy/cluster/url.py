"""Files by URL, wherever fsspec reaches: found, fetched to be read, stored when they are made."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.folders import Found, FoundFile
from repsr_deploy.imaging.image_file import FORMATS
from repsr_deploy.imaging.search import JUNK

OBJECT_STORES = ("abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oci", "oss", "s3", "s3a", "tos")
"""Where a put gives an object its new content at once, or not at all; elsewhere a file is written, then renamed."""


class Url(PosixPath):
    """An address as a path: names, folders and joining are those of paths. The system finds no file under it."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    @property
    def store(self) -> str:
        """What it begins with: `s3`."""
        return self.parts[0].removesuffix(":")


def place(text: str) -> Path:
    """A local path, absolute, or a `Url`.

    Raises:
        UsageError: an address without a bucket or host.
    """
    if "://" not in text:
        return Path(text).absolute()
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    if "" in text.split("/")[2:3]:
        raise UsageError(f"{text} names no bucket or host; expected SCHEME://BUCKET/PATH, as s3://photos/in")
    return Url(text)


def find_urls(inputs: Sequence[Url], *, recursive: bool) -> Found:
    """Look into the folders among addresses, as `find_images` does. An address that is nothing counts as a file.

    Raises:
        ImageFileError: a folder holds no picture.
        RepsrError: a store cannot be reached, or its package is missing.
    """
    files: dict[str, FoundFile] = {}
    skipped, several = 0, len(inputs) > 1
    for url in inputs:
        with _failures("look into", url):
            store, top = _opened(url)
            if not store.isdir(top):
                files.setdefault(str(url), FoundFile(url))
                continue
            names = [name.removeprefix(f"{top}/") for name in store.find(top, maxdepth=None if recursive else 1)]
        several = True
        seen = [Path(name) for name in sorted(names) if not _is_passed_over(Path(name))]
        inside = [name for name in seen if name.suffix.lower() in FORMATS]
        if not inside:
            raise ImageFileError(
                f"folder {url} holds no image ({len(seen)} other files); expected {', '.join(FORMATS)}"
            )
        for name in inside:
            files.setdefault(str(url / name), FoundFile(url / name, name.parent))
        skipped += len(seen) - len(inside)
    return Found([*files.values()], skipped, several)


def is_there(url: Url) -> bool:
    """Whether something is stored there. As files are stored whole or not at all, it is complete."""
    with _failures("look for", url):
        store, path = _opened(url)
        return bool(store.exists(path))


@contextmanager
def fetched(source: Path, folder: Path) -> Generator[Path]:
    """A local file with the content: the path itself, or a copy in `folder` that goes with the block.

    Raises:
        RepsrError: it is missing, or its store cannot be reached.
    """
    if not isinstance(source, Url):
        yield source
        return
    copy = folder / source.name
    with _failures("read", source):
        store, path = _opened(source)
        store.get_file(path, str(copy))
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


@contextmanager
def stored(target: Path) -> Generator[Path]:
    """A local path to write to, alone or with others beside it: all are stored when the block ends without an error.

    The target itself is stored last: where it is, the others are.

    Raises:
        RepsrError: the store does not take them.
    """
    if not isinstance(target, Url):
        yield target
        return
    with tempfile.TemporaryDirectory(prefix="repsr-") as name:
        folder = Path(name)
        yield folder / target.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == target.name):
            _store(file, target.with_name(file.name))


def _store(file: Path, target: Url) -> None:
    with _failures("write", target):
        store, path = _opened(target)
        if target.store in OBJECT_STORES:
            store.put_file(str(file), path)
            return
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{uuid4().hex}{Path(name).suffix}"
        store.makedirs(folder, exist_ok=True)
        try:
            store.put_file(str(file), temporary)
            store.mv(temporary, path)
        except BaseException:
            if store.exists(temporary):
                store.rm_file(temporary)
            raise


def _is_passed_over(name: Path) -> bool:
    """Hidden files and folders, and what systems leave behind."""
    return any(part.startswith(".") or part.lower() in JUNK for part in name.parts)


def _opened(url: Url) -> tuple[Any, str]:
    """The store of an address, and the path in it."""
    from fsspec.core import url_to_fs

    store, path = url_to_fs(str(url))
    return store, str(path)


@contextmanager
def _failures(doing: str, url: Url) -> Generator[None]:
    """What stores raise, as errors that say what to do. Each store has its own."""
    try:
        yield
    except (RepsrError, MemoryError):
        raise
    except ImportError as error:
        raise RepsrError(
            f"cannot {doing} {url}: {error}; install the package of that store, on every machine of the cluster"
        ) from error
    except Exception as error:  # botocore's, aiohttp's, paramiko's...: none of them is known here
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RepsrError(f"cannot {doing} {url}: {reason}; check the address, the rights and the connection") from error
