"""Where the engine's time goes by layer, told by the difference between networks of more and fewer layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from repsr_deploy.bench.cpu.random_network import random_network
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.timing import time_side_by_side
from repsr_deploy.nets.spec import StackSpec
from repsr_kernels.cpu.network import Model, Network, Precision

FEW, MANY = 4, 12
"""Layers between head and tail, of the two networks."""
MIN_ROUNDS = 9


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Of a picture, on one thread."""

    instruction_set: str
    precision: Precision
    layers: int
    """Between head and tail."""
    whole_s: float
    layer_s: float
    """One layer between head and tail."""
    layer_ideal_s: float
    """What its multiply-adds take at the instruction's own speed."""
    ideal_s: float
    """What those of the whole network take."""

    @property
    def ends_s(self) -> float:
        """Head, tail, what reads and writes pixels, and the rows that strips and blocks make twice."""
        return self.whole_s - self.layers * self.layer_s

    @property
    def ends_ideal_s(self) -> float:
        """What the multiply-adds of head and tail take at the instruction's own speed."""
        return self.ideal_s - self.layers * self.layer_ideal_s

    def __str__(self) -> str:
        gain = self.whole_s / self.ideal_s
        perfect_layers = self.whole_s / (self.whole_s - self.layers * (self.layer_s - self.layer_ideal_s))
        perfect_ends = self.whole_s / (self.whole_s - (self.ends_s - self.ends_ideal_s))
        return (
            f"{self.precision} by {self.instruction_set}, one thread: {1e3 * self.whole_s:.1f} ms; each of the "
            f"{self.layers} layers between head and tail {1e3 * self.layer_s:.2f} "
            f"({self.layer_ideal_s / self.layer_s:.0%} of the instruction's speed), head, tail and pixels together "
            f"{1e3 * self.ends_s:.1f}, of which multiply-adds are {1e3 * self.ends_ideal_s:.1f}. At the instruction's "
            f"speed everywhere it would be {gain:.2f} times as fast, in the layers between {perfect_layers:.2f}, in "
            f"head and tail {perfect_ends:.2f}"
        )


def time_layers(
    instruction_set: str, precision: Precision, *, channels: int, height: int, width: int, seconds: float, peak: float
) -> LayerTimes:
    """Time networks of `FEW` and `MANY` layers by 2 on a picture of height x width LR pixels, on one thread, in turns.

    Args:
        peak: multiply-adds a second of the instruction alone, on one thread.
    """
    image_hwc = photograph_like(height, width)
    out_hwc = np.empty((2 * height, 2 * width, 3), np.uint8)
    runs: dict[str, Callable[[], Any]] = {}
    macs: dict[int, int] = {}
    for blocks in (FEW, MANY):
        spec = StackSpec(family="plain", scale=2, blocks=blocks, channels=channels)
        model = Model(random_network(spec, "int8" if precision == "int8" else "fp32"))
        network = Network(model, precision, instruction_set=instruction_set)
        runs[str(blocks)] = partial(network.upscale_images, image_hwc, out_hwc, threads=1)
        macs[blocks] = model.description.macs_per_pixel * height * width
    timings = time_side_by_side(runs, seconds=seconds, min_rounds=MIN_ROUNDS)
    few_s, many_s = (timings[str(blocks)].median_s for blocks in (FEW, MANY))
    return LayerTimes(
        instruction_set=instruction_set,
        precision=precision,
        layers=FEW,
        whole_s=few_s,
        layer_s=(many_s - few_s) / (MANY - FEW),
        layer_ideal_s=(macs[MANY] - macs[FEW]) / (MANY - FEW) / peak,
        ideal_s=macs[FEW] / peak,
    )
