"""Random operations of `Preprocess` with memory of their own, as `random_operations` makes the other ones."""

from __future__ import annotations

import numpy as np

from repsr_kernels.operations import FLOATS, Padding, Preprocess
from tests.kernels.random_operations import RANGES, Case, Memory, random_frame

PADDINGS: tuple[Padding, ...] = ("zero", "edge", "reflect", "wrap")
FARTHEST = 2**30 - 1
"""A start that is as far from the source as can be."""


def random_preprocess(rng: np.random.Generator, *, longest: int = 40) -> Case:
    """Any valid one; sides have at most `longest` pixels, rarely 300 along a row."""
    memory = Memory(rng)
    count, height, rows = int(rng.integers(1, 4)), int(rng.integers(1, longest + 1)), int(rng.integers(1, longest + 1))
    width, columns = (int(rng.integers(1, 301 if rng.random() < 0.3 else longest + 1)) for _ in range(2))
    if rng.random() < 0.5:
        source = memory.place("source", "uint8", (count, int(rng.choice([1, 3, 3])), height, width))
    else:
        source = random_frame(rng, memory, "source", count, height, width)
    channels = source.shape[1] + int(rng.choice([0, 0, 1, 3, 5, 7]))
    out = memory.place("out", FLOATS[rng.integers(3)], (count, channels, rows, columns), dense=True)
    operation = Preprocess(
        source=source, out=out, top=_start(rng, height), left=_start(rng, width),
        padding=PADDINGS[rng.integers(4)], range=RANGES[rng.integers(len(RANGES))],
    )  # fmt: skip
    return memory.case(operation, written=("out",))


def _start(rng: np.random.Generator, side: int) -> int:
    """At the first pixel, within, around, or anywhere."""
    within, around = int(rng.integers(side)), int(rng.integers(-2 * side - 3, 2 * side + 3))
    return int(rng.choice([0, within, around, int(rng.integers(-FARTHEST, FARTHEST + 1))], p=[0.3, 0.3, 0.35, 0.05]))
