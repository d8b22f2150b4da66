"""Workers killed with -9 under load: their requests are tried again or answered, and the service heals."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from random import Random

from checks.load import BUSY, Outcome, ask, clients, complaints, statuses
from checks.metrics import counts
from checks.processes import children, command_of
from checks.reference import MODEL, RUNTIME, difference, known_picture
from checks.service import Options, Served, serving
from checks.verdict import Findings, at_most, equal, none_of

KILLS = 30
EVERY_S = 1.0
CLIENTS = 4
HEAL_S = 5.0
POLL_S = 0.02
AFTERWARDS = 10
"""Requests afterwards, all of which must be right."""
SIDES = ((900, 600), (256, 192))
"""Of the pictures that are sent, pixels."""
WORKER = "repsr_serve.codec"
"""What is in the command line of a worker."""
ALLOWED = BUSY | {500}
OPTIONS: Options = {"runtime": RUNTIME, "threads": 1, "workers": 2, "model": MODEL, "max-wait": 600}


def kill(*, kills: int = KILLS, every_s: float = EVERY_S, seed: int = 0) -> Findings:
    """Kill workers of a service of its own."""
    with serving(OPTIONS) as served:
        return asyncio.run(_kill(served, kills=kills, every_s=every_s, seed=seed))


def workers(pid: int) -> list[int]:
    """Processes that decode and encode."""
    return [child for child in children(pid) if WORKER in command_of(child)]


async def _kill(served: Served, *, kills: int, every_s: float, seed: int) -> Findings:
    random = Random(seed)
    known = [known_picture(*size) for size in SIDES]

    async def ask_one() -> Outcome:
        sent, expected = random.choice(known)
        check = partial(difference, expected_hwc=expected)
        return await ask(served.address, sent, query="?format=png", allowed=ALLOWED, check=check)

    before, killed = len(workers(served.pid)), list[int]()
    async with clients(ask_one, CLIENTS) as outcomes:
        for _ in range(kills):
            await asyncio.sleep(every_s * random.uniform(0.5, 1.5))
            victims = workers(served.pid)
            if victims:
                killed.append(random.choice(victims))
                os.kill(killed[-1], signal.SIGKILL)
        healed_s = await _healed(served, before, killed)
    later = [await ask_one() for _ in range(AFTERWARDS)]
    deaths = (await counts(served.address)).get("worker_deaths_total")
    return Findings(
        check="kill",
        about=f"A worker is killed {kills} times, about every {every_s:g} s, while {CLIENTS} clients send pictures.",
        requirements=[
            equal("workers killed", len(killed), kills),
            none_of("requests without a right answer", complaints(outcomes), len(outcomes)),
            at_most("time until all workers are back", healed_s, HEAL_S, "s"),
            none_of("later requests that were not served", [str(one) for one in later if not one.served], len(later)),
            equal("deaths that the service counted", int(deaths), len(killed)),
        ],
        figures={"answers meanwhile by status": statuses(outcomes), "workers": before},
        settings={**OPTIONS, "seed": seed},
    )


async def _healed(served: Served, count: int, killed: Sequence[int]) -> float:
    """Seconds until so many workers are there that were not killed; infinite when that does not happen."""
    started = time.monotonic()
    while time.monotonic() < started + 2 * HEAL_S:
        if len(set(workers(served.pid)) - set(killed)) == count:
            return time.monotonic() - started
        await asyncio.sleep(POLL_S)
    return float("inf")
