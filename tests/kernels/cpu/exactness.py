"""The engine run in buffers with guards around every row, and its result judged, the border apart from the interior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.cpu.network import Network, Precision
from tests.kernels.cpu.random_networks import Case
from tests.kernels.cpu.reference_network import (
    BF16,
    FP32,
    Enclosure,
    PlainNetwork,
    enclosed_bytes,
    enclosed_features,
    enclosed_planes,
)

Kind = Literal["bytes", "planes", "features"]
GUARD = 0xFF
"""Of bytes; four of them are NaN as a float, so that a result shows that a gap was read."""


@dataclass(frozen=True)
class Split:
    """How a job is cut into parts; `rows`: None for all."""

    rows: tuple[int, int] | None = None
    threads: int = 1
    strip_rows: int = 0
    block_columns: int = 0


WHOLE = Split()


class Placed:
    """An array somewhere in a larger buffer, with gaps between its rows and planes.

    Args:
        shape: H x W x C of uint8, or C x H x W of float32.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], dtype: type[np.generic]) -> None:
        size = np.dtype(dtype).itemsize
        gap = int(rng.choice([0, 1, 3, 20])) * size
        if dtype is np.uint8:
            pitch = shape[1] * shape[2] + gap
            strides, needed = (pitch, shape[2], 1), shape[0] * pitch
        else:
            pitch = shape[2] * size + gap
            plane = shape[1] * pitch + int(rng.choice([0, 1, 7])) * size
            strides, needed = (plane, pitch, size), shape[0] * plane
        offset = int(rng.integers(1, 70)) if size == 1 else size * int(rng.integers(1, 20))
        self._raw = np.full(offset + needed + 64, GUARD, np.uint8)
        self._how: dict[str, Any] = {"shape": shape, "dtype": dtype, "offset": offset, "strides": strides}
        self.view: NDArray[Any] = np.ndarray(buffer=self._raw.data, **self._how)

    def check_guards(self) -> None:
        """Nothing was written beside the array."""
        expected = np.full_like(self._raw, GUARD)
        np.ndarray(buffer=expected.data, **self._how)[...] = self.view
        assert np.array_equal(expected, self._raw), f"written outside of the result: bytes {expected != self._raw}"


def run(
    network: Network, image: NDArray[Any], kind: Kind, split: Split = WHOLE, rng: np.random.Generator | None = None
) -> NDArray[Any]:
    """The result of a picture, H x W x C for bytes, else C x H x W; buffers are placed at random."""
    rng = rng or np.random.default_rng(0)
    told = network.description
    source = Placed(rng, (image.shape[0], image.shape[1], image.shape[2]), image.dtype.type)
    source.view[...] = image
    height, width = image.shape[:2] if kind == "bytes" else image.shape[1:]
    first, end = split.rows or (0, height)
    scale, channels = (1, told.colours * told.scale**2) if kind == "features" else (told.scale, told.colours)
    rows, columns = scale * (end - first), scale * width
    shape = (rows, columns, channels) if kind == "bytes" else (channels, rows, columns)
    out = Placed(rng, shape, image.dtype.type)
    call = {"bytes": network.upscale_images, "planes": network.upscale_planes, "features": network.features}[kind]
    work = {"threads": split.threads, "strip_rows": split.strip_rows, "block_columns": split.block_columns}
    call(source.view, out.view, rows=split.rows, **work)
    source.check_guards()
    out.check_guards()
    assert np.array_equal(source.view, image), "the picture was written to"
    return out.view.copy()


def picture(case: Case, kind: Kind) -> NDArray[Any]:
    """What the engine is given."""
    return case.image_hwc if kind == "bytes" else case.image_chw


def enclosed(network: PlainNetwork, case: Case, kind: Kind, precision: Precision) -> Enclosure:
    """What it may give; of networks whose activations keep their size the stricter bounds, too."""
    arithmetic = BF16 if precision == "bf16" else FP32
    likely = case.is_realistic and not case.is_int8
    if kind == "bytes":
        return enclosed_bytes(network, case.image_hwc, arithmetic, likely=likely)
    if kind == "features":
        return enclosed_features(network, case.image_chw, arithmetic, likely=likely)
    return enclosed_planes(network, case.image_chw, arithmetic, likely=likely)


def fault(found: NDArray[Any], within: Enclosure, kind: Kind, *, scale: int, layers: int) -> str | None:
    """Which values lie beyond their bounds: at the border, as far as padding is seen there, and inside."""
    wrong = ~((within.low <= found) & (found <= within.high))
    if not wrong.any():
        return None
    value = within.value
    if kind == "bytes":
        wrong, found, value = wrong.transpose(2, 0, 1), found.transpose(2, 0, 1), value.transpose(2, 0, 1)
    step = 1 if kind == "features" else scale
    height, width = found.shape[1] // step, found.shape[2] // step
    ring = np.minimum(_from_the_ends(height)[:, None], _from_the_ends(width)) < layers
    border = ring.repeat(step, axis=0).repeat(step, axis=1)
    difference = np.where(wrong, np.abs(found - value), 0)
    return "; ".join(
        _told(name, wrong & place, difference) for name, place in (("border", border), ("interior", ~border))
    )


def _from_the_ends(count: int) -> NDArray[np.intp]:
    return np.minimum(np.arange(count), np.arange(count)[::-1])


def _told(name: str, wrong: NDArray[np.bool_], difference: NDArray[np.float64]) -> str:
    if not wrong.any():
        return f"{name}: all well"
    place: Sequence[int] = [int(i) for i in np.argwhere(wrong)[0]]
    return f"{name}: {wrong.sum()} values beyond their bounds, by up to {difference[wrong].max():.3g}, first at {place}"
