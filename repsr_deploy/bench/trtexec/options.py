"""What to measure, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import UsageError

OPTIMIZATION_LEVELS = range(6)


@dataclass(frozen=True, kw_only=True)
class TrtexecOptions:
    """One build and one measurement. Every choice that versions of TensorRT make differently has a value here."""

    shapes: str | None = None
    """Shapes that the engine takes, `MIN:OPT:MAX`, each as `1x3x360x640` whatever the layout of the model or, with a
    batch of one, as `HEIGHTxWIDTH`; a single shape stands for all three. None for a model of fixed shape."""
    timed: str | None = None
    """The shape that is timed, written likewise; None for OPT."""
    use_cuda_graph: bool = True
    """Launch the whole network as one CUDA graph, which takes the launches of its kernels out of the time."""
    data_transfers: bool = True
    """Copy the input to the GPU and the output back for each query, so that there is a latency beside the GPU time. The
    copies run beside the computation of other queries; GPU time is measured apart either way."""
    spin_wait: bool = True
    """Wait for the GPU in a loop rather than asleep: steadier times, one busy processor core."""
    tf32: bool = True
    """Let float32 convolutions multiply with 10 bits of mantissa on tensor cores, as TensorRT does by itself."""
    warmup_ms: int = 500
    duration_s: float = 5.0
    """Measure for so long at least, and for `iterations` queries at least."""
    iterations: int = 100
    streams: int = 1
    """Queries in flight at once. With more than one, the throughput counts and the times do not."""
    optimization_level: int | None = None
    """Of the builder, 0 to 5: higher searches longer for faster kernels. None for TensorRT's own choice, 3."""
    workspace_mib: int | None = None
    """Memory that a layer may take for scratch; None for all that the GPU has."""
    timing_cache: Path | None = None
    """Kernel timings, read and written, which make the next build faster; used by TensorRT, not by TensorRT for RTX."""
    engine: Path | None = None
    """Where to keep the engine; written whole or not at all."""
    layers: bool = True
    """Also run once with the profiler, for the time and the types of each layer."""
    timeout_s: float | None = None
    """Give up after so long, build included."""

    def __post_init__(self) -> None:
        for name, least in (("warmup_ms", 0), ("iterations", 1), ("streams", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least {least}")
        for name in ("duration_s", "workspace_mib", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}; expected more than 0")
        if self.optimization_level is not None and self.optimization_level not in OPTIMIZATION_LEVELS:
            raise UsageError(
                f"optimization_level is {self.optimization_level}; expected 0 to {max(OPTIMIZATION_LEVELS)}"
            )
        if self.timed is not None and self.shapes is None:
            raise UsageError(f"timed is {self.timed!r}, but no shapes are given; expected shapes that contain it")
