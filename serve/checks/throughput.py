"""A mixed load of photographs: as fast as the bare runtime, and small pictures that do not wait for large ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from checks.bare import BareLoop, Pace
from checks.load import Outcome, ask, clients, complaints, percentile, statuses
from checks.metrics import Counts, counts
from checks.photographs import MIX, THUMBNAIL_MEGAPIXELS, Mixture, picture
from checks.reference import MODEL
from checks.service import Options, Served, serving
from checks.verdict import Findings, at_least, at_most, none_of
from repsr_deploy.runtimes import AUTO

SECONDS = 120.0
"""Of load, and as long of the bare loop."""
THREADS = 1
"""Of the runtime, in the service and in the bare loop: of two cores decoding, encoding and the clients need one."""
CLIENTS = 6
ROUNDS = 6
"""Load and bare loop take turns, so that a noisy machine meets both."""
RAMP_S = 2.0
"""Of load before it counts."""
SHARE = 0.9
"""Of the bare loop's pace, at least."""
SLOWER = 3.0
"""Times its unloaded p99 that a small picture may take under load, and one full batch more."""
SLOWEST = 3
"""Small pictures whose stages are shown."""
UNLOADED = 300
"""Small pictures, one after the other, for the unloaded latency."""


@dataclass(kw_only=True)
class Load:
    """What the service did while it counted."""

    pace: Pace = field(default_factory=Pace)
    pixels_answered: int = 0
    tiles: float = 0.0
    fill: float = 0.0
    """Sum over batches of tiles by those that there could have been."""
    batch_s: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    def add(self, before: Counts, after: Counts, seconds: float) -> None:
        """Count what happened between two moments."""

        def grown(name: str) -> float:
            return after.get(name) - before.get(name)

        self.pace.seconds += seconds
        self.pace.pixels += round(grown("pixels_total"))
        self.pace.batches += round(grown("batch_fill_ratio_count"))
        self.tiles += grown("tiles_total")
        self.fill += grown("batch_fill_ratio_sum")
        self.batch_s += grown("inference_duration_seconds_sum")


def throughput(
    *,
    seconds: float = SECONDS,
    threads: int = THREADS,
    runtime: str = AUTO,
    mix: Mapping[float, int] = MIX,
    rounds: int = ROUNDS,
    unloaded: int = UNLOADED,
    seed: int = 0,
) -> Findings:
    """Load a service of its own, and compare it with the bare loop.

    Args:
        threads: processor threads of the runtime, in both.
    """
    mixture = Mixture(mix, seed=seed)
    bare = BareLoop(MODEL, runtime, threads, [group[0] for group in mixture.pictures.values()])
    options: Options = {"runtime": runtime, "threads": threads, "model": MODEL}
    with serving(options) as served:
        small_s = asyncio.run(_unloaded(served, unloaded, seed))
        load, bare_pace = Load(), Pace()
        for _ in range(rounds):
            asyncio.run(_loaded(served, mixture, seconds / rounds, load))
            bare.run(seconds / rounds, bare_pace)
    return _findings(load, bare_pace, small_s, bare, {**options, "mix": _said(mix), "clients": CLIENTS, "seed": seed})


async def _unloaded(served: Served, count: int, seed: int) -> list[float]:
    """How long a small picture takes when the service has nothing else to do; the first ones are not counted."""
    thumbnail = picture(THUMBNAIL_MEGAPIXELS, Random(seed))
    outcomes = [await ask(served.address, thumbnail) for _ in range(count + count // 10)]
    return [one.seconds for one in outcomes[-count:]]


async def _loaded(served: Served, mixture: Mixture, seconds: float, load: Load) -> None:
    """One turn of load."""
    deck = mixture.deal()
    async with clients(lambda: ask(served.address, next(deck)), CLIENTS) as outcomes:
        await asyncio.sleep(min(RAMP_S, seconds))
        before, started = await counts(served.address), time.perf_counter()
        await asyncio.sleep(seconds)
        load.add(before, await counts(served.address), time.perf_counter() - started)
    load.outcomes += outcomes


def _findings(
    load: Load, bare_pace: Pace, small_s: Sequence[float], bare: BareLoop, settings: Mapping[str, object]
) -> Findings:
    smallest = min(one.pixels for one in load.outcomes)
    small = sorted((one for one in load.outcomes if one.served and one.pixels == smallest), key=lambda one: one.seconds)
    loaded_s = [one.seconds for one in small]
    fill = load.fill / load.pace.batches if load.pace.batches else float("nan")
    full_batch_s = load.batch_s / load.pace.batches / fill if load.pace.batches else float("nan")
    bound_s = SLOWER * percentile(small_s, 99) + full_batch_s
    name = f"{bare.runtime.name} {bare.runtime.precision}"
    return Findings(
        check="throughput",
        about=f"Photographs of 0.1 to 12 megapixels, JPEG in, JPEG out, from {CLIENTS} clients that ask one after the "
        f"other; in turns with a bare loop of the same runtime ({name}) over the same tiles.",
        requirements=[
            at_least(
                "pace of the service, share of the bare loop's",
                load.pace.megapixels_per_s / bare_pace.megapixels_per_s,
                SHARE,
            ),
            at_most(
                f"small picture under load, p99 (bound: {SLOWER:g} times unloaded p99 and a full batch)",
                percentile(loaded_s, 99),
                bound_s,
                "s",
            ),
            none_of("requests that were not served", complaints(load.outcomes), len(load.outcomes)),
        ],
        figures={
            "service, megapixels of tiles/s": load.pace.megapixels_per_s,
            "bare loop, megapixels of tiles/s": bare_pace.megapixels_per_s,
            "service, tiles/s": load.tiles / load.pace.seconds,
            "batch fill": fill,
            "a full batch, s": full_batch_s,
            "small picture unloaded, s": {f"p{p}": percentile(small_s, p) for p in (50, 99)},
            "small picture under load, s": {f"p{p}": percentile(loaded_s, p) for p in (50, 99)},
            "small pictures under load": len(small),
            "slowest of them": [f"{one.seconds * 1000:.0f} ms: {one.stages}" for one in small[-SLOWEST:]],
            "answers by status": statuses(load.outcomes),
        },
        settings=settings,
        raw={"unloaded_s": list(small_s), "loaded_s": loaded_s},
    )


def _said(mix: Mapping[float, int]) -> str:
    return ", ".join(f"{count} of {size:g} MP" for size, count in mix.items())
