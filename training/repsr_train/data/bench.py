"""How many crops each way of cutting them gives per second."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.errors import ProofError
from repsr_train.data.crops import CropSampler
from repsr_train.data.device import DeviceSampler
from repsr_train.data.pair import Pair
from repsr_train.data.stream import AHEAD, streamed


def loader_speed(
    pairs: tuple[Pair, ...],
    *,
    scale: int,
    patch: int,
    batch: int,
    device: torch.device,
    workers: int = 2,
    seconds: float = 5.0,
) -> dict[str, Any]:
    """Measure `CropSampler` on the host, `DeviceSampler` on `device`, and `streamed` with `workers` processes.

    The streamed crops are measured alone, since its workers would disturb the others, and over more batches at a time
    than they cut ahead. All three are compared first.

    Returns:
        `scale`, `patch`, `batch`, `photographs`, `megapixels`; `patches_per_s` (medians) and `times_s` (of a patch),
        both by the name of the executor.

    Raises:
        ProofError: they do not cut the same crops.
    """
    sampler = CropSampler(pairs, scale=scale, patch=patch, batch=batch, seed=0)
    on_device = DeviceSampler(sampler, device)
    burst = 4 * AHEAD * workers
    with closing(streamed(sampler, 0, 2**62, workers=workers)) as stream:
        check_equal(sampler, on_device.draw(0), "device")
        check_equal(sampler, next(stream), "stream")
        streaming = time_side_by_side({"stream": lambda: [next(stream) for _ in range(burst)]}, seconds=seconds)
    timings = time_side_by_side(
        {"host": _each_step(sampler.draw), f"device ({device.type})": _each_step(_waiting(on_device, device))},
        seconds=seconds,
    )
    patches = dict.fromkeys(timings, batch) | {f"stream ({workers} workers)": burst * batch}
    timings[f"stream ({workers} workers)"] = streaming["stream"]
    return {
        "scale": scale,
        "patch": patch,
        "batch": batch,
        "photographs": len(sampler.pairs),
        "megapixels": round(sum(pair.hr_hwc.shape[0] * pair.hr_hwc.shape[1] for pair in sampler.pairs) / 1e6, 1),
        "patches_per_s": {name: round(patches[name] / timing.median_s) for name, timing in timings.items()},
        "times_s": {name: _per_patch(timing, patches[name]) for name, timing in timings.items()},
    }


def _each_step(draw: Callable[[int], object]) -> Callable[[], object]:
    """`draw` for a step that is another each time."""
    steps = count()
    return lambda: draw(next(steps))


def _waiting(sampler: DeviceSampler, device: torch.device) -> Callable[[int], object]:
    """Draw, and wait for the device to be done."""

    def draw(step: int) -> None:
        sampler.draw(step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return draw


def check_equal(sampler: CropSampler, batches: tuple[Tensor, Tensor], name: str) -> None:
    """Compare the batches of step 0 with those of the host.

    Raises:
        ProofError: they differ; `name` says whose they are.
    """
    for expected, found in zip(sampler.draw(0), batches, strict=True):
        if not np.array_equal(expected, found.cpu().numpy()):
            raise ProofError(f"the crops of the {name} differ from those of the host; expected the same bytes")


def _per_patch(timing: Timing, patches: int) -> list[float]:
    return [time_s / patches for time_s in timing.times_s]
