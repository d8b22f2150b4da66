"""SIGTERM under load: what was accepted is finished, what is new is refused, and the process ends with 0 in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random

from checks.load import Outcome, ask, clients, statuses
from checks.photographs import picture
from checks.processes import group
from checks.reference import MODEL, RUNTIME
from checks.service import Options, Served, serving
from checks.verdict import Findings, Requirement, at_most, equal, none_of

CLIENTS = 6
SECONDS = 5.0
"""Of load before the signal."""
MEGAPIXELS = 2.0
"""So that several requests are always under way, on a machine of 20 megapixels a second as well."""
GRACE_S = 20.0
EDGE_S = 0.5
"""Around the signal: what is sent within may be taken or refused."""
OPTIONS: Options = {
    "runtime": RUNTIME,
    "threads": 1,
    "workers": 2,
    "model": MODEL,
    "grace": GRACE_S,
    "max-wait": 600,  # nothing is refused before the signal
}


def terminate(*, seconds: float = SECONDS, megapixels: float = MEGAPIXELS, seed: int = 0) -> Findings:
    """Load a service of its own, and end it."""
    with serving(OPTIONS) as served:
        return asyncio.run(_terminate(served, seconds=seconds, megapixels=megapixels, seed=seed))


async def _terminate(served: Served, *, seconds: float, megapixels: float, seed: int) -> Findings:
    sent = picture(megapixels, Random(seed))
    async with clients(lambda: ask(served.address, sent), CLIENTS) as outcomes:
        await asyncio.sleep(seconds)
        signalled_s = time.perf_counter()
        status = await asyncio.to_thread(served.terminate)
        ended_s = time.perf_counter()
        await asyncio.sleep(2 * EDGE_S)
    return Findings(
        check="terminate",
        about=f"SIGTERM while {CLIENTS} clients send pictures of {megapixels:g} megapixels one after the other.",
        requirements=[
            *judged(outcomes, signalled_s),
            equal("exit status", status, 0),
            at_most("time until the process has ended", ended_s - signalled_s, GRACE_S, "s"),
            none_of("processes left behind", [str(pid) for pid in group(served.pid)]),
        ],
        figures={"answers before and after by status": statuses(outcomes)},
        settings=dict(OPTIONS),
    )


def judged(outcomes: Sequence[Outcome], signalled_s: float) -> list[Requirement]:
    """What must become of requests, by when they were sent."""
    before = [one for one in outcomes if one.sent_s is not None and one.sent_s < signalled_s - EDGE_S]
    accepted = [one for one in before if one.ended_s > signalled_s]
    new = [one for one in outcomes if one.started_s > signalled_s + EDGE_S]
    return [
        none_of(
            "accepted requests that were not finished", [_said(one) for one in before if not one.served], len(before)
        ),
        equal("some were under way at the signal", bool(accepted), expected=True),
        none_of("new requests that were served", [_said(one) for one in new if one.status == 200], len(new)),
        none_of("answers that broke off", [_said(one) for one in outcomes if "within" in one.complaint]),
    ]


def _said(one: Outcome) -> str:
    return f"{one.status or 'no answer'} after {one.seconds:.2f} s {one.complaint}"
