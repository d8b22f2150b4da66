"""One hostile request, and what may become of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from checks.problem import judge_problem
from checks.wire import Address, Answer, NoAnswerError, Piece, exchange, hang_up, message, post

Ending = Literal["answer", "answer or closed", "client leaves"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request and its judge."""

    name: str
    """Family and kind, a slash between."""
    pieces: Sequence[Piece]
    """What is sent; numbers are seconds to wait."""
    only: frozenset[int] = frozenset()
    """Statuses that are right; none named for all of 400 to 499."""
    may_succeed: bool = False
    """Whether 2xx is right as well: it may be a request that can be served."""
    ending: Ending = "answer"
    read_bytes: int = 0
    """Of the answer, before the client leaves."""
    no_body: bool = False
    """The answer has none, as after HEAD."""
    within_s: float = 10.0


def picture_case(name: str, data: bytes, **about: Any) -> Case:
    """A file sent for upscaling, as the body."""
    return Case(name=name, pieces=[post("/v1/upscale", data)], **about)


def target_case(name: str, target: str, method: str = "GET", body: bytes | None = None, **about: Any) -> Case:
    """A request for some target."""
    return Case(name=name, pieces=[message(method, target, body)], no_body=method == "HEAD", **about)


def judge(case: Case, answer: Answer) -> str:
    """What is wrong about an answer; empty for nothing."""
    status = answer.status
    if case.may_succeed and 200 <= status < 300:
        return ""
    if not 400 <= status < 500 or status == 429 or (case.only and status not in case.only):
        wanted = " or ".join(map(str, sorted(case.only))) or "4xx"
        return f"{status}, wanted {wanted}: {answer.body[:160]!r}"
    if answer.seconds > case.within_s:
        return f"{status} only after {answer.seconds:.1f} s, wanted within {case.within_s:g} s"
    return "" if case.no_body else judge_problem(answer)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a case."""

    name: str
    status: int
    """0 without an answer."""
    seconds: float
    wrong: str
    """Empty for nothing."""

    def __str__(self) -> str:
        return f"{self.name}: {self.wrong or self.status}"


async def perform(address: Address, case: Case) -> Done:
    """Send it, and judge what comes back."""
    started = time.perf_counter()
    status, wrong = 0, ""
    try:
        if case.ending == "client leaves":
            await hang_up(address, case.pieces, case.read_bytes, timeout_s=case.within_s)
        else:
            answer = await exchange(address, case.pieces, timeout_s=2 * case.within_s, no_body=case.no_body)
            status, wrong = answer.status, judge(case, answer)
    except NoAnswerError as error:
        closed = case.ending == "answer or closed" and not error.too_late
        wrong = "" if closed else str(error)
    return Done(name=case.name, status=status, seconds=time.perf_counter() - started, wrong=wrong)


async def perform_all(address: Address, cases: Iterable[Case], clients: int) -> list[Done]:
    """Send all, each as soon as one of so many clients has time; what became of them, in no order."""
    waiting = iter(cases)
    done: list[Done] = []

    async def client() -> None:
        for case in waiting:
            done.append(await perform(address, case))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return done
