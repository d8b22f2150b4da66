"""Crops cut by worker processes ahead of the training step, for photographs that do not fit the training device."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from repsr_deploy.errors import RepsrError
from repsr_train.data.crops import CropSampler

AHEAD = 4
"""Batches that each worker cuts ahead."""


class _Steps(Dataset[tuple[Tensor, Tensor]]):
    """The batches of a sampler by their step."""

    def __init__(self, sampler: CropSampler, part: slice | None) -> None:
        self._sampler, self._part = sampler, part

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        lr_uint8, hr_uint8 = self._sampler.draw(index, self._part)
        lr_nchw = torch.from_numpy(lr_uint8)
        return lr_nchw, lr_nchw if hr_uint8 is lr_uint8 else torch.from_numpy(hr_uint8)


def streamed(
    sampler: CropSampler, start: int, stop: int, *, workers: int, part: slice | None = None, pin: bool = False
) -> Generator[tuple[Tensor, Tensor]]:
    """What `sampler.draw` gives for the steps from `start` to before `stop`, bit for bit, as tensors on the host.

    Workers are started fresh, not forked, so that neither threads nor a CUDA context of this process can block them;
    photographs of a store are mapped by each, those of a folder are sent to each. They end when the generator is
    closed. PyTorch's own random numbers stay untouched.

    Args:
        workers: processes, at least 1.
        part: see `CropSampler.draw`.
        pin: into page-locked memory, from where copies to a CUDA device run beside the computation.

    Raises:
        RepsrError: a worker died, because memory ran out or a store was changed under it.
    """
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # PyTorch is imported once for all workers
    loader = DataLoader(
        _Steps(sampler, part),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=AHEAD,
        multiprocessing_context=context,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # else it draws a seed from the global one
        pin_memory=pin,
    )
    batches: Iterator[tuple[Tensor, Tensor]] = iter(loader)
    try:
        for step in range(start, stop):
            try:
                batch = next(batches)
            except RuntimeError as error:
                raise RepsrError(
                    f"a data worker failed at step {step}: {error}; expected free memory (also in /dev/shm) and a "
                    "store that nobody changes; train with fewer workers"
                ) from error
            yield batch
    finally:
        del batches  # ends the workers


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(1)
