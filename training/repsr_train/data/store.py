"""A store: a folder with the pixels of all photographs in one file, mapped into memory, never loaded as a whole.

manifest.json   what is where (`manifest.py`)
pixels.u8       H x W x 3 bytes of RGB for each photograph, one after the other
lr-x2.u8, ...   the same for their LR images, one file for each scale
journal.jsonl   only while `prepare` works: no store yet
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import atomic_path
from repsr_train.data.manifest import (
    MANIFEST,
    PIXELS,
    LrFile,
    Manifest,
    StoredImage,
    lr_bytes,
    lr_images,
    lr_name,
    read_manifest,
    write_manifest,
)
from repsr_train.data.pair import MIN_LR_SIDE, Pair, PhotoSet, Report, Uint8, lr_of, quiet
from repsr_train.data.parallel import map_in_order

JOURNAL = "journal.jsonl"


class PixelFile:
    """A file of images, mapped read-only. It is pickled as its path: worker processes map it as well.

    Raises:
        RepsrError: the file is missing or has another size than expected; `spans` (name, end in bytes) serve to
            name the first image that is not whole.
    """

    def __init__(self, path: Path, spans: Sequence[tuple[str, int]]) -> None:
        self.path, self._spans = path, spans
        expected = spans[-1][1]
        try:
            size = path.stat().st_size
            if size == expected:
                self._bytes: Uint8 = np.asarray(np.memmap(path, np.uint8, mode="r"))
        except OSError as error:
            raise RepsrError(f"cannot read {path}: {error.strerror}; restore it, or prepare the store anew") from error
        if size < expected:
            cut = next(name for name, end in spans if end > size)
            raise RepsrError(
                f"{path} is cut off after {size} of {expected} bytes: the first photograph that is not whole is {cut}; "
                "copy it again, or prepare the store anew"
            )
        if size > expected:
            raise RepsrError(f"{path} has {size} bytes; expected {expected}: it belongs to another manifest")

    def image(self, offset: int, height: int, width: int) -> Uint8:
        """A view of H x W x 3 pixels."""
        return self._bytes[offset : offset + 3 * height * width].reshape(height, width, 3)

    def __reduce__(self) -> tuple[type[PixelFile], tuple[Path, Sequence[tuple[str, int]]]]:
        return PixelFile, (self.path, self._spans)


@dataclass(frozen=True)
class Place:
    """Where an image lies."""

    file: PixelFile
    offset: int
    height: int
    width: int

    def view(self) -> Uint8:
        """Its pixels, H x W x 3."""
        return self.file.image(self.offset, self.height, self.width)


@dataclass(frozen=True)
class StoredPair(Pair):
    """A pair whose images are views of a store; pickled as their places."""

    parts: tuple[str, int, Place, Place | Uint8]

    def __reduce__(self) -> tuple[object, tuple[str, int, Place, Place | Uint8]]:
        return stored_pair, self.parts


def stored_pair(name: str, scale: int, hr: Place, lr: Place | Uint8) -> StoredPair:
    """The pair of the images at `hr`, cropped to a multiple of the scale, and at `lr` (or in memory)."""
    hr_hwc = hr.view()[: hr.height - hr.height % scale, : hr.width - hr.width % scale]
    lr_hwc = hr_hwc if scale == 1 else lr.view() if isinstance(lr, Place) else lr
    return StoredPair(name, hr_hwc, lr_hwc, (name, scale, hr, lr))


def is_store(path: Path) -> bool:
    """Whether a folder is a store.

    Raises:
        UsageError: it is one that is not finished.
    """
    if not (path / MANIFEST).is_file() and (path / JOURNAL).is_file():
        raise UsageError(f"the store {path} is unfinished; continue it with the repsr-train prepare that began it")
    return (path / MANIFEST).is_file()


def open_store(store: Path, scale: int, report: Report = quiet) -> PhotoSet:
    """Map a store. LR images of a scale that it lacks are made and added to it, or kept in memory if that fails.

    Raises:
        UsageError: no photograph is large enough for the scale.
        RepsrError: no store, or a damaged one; sizes are checked here, contents by `verify_store`.
    """
    manifest = read_manifest(store)
    placed = lr_images(manifest.images, scale)
    if not placed:
        raise UsageError(
            f"no photograph of {store} is {MIN_LR_SIDE * scale} pixels wide and high, as scale {scale} needs"
        )
    if len(placed) < len(manifest.images):
        small = len(manifest.images) - len(placed)
        report(f"left out: {small} of {len(manifest.images)} photographs of {store}, too small for scale {scale}")
    places = _hr_places(store, manifest, [image for image, _ in placed])
    lr = places if scale == 1 else _lr_of_store(store, manifest, scale, places, report)
    return PhotoSet(
        pairs=tuple(
            stored_pair(image.name, scale, hr, low) for (image, _), hr, low in zip(placed, places, lr, strict=True)
        ),
        fingerprint=manifest.fingerprint,
        unreadable=tuple(file.reason for file in manifest.rejected),
        licence="; ".join(dict.fromkeys(image.licence for image in manifest.images if image.licence)),
    )


def verify_store(store: Path) -> Manifest:
    """Read every byte of a store and compare it with the manifest's hashes.

    Raises:
        RepsrError: something differs; names the damaged photographs' number and the first of them, or the LR file.
    """
    manifest = read_manifest(store)
    places = _hr_places(store, manifest, manifest.images)
    damaged = [
        image.name
        for image, place in zip(manifest.images, places, strict=True)
        if hashlib.sha256(place.view().data).hexdigest() != image.pixels_sha256
    ]
    if damaged:
        raise RepsrError(
            f"{len(damaged)} of {len(places)} photographs of {store / PIXELS} are damaged, the first is {damaged[0]}; "
            "copy the store again, or prepare it anew"
        )
    for scale, file in manifest.lr.items():
        path = store / lr_name(scale)
        if path.is_file() and hash_file(path) != file.sha256:
            raise RepsrError(f"{path} is damaged; delete it, and it is made anew when it is needed")
    return manifest


def hash_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hr_places(store: Path, manifest: Manifest, images: Sequence[StoredImage]) -> list[Place]:
    pixels = PixelFile(store / PIXELS, [(image.name, image.end) for image in manifest.images])
    return [Place(pixels, image.offset, image.height, image.width) for image in images]


def _lr_of_store(
    store: Path, manifest: Manifest, scale: int, hr: Sequence[Place], report: Report
) -> Sequence[Place | Uint8]:
    placed = lr_images(manifest.images, scale)
    path = store / lr_name(scale)
    if scale not in manifest.lr or not path.is_file():
        try:
            _add_lr(store, scale, hr, report)
        except RepsrError as error:
            report(f"LR images of scale {scale} stay in memory: {error}")
            return list(_made_lr(hr, scale))
    spans = [(image.name, offset + lr_bytes(image.height, image.width, scale)) for image, offset in placed]
    pixels = PixelFile(path, spans)
    return [Place(pixels, offset, image.height // scale, image.width // scale) for image, offset in placed]


def _add_lr(store: Path, scale: int, hr: Sequence[Place], report: Report) -> None:
    """Make the LR images of a scale and add them to a store."""
    path = store / lr_name(scale)
    report(f"making {path} from {len(hr)} photographs")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for lr_hwc in _made_lr(hr, scale):
            file.write(lr_hwc.data)
        file.flush()
        os.fsync(file.fileno())
    manifest = read_manifest(store)  # another process may have added a scale meanwhile
    added = LrFile(bytes=path.stat().st_size, sha256=hash_file(path))
    write_manifest(store, replace(manifest, lr=dict(sorted({**manifest.lr, scale: added}.items()))))


def _made_lr(hr: Sequence[Place], scale: int) -> Iterator[Uint8]:
    yield from map_in_order(lambda place: lr_of(place.view(), scale), hr, os.cpu_count() or 1)
