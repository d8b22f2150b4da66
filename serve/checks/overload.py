"""Ten times what the service can do: every request gets an answer, memory stays bounded, and it is soon over."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from random import Random

from checks.load import Outcome, arrivals, ask, clients, complaints, percentile, statuses
from checks.photographs import MIX, THUMBNAIL_MEGAPIXELS, Mixture, Picture, picture
from checks.reference import MODEL, RUNTIME
from checks.service import Options, Served, serving
from checks.verdict import Findings, at_least, at_most, equal, none_of

SECONDS = 120.0
TIMES = 10.0
CLIENTS = 6
"""Of the measurement of what it can do."""
CAPACITY_S = 20.0
MEMORY_BYTES = 2**31
CONNECTIONS = 1000
"""Open at a time, as the service's own limit; more are refused."""
CONNECTION_BYTES = 2**17
"""Of each: its parser, its task, what the system's sockets hand over at a time."""
SAMPLE_S = 0.5
RECOVERY_S = 5.0
NORMAL = 1.5
"""Times the unloaded median: a latency that is normal again."""
PROBES = 15
OPTIONS: Options = {
    "runtime": RUNTIME,
    "threads": 1,
    "model": MODEL,
    "memory": MEMORY_BYTES,
}


def overload(*, seconds: float = SECONDS, mix: Mapping[float, int] = MIX, seed: int = 0) -> Findings:
    """Overload a service of its own."""
    mixture = Mixture(mix, seed=seed)
    with serving(OPTIONS) as served:
        return asyncio.run(_overload(served, mixture, seconds=seconds, seed=seed))


async def _overload(served: Served, mixture: Mixture, *, seconds: float, seed: int) -> Findings:
    thumbnail = picture(THUMBNAIL_MEGAPIXELS, Random(seed))
    base_bytes = served.usage().memory_bytes
    unloaded_s = percentile([(await ask(served.address, thumbnail)).seconds for _ in range(2 * PROBES)][PROBES:], 50)
    capacity = await _capacity(served, mixture, min(CAPACITY_S, seconds))
    async with _memory(served) as samples:
        deck = mixture.deal()
        tasks, offered = await arrivals(
            lambda: ask(served.address, next(deck)), rate_per_s=TIMES * capacity, seconds=seconds, seed=seed
        )
        recovery_s = await _recovery(served, thumbnail, NORMAL * unloaded_s)
        outcomes = await asyncio.gather(*tasks)
    bound_bytes = base_bytes + MEMORY_BYTES + CONNECTIONS * CONNECTION_BYTES
    return Findings(
        check="overload",
        about=f"{TIMES:g} times as many requests as the service can answer, for {seconds:g} s, at random times; "
        f"photographs of {', '.join(f'{size:g}' for size in mixture.pictures)} megapixels. Memory may be what it takes "
        f"idle, its setting `memory`, and {CONNECTION_BYTES // 1024} KiB for each of {CONNECTIONS} connections.",
        requirements=[
            at_least("requests offered", offered, 0.9 * TIMES * capacity, "/s"),
            none_of("requests without a right answer", complaints(outcomes), len(outcomes)),
            at_most("memory at its highest", max(samples) / 2**20, bound_bytes / 2**20, "MiB"),
            at_most("time until a small picture takes as long as before", recovery_s, RECOVERY_S, "s"),
            equal("still running", served.process.poll(), None),
        ],
        figures={
            "capacity, requests/s": capacity,
            "offered, requests/s": offered,
            "answers by status": statuses(outcomes),
            "served, requests/s": sum(one.served for one in outcomes) / seconds,
            "time of refusals, median s": percentile([one.seconds for one in outcomes if not one.served], 50),
            "time of refusals, p99 s": percentile([one.seconds for one in outcomes if not one.served], 99),
            "time of answers 200, p99 s": percentile([one.seconds for one in outcomes if one.served], 99),
            "memory idle, MiB": base_bytes / 2**20,
            "small picture unloaded, median s": unloaded_s,
        },
        settings={**OPTIONS, "mix": {f"{size:g} MP": count for size, count in mixture.mix.items()}, "seed": seed},
        raw={"memory_bytes": samples},
    )


async def _capacity(served: Served, mixture: Mixture, seconds: float) -> float:
    """Requests that it serves a second, when so many clients wait for it."""
    deck = mixture.deal()
    async with clients(lambda: ask(served.address, next(deck)), CLIENTS) as outcomes:
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        done = sum(one.served for one in outcomes)
        elapsed_s = time.perf_counter() - started
    return done / elapsed_s


@asynccontextmanager
async def _memory(served: Served) -> AsyncGenerator[list[int]]:
    """Bytes of memory, looked at again and again."""
    samples = [served.usage().memory_bytes]

    async def sample() -> None:
        while True:
            samples.append((await asyncio.to_thread(served.usage)).memory_bytes)
            await asyncio.sleep(SAMPLE_S)

    task = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _recovery(served: Served, thumbnail: Picture, normal_s: float) -> float:
    """Seconds from now until the median of several small pictures in a row is normal; infinite after a minute."""
    started = time.perf_counter()
    recent: list[Outcome] = []
    while time.perf_counter() - started < 60:
        recent = [*recent[1 - PROBES :], await ask(served.address, thumbnail)]
        usual = statistics.median(one.seconds if one.served else float("inf") for one in recent)
        if len(recent) == PROBES and usual <= normal_s:
            return recent[0].started_s - started
        if not recent[-1].served:
            await asyncio.sleep(SAMPLE_S)
    return float("inf")
