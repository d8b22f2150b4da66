"""The hostile check: thousands of malformed requests, each answered, and nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

from checks.hostile import files, forms, framing, inference, questions
from checks.hostile.case import Case, Done, perform_all
from checks.load import ask
from checks.photographs import Picture
from checks.processes import Usage
from checks.reference import MODEL, RUNTIME, difference, known_picture
from checks.service import Options, Served, serving
from checks.verdict import Findings, Requirement, at_most, equal, none_of
from repsr_deploy.imaging.samples import Image

COUNT = 10_000
EXAMPLES = 30
"""Of schemathesis, for each operation, right and wrong ones."""
CLIENTS = 8
"""At a time: fewer than the service takes, so that it has no reason to refuse for lack of room."""
SLOW_EVERY = 250
"""Requests, of which one takes seconds, beside the others."""
WARM_UP = 100
"""Requests before memory and descriptors are first looked at."""
GROWTH_BYTES = 16 * 2**20
"""Of memory between the two halves: what allocators may keep."""
SETTLE_S = 20.0
"""Connections linger, and idle ones are closed, within this time."""
LAZY_THREADS = 8
"""That pools may still start: a leak would be one for a request."""
POLL_S = 0.5
SLOWEST = 5
"""Answers that are named."""
SIZES = ((301, 203), (64, 64), (600, 400))
"""Of right pictures, pixels."""
PICTURES = 2 * CLIENTS
"""Right requests before and afterwards, all at once: what grows with the load has then grown before it is measured."""
OPTIONS: Options = {
    "runtime": RUNTIME, "threads": 1, "workers": 2, "model": MODEL, "max-pixels": files.MAX_PIXELS,
    "max-bytes": files.MAX_BYTES, "memory": 2**29, "read-timeout": framing.READ_TIMEOUT_S, "timeout": 20,
}  # fmt: skip
FAMILIES = {
    **files.FAMILIES, **framing.FAMILIES, **forms.FAMILIES, **questions.FAMILIES, **inference.FAMILIES,
}  # fmt: skip


def cases(seed: int) -> Iterator[Case]:
    """Requests without end, the slow ones among them spread evenly; the same for the same seed."""
    random = Random(seed)
    makers, shares = [*FAMILIES], [*FAMILIES.values()]
    for number in itertools.count(1):
        make = framing.slow if number % SLOW_EVERY == 0 else random.choices(makers, shares)[0]
        yield make(random)


def hostile(*, count: int = COUNT, examples: int = EXAMPLES, seed: int = 0) -> Findings:
    """Attack a service of its own."""
    with serving(OPTIONS) as served:
        return asyncio.run(attack(served, count=count, examples=examples, seed=seed))


async def attack(served: Served, *, count: int, examples: int, seed: int, warm_up: int = WARM_UP) -> Findings:
    """Attack a service, and look at it before, in the middle and afterwards."""
    started = time.perf_counter()
    deck = cases(seed)
    await _pictures(served)
    done = await perform_all(served.address, itertools.islice(deck, warm_up), CLIENTS)
    before, files_before = await settled(served), {*served.files()}
    done += await perform_all(served.address, itertools.islice(deck, count // 2), CLIENTS)
    middle = await settled(served, before)
    done += await perform_all(served.address, itertools.islice(deck, count - count // 2), CLIENTS)
    after = await settled(served, before)
    left = sorted({*served.files()} - files_before)
    requirements = [*_answers(done), *_usage(before, middle, after), none_of("files left behind", left)]
    wrong = await _pictures(served)
    requirements.append(none_of("right pictures afterwards that are not those of repsr-upscale", wrong, of=PICTURES))
    figures: dict[str, Any] = {
        "seconds": time.perf_counter() - started,
        "answers by status": _counted(str(one.status or "none") for one in done),
        "without an answer": _counted(one.name for one in done if not one.status),
        "families": _counted(one.name.partition("/")[0] for one in done),
        "slowest, s": {one.name: one.seconds for one in sorted(done, key=lambda one: one.seconds)[-SLOWEST:]},
        "memory before, between and after, MiB": [round(one.memory_bytes / 2**20) for one in (before, middle, after)],
    }
    if examples:
        from checks.hostile.fuzz import fuzz

        fuzzed = await asyncio.to_thread(fuzz, served.url, examples=examples, seed=seed)
        requirements.append(none_of("schemathesis: answers unlike the description", fuzzed.complaints, fuzzed.requests))
        figures["schemathesis, answers by status"] = fuzzed.statuses
    return Findings(
        check="hostile",
        about=f"{len(done)} malformed requests, {CLIENTS} at a time; then {examples} right and {examples} wrong "
        "requests of schemathesis for each operation.",
        requirements=[*requirements, *_log(served)],
        figures=figures,
        settings={**OPTIONS, "seed": seed},
    )


def _answers(done: Sequence[Done]) -> list[Requirement]:
    return [
        none_of("answers that are no clear refusal", [str(one) for one in done if one.wrong], len(done)),
        none_of("answers 5xx", [str(one) for one in done if one.status >= 500], len(done)),
    ]


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _usage(before: Usage, middle: Usage, after: Usage) -> list[Requirement]:
    return [
        at_most(
            "memory, second half over first",
            (after.memory_bytes - middle.memory_bytes) / 2**20,
            GROWTH_BYTES / 2**20,
            "MiB",
        ),
        at_most("descriptors", after.descriptors, before.descriptors),
        at_most("threads", after.threads, before.threads + LAZY_THREADS),
        equal("processes", after.processes, before.processes),
    ]


async def settled(served: Served, like: Usage | None = None) -> Usage:
    """What the service takes when it has nothing to do: as soon as that is what it was, or stays the same."""
    limit = time.monotonic() + SETTLE_S
    last = served.usage()
    while time.monotonic() < limit:
        await asyncio.sleep(POLL_S)
        now = served.usage()
        if _no_more(now, like or last):
            return now
        last = now
    return last


def _no_more(now: Usage, before: Usage) -> bool:
    lazy = now.threads <= before.threads + LAZY_THREADS
    return lazy and now.descriptors <= before.descriptors and now.processes == before.processes


async def _pictures(served: Served) -> list[str]:
    """What is wrong with right pictures for right requests, many at a time."""
    known = [known_picture(*size) for size in SIZES]

    async def one(sent: Picture, expected_hwc: Image) -> str:
        check = partial(difference, expected_hwc=expected_hwc)
        outcome = await ask(served.address, sent, query="?format=png", check=check)
        return "" if outcome.served else f"{sent.width} x {sent.height}: {outcome.complaint or outcome.status}"

    found = await asyncio.gather(*(one(*known[index % len(known)]) for index in range(PICTURES)))
    return [text for text in found if text]


def _log(served: Served) -> list[Requirement]:
    lines = served.log.splitlines()
    traces = [line[:200] for line in lines if "Traceback" in line]
    raw = [repr(line)[:200] for line in lines if not line.replace("\t", " ").isprintable()]
    return [
        none_of("tracebacks in the log", traces),
        none_of("lines of the log with control characters", raw),
    ]
