"""Training data from where the user keeps it: folders of photographs, decoded into memory, and prepared stores."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.files import sha256
from repsr_deploy.metrics.evaluate import crop_to_multiple
from repsr_train.data.pair import MIN_LR_SIDE, Pair, PhotoSet, Report, lr_of, quiet
from repsr_train.data.parallel import map_in_order
from repsr_train.data.photograph import list_photographs, read_photograph
from repsr_train.data.store import is_store, open_store


def load_data(paths: Path | Sequence[Path], scale: int, report: Report = quiet) -> PhotoSet:
    """Open every store and decode every folder of photographs among `paths`, as one set in their order.

    Raises:
        UsageError: nothing given, no such folder, or no usable photograph in it.
        RepsrError: a store is unfinished or damaged.
    """
    paths = [paths] if isinstance(paths, Path) else paths
    if not paths:
        raise UsageError("no data is given; expected folders of photographs or stores")
    sets = [(open_store if is_store(path) else load_photographs)(path, scale, report) for path in paths]
    if len(sets) == 1:
        return sets[0]
    return PhotoSet(
        pairs=tuple(pair for photographs in sets for pair in photographs.pairs),
        fingerprint=sha256(" ".join(photographs.fingerprint for photographs in sets).encode())[:16],
        unreadable=tuple(line for photographs in sets for line in photographs.unreadable),
        licence="; ".join(dict.fromkeys(photographs.licence for photographs in sets if photographs.licence)),
    )


def load_photographs(folder: Path, scale: int, report: Report = quiet) -> PhotoSet:
    """Decode all photographs below `folder` and make their LR versions, on all cores.

    A damaged file is named, left out and listed in the result; see `read_photograph` for what becomes of the others.

    Raises:
        UsageError: no folder, or no readable photograph in it.
    """
    paths = list_photographs(folder)
    pairs: list[Pair] = []
    hashes: list[str] = []
    unreadable: list[str] = []

    def load(path: Path) -> tuple[Pair, str] | ImageFileError:
        try:
            return _load(path, str(path.relative_to(folder)), scale)
        except ImageFileError as error:
            return error

    for path, result in zip(paths, map_in_order(load, paths, os.cpu_count() or 1), strict=True):
        if isinstance(result, ImageFileError):
            unreadable.append(str(result))
            report(f"left out: {result}")
        else:
            pairs.append(result[0])
            hashes.append(f"{path.relative_to(folder).as_posix()} {result[1]}")
    if not pairs:
        raise UsageError(f"none of the {len(paths)} files in {folder} is a readable photograph; first: {unreadable[0]}")
    return PhotoSet(tuple(pairs), sha256(json.dumps(hashes).encode())[:16], tuple(unreadable))


def _load(path: Path, name: str, scale: int) -> tuple[Pair, str]:
    """The pair of a file, and the file's hash."""
    photograph = read_photograph(path)
    hr_hwc = crop_to_multiple(photograph.rgb_hwc, scale)
    height, width = hr_hwc.shape[:2]
    if min(height, width) < MIN_LR_SIDE * scale:
        raise ImageFileError(
            f"{path} is {width}x{height}, too small to train on; expected {MIN_LR_SIDE * scale} a side or more"
        )
    return Pair(name, hr_hwc, lr_of(hr_hwc, scale)), photograph.sha256
