"""The whole service killed with -9 in the middle of jobs: started again, it finishes all of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from checks.processes import command_of, group
from checks.reference import MODEL, RUNTIME, difference, known_picture
from checks.service import Options, Served, folder_of_service, serving
from checks.verdict import Findings, at_most, equal, none_of
from checks.wire import Answer, exchange, get, post

JOBS = 12
KILLS = 2
SIDES = (720, 480)
FINISH_S = 120.0
POLL_S = 0.2
ORPHANS_S = 5.0
OPTIONS: Options = {"runtime": RUNTIME, "threads": 1, "workers": 2, "model": MODEL}


def restart(*, jobs: int = JOBS, kills: int = KILLS, seed: int = 0) -> Findings:
    """Give jobs to a service of its own, kill it some times, and look whether all are done at the end."""
    sent, expected = known_picture(*SIDES, seed)
    names: list[str] = []
    done_before: list[int] = []
    orphans: list[str] = []
    with folder_of_service() as folder:
        for _ in range(kills):
            with serving(OPTIONS, folder) as served:
                names += asyncio.run(_submit(served, sent.data, jobs // kills))
                done_before.append(asyncio.run(_wait_for_some(served, names)))
                served.kill()
                orphans += asyncio.run(_orphans(served))
        with serving(OPTIONS, folder) as served:
            started = time.monotonic()
            states = asyncio.run(_finish(served, names))
            seconds = time.monotonic() - started
            wrong = asyncio.run(_wrong(served, names, expected))
    return Findings(
        check="jobs-restart",
        about=f"{len(names)} jobs; the service is killed with -9 {kills} times in the middle of them.",
        requirements=[
            equal("jobs given", len(names), jobs // kills * kills),
            none_of("jobs that are not done", [state for state in states if state != "done"], len(states)),
            none_of("results that are not those of repsr-upscale", wrong, len(names)),
            at_most("time until all are done after the last start", seconds, FINISH_S, "s"),
            none_of(f"workers that outlive the service for {ORPHANS_S:g} s", orphans),
            equal("some were not done when it was killed", min(done_before) < jobs // kills, expected=True),
        ],
        figures={"done when it was killed": str(done_before)},
        settings=dict(OPTIONS),
    )


async def _submit(served: Served, data: bytes, count: int) -> list[str]:
    """Addresses of new jobs."""
    answers = [await exchange(served.address, [post("/v1/jobs?format=png", data)]) for _ in range(count)]
    return [answer.headers["location"] for answer in answers if answer.status == 202]


async def _orphans(served: Served) -> list[str]:
    """Command lines of what is left when a service was killed."""
    limit = time.monotonic() + ORPHANS_S
    while (left := group(served.pid)) and time.monotonic() < limit:
        await asyncio.sleep(POLL_S)
    return [command_of(pid) for pid in left]


async def _job(served: Served, name: str) -> dict[str, Any]:
    return (await get(served.address, name)).json()


async def _wait_for_some(served: Served, names: list[str]) -> int:
    """Wait until one more is done than were at first; how many are."""
    first = None
    while True:
        states = [(await _job(served, name)).get("state") for name in names]
        done = states.count("done")
        first = done if first is None else first
        if done > first or done == len(names):
            return done
        await asyncio.sleep(POLL_S / 10)


async def _finish(served: Served, names: list[str]) -> list[str]:
    """States when none waits or runs any more, or when it takes too long."""
    limit = time.monotonic() + FINISH_S
    while True:
        states = [str((await _job(served, name)).get("state")) for name in names]
        if time.monotonic() > limit or not {"waiting", "running"} & set(states):
            return states
        await asyncio.sleep(POLL_S)


async def _wrong(served: Served, names: list[str], expected: Any) -> list[str]:
    answers: list[Answer] = [await get(served.address, f"{name}/result") for name in names]
    found = [difference(one, expected) if one.status == 200 else f"status {one.status}" for one in answers]
    return [text for text in found if text]
