"""Crops cut on the training device, where all pixels lie: a step sends a few numbers instead of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_train.data.crops import Crop, CropSampler
from repsr_train.data.pair import Pair, Uint8

SHARE = 0.5
"""Of the device's free memory that pixels may take; the rest is for training."""


def fits(device: torch.device, pairs: Sequence[Pair]) -> bool:
    """Whether the photographs should lie on a device, for `DeviceSampler`.

    Never on the CPU: its memory holds them already, and slices are cut faster than single pixels are gathered.
    """
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(pair.hr_hwc.size + pair.lr_hwc.size for pair in pairs) <= SHARE * free


class DeviceSampler:
    """Draws what `sampler` draws, bit for bit, as tensors on a device."""

    def __init__(self, sampler: CropSampler, device: torch.device) -> None:
        self.sampler, self.device = sampler, device
        self._lr = _Pixels([pair.lr_hwc for pair in sampler.pairs], 1, sampler.patch, device)
        self._hr = self._lr
        if sampler.scale > 1:
            self._hr = _Pixels([pair.hr_hwc for pair in sampler.pairs], sampler.scale, sampler.patch, device)

    def draw(self, step: int, part: slice | None = None) -> tuple[Tensor, Tensor]:
        """See `CropSampler.draw`."""
        crops = self.sampler.plan(step, part)
        lr_nchw = self._lr.cut(crops)
        return lr_nchw, lr_nchw if self._hr is self._lr else self._hr.cut(crops)


class _Pixels:
    """Images of one resolution as one table of pixels, row after row and image after image."""

    def __init__(self, images: Sequence[Uint8], factor: int, patch: int, device: torch.device) -> None:
        self._widths = np.array([image.shape[1] for image in images], np.int64)
        sizes = np.array([image.shape[0] * image.shape[1] for image in images], np.int64)
        self._starts = sizes.cumsum() - sizes
        self._factor, self._side = factor, patch * factor
        self._table = torch.empty((int(sizes.sum()), 3), dtype=torch.uint8, device=device)
        for image_hwc, start, size in zip(images, self._starts.tolist(), sizes.tolist(), strict=True):
            # a copy, because PyTorch warns of memory that it must not write to
            self._table[start : start + size] = torch.from_numpy(image_hwc.reshape(-1, 3).copy())

    def cut(self, crops: Sequence[Crop]) -> Tensor:
        """N x 3 x side x side, contiguous."""
        first_n, down_n, right_n = torch.from_numpy(self._walks(np.array(crops, np.int64))).to(self._table.device)
        steps = torch.arange(self._side, device=self._table.device)
        rows_nh = first_n[:, None] + down_n[:, None] * steps
        index_nhw = rows_nh[:, :, None] + right_n[:, None, None] * steps
        return self._table[index_nhw].permute(0, 3, 1, 2).contiguous()

    def _walks(self, crops_n5: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of each crop: index of its upper left pixel, distance to the pixel below, and to the one on the right."""
        photo, top, left, turns, mirror = crops_n5.T
        width, last = self._widths[photo], self._side - 1
        one = np.ones_like(width)
        down = np.choose(turns, (width, -one, -width, one))
        right = np.choose(turns, (one, width, -one, -width))
        corner = last * np.choose(turns, (0 * one, one, width + 1, width))
        first = self._starts[photo] + top * self._factor * width + left * self._factor + corner
        return np.stack((first + mirror * last * right, down, np.where(mirror == 1, -right, right)))
