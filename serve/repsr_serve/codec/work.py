"""How much a picture asks of a worker, in pixels, and which workers may take how much."""

from __future__ import annotations

import math

from repsr_serve.buffers import Buffer

SMALL_WORK, LARGE_WORK = 2**20, 2**26
"""Pixels up to which a picture is small, done in some 20 ms (200 when it is written as WebP), or merely large."""
BYTES_PER_PIXEL = 4
"""So many bytes of a file are as much work as a pixel."""
PIXELS_PER_S = 1_000_000
"""That the slowest worker on a busy machine gets done."""
LARGE_NICENESS = 15
"""Whoever computes networks, which is what all wait for, comes first."""


def work_of_file(encoded: Buffer) -> int:
    """To walk through a file, in pixels."""
    return encoded.size // BYTES_PER_PIXEL


def granted_s(work: int) -> float:
    """Time that a picture may take for its size."""
    return work / PIXELS_PER_S


def most_work_of(workers: int) -> list[float]:
    """What each worker takes at most, least first."""
    some = max(1, workers // 4)
    small = some if workers > 1 else 0
    huge = some if workers > 2 else 1
    return [SMALL_WORK] * small + [LARGE_WORK] * (workers - small - huge) + [math.inf] * huge


def niceness_of(most_work: float) -> int:
    """How far workers stand back that take more than small pictures."""
    return 0 if most_work <= SMALL_WORK else LARGE_NICENESS
