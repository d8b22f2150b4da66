"""Where the engine's time goes: layers by difference, instructions by function, and what its inner loops consist of."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from repsr_deploy.bench.cpu.callgrind import Instructions, count_instructions
from repsr_deploy.bench.cpu.contestants import Engine
from repsr_deploy.bench.cpu.inner_loops import InnerLoop, library_loops
from repsr_deploy.bench.cpu.layers import time_layers
from repsr_deploy.bench.cpu.models import Model
from repsr_deploy.bench.cpu.peaks import Peaks, macs_of
from repsr_deploy.errors import RepsrError
from repsr_kernels.cpu import network
from repsr_kernels.cpu.instruction_sets import PRECISIONS, Precision
from repsr_kernels.cpu.shared_library import library

COUNTED_SIZE = (90, 320)
"""H x W of the picture whose instructions are counted."""
COUNTED_SETS = ("avx2", "portable")
SHOWN = 4
"""Functions that are named."""
LEAST_SHARE = 0.25
"""Of dot products in the inner loop of a convolution; what turns sums into pixels has fewer."""
LAYERS_S = 1.0
"""For each precision."""
NAME_LENGTH = 90


def profile(model: Model, engine: Engine, peaks: Peaks, *, height: int, width: int) -> list[str]:
    """Notes on the engine's time for a model at height x width LR pixels.

    Args:
        peaks: with those of one thread.
    """
    channels = network.Model(model.file("fp32").read_bytes()).description.channels
    notes: list[str] = []
    for precision in PRECISIONS:
        name = engine.best(precision)
        peak = None if name is None else peaks.instructions.get((name, precision, 1))
        if name is None or not peak:
            continue
        times = time_layers(name, precision, channels=channels, height=height, width=width, seconds=LAYERS_S, peak=peak)
        notes.append(f"layers, M{times.layers}C{channels} x2 at {width}x{height}, {times}")
    counted: list[tuple[Model, str, Precision]] = [
        (model, name, precision)
        for name in COUNTED_SETS
        for precision in engine.instruction_sets.get(name, ())
        if precision != "int8" or "int8" in model.files
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # processes of their own, whose counts depend on no time
        notes += [future.result() for future in [pool.submit(_counted, *what) for what in counted]]
    try:
        notes += loops_said(library_loops(_library()))
    except RepsrError as error:
        notes.append(f"inner loops are not listed: {error}")
    return notes


def _counted(model: Model, name: str, precision: Precision) -> str:
    what = f"instructions, {precision} by {name}"
    height, width = COUNTED_SIZE
    try:
        found = count_instructions(model.file(precision), precision, name, height, width)
    except RepsrError as error:
        return f"{what}: not counted: {error}"
    dots = (model.macs_per_pixel or 0) * height * width / macs_of(name, precision)
    return f"{what}, {width}x{height}, by callgrind: {counts_said(found, dots)}"


def counts_said(found: Instructions, dots: float) -> str:
    """A sentence on instructions by function; `dots` is the number of dot products that are needed."""
    shares = ", ".join(f"{count / found.total:.0%} {short(name)}" for name, count in found.functions[:SHOWN])
    return f"{found.total / dots:.2f} for each dot product of a vector that is needed; {shares}"


def loops_said(loops: Sequence[InnerLoop]) -> list[str]:
    """A line for each kind of dot product: the longest loops that consist of them, as those of convolutions do."""
    lines: list[str] = []
    working = [loop for loop in loops if loop.share >= LEAST_SHARE]
    for kind in dict.fromkeys(loop.dot_product for loop in working):
        most = max(loop.dot_products for loop in working if loop.dot_product == kind)
        longest = [loop for loop in working if (loop.dot_product, loop.dot_products) == (kind, most)]
        counts = sorted({loop.instructions for loop in longest})
        said = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        lines.append(f"inner loops of {kind}: {most} of {said} instructions are dot products")
    return lines


def short(name: str) -> str:
    """A function's name without its namespace's and arguments', and not longer than a line."""
    bare = re.sub(r"\(anonymous namespace\)::|repsr::cpu::|'\d+$", "", name)
    bare = re.sub(r"\(.*\)( const)?$", "", bare).removeprefix("void ").removeprefix("bool ")
    return bare if len(bare) <= NAME_LENGTH else f"{bare[: NAME_LENGTH - 3]}..."


def _library() -> Path:
    """Of the engine, as it is loaded."""
    return Path(library()._name)  # pyright: ignore[reportPrivateUsage]  # ctypes has no other word for it
