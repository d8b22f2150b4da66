"""Requests that schemathesis makes up from the service's own description, right ones and wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from checks.problem import judge_problem
from checks.wire import Answer

CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What came out."""

    requests: int
    statuses: Mapping[str, int]
    complaints: Sequence[str]


def fuzz(url: str, *, examples: int, seed: int = 0) -> Fuzzed:
    """Ask everything that `/openapi.json` describes, and hold the answers against it.

    Args:
        examples: requests of each kind, right and wrong, for each operation.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    statuses: Counter[str] = Counter()
    complaints: list[str] = []
    limits = hypothesis.settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
    )  # fmt: skip
    for result in schema.get_all_operations():
        operation = cast("Any", result).ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            def ask(case: Any) -> None:
                response = case.call(timeout=30)
                statuses[str(response.status_code)] += 1
                complaints.extend(
                    f"{case.method} {case.formatted_path[:80]}: {text}" for text in _wrong(case, response)
                )

            strategy = operation.as_strategy(generation_mode=mode)
            with suppress(Unsatisfiable):  # nothing can be wrong about a request without parameters
                hypothesis.seed(seed)(limits(hypothesis.given(strategy)(ask)))()
    return Fuzzed(requests=statuses.total(), statuses=dict(sorted(statuses.items())), complaints=complaints)


def _wrong(case: Any, response: Any) -> list[str]:
    """Everything that is wrong about one answer."""
    found: list[str] = []
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        found = [" ".join(str(one).split())[:300] for one in group.exceptions]
    except Failure as failure:
        found = [" ".join(str(failure).split())[:300]]
    if 400 <= response.status_code < 500 and case.method != "HEAD":
        headers = {name.lower(): values[-1] for name, values in response.headers.items()}
        answer = Answer(status=response.status_code, headers=headers, body=response.content, seconds=0.0)
        found += filter(None, [judge_problem(answer)])
    return found
