"""HTTP/1.1 on one connection: what uvicorn does, made safe against slow, large and broken requests.

Every refusal is a problem document, as everywhere else (RFC 9457); uvicorn's own are plain text. After an answer that
comes before the request's body is whole, the connection is closed the way RFC 9112, section 9.6, describes: half, then
read for a while, so that a client that is still sending gets to see the answer instead of a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from repsr_serve.http.auth import OPEN_PATHS
from repsr_serve.http.errors import ClientGone, problem_response
from repsr_serve.problems import Problem
from repsr_serve.validation import shown

BUSY = Problem("overloaded", "Too many connections are open; ask again in a moment.", retry_after_s=1)
STOPPING = Problem("stopping", "The service is stopping; ask again in a moment.", retry_after_s=1)
CLOSE = (b"connection", b"close")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one connection may take."""

    connections: int = 1000
    """Open at the same time; requests on more are answered 503."""
    head_bytes: int = 2**15
    """Request line and headers; above, 431."""
    head_s: float = 10.0
    """From the first byte of a request to the last of its headers; above, 408."""
    write_s: float = 20.0
    """Without the client taking what is sent; above, the connection is cut."""
    linger_bytes: int = 2**28
    """That are still read after an early answer."""
    linger_s: float = 10.0
    """For which they are read, and for which a client may take to read the last of an answer."""
    stopping_s: float = 0.5
    """For which idle connections stay when the service stops, so that a request that is under way to it is answered."""


class Protocol(H11Protocol):
    """One connection.

    Args:
        limits: of it.
        refused: told the cause of every refusal that the application does not see.
        options: of uvicorn.
    """

    def __init__(self, *, limits: Limits, refused: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self.limits, self._refused = limits, refused
        self._head_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._lingered_bytes = 0
        self._refusal: Problem | None = None
        self._inner = cast("ASGIApp", self.app)
        self.app = cast("Any", self._answer)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept, and wait for the first request."""
        super().connection_made(cast("asyncio.Transport", _HalfClosing(transport, self)))
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            self._refusal = BUSY
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for timer in (self._head_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, or throw away what comes after the last answer."""
        if not self.ends:
            super().data_received(data)
            self._watch_head()
            return
        self._lingered_bytes += len(data)
        if self._lingered_bytes > self.limits.linger_bytes:
            self._transport.abort()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._watch_head()

    def shutdown(self) -> None:
        """Refuse new requests, and close when the one under way is answered."""
        self._refusal = STOPPING
        if self._is_answering:
            self.cycle.keep_alive = False
        elif not self.ends:
            self.loop.call_later(self.limits.stopping_s, self._close_when_idle)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called by uvicorn while h11's error is handled."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if status == 431:
            self._refuse(self._too_large)
        else:
            self._refuse(Problem("bad-request", f"The request is not HTTP/1.1: {shown(str(error))}."))

    @property
    def _head_bytes(self) -> int:
        """Bytes of a request whose headers are not complete."""
        return len(self.conn.trailing_data[0]) if self.conn.their_state is h11.IDLE else 0

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """Of the last request; there is none before the first."""
        return cast("RequestResponseCycle | None", self.cycle)

    @property
    def _is_answering(self) -> bool:
        return self._cycle is not None and not self._cycle.response_complete

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("_HalfClosing", self.transport).transport

    def _watch_head(self) -> None:
        """Start the clock of a request's headers with the connection or their first byte, stop it with the last."""
        waits = not self.ends and self.conn.their_state is h11.IDLE
        waits = waits and (self._cycle is None or self._head_bytes > 0)
        if not waits and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif waits and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_bytes == 0:
            self.transport.close()  # a connection in advance, as browsers make them
        else:
            seconds = self.limits.head_s
            self._refuse(Problem("slow-upload", f"The headers were not whole after {seconds:g} s; send them faster."))

    def _close_when_idle(self) -> None:
        if not self._is_answering:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        if self._is_answering:
            self.cycle.disconnected = True  # the application is told that its client is gone
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._transport.abort()  # in the middle of another answer
            return
        self._refused(problem.cause)
        response = problem_response(problem)
        headers = [*self.server_state.default_headers, *response.raw_headers, CLOSE]
        events = (
            h11.Response(status_code=problem.status, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Between uvicorn and the application: refusals, the end of the connection, clients that do not read."""
        cycle = self.cycle
        refusal = self._refusal_of(scope)
        if refusal is not None or self._refusal is not None:
            cycle.keep_alive = False

        async def guarded(message: Message) -> None:
            if cycle.disconnected:
                raise ClientGone
            if message["type"] == "http.response.start" and (cycle.more_body or not cycle.keep_alive):
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            try:
                async with asyncio.timeout(self.limits.write_s):
                    await send(cast("Any", message))
            except TimeoutError:
                self._transport.abort()
                raise ClientGone from None

        with contextlib.suppress(ClientGone):
            if refusal is not None:
                await self._send_refusal(refusal, scope, receive, guarded)
                return
            try:
                await self._inner(scope, receive, guarded)
            except asyncio.CancelledError:  # the time that requests have when the service stops is over
                if cycle.response_started:
                    self._transport.abort()
                else:
                    await self._send_refusal(STOPPING, scope, receive, guarded)

    async def _send_refusal(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        self._refused(problem.cause)
        await problem_response(problem)(scope, receive, send)

    def _refusal_of(self, scope: Scope) -> Problem | None:
        target_bytes = len(scope["raw_path"]) + len(scope["query_string"])
        if target_bytes + sum(len(name) + len(value) for name, value in scope["headers"]) > self.limits.head_bytes:
            return self._too_large
        if scope["http_version"] not in ("1.0", "1.1"):
            return Problem("bad-request", "The request is not HTTP/1; expected HTTP/1.1.")
        return None if scope["path"] in OPEN_PATHS else self._refusal

    @property
    def _too_large(self) -> Problem:
        expected = f"expected at most {self.limits.head_bytes} bytes"
        return Problem("headers-too-large", f"The request line and headers are too large; {expected}.")

    def end(self) -> None:
        """Close; where the client is still sending, our half first, and throw away what comes, within the limits."""
        self._end_timer = self.loop.call_later(self.limits.linger_s, self._transport.abort)
        self._watch_head()
        if self.conn.their_state in (h11.SEND_BODY, h11.ERROR) or self._head_bytes > 0:
            self.flow.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    @property
    def ends(self) -> bool:
        """Whether nothing more will be answered."""
        return self._end_timer is not None


class _HalfClosing:
    """A transport whose `close` leaves a client the time to read its answer, and not more."""

    def __init__(self, transport: asyncio.Transport, protocol: Protocol) -> None:
        self.transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def is_closing(self) -> bool:
        return self._protocol.ends or self.transport.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self._protocol.end()
