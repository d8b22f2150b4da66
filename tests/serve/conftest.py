"""A service to talk to: as a process behind a socket, or within this one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from repsr_serve.settings import PREFIX, Settings

START_S = 60


class ServiceClient(httpx.AsyncClient):
    """A client of an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(transport=httpx.ASGITransport(app), base_url="http://repsr")
        self.app = app


Client = Callable[..., AbstractAsyncContextManager[ServiceClient]]


class Served:
    """A running `repsr-serve`."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.line = line
        """What it said when it was ready."""
        match = re.search(r"http://\S+", line)
        assert match is not None, line
        self.url = match[0]
        self.host, port = self.url.removeprefix("http://").rsplit(":", 1)
        self.port = int(port)

    def end(self, sig: int = signal.SIGTERM, timeout_s: float = 30) -> int:
        """Send a signal, wait, return the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(timeout_s)


@contextmanager
def serving(folder: Path, **settings: object) -> Generator[Served]:
    """Start the real command on a free port, wait until it is ready, and end it, whatever happens."""
    # a busy machine is no reason to refuse what a test asks
    usual = {"runtime": "onnxruntime", "port": 0, "data_dir": folder / "data", "threads": 1, "max_wait": 600}
    given = usual | settings
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = Path(sys.executable).with_name("repsr-serve")
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen([command, *flags], stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, (folder / "stderr").read_text()
        yield Served(process, line)
    finally:
        process.kill()
        process.communicate(timeout=START_S)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """A `repsr-serve` with both bundled models."""
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="session")
def served(server: Served) -> str:
    """The base URL of `server`."""
    return server.url


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """`async with client(max_pixels=100) as http:` - a service in this process, ready, with an httpx client to it.

    The application is `http.app`.
    """

    @asynccontextmanager
    async def open_client(**settings: Any) -> AsyncGenerator[ServiceClient]:
        from repsr_serve.app import create_app

        given: dict[str, Any] = {
            "runtime": "onnxruntime",
            "threads": 1,
            "workers": 1,
            "data_dir": tmp_path / "data",
            **settings,
        }
        async with running(create_app(Settings(**given))) as http:
            yield http

    return open_client


@asynccontextmanager
async def running(app: FastAPI) -> AsyncGenerator[ServiceClient]:
    """A client of an application that runs in this process, once its service is ready."""
    async with app.router.lifespan_context(app):
        await app.state.started
        async with ServiceClient(app) as http:
            yield http
