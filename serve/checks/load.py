"""Clients: a number of them that ask one after the other, or arrivals that wait for nobody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from checks.photographs import Picture
from checks.problem import judge_problem
from checks.wire import TIMEOUT_S, Address, Answer, NoAnswerError, exchange, post

UPSCALE = "/v1/upscale"
REFUSED_S = 0.05
"""For which a client that is refused waits: it does not come back at once."""
BUSY = frozenset({429, 503})
"""Refusals for lack of room, which say when to come again."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request."""

    pixels: int
    """Of the picture that was sent."""
    started_s: float
    """On the clock of `time.perf_counter`."""
    seconds: float
    status: int
    """0 without an answer."""
    sent_s: float | None = None
    """When the last byte of the request was with the system; None if that never happened."""
    stages: str = ""
    """Milliseconds of every stage, as the service says (Server-Timing)."""
    complaint: str = ""
    """What is wrong about it; empty when it was served, or refused as it should be."""

    @property
    def ended_s(self) -> float:
        """When its answer was there, or was given up."""
        return self.started_s + self.seconds

    @property
    def served(self) -> bool:
        """Whether the picture came back."""
        return self.status == 200 and not self.complaint


AskOne = Callable[[], Coroutine[Any, Any, Outcome]]
"""Sends the next request."""


def upscale_request(picture: Picture, query: str = "?format=jpeg") -> bytes:
    """The request for one picture, JPEG in, JPEG out."""
    return post(f"{UPSCALE}{query}", picture.data, "image/jpeg")


async def ask(
    address: Address,
    picture: Picture,
    *,
    query: str = "?format=jpeg",
    timeout_s: float = TIMEOUT_S,
    allowed: frozenset[int] = BUSY,
    check: Callable[[Answer], str] | None = None,
) -> Outcome:
    """Send one picture.

    Args:
        allowed: refusals that are right, if they say so properly.
        check: what is wrong about a picture that came back; empty for nothing.
    """
    started = time.perf_counter()
    status, stages, complaint, sent_s = 0, "", "", None

    def sent() -> None:
        nonlocal sent_s
        sent_s = time.perf_counter()

    try:
        answer = await exchange(address, [upscale_request(picture, query)], timeout_s=timeout_s, sent=sent)
        status, complaint = answer.status, judge(answer, allowed)
        stages = answer.headers.get("server-timing", "")
        if check is not None and status == 200 and not complaint:
            complaint = check(answer)
    except NoAnswerError as error:
        complaint = str(error)
    return Outcome(
        pixels=picture.pixels,
        started_s=started,
        seconds=time.perf_counter() - started,
        status=status,
        sent_s=sent_s,
        stages=stages,
        complaint=complaint,
    )


def judge(answer: Answer, allowed: frozenset[int] = BUSY) -> str:
    """What is wrong about an answer under load; empty where it is a picture, or a refusal that is allowed."""
    if answer.status == 200:
        return "" if answer.media_type.startswith("image/") and answer.body else f"200 with {answer.media_type!r}"
    if answer.status not in allowed:
        return f"status {answer.status}: {answer.body[:200]!r}"
    retry_after = answer.headers.get("retry-after", "")
    if answer.status in BUSY and not (retry_after.isdecimal() and int(retry_after) > 0):
        return f"{answer.status} with Retry-After {retry_after!r}"
    return judge_problem(answer)


@asynccontextmanager
async def clients(ask_one: AskOne, count: int) -> AsyncGenerator[list[Outcome]]:
    """So many clients, each of which asks again as soon as it has its answer; the outcomes so far.

    At the end they finish what they have begun.
    """
    outcomes: list[Outcome] = []
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            outcome = await ask_one()
            outcomes.append(outcome)
            if not outcome.served:
                await asyncio.sleep(REFUSED_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(client())
        try:
            yield outcomes
        finally:
            over.set()


async def arrivals(
    ask_one: AskOne, *, rate_per_s: float, seconds: float, seed: int = 0
) -> tuple[list[asyncio.Task[Outcome]], float]:
    """Requests that come at random times (Poisson), however many are still unanswered.

    Returns:
        All of them, some still unanswered, and the rate at which they were really sent, per second.
    """
    random = Random(seed)
    started = time.perf_counter()
    due = started
    tasks: list[asyncio.Task[Outcome]] = []
    while (due := due + random.expovariate(rate_per_s)) < started + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask_one()))
    return tasks, len(tasks) / (time.perf_counter() - started)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all stay below; NaN without any."""
    return float(np.percentile(values, percent)) if values else float("nan")


def statuses(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many got which status; `none` for no answer."""
    return {str(status or "none"): count for status, count in sorted(Counter(one.status for one in outcomes).items())}


def complaints(outcomes: Iterable[Outcome]) -> list[str]:
    """Everything that is wrong."""
    return [f"{one.pixels / 1e6:.1f} megapixels: {one.complaint}" for one in outcomes if one.complaint]
