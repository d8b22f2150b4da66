"""What becomes of every source file: a place in the store, a rejection, or a copy that is dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from repsr_deploy.errors import ImageFileError
from repsr_train.data.journal import Line
from repsr_train.data.manifest import Duplicate, Rejected, Settings, StoredImage
from repsr_train.data.pair import Uint8, lr_of
from repsr_train.data.parallel import map_in_order
from repsr_train.data.photograph import read_photograph
from repsr_train.data.scan import Source
from repsr_train.data.similarity import Similar, small_image


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """A photograph before it has a place."""

    source: Source
    reduction: int
    images: tuple[Uint8, ...]
    """HR, then LR in the order of the scales."""
    pixels_sha256: str
    small_hwc: Uint8


def outcomes(
    settings: Settings, done: Sequence[Line], sources: Sequence[Source | Rejected], workers: int
) -> Generator[tuple[Line, tuple[Uint8, ...]]]:
    """The lines of all sources behind those done, in order, each with the images to write: none, or HR and LR.

    Photographs are decoded by threads, a few ahead.
    """
    similar, offset = Similar(), 0
    for line in done:
        if isinstance(line.entry, StoredImage) and line.small_hwc is not None:
            similar.add(str(line.entry.path), line.entry.pixels_sha256, line.small_hwc)
            offset = line.entry.end
    with closing(map_in_order(partial(_decode, settings), sources[len(done) :], workers)) as decoded:
        for item in decoded:
            if isinstance(item, Rejected):
                yield Line(item), ()
                continue
            original = similar.find(item.pixels_sha256, item.small_hwc) if settings.near_duplicates else None
            if original is not None:
                yield Line(_copy(item.source, original)), ()
                continue
            image = _placed(item, offset)
            similar.add(str(item.source.path), item.pixels_sha256, item.small_hwc)
            offset = image.end
            yield Line(image, item.small_hwc), item.images


def _decode(settings: Settings, source: Source | Rejected) -> _Decoded | Rejected:
    if isinstance(source, Rejected):
        return source
    try:
        photograph = read_photograph(source.path, settings.reduction)
    except ImageFileError as error:
        return Rejected(folder=source.folder, name=source.name, sha256=source.sha256, reason=str(error))
    hr_hwc = photograph.rgb_hwc
    return _Decoded(
        source=source,
        reduction=photograph.reduction,
        images=(hr_hwc, *(lr_of(hr_hwc, scale) for scale in settings.scales)),
        pixels_sha256=hashlib.sha256(hr_hwc.data).hexdigest(),
        small_hwc=small_image(hr_hwc),
    )


def _copy(source: Source, original: str) -> Duplicate:
    return Duplicate(folder=source.folder, name=source.name, sha256=source.sha256, of=original)


def _placed(item: _Decoded, offset: int) -> StoredImage:
    height, width = item.images[0].shape[:2]
    return StoredImage(
        folder=item.source.folder,
        name=item.source.name,
        sha256=item.source.sha256,
        height=height,
        width=width,
        offset=offset,
        reduction=item.reduction,
        licence=item.source.licence,
        pixels_sha256=item.pixels_sha256,
    )
