"""Which backend `auto` takes: the fastest one on this machine that gives the same picture. Measured once, then kept."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.timing import time_side_by_side
from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError
from repsr_deploy.imaging.tiling import FAST_TILE
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.model_info import LONGEST_FIRST, Precision
from repsr_deploy.runtimes.backends import BACKENDS, Candidate, check_threads, open_backend, readers
from repsr_deploy.runtimes.base import Limits, RowByRow, Runtime, WholePictures
from repsr_deploy.runtimes.choice_cache import Measured, load_measured, store_measured
from repsr_deploy.runtimes.finished import finished
from repsr_deploy.runtimes.source import Source, check_file, label_of

log = logging.getLogger(__name__)

SAME_PICTURE_DB = 54.0
"""PSNR from which two 8-bit pictures count as the same. It lies 5 dB below that of rounding to 8 bits itself (58.9 dB),
and an independent error of that size takes less than 0.1 dB from a picture that was restored at 37 dB, as photo-x2
restores Set5: 10 log10(1 + 10^((37 - 54) / 10)). bf16 gives 58 to 65 dB on photographs and
changes the PSNR-Y of the bundled models on Kodak by -0.002 (x2) and +0.001 dB (x4); naive int8 gives some 43."""
MEASURING_S, ROUNDS = 0.6, 20
"""The candidates run in turns for so long, or so often if that takes less; their warm-up comes on top."""
LONGEST_RUN_S = 0.05
"""A run of the slowest candidate: the picture is as large as a tile unless that takes longer."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What `auto` takes."""

    candidate: Candidate
    reason: str
    """One line for people."""
    measured: tuple[Measured, ...]
    """All candidates; empty when there was no need to measure."""
    runtime: Runtime
    """The candidate, opened."""


def choose(model: Source, *, threads: int | None = None, precision: Precision | None = None) -> Choice:
    """Open a model in the fastest backend and precision here whose picture is that of the most exact one.

    Every candidate enlarges the same small picture, built in; those within `SAME_PICTURE_DB` of the reference, which is
    the candidate of the longest precision, run in turns for about half a second, and the lowest median wins, the halo
    of tiles counted where a runtime needs them. What came out is kept in the user's cache folder, and used again until
    the model, a version or the machine changes.

    Args:
        model: as for `open_runtime`.
        threads: processor threads; None for one per core.
        precision: the only one that is considered; None for all.

    Raises:
        UsageError: fewer than one thread.
        RuntimeUnavailableError: no backend here computes this model, or none in this precision.
        ModelFileError: not a model.
    """
    check_threads(threads)
    check_file(model)
    asked = {"precision": precision, "threads": threads or os.cpu_count()}
    known = load_measured(model, asked)
    if known is not None:
        chosen = _fastest(known)
        try:
            runtime = open_backend(model, chosen.runtime, threads=threads, precision=chosen.precision)
        except RepsrError as error:
            log.info("what was measured earlier no longer holds (%s): measuring again", error)
        else:
            return _said(model, Choice(candidate=chosen, reason=_reason(known), measured=known, runtime=runtime))
    opened = _open_all(model, threads, precision)
    (first, runtime), *others = opened.items()
    if not others:
        reason = f"{first}: the only one here"
        return _said(model, Choice(candidate=first, reason=reason, measured=(), runtime=runtime))
    measured = _measure({candidate: finished(item, threads=threads) for candidate, item in opened.items()})
    store_measured(model, asked, measured)
    chosen = _fastest(measured)
    return _said(model, Choice(candidate=chosen, reason=_reason(measured), measured=measured, runtime=opened[chosen]))


def _said(model: Source, choice: Choice) -> Choice:
    log.info("%s runs in %s", label_of(model), choice.reason)
    return choice


def _open_all(model: Source, threads: int | None, precision: Precision | None) -> dict[Candidate, Runtime]:
    """Every candidate that opens, the one of the longest precision first: at least one."""
    reasons: list[str] = []
    opened: dict[Candidate, Runtime] = {}
    for name in readers(model):
        try:
            own = open_backend(model, name, threads=threads)
            opened[Candidate(name, own.precision)] = own
            for other in BACKENDS[name].precisions(own.info):
                if other != own.precision:
                    opened[Candidate(name, other)] = open_backend(model, name, threads=threads, precision=other)
        except RuntimeUnavailableError as error:
            reasons.append(str(error))
        except ModelFileError as error:
            if not opened:
                raise
            log.info("%s is left out: %s", name, error)
    found = {item: opened[item] for item in opened if precision in (None, item.precision)}
    if not found:
        here = f"; here are {', '.join(map(str, opened))}" if opened else ""
        wanted = "" if precision is None else f" in {precision}"
        raise RuntimeUnavailableError(f"no runtime computes {label_of(model)}{wanted}{here}; {'; '.join(reasons)}")
    return dict(sorted(found.items(), key=lambda item: LONGEST_FIRST.index(item[0].precision)))


def _measure(opened: dict[Candidate, Runtime]) -> tuple[Measured, ...]:
    """How long each candidate takes, and how near its picture is to that of the first that runs."""
    limits = [runtime.limits for runtime in opened.values() if runtime.limits is not None]
    colours = 3 if next(iter(opened.values())).info.colour == "rgb" else 1
    small = measuring_picture(_fitting(64, limits), colours)[None]
    small_s = _second_run_s(opened, small)
    larger = min(FAST_TILE, int(len(small[0]) * math.sqrt(max(1.0, LONGEST_RUN_S / max(small_s.values())))))
    side = _fitting(larger, limits)
    round_s = sum(small_s.values()) * (side / len(small[0])) ** 2
    picture = measuring_picture(side, colours)[None]
    pictures = {candidate: opened[candidate].run_images(picture) for candidate in small_s}
    reference = next(iter(pictures.values()))
    nearness = {candidate: psnr(made, reference) for candidate, made in pictures.items()}
    runs: dict[str, Callable[[], Any]] = {
        str(candidate): partial(opened[candidate].run_images, picture)
        for candidate, decibels in nearness.items()
        if decibels >= SAME_PICTURE_DB
    }
    timings = time_side_by_side(runs, seconds=min(MEASURING_S, ROUNDS * round_s), warmup_s=0.0) if len(runs) > 1 else {}
    return tuple(
        Measured(
            candidate=candidate,
            psnr_db=decibels,
            median_s=timings[str(candidate)].median_s * _with_halo(opened[candidate])
            if str(candidate) in timings
            else None,
            side=side,
        )
        for candidate, decibels in nearness.items()
    )


def _with_halo(runtime: Runtime) -> float:
    """What a tile of a large picture takes, over what a picture of its size takes by itself."""
    if isinstance(runtime, RowByRow | WholePictures):
        return 1.0
    return (1 + 2 * (runtime.info.halo or 0) / FAST_TILE) ** 2


def measuring_picture(side: int, colours: int) -> NDArray[np.uint8]:
    """What candidates are compared on: side x side x colours, the same every time."""
    return photograph_like(side, side)[..., :colours]


def _fitting(side: int, limits: list[Limits]) -> int:
    """The side of a square picture that all of them take."""
    for item in limits:
        low, high = max(item.height[0], item.width[0]), min(item.height[1], item.width[1])
        side = max(low, min(side, high))
    return side


def _second_run_s(opened: dict[Candidate, Runtime], images: Any) -> dict[Candidate, float]:
    """Time of each candidate's second run, as the first one prepares what it uses; without those that cannot run.

    Raises:
        RepsrError: none can; the first one's reason.
    """
    times_s: dict[Candidate, float] = {}
    failures: list[RepsrError] = []
    for candidate, runtime in opened.items():
        try:
            runtime.run_images(images)
            start = time.perf_counter()
            runtime.run_images(images)
        except RepsrError as error:
            log.info("%s is left out: %s", candidate, error)
            failures.append(error)
        else:
            times_s[candidate] = time.perf_counter() - start
    if not times_s:
        raise failures[0]
    return times_s


def _fastest(measured: tuple[Measured, ...]) -> Candidate:
    """The first one where no other gives the same picture."""
    timed = [item for item in measured if item.median_s is not None]
    return min(timed, key=lambda item: item.median_s or 0).candidate if timed else measured[0].candidate


def _reason(measured: tuple[Measured, ...]) -> str:
    chosen, reference = _fastest(measured), measured[0]
    rows: list[str] = []
    for item in measured:
        time_ms = "another picture" if item.median_s is None else f"{item.median_s * 1e3:.1f} ms"
        nearness = "" if item is reference else f", {_decibels(item.psnr_db)} from {reference.candidate}"
        rows.append(f"{item.candidate} {time_ms}{nearness}")
    side = reference.side
    return f"{chosen}, the fastest here with the same picture ({side} x {side} pixels: {'; '.join(rows)})"


def _decibels(value: float) -> str:
    return "no difference" if math.isinf(value) else f"{value:.1f} dB"
