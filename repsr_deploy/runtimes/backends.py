"""The table of backends: what each can do here, and how it opens a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from repsr_deploy.errors import RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import native, onnxruntime, onnxruntime_gpu, openvino, tensorrt
from repsr_deploy.runtimes.base import Runtime
from repsr_deploy.runtimes.source import Source
from repsr_deploy.runtimes.tensorrt.record import SUFFIXES as ENGINES

ONNX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One way of executing models."""

    why_unavailable: Callable[[], str | None]
    """Why it cannot be used here, and the way out; None where nothing is known against it."""
    precisions: Callable[[ModelInfo], tuple[Precision, ...]]
    """In which it computes a model here, the one that it takes by itself first; none where it cannot."""
    open: Callable[[Source, int | None, Precision | None], Runtime]
    module: str = "onnxruntime"
    """The Python module that does the work."""
    reads: tuple[str, ...] = (ONNX,)
    """Suffixes of the files that it opens."""
    why_not: Callable[[Source], str | None] = lambda model: None
    """Why it cannot compute this very .onnx model, whatever its precision; None where nothing is known against it."""


@dataclass(frozen=True)
class Candidate:
    """A backend, and what it computes in."""

    runtime: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.runtime} in {self.precision}"


def _onnxruntime_gpu(name: str) -> Backend:
    return Backend(
        why_unavailable=partial(onnxruntime_gpu.why_unavailable, name),
        precisions=onnxruntime_gpu.PROVIDERS[name].precisions,
        open=lambda model, threads, precision: onnxruntime_gpu.OnnxRuntimeGpu(model, name, threads, precision),
    )


def _tensorrt(flavour: Literal["tensorrt", "tensorrt-rtx"]) -> Backend:
    return Backend(
        why_unavailable=partial(tensorrt.why_unavailable, flavour),
        precisions=lambda info: (info.precision,),  # the types in the graph decide
        open=lambda model, threads, precision: tensorrt.open_tensorrt(
            model, flavour, threads=threads, precision=precision
        ),
        module=flavour.replace("-", "_"),
        reads=(ONNX, *ENGINES),
    )


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        why_unavailable=onnxruntime.why_unavailable, precisions=onnxruntime.precisions, open=onnxruntime.OnnxRuntime
    ),
    "openvino": Backend(
        why_unavailable=openvino.why_unavailable,
        precisions=openvino.precisions,
        open=openvino.OpenVinoRuntime,
        module="openvino",
        reads=(ONNX, ".xml"),
    ),
    "native": Backend(
        why_unavailable=native.why_unavailable,
        precisions=native.precisions,
        open=native.NativeRuntime,
        module="repsr_deploy",
        why_not=native.why_not,
    ),
    **{name: _onnxruntime_gpu(name) for name in onnxruntime_gpu.PROVIDERS},
    "tensorrt": _tensorrt("tensorrt"),
    "tensorrt-rtx": _tensorrt("tensorrt-rtx"),
}
"""Every backend by its name."""
ON_PROCESSORS = ("onnxruntime", "openvino", "native")
"""Those that make no use of a GPU."""


def unavailable(model: Source | None = None) -> dict[str, str]:
    """Why each backend that cannot be used here cannot, and the way out.

    Args:
        model: an .onnx model; why a backend cannot compute that one counts too.
    """
    reasons = {
        name: backend.why_unavailable() or (None if model is None else backend.why_not(model))
        for name, backend in BACKENDS.items()
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def candidates(info: ModelInfo, model: Source | None = None) -> list[Candidate]:
    """Every backend and computing precision that can run an .onnx file on this machine.

    Args:
        info: what the file says about itself.
        model: the file; without it, one of which nothing else is known.
    """
    missing = unavailable(model)
    return [
        Candidate(name, precision)
        for name, backend in BACKENDS.items()
        if name not in missing
        for precision in backend.precisions(info)
    ]


def readers(model: Source) -> list[str]:
    """Backends that open a model of this kind, here or elsewhere; a file of an unknown suffix is taken for .onnx."""
    suffix = model.suffix if isinstance(model, Path) else ONNX
    return [name for name, backend in BACKENDS.items() if suffix in backend.reads] or [
        name for name, backend in BACKENDS.items() if ONNX in backend.reads
    ]


def open_backend(
    model: Source, name: str, *, threads: int | None = None, precision: Precision | None = None
) -> Runtime:
    """Load a model into the backend of this name.

    Raises:
        UsageError: an unknown backend, fewer than one thread, or a kind of file that it does not open.
        RuntimeUnavailableError: the backend cannot be used here, or cannot compute this model so.
        ModelFileError: not a model, or one of another kind.
    """
    if name not in BACKENDS:
        raise UsageError(f"unknown runtime {name!r}; expected auto or one of {', '.join(BACKENDS)}")
    check_threads(threads)
    if name not in (able := readers(model)):
        raise UsageError(f"runtime {name} does not open {model}; expected one of {', '.join(able)}, or an .onnx file")
    reason = BACKENDS[name].why_unavailable()
    if reason is not None:
        raise RuntimeUnavailableError(reason)
    return BACKENDS[name].open(model, threads, precision)


def check_threads(threads: int | None) -> None:
    """Refuse fewer than one thread.

    Raises:
        UsageError: says so.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; expected at least 1")
