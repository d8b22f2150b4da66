"""TensorRT's real parser and builder, in processes of their own, from wheels that are fetched once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

import repsr_deploy.errors
from repsr_deploy.errors import RepsrError
from repsr_deploy.runtimes.tensorrt.options import Flavour
from scripts.tensorrt_rtx_libraries import arrange
from tests.conftest import users_cache

ROOT = Path(__file__).parents[3]
ARRANGED: dict[Flavour, str] = {"tensorrt": "tensorrt-11", "tensorrt-rtx": "tensorrt-rtx"}
"""Which bindings stand for a flavour: both drive the builder of TensorRT for RTX."""


def environment(arrangement: str, cache: Path) -> dict[str, str]:
    """Variables of a process that finds TensorRT, and caches in `cache`.

    Where the wheels cannot be had the test is skipped, except in continuous integration, which would never notice.
    """
    try:
        with users_cache():
            variables = arrange(arrangement)
    except RepsrError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"continuous integration must build engines: {error}")
        pytest.skip(str(error))
    python = f"{ROOT}{os.pathsep}{variables['PYTHONPATH']}"
    return {**os.environ, **variables, "PYTHONPATH": python, "REPSR_CACHE": str(cache)}


class Worker:
    """A process that does jobs (`jobs.py`) one after the other."""

    def __init__(self, flavour: Flavour, variables: dict[str, str]) -> None:
        self.flavour: Flavour = flavour
        self.warnings: list[str] = []
        """Of the job that was last."""
        command = [sys.executable, "-W", "error", "-m", "tests.runtimes.tensorrt.jobs"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def start(self, job: str, **arguments: Any) -> None:
        """Begin a job."""
        assert self._process.stdin is not None
        values = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
        self._process.stdin.write(json.dumps({"job": job, "flavour": self.flavour, **values}) + "\n")
        self._process.stdin.flush()

    def wait_for(self, text: str) -> None:
        """Until a line of stderr says it."""
        assert self._process.stderr is not None
        assert any(line.strip() == text for line in self._process.stderr)

    def answer(self) -> Any:
        """The result of the job that was begun; its error is raised here."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(f"the process ended: {self._process.communicate()[1]}")
        reply = json.loads(line)
        self.warnings = reply["warnings"]
        if "error" in reply:
            raise getattr(repsr_deploy.errors, reply["error"])(reply["message"])
        return reply["result"]

    def do(self, job: str, **arguments: Any) -> Any:
        """The result of a job."""
        self.start(job, **arguments)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the workers."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def workers(engine_cache: Path) -> Generator[Callable[[Flavour], Worker]]:
    """Processes with the real builder, one for each flavour, started when first asked for."""
    started: dict[Flavour, Worker] = {}

    def get(flavour: Flavour) -> Worker:
        if flavour not in started:
            started[flavour] = Worker(flavour, environment(ARRANGED[flavour], engine_cache))
        return started[flavour]

    yield get
    for worker in started.values():
        worker.close()


@pytest.fixture(params=list(ARRANGED))
def worker(request: pytest.FixtureRequest, workers: Callable[[Flavour], Worker]) -> Worker:
    """The process of either flavour."""
    return workers(request.param)


@pytest.fixture
def eleven(workers: Callable[[Flavour], Worker]) -> Worker:
    """The process with the bindings of TensorRT 11."""
    return workers("tensorrt")


@pytest.fixture
def rtx(workers: Callable[[Flavour], Worker]) -> Worker:
    """The process with the bindings of TensorRT for RTX."""
    return workers("tensorrt-rtx")
