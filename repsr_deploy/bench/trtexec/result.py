"""What a measurement found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from repsr_deploy.bench.timing import Timing
from repsr_deploy.bench.trtexec.exports import Layer
from repsr_deploy.bench.trtexec.log import Summary


@dataclass(frozen=True, kw_only=True)
class TrtexecResult:
    """One model, one shape, one program, one card. Times are of a query: `shape[0]` images."""

    program: str
    """`TensorRT 11.0.0 (build 114)`."""
    gpu: str
    compute_capability: str
    shape: tuple[int, ...]
    """Of the input, as timed."""
    gpu_time: Timing
    """On the GPU alone."""
    latency: Timing | None
    """End to end: input copied to the GPU, computed, output copied back. None where nothing was copied."""
    to_device: Timing | None
    from_device: Timing | None
    enqueue: Summary
    """Time of the host to launch a query, as the program printed it: its file gives it too coarsely."""
    throughput_qps: float
    """Queries a second of wall-clock time, several of which may be under way at once."""
    build_s: float
    engine_mib: float
    layers: tuple[Layer, ...]
    """In the order in which they run; empty where not asked for."""
    arguments: tuple[str, ...]
    """The whole command line."""
    settings: Mapping[str, str]
    """Choice -> what it was, and the flag that made it or `default`."""
    warnings: tuple[str, ...]
    """What makes the numbers doubtful, in the program's words."""

    @property
    def images_per_s(self) -> float:
        """Images of the input's size a second."""
        return self.throughput_qps * self.shape[0]

    @property
    def conditions(self) -> str:
        """One line to print with the numbers, which mean nothing without it."""
        settings = ", ".join(f"{name.replace('_', ' ')} {state}" for name, state in self.settings.items())
        return f"{self.program} on {self.gpu}, compute capability {self.compute_capability}: {settings}"

    def share_by_type(self) -> dict[str, float]:
        """Type that layers read -> its share of the time of all layers, the largest first; `unknown` where not said."""
        shares: dict[str, float] = {}
        for layer in self.layers:
            name = layer.inputs[0] if layer.inputs else "unknown"
            shares[name] = shares.get(name, 0.0) + layer.share
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def to_row(self) -> dict[str, Any]:
        """Plain JSON values: figures in seconds and mebibytes, null where nothing was measured; no raw times."""
        times = {"gpu_time": self.gpu_time, "latency": self.latency, "h2d": self.to_device, "d2h": self.from_device}
        figures = {
            f"{name}_{figure}_s": value for name, timing in times.items() for figure, value in _figures(timing).items()
        }
        return {
            "program": self.program,
            "gpu": self.gpu,
            "compute_capability": self.compute_capability,
            "shape": "x".join(map(str, self.shape)),
            "queries": len(self.gpu_time.times_s),
            **figures,
            "enqueue_median_s": self.enqueue.median_s,
            "throughput_qps": self.throughput_qps,
            "images_per_s": self.images_per_s,
            "build_s": self.build_s,
            "engine_mib": self.engine_mib,
            "types": self.share_by_type(),
            "settings": dict(self.settings),
            "arguments": list(self.arguments),
            "warnings": list(self.warnings),
        }

    def to_dict(self) -> dict[str, Any]:
        """The row, every time in seconds, and every layer: plain JSON values."""
        times = {"gpu_time": self.gpu_time, "latency": self.latency, "h2d": self.to_device, "d2h": self.from_device}
        raw = {name: None if timing is None else list(timing.times_s) for name, timing in times.items()}
        return self.to_row() | {
            "enqueue": asdict(self.enqueue),
            "times_s": raw,
            "layers": [asdict(layer) for layer in self.layers],
        }


def _figures(timing: Timing | None) -> dict[str, float | None]:
    if timing is None:
        return dict.fromkeys(("median", "p95", "p99"))
    return {"median": timing.median_s, "p95": timing.percentile_s(95), "p99": timing.percentile_s(99)}
