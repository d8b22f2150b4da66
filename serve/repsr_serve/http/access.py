"""Around every request: its name, its place in the metrics and the log, and an answer when the program has a defect."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repsr_serve.http.errors import problem_answer
from repsr_serve.metrics import Metrics
from repsr_serve.problems import Problem

log = logging.getLogger(__name__)

NOWHERE = "unknown"
"""The label of all addresses that are none: a client must not make up labels."""
GONE_STATUS = 499
"""nginx's word for a client that left before its answer."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Access:
    """Middleware, outermost.

    Args:
        app: what is behind it.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, sent_bytes, started = GONE_STATUS, 0, time.perf_counter()
        answered = False

        async def send_named(message: Message) -> None:
            nonlocal status, sent_bytes, answered
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                answered = True
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            sent_bytes += len(message.get("body", b""))

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = GONE_STATUS
        except Exception:
            log.exception("request %s failed", request_id)
            if not answered:
                problem = Problem("internal", "The service has a defect; tell its operator the request_id.")
                await problem_answer(scope, problem)(scope, receive, send_named)
        finally:
            seconds, path = time.perf_counter() - started, _template(scope)
            self._metrics.request_done(method=scope["method"], path=path, status=status, seconds=seconds)
            client = (scope.get("client") or ("-",))[0]
            log.info(
                "%s %s %s %d %d bytes %.1f ms %s",
                client, _method(scope), path, status, sent_bytes, seconds * 1000, request_id,
            )  # fmt: skip


def _request_id(scope: Scope) -> str:
    """The client's name of the request, where it is a harmless one; else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _template(scope: Scope) -> str:
    """`/v1/jobs/{job_id}` rather than the address itself."""
    route: Any = scope.get("route")
    if route is None:
        return NOWHERE
    # where a router is included under a prefix, FastAPI keeps the whole template only here
    whole: Any = scope.get("fastapi", {}).get("effective_route_context")
    return (whole or route).path


def _method(scope: Scope) -> str:
    return scope["method"] if re.fullmatch("[A-Z]{1,16}", scope["method"]) else "?"
