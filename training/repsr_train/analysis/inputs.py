"""From photographs to what a network is analysed on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.evaluate import read_reference
from repsr_deploy.nets.base import Network
from repsr_train.batches import to_network
from repsr_train.degradations.eight import KINDS, Kind, degraded, noise_seed

Uint8 = NDArray[np.uint8]


def parse_kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """Test degradations by name, each once.

    Raises:
        UsageError: an unknown name, or one twice.
    """
    names = tuple(names)
    for index, name in enumerate(names):
        if name not in KINDS:
            near = difflib.get_close_matches(name.lower(), KINDS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"degradation is {name!r}; {hint}expected one of {', '.join(KINDS)}")
        if name in names[:index]:
            raise UsageError(f"degradation {name!r} is named twice; expected each once")
    return tuple(kind for name in names for kind in KINDS if kind == name)


def degraded_lr(hr_hwc: Uint8, scale: int, kind: Kind, name: str) -> Uint8:
    """The degraded LR picture of the photograph called `name`; the noise follows the name."""
    return degraded(hr_hwc, scale, kind, noise_seed(name, kind))


def read_middle(path: Path, side_lr: int, scale: int) -> Uint8:
    """The middle of a photograph, RGB, `side_lr` LR pixels wide and high: H = W = scale * side_lr.

    Raises:
        ImageFileError: the file is unreadable.
        UsageError: the photograph is smaller than that, or `side_lr` is below 8.
    """
    if side_lr < 8:
        raise UsageError(f"crop is {side_lr}; expected 8 LR pixels or more")
    photo_hwc = read_reference(path, scale)
    height, width = photo_hwc.shape[:2]
    side = side_lr * scale
    if min(height, width) < side:
        raise UsageError(
            f"{path} has {width}x{height} pixels; expected {side} or more on each side for a crop of {side_lr} LR "
            f"pixels at x{scale}: choose --crop {min(height, width) // scale} or less, or leave the file out"
        )
    return middle(photo_hwc, side)


def middle(image_hwc: Uint8, side: int) -> Uint8:
    """The middle `side` x `side` pixels; less where the image is smaller."""
    top, left = (max(0, (length - side) // 2) for length in image_hwc.shape[:2])
    return np.ascontiguousarray(image_hwc[top : top + side, left : left + side])


def to_batch(image_hwc: Uint8, net: Network) -> Tensor:
    """An RGB picture as a batch of one for `net`, in its colour, on its device and in its type."""
    like = next(net.parameters())
    batch_nchw = np.ascontiguousarray(image_hwc.transpose(2, 0, 1)[None])
    return to_network(batch_nchw, net.spec.colour, like.device).to(like.dtype)
