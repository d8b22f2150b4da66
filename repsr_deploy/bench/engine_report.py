"""What NVIDIA's own program measured, as a report like all others: `repsr-bench trtexec`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from repsr_deploy.bench.machine import describe_machine
from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.timing import Timing
from repsr_deploy.bench.trtexec import Layer, TrtexecOptions, TrtexecResult, find_program, measure

SLOWEST = 5
"""Layers that are named below the table; the JSON file has all."""


def measure_engine(
    model: Path,
    options: TrtexecOptions,
    *,
    program: Path | None,
    arguments: str,
    on_line: Callable[[str], None],
) -> Report:
    """Build an engine with trtexec or tensorrt_rtx and time it: on the GPU alone, and with the copies, apart.

    Args:
        model: an .onnx file.
        program: None to look for one.
        arguments: the command line, for the report.
        on_line: called with each line that the program prints, while it runs.

    Raises:
        RepsrError: as `trtexec.find_program` and `trtexec.measure`.
    """
    result = measure(model, options, program=find_program(program), on_line=on_line)
    return Report(
        command="trtexec",
        arguments=arguments,
        created=utc_now(),
        machine=describe_machine(threads=1),
        rows=_rows(model, result),
        settings=result.to_row() | {"layers": [asdict(layer) for layer in result.layers]},
        notes=_notes(result),
    )


def _rows(model: Path, result: TrtexecResult) -> list[Row]:
    """One for each part of a query that was timed."""
    parts: dict[str, Timing | None] = {
        "GPU alone": result.gpu_time,
        "end to end, with copies": result.latency,
        "copy to the GPU": result.to_device,
        "copy from the GPU": result.from_device,
    }
    key = {
        "model": model.name,
        "runtime": result.program,
        "gpu": result.gpu,
        "input": "x".join(map(str, result.shape)),
    }
    return [
        Row(
            key={**key, "time": part},
            timing=timing,
            figures={"images_per_s": result.shape[0] / timing.median_s} if part == "GPU alone" else {},
        )
        for part, timing in parts.items()
        if timing is not None
    ]


def _notes(result: TrtexecResult) -> list[str]:
    types = ", ".join(f"{name} {share:.0%}" for name, share in result.share_by_type().items())
    slowest = sorted(result.layers, key=lambda layer: -layer.share)[:SLOWEST]
    return [
        result.conditions,
        f"built in {result.build_s:.1f} s; the engine has {result.engine_mib:.1f} MiB",
        f"{result.throughput_qps:,.1f} queries and {result.images_per_s:,.1f} images a second, queries overlapping",
        *([f"time of the layers by the type that they read: {types}"] if types else []),
        *map(_layer_line, slowest),
        *(f"doubtful, as the program says: {line}" for line in result.warnings),
    ]


def _layer_line(layer: Layer) -> str:
    types = f", {' '.join(layer.inputs)} to {' '.join(layer.outputs)}" if layer.inputs else ""
    return f"layer {layer.name}: {layer.share:.0%} of the layers' time, {layer.mean_s * 1e6:,.0f} us{types}"
