"""Hostile requests: the same for the same seed, of every family; and their judge, which sees every wrong answer."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest

from checks.hostile.attack import SLOW_EVERY, cases
from checks.hostile.case import Case, judge
from checks.problem import judge_problem
from checks.wire import Answer

PROBLEM = {
    "type": "urn:repsr:problem:damaged",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "It is cut off.",
}


def answer(
    status: int = 422,
    media: str = "application/problem+json",
    seconds: float = 0.1,
    body: bytes | None = None,
    **members: Any,
) -> Answer:
    """A refusal with some members changed; None takes one away."""
    document = {name: value for name, value in (PROBLEM | {"status": status} | members).items() if value is not None}
    data = json.dumps(document).encode() if body is None else body
    return Answer(status=status, headers={"content-type": media}, body=data, seconds=seconds)


def test_the_same_seed_gives_the_same_requests() -> None:
    first, again, other = ([*itertools.islice(cases(seed), 300)] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_every_family_and_most_of_their_kinds_occur() -> None:
    many = [*itertools.islice(cases(1), 3000)]
    families = Counter(case.name.partition("/")[0] for case in many)
    assert len(families) > 20
    assert min(families.values()) >= 5
    assert families["slow"] == 3000 // SLOW_EVERY
    assert len({case.name for case in many}) > 150
    assert all(isinstance(piece, bytes | float) for case in many for piece in case.pieces)
    assert sum(case.may_succeed for case in many) < len(many) / 3


def test_a_clear_refusal_is_right() -> None:
    assert judge_problem(answer()) == ""
    assert judge(Case(name="x", pieces=[]), answer()) == ""
    assert judge(Case(name="x", pieces=[], only=frozenset({422})), answer()) == ""


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        (answer(500, type="urn:repsr:problem:internal"), "500, wanted 4xx"),
        (answer(503, type="urn:repsr:problem:overloaded"), "503, wanted 4xx"),
        (answer(429, type="urn:repsr:problem:too-many-requests"), "429, wanted 4xx"),
        (answer(200, "image/png", body=b"\x89PNG"), "200, wanted 4xx"),
        (answer(302), "302, wanted 4xx"),
        (answer(media="text/plain", body=b"Invalid HTTP request received."), "text/plain"),
        (answer(body=b"<h1>"), "no JSON object"),
        (answer(body=b"[]"), "no JSON object"),
        (answer(title=None), "title None"),
        (answer(detail=""), "detail of 0"),
        (answer(detail="a" * 1001), "detail of 1001"),
        (answer(detail="a\x1b[31m"), "printable"),
        (answer(detail="Traceback (most recent call last)"), "insides"),
        (answer(detail='File "/x/site-packages/y.py"'), "insides"),
        (answer(type="about:blank"), "type 'about:blank'"),
        (answer(400), "status 400 and type"),
        (answer(404, type="urn:repsr:problem:not-found", body=json.dumps(PROBLEM).encode()), "status 422"),
        (answer(status=422, seconds=11), "only after 11.0 s"),
    ],
)
def test_what_is_no_clear_refusal_is_seen(wrong: Answer, about: str) -> None:
    assert about in judge(Case(name="x", pieces=[]), wrong)


def test_what_a_case_allows() -> None:
    picture = answer(200, "image/png", body=b"\x89PNG")
    assert judge(Case(name="x", pieces=[], may_succeed=True), picture) == ""
    assert judge(Case(name="x", pieces=[], only=frozenset({413})), answer()).startswith("422, wanted 413")
    no_body = answer(405, "application/problem+json", body=b"")
    assert judge(Case(name="x", pieces=[], no_body=True), no_body) == ""
    assert judge(Case(name="x", pieces=[]), no_body) != ""
