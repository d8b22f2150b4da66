"""The application on a socket: one process, one event loop, and an end that loses no accepted request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import resource
import signal
import socket
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from repsr_deploy.errors import RepsrError
from repsr_serve.app import create_app
from repsr_serve.http.protocol import Limits, Protocol
from repsr_serve.service import Service
from repsr_serve.settings import Settings

BACKLOG = 1024
KEEP_ALIVE_S = 15
"""For which an idle connection stays open."""
STOP_S = 5.0
"""After the grace, for what stops threads and workers; then the process just ends."""


def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once, with 128 + its number.

    Args:
        settings: of the service.
        announce: gets one line when the service is ready: where, which models, which runtimes.

    Raises:
        UsageError, RuntimeUnavailableError, ModelFileError: a model that cannot be served.
        RepsrError: an address that cannot be listened on, a key file that cannot be used.
    """
    app = create_app(settings)
    with listen(settings.host, settings.port) as listening:
        server = Server(app, settings, announce=lambda: announce(_description(app, listening)))
        server.run(sockets=[listening])
    server.check_started()


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; found out before models are opened.

    Raises:
        RepsrError: no such address here, or one in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise RepsrError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --host or --port"
        ) from error
    # inherited by connections: asyncio leaves it out for sockets made so, and an answer in two parts waits 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Server(uvicorn.Server):
    """uvicorn's server with our signals, our protocol, and a service that starts beside it."""

    def __init__(self, app: FastAPI, settings: Settings, *, announce: Callable[[], None]) -> None:
        self._app, self._settings, self._announce = app, settings, announce
        self._announced = False
        rejected = self._service.metrics.rejected
        config = uvicorn.Config(
            cast("ASGIApp", app),
            loop="asyncio",
            http=cast("Any", functools.partial(Protocol, limits=_limits(settings), refused=rejected)),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=Limits.head_bytes,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.grace),
        )
        super().__init__(config)

    @property
    def _service(self) -> Service:
        return self._app.state.service

    def check_started(self) -> None:
        """See that the service did start.

        Raises:
            Exception: why it did not.
        """
        started: asyncio.Task[None] = self._app.state.started
        if started.done() and not started.cancelled() and (error := started.exception()) is not None:
            raise error

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        started: asyncio.Task[None] = self._app.state.started
        if started.done() and not self._announced:
            self._announced = True
            if started.exception() is not None:
                return True
            self._announce()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, let those under way finish within the grace, and stop the service."""
        self._service.drain()
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(self._settings.grace + STOP_S, os._exit, 1)
        await super().shutdown(sockets)
        overdue.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order; at the second signal, at once."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle signals while serving. uvicorn raises them again afterwards: an orderly end would look like a kill."""
        handlers = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sig, handler in handlers.items():
                signal.signal(sig, handler)


def _limits(settings: Settings) -> Limits:
    """Connections by the descriptors that there are: a request takes a socket and a few buffers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Limits(connections=max(16, min(4096, descriptors // 4 - 8 * settings.queue)), write_s=settings.read_timeout)


def _description(app: FastAPI, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    models: dict[str, Any] = app.state.service.models
    named = ", ".join(f"{name} ({model.runtime.name})" for name, model in models.items())
    return f"http://{f'[{host}]' if ':' in host else host}:{port} serves {named}"
