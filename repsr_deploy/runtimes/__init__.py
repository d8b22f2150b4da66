"""Runtimes: backends that execute a model, one file each, behind one protocol (`base.Runtime`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes.base import Runtime

Source = Path | bytes
"""A model file, or the content of one."""
Opener = Callable[[Source, int | None], Runtime]


def _open_onnxruntime(model: Source, threads: int | None) -> Runtime:
    from repsr_deploy.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime(model, threads)


RUNTIMES: dict[str, Opener] = {"onnxruntime": _open_onnxruntime}
"""Every backend by its name."""


def open_runtime(
    model: Source, runtime: str = "auto", *, threads: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Load `model`, a file or its content, into a backend; `threads` None lets the backend choose.

    Raises:
        UsageError: an unknown backend, or fewer than one thread.
        RuntimeUnavailableError: the backend is not installed.
        ModelFileError: not a model, or one of another kind.
    """
    name = "onnxruntime" if runtime == "auto" else runtime
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}; expected one of {', '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; expected at least 1")
    del precision
    return RUNTIMES[name](model, threads)
