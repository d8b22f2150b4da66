"""Runtimes: backends that execute a model, one file each, behind one protocol (`base.Runtime`)."""

from __future__ import annotations

from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes.backends import (
    BACKENDS,
    ON_PROCESSORS,
    Candidate,
    candidates,
    open_backend,
    unavailable,
)
from repsr_deploy.runtimes.base import Limits, Runtime
from repsr_deploy.runtimes.choice import Choice, choose
from repsr_deploy.runtimes.source import Source

__all__ = [
    "AUTO", "BACKENDS", "ON_PROCESSORS", "Candidate", "Choice", "Limits", "Runtime", "Source", "candidates", "choose",
    "open_runtime", "unavailable",
]  # fmt: skip

AUTO = "auto"


def open_runtime(
    model: Source, runtime: str = AUTO, *, threads: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Load a model, a file or its content, into a backend.

    Args:
        model: an .onnx file or the content of one, an .xml file of OpenVINO, an engine of TensorRT.
        runtime: name of a backend; `auto` for the fastest one here whose pictures are the same (`choose`), which takes
            about a second when a model is first seen.
        threads: processor threads; None for what the backend takes by itself, one per core.
        precision: to compute in; None for whatever `auto` finds fastest, and for what the named backend takes by
            itself: the model's own, or longer.

    Raises:
        UsageError: an unknown backend, one that does not open such a file, or fewer than one thread.
        RuntimeUnavailableError: the backend cannot be used here, or cannot compute this model in this precision.
        ModelFileError: not a model, or one of another kind.
    """
    if runtime == AUTO:
        return choose(model, threads=threads, precision=precision).runtime
    return open_backend(model, runtime, threads=threads, precision=precision)
