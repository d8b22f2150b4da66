"""One job and how it moves from state to state: pure functions, the only place that knows which move is allowed.

    waiting -> running -> done | failed | cancelled -> gone
       ^          |
       +----------+  the service stopped or died

Times are seconds since 1970 (UTC).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import Literal

from repsr_deploy.imaging.container import WebFormat
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem

State = Literal["waiting", "running", "done", "failed", "cancelled", "gone"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed", "cancelled", "gone")
FINISHED: frozenset[State] = frozenset(("done", "failed", "cancelled"))

ID = re.compile(r"[0-9a-f]{32}")
MAX_ATTEMPTS = 3
"""A picture on which something or the whole service died that often is not tried again."""
GONE_S = 24 * 3600.0
"""For how long a job that was removed is still known to have been there."""


class MoveError(RuntimeError):
    """A job is not in a state from which it can go there: somebody else was quicker."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A picture that is enlarged when its turn comes."""

    id: str
    """128 random bits: whoever knows it may see and remove the job."""
    state: State = "waiting"
    attempts: int = 0
    """How often it was begun, without those that a stop of the service ended."""

    model: str
    factor: float
    format: WebFormat
    """Of the result."""
    quality: int
    source_width: int
    """As seen, after the Exif orientation."""
    source_height: int
    width: int
    """Of the result."""
    height: int
    upload_bytes: int
    held_bytes: int
    """What its files count of the disk: until it is finished, its upload and the most that its result can take."""

    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    """When a finished job is removed, and a removed one forgotten."""
    error: str | None = None
    """Why it failed: a problem document, JSON."""

    @property
    def order(self) -> Order:
        """What is to be made."""
        return Order(model=self.model, factor=self.factor, format=self.format, quality=self.quality)

    @property
    def source_pixels(self) -> int:
        """Pixels of the picture as it was sent."""
        return self.source_width * self.source_height

    def start(self, now: float) -> Job:
        """Its turn has come."""
        return self._move("running", only={"waiting"}, attempts=self.attempts + 1, started=now)

    def stop(self) -> Job:
        """The service stops; the next start goes on."""
        return self._move("waiting", only={"running"}, attempts=self.attempts - 1, started=None)

    def retry(self, error: Problem, now: float, ttl_s: float) -> Job:
        """Something that may pass stopped it: once more, unless this picture may be the reason."""
        if self.attempts < MAX_ATTEMPTS:
            return self._move("waiting", only={"running"}, started=None)
        return self.fail(error, now, ttl_s)

    def finish(self, result_bytes: int, now: float, ttl_s: float) -> Job:
        """Its result is on the disk."""
        return self._move("done", only={"running"}, held_bytes=result_bytes, finished=now, expires=now + ttl_s)

    def fail(self, error: Problem, now: float, ttl_s: float) -> Job:
        """It cannot be made, or its files were lost."""
        return self._move(
            "failed", only={"waiting", "running", "done"}, error=error.body().decode(), held_bytes=0,
            finished=self.finished or now, expires=now + ttl_s,
        )  # fmt: skip

    def cancel(self, now: float, ttl_s: float) -> Job:
        """Nobody wants it any more."""
        return self._move("cancelled", only={"waiting", "running"}, held_bytes=0, finished=now, expires=now + ttl_s)

    def remove(self, now: float) -> Job:
        """Its time is over, or its owner has what he wanted."""
        return self._move("gone", only=FINISHED, held_bytes=0, expires=now + GONE_S)

    def _move(self, state: State, *, only: frozenset[State] | set[State], **changes: object) -> Job:
        if self.state not in only:
            raise MoveError(f"job {self.id[:8]} is {self.state}; only {', '.join(sorted(only))} can become {state}")
        return replace(self, state=state, **changes)  # pyright: ignore[reportArgumentType] - replace checks the names


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)
