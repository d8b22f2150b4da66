"""`manifest.json` of a store: what was asked for, every photograph with its place, and what was left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import sha256, write_text
from repsr_train.data.pair import MIN_LR_SIDE
from repsr_train.data.photograph import MAX_REDUCTION, Reduction

FORMAT = "repsr-photograph-store-1"
MANIFEST, PIXELS = "manifest.json", "pixels.u8"
MAX_SCALE = 8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a store is made of, and how. Two runs of `prepare` with equal settings continue each other."""

    folders: tuple[str, ...]
    licences: tuple[str, ...]
    """One for each folder."""
    scales: tuple[int, ...]
    """For which LR images are made."""
    reduction: Reduction
    min_side: int
    """Least side in pixels of a photograph, after its reduction."""
    near_duplicates: bool
    """Whether they are dropped."""

    def __post_init__(self) -> None:
        if not self.folders:
            raise UsageError("no folder is given; expected folders with photographs")
        if len(self.licences) != len(self.folders):
            raise UsageError(
                f"{len(self.licences)} licences are given for {len(self.folders)} folders; "
                "expected one for all of them, or one for each in their order"
            )
        if any(not 2 <= scale <= MAX_SCALE for scale in self.scales):
            raise UsageError(f"scales are {self.scales}; expected whole numbers from 2 to {MAX_SCALE}")
        if self.reduction != "auto" and not 1 <= self.reduction <= MAX_REDUCTION:
            raise UsageError(f"reduction is {self.reduction}; expected auto or 1 to {MAX_REDUCTION}")
        least = MIN_LR_SIDE * max(self.scales, default=1)
        if self.min_side < least:
            raise UsageError(f"min_side is {self.min_side}; expected {least} or more for scales {self.scales}")

    def changes_since(self, before: Settings) -> str:
        """What differs from earlier settings, in words; empty when nothing does."""
        was, now = asdict(before), asdict(self)
        return ", ".join(f"{key} was {was[key]} and is {now[key]}" for key in now if was[key] != now[key])


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file below one of the folders."""

    folder: str
    name: str
    """Path below the folder."""
    sha256: str
    """Of its content; empty when it could not be read."""

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder) / self.name


@dataclass(frozen=True, kw_only=True)
class StoredImage(SourceFile):
    """One photograph of a store: H x W x 3 bytes of RGB from `offset` on in the pixel file."""

    height: int
    width: int
    offset: int
    reduction: int
    licence: str
    pixels_sha256: str

    @property
    def end(self) -> int:
        """Offset of what comes after it."""
        return self.offset + 3 * self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Rejected(SourceFile):
    """A file that could not be used."""

    reason: str
    """Says which file, and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Duplicate(SourceFile):
    """A photograph that was dropped, because another is the same."""

    of: str
    """Path of the one that was kept."""


@dataclass(frozen=True, kw_only=True)
class LrFile:
    """The LR images of one scale."""

    bytes: int
    sha256: str


Entry = StoredImage | Rejected | Duplicate


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole content of `manifest.json`."""

    settings: Settings
    images: tuple[StoredImage, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[Duplicate, ...]
    lr: dict[int, LrFile] = field(default_factory=dict[int, LrFile])
    """By scale."""

    def __post_init__(self) -> None:
        ends = [0, *(image.end for image in self.images)]
        if [image.offset for image in self.images] != ends[:-1]:
            raise ValueError("the photographs do not follow each other")

    @property
    def fingerprint(self) -> str:
        """Hash over all HR pixels, in their order."""
        return sha256(json.dumps([image.pixels_sha256 for image in self.images]).encode())[:16]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that became of a source file."""
        return *self.images, *self.rejected, *self.duplicates


def lr_images(images: Sequence[StoredImage], scale: int) -> list[tuple[StoredImage, int]]:
    """The photographs that are large enough for a scale, each with the offset of its LR image in that scale's file."""
    placed: list[tuple[StoredImage, int]] = []
    offset = 0
    for image in images:
        if min(image.height, image.width) >= MIN_LR_SIDE * scale:
            placed.append((image, offset))
            offset += lr_bytes(image.height, image.width, scale)
    return placed


def lr_bytes(height: int, width: int, scale: int) -> int:
    """Size of the LR image of an HR image."""
    return 3 * (height // scale) * (width // scale)


def lr_name(scale: int) -> str:
    """Name of the file with the LR images of a scale."""
    return f"lr-x{scale}.u8"


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Write the manifest of a store, atomically: from then on it is one."""
    content = {"format": FORMAT, "fingerprint": manifest.fingerprint, **asdict(manifest)}
    write_text(store / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_manifest(store: Path) -> Manifest:
    """The manifest of a store.

    Raises:
        RepsrError: none there, of another format, or damaged.
    """
    path = store / MANIFEST
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("format", None)
        if found != FORMAT:
            raise RepsrError(f"{path} has format {found!r}; expected {FORMAT!r}: prepare the photographs anew")
        fingerprint = content.pop("fingerprint")
        manifest = Manifest(
            settings=read_settings(content.pop("settings")),
            images=tuple(StoredImage(**image) for image in content.pop("images")),
            rejected=tuple(Rejected(**file) for file in content.pop("rejected")),
            duplicates=tuple(Duplicate(**file) for file in content.pop("duplicates")),
            lr={int(scale): LrFile(**file) for scale, file in content.pop("lr").items()},
            **content,
        )
        if manifest.fingerprint != fingerprint:
            raise ValueError("its fingerprint is wrong")
    except OSError as error:
        raise RepsrError(
            f"cannot read {path}: {error.strerror}; expected a store made by repsr-train prepare"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
        raise RepsrError(f"{path} is damaged ({error}); prepare the photographs anew") from error
    return manifest


def read_settings(content: dict[str, Any]) -> Settings:
    """Settings from their JSON form, which has lists for tuples."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Settings(**values)
