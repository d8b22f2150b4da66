"""Tests that run in a process of their own, with the simulated GPU: PyCUDA and the driver are found nowhere else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from repsr_kernels.errors import RepsrError
from scripts.simulated_gpu import arrange
from tests.conftest import users_cache

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class SimulatedGpu:
    """How processes are started that have one."""

    variables: dict[str, str]

    def run(
        self, command: list[str], settings: Mapping[str, str], *, limit_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """A command of Python's, with what it says on either output.

        Args:
            settings: variables of its environment, without SIMULATED_GPU_ and in lower case.
        """
        named = {f"SIMULATED_GPU_{name.upper()}": value for name, value in settings.items()}
        return subprocess.run(
            [sys.executable, "-W", "error", *command], cwd=ROOT, env={**os.environ, **self.variables, **named},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit_s, check=False,
        )  # fmt: skip


def simulated_gpu_or_skip() -> SimulatedGpu:
    """Where it cannot be had the test is skipped, except in continuous integration, which would never notice."""
    try:
        with users_cache():
            variables = arrange()
    except RepsrError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"continuous integration must have the simulated GPU: {error}")
        pytest.skip(str(error))
    return SimulatedGpu({**variables, "PYTHONPATH": f"{ROOT}{os.pathsep}{variables['PYTHONPATH']}"})


def on_simulated_gpu(
    *, status: int = 0, says: tuple[str, ...] = (), **settings: str
) -> Callable[[Callable[[], None]], Callable[[SimulatedGpu], None]]:
    """Make a function a test whose body runs in such a process.

    Args:
        status: the exit code that is expected; of a signal, its negative number.
        says: what the process must say.
        settings: as of `SimulatedGpu.run`.
    """

    def decorate(body: Callable[[], None]) -> Callable[[SimulatedGpu], None]:
        def test(simulated_gpu: SimulatedGpu) -> None:
            path = sys.modules[body.__module__].__file__
            command = ["-m", "tests.simulated_gpu.child", str(path), body.__name__]
            result = simulated_gpu.run(command, settings)
            assert result.returncode == status, result.stdout
            for text in says:
                assert text in result.stdout, result.stdout

        # not functools.wraps: pytest would look at the body's arguments
        test.__name__, test.__qualname__, test.__module__ = body.__name__, body.__qualname__, body.__module__
        test.body = body  # pyright: ignore[reportFunctionMemberAccess]
        return test

    return decorate


def _run_body(path: str, name: str) -> None:
    spec = importlib.util.spec_from_file_location("bodies", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bodies"] = module
    spec.loader.exec_module(module)
    getattr(module, name).body()


if __name__ == "__main__":
    _run_body(*sys.argv[1:])
