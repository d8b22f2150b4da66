"""What a refusal must look like (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from checks.wire import Answer
from repsr_serve.problems import CAUSES, MEDIA_TYPE

MEMBERS: dict[str, type] = {"type": str, "title": str, "status": int, "detail": str}
"""Of a problem (RFC 9457), with their types."""
LONGEST_DETAIL = 1000
_INSIDES = ("Traceback", "site-packages", "/repsr_", "0x7f")
"""What only a service that tells of itself would say."""


def judge_problem(answer: Answer) -> str:
    """What is wrong about a refusal's document; empty for nothing."""
    if answer.media_type != MEDIA_TYPE:
        return f"{answer.status} as {answer.media_type!r}, wanted {MEDIA_TYPE}: {answer.body[:80]!r}"
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return f"{answer.status} with a body that is no JSON object: {answer.body[:80]!r}"
    return next((f"{answer.status} with {wrong}" for wrong in _wrong(cast("dict[str, Any]", document), answer)), "")


def _wrong(document: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    """Everything that is wrong about it, the first first."""
    for name, kind in MEMBERS.items():
        if not isinstance(document.get(name), kind):
            yield f"{name} {document.get(name)!r}, wanted {kind.__name__}"
    detail = str(document.get("detail"))
    cause = str(document.get("type")).rpartition(":")[2]
    if document.get("status") != answer.status or CAUSES.get(cause) != answer.status:
        yield f"status {document.get('status')} and type {document.get('type')!r}"
    if not 0 < len(detail) <= LONGEST_DETAIL or not detail.isprintable():
        yield f"a detail of {len(detail)} characters, wanted printable ones up to {LONGEST_DETAIL}: {detail[:80]!r}"
    for word in _INSIDES:
        if word in detail:
            yield f"the service's insides ({word}): {detail[:160]!r}"
