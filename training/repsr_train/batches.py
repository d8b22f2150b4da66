"""From photographs to the tensors that a network trains on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.metrics.colour import MATRIX, OFFSET
from repsr_deploy.nets.spec import Colour
from repsr_train.config import Recipe
from repsr_train.data import CropSampler, Pair
from repsr_train.data.device import DeviceSampler, fits
from repsr_train.data.pair import quiet
from repsr_train.data.stream import streamed
from repsr_train.degradations.second_order import SecondOrder, degrade
from repsr_train.distributed import ALONE, Processes

STATISTICS_BATCHES = 50
"""Batches over which population statistics are measured."""
MARGIN = 16
"""LR pixels around a crop that are degraded with it and then cut: what lies beyond a border is only guessed."""
WORKERS = 4
"""Processes that cut crops where the photographs do not fit the CUDA device."""

Crops = NDArray[np.uint8] | Tensor


def stored_scale(recipe: Recipe) -> int:
    """The scale at which photographs are loaded for training: degradations make their own LR images, from HR alone."""
    return 1 if recipe.degradation == "second-order" else recipe.network.scale


class Batches:
    """The batches of a training: LR and HR, N x C x H x W in 0..1 on the device, each a function of the step alone.

    Photographs lie on a CUDA device where they fit; else, or with `workers`, processes cut crops ahead of the training.
    On a CPU cutting takes 3 % of a step of the smallest network: there it is not worth a process.

    Args:
        pairs: loaded at `stored_scale(recipe)`.
        workers: None leaves it to the above.
        report: told of photographs that are too small.

    Raises:
        UsageError: no photograph is large enough for a crop.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        recipe: Recipe,
        device: torch.device,
        processes: Processes = ALONE,
        *,
        workers: int | None = None,
        report: Callable[[str], None] = quiet,
    ) -> None:
        self._recipe, self._device = recipe, device
        self._part = processes.part(recipe.batch)
        degrades = recipe.degradation == "second-order"
        patch = (recipe.patch + 2 * MARGIN) * recipe.network.scale if degrades else recipe.patch
        scale = stored_scale(recipe)
        self._cutter = CropSampler(pairs, scale=scale, patch=patch, batch=recipe.batch, seed=recipe.seed, report=report)
        on_device = not workers and fits(device, self._cutter.pairs)
        self._sampler = DeviceSampler(self._cutter, device) if on_device else self._cutter
        self._workers = workers
        if workers is None:
            self._workers = WORKERS if device.type == "cuda" and not on_device else 0

    def between(self, start: int, stop: int) -> Generator[tuple[Tensor, Tensor]]:
        """This process's part of the batches of steps `start` to `stop` - 1, in order."""
        for step, (lr_nchw, hr_nchw) in enumerate(self._crops(start, stop), start):
            yield self._prepared(step, lr_nchw, hr_nchw, 0 if self._part is None else self._part.start)

    def statistics(self, start: int) -> Iterator[Tensor]:
        """The LR halves of the whole batches of `STATISTICS_BATCHES` steps: the same in every process."""
        for step in range(start, start + STATISTICS_BATCHES):
            yield self._prepared(step, *self._sampler.draw(step), 0)[0]

    def _crops(self, start: int, stop: int) -> Iterable[tuple[Crops, Crops]]:
        if self._workers:
            pin = self._device.type == "cuda"
            return streamed(self._cutter, start, stop, workers=self._workers, part=self._part, pin=pin)
        return (self._sampler.draw(step, self._part) for step in range(start, stop))

    def _prepared(self, step: int, lr_nchw: Crops, hr_nchw: Crops, first: int) -> tuple[Tensor, Tensor]:
        """uint8 crops as the network sees them; `first` is the place of their first in the whole batch."""
        recipe, colour = self._recipe, self._recipe.network.colour
        if recipe.degradation == "bicubic":
            return to_network(lr_nchw, colour, self._device), to_network(hr_nchw, colour, self._device)
        config = SecondOrder(sharpen=recipe.usm)
        rgb_nchw = to_network(hr_nchw, "rgb", self._device)
        low, high = degrade(rgb_nchw, recipe.network.scale, config, (recipe.seed, step), start=first)
        middle = slice(MARGIN, MARGIN + recipe.patch)
        large = slice(middle.start * recipe.network.scale, middle.stop * recipe.network.scale)
        return in_colour(low[..., middle, middle], colour), in_colour(high[..., large, large], colour)


def to_network(batch_nchw: Crops, colour: Colour, device: torch.device) -> Tensor:
    """uint8 RGB N x 3 x H x W -> float32 0..1 of the same shape, or N x 1 x H x W of studio-range Y / 255 for luma."""
    return in_colour(torch.as_tensor(batch_nchw).to(device, non_blocking=True).float() / 255, colour)


def in_colour(rgb_nchw: Tensor, colour: Colour) -> Tensor:
    """RGB N x 3 x H x W in 0..1 as a network of that colour sees it: itself, or studio-range Y / 255."""
    if colour == "rgb":
        return rgb_nchw.contiguous(memory_format=torch.channels_last)
    weights = torch.tensor(MATRIX[0] / 255, dtype=torch.float32, device=rgb_nchw.device).view(1, 3, 1, 1)
    return (rgb_nchw * weights).sum(dim=1, keepdim=True) + OFFSET[0] / 255
