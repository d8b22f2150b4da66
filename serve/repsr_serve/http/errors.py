"""Every answer that is no success is a problem document (RFC 9457), whoever found the fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from repsr_serve.problems import CAUSES, MEDIA_TYPE, Problem
from repsr_serve.validation import finding, shown

_CAUSE_OF_STATUS = {404: "not-found", 405: "method-not-allowed"}

SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [f"urn:repsr:problem:{cause}" for cause in CAUSES]},
        "title": {"type": "string", "description": "What the status means."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, what was expected, what to do."},
        "request_id": {"type": "string", "description": "As in X-Request-Id; the log has it too."},
    },
}
"""Of a problem document, for OpenAPI: `#/components/schemas/Problem`."""


class ClientGone(ClientDisconnect):
    """Nobody waits for the answer any more. Not handled as a problem: the request just ends."""


def problem_response(problem: Problem, request_id: str | None = None) -> Response:
    """The answer of a problem."""
    document = {**problem.extra} if request_id is None else {**problem.extra, "request_id": request_id}
    named = Problem(problem.cause, problem.detail, extra=document)
    headers = {**problem.headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    response = Response(named.body(), problem.status, headers, media_type=MEDIA_TYPE)
    for challenge in problem.challenges:
        response.headers.append("WWW-Authenticate", challenge)
    return response


def problem_answer(scope: Scope, problem: Problem) -> Response:
    """The answer of a problem to a request of the application, counted: every refusal comes through here."""
    app: FastAPI = scope["app"]
    app.state.service.metrics.rejected(problem.cause)
    return problem_response(problem, scope.get("state", {}).get("request_id"))


def problem_answers(*causes: str) -> dict[int | str, dict[str, Any]]:
    """What a route documents as its refusals: `responses=` of FastAPI."""
    by_status: dict[int, list[str]] = {}
    for cause in causes:
        by_status.setdefault(CAUSES[cause], []).append(cause)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": f"{HTTPStatus(status).phrase}: {', '.join(words)}", "content": content}
        for status, words in sorted(by_status.items())
    }


def parameters_problem(errors: Iterable[Mapping[str, Any]], known: Sequence[str] = ()) -> Problem:
    """What pydantic found wrong with a request's parameters, each of them named.

    Args:
        errors: of a `ValidationError`; the name is what comes last in `loc`.
        known: parameters that there are, to be listed when one is unknown.
    """
    found = [(str(error["loc"][-1] if error["loc"] else "body"), _explained(error, known)) for error in errors]
    return Problem(
        "parameters",
        "; ".join(f"{_name(name)} {text}" for name, text in found) + ".",
        extra={"errors": [{"name": _name(name), "detail": text} for name, text in found]},
    )


def install(app: FastAPI) -> None:
    """Make problem documents of what is raised under a request, except of defects: `access` has those."""

    async def on_problem(request: Request, problem: Problem) -> Response:
        return problem_answer(request.scope, problem)

    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        return problem_answer(request.scope, parameters_problem(error.errors()))

    async def on_routing(request: Request, error: HTTPException) -> Response:
        answer = problem_answer(request.scope, _routing_problem(request, error))
        answer.headers.update(error.headers or {})
        return answer

    for kind, handler in ((Problem, on_problem), (RequestValidationError, on_validation), (HTTPException, on_routing)):
        app.exception_handlers[kind] = handler


def document(openapi: dict[str, Any]) -> None:
    """Replace FastAPI's description of refused parameters with ours, and add the schema of problem documents."""
    schemas: dict[str, Any] = openapi["components"].setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = SCHEMA
    for operations in openapi["paths"].values():
        for operation in operations.values():
            refused = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in refused:
                operation["responses"]["422"] = problem_answers("parameters")[422]


def _routing_problem(request: Request, error: HTTPException) -> Problem:
    cause = _CAUSE_OF_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
    path = shown(request.scope["path"])
    match cause:
        case "not-found":
            return Problem(cause, f"There is nothing at {path}; /openapi.json lists what there is.")
        case "method-not-allowed":
            allowed = (error.headers or {}).get("Allow", "another")
            return Problem(cause, f"{path} does not take {shown(request.method)}; expected {allowed}.")
        case _:
            return Problem(cause, str(error.detail)[:100])


def _explained(error: Mapping[str, Any], known: Sequence[str]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return f"is unknown; expected {', '.join(known)}" if known else "is unknown; leave it away"
        case "missing":
            return "is missing; expected a value"
        case _:
            return finding(error)


def _name(name: str) -> str:
    """As it is, where it could be one of ours."""
    return name if name.isidentifier() and name.isascii() and len(name) <= 40 else shown(name)
