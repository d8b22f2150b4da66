"""What a request is answered that cannot be served: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


@dataclass(eq=False)  # not frozen: Python itself sets an exception's traceback
class Problem(Exception):  # noqa: N818 - the RFC's own word
    """A refusal. Raise it anywhere under a request; `app` makes the answer of it.

    Every cause is one word of `CAUSES`: it is the problem's type, and the label in the metrics.
    """

    cause: str
    detail: str
    """One sentence: what happened, the value, what was expected, what to do."""
    retry_after_s: int | None = None
    """When it may be worth asking again."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """More members, such as `max_pixels`."""

    @property
    def status(self) -> int:
        """HTTP status."""
        return CAUSES[self.cause]

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}

    @property
    def challenges(self) -> tuple[str, ...]:
        """Values of `WWW-Authenticate`, each a line of its own: of several in one, Chromium sees the first only."""
        if self.status != HTTPStatus.UNAUTHORIZED:
            return ()
        return 'Bearer realm="repsr-serve"', 'Basic realm="repsr-serve", charset="UTF-8"'

    def body(self) -> bytes:
        """The JSON document."""
        document = {
            "type": f"urn:repsr:problem:{self.cause}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }
        return json.dumps(document, ensure_ascii=False).encode()


CAUSES: dict[str, int] = {
    "bad-request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "not-acceptable": 406,
    "slow-upload": 408,
    "not-finished": 409,
    "job-failed": 409,
    "gone": 410,
    "length": 411,
    "too-many-bytes": 413,
    "too-many-pixels": 413,
    "unknown-format": 415,
    "range": 416,
    "damaged": 422,
    "parameters": 422,
    "too-many-requests": 429,
    "headers-too-large": 431,
    "internal": 500,
    "broken-model": 500,
    "worker-died": 500,
    "crashed": 500,
    "overloaded": 503,
    "starting": 503,
    "stopping": 503,
    "too-late": 503,
    "no-space": 503,
}
"""HTTP status of every cause."""
