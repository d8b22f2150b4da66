"""`python -m repsr_deploy.bench`, which `scripts/bench` runs: every comparison, as a table and as JSON."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from repsr_deploy.bench.timing import Timing, describe_machine
from repsr_deploy.cli.errors import run
from repsr_deploy.files import write_text

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="Bundled model for the upscaler's rows.")] = "photo-x2",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = os.cpu_count() or 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of measurement for each comparison.")] = 15.0,
    out: Annotated[Path | None, typer.Option("--json", help="Also write every time as JSON.")] = None,
) -> None:
    """Measure folded against multi-branch networks, the upscaler against the bare session, and resident memory."""
    from repsr_deploy.bench.folding import measure_folding
    from repsr_deploy.bench.upscaling import measure_upscaling, peak_memory_bytes
    from repsr_deploy.checkpoint import load_checkpoint
    from repsr_deploy.imaging.image_file import write_image
    from repsr_deploy.weights import find_model

    path = find_model(model)
    net = load_checkpoint(path.with_suffix(".safetensors"))[0]
    folding = measure_folding(net, height=360, width=640, threads=threads, seconds=seconds)
    upscaling = measure_upscaling(path, noisy_gradient(1080, 1920), threads=threads, seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "24-megapixels.png"
        write_image(image, noisy_gradient(4000, 6000))
        memory = peak_memory_bytes(image, Path(folder) / "output.jpg", model)

    console = Console(highlight=False)
    console.print(_table(f"{net.spec.name} x{net.spec.scale}, 640x360 input", folding.timings))
    console.print(
        f"folded is {folding.onnxruntime_speedup:.2f} times faster in ONNX Runtime, "
        f"{folding.torch_speedup:.2f} times in PyTorch\n"
    )
    console.print(_table(f"{model}, 1920x1080 input", upscaling.timings))
    console.print(f"Upscaler takes {upscaling.upscaler_over_session:.3f} times the bare session\n")
    console.print(f"repsr-upscale of a 24-megapixel PNG x{net.spec.scale}: {memory / 2**20:,.0f} MiB resident at most")
    if out is not None:
        report = {
            "machine": describe_machine(threads),
            "folding": {"speedup": {"onnxruntime": folding.onnxruntime_speedup, "torch": folding.torch_speedup}}
            | _times(folding.timings),
            "upscaling": {"upscaler_over_session": upscaling.upscaler_over_session} | _times(upscaling.timings),
            "peak_memory_bytes": memory,
        }
        write_text(out, json.dumps(report, indent=2) + "\n")
        console.print(f"wrote {out}", markup=False)


def noisy_gradient(height: int, width: int) -> NDArray[np.uint8]:
    """An image of any size to measure on, uint8 H x W x 3: smooth with fine noise, which no encoder finds easy."""
    rows, columns = np.ogrid[:height, :width]
    ramp_hw = (rows * (160 / height) + columns * (80 / width)).astype(np.uint8)
    noise_hwc = np.random.default_rng(0).integers(0, 16, (height, width, 3), np.uint8)
    return ramp_hw[..., None] + noise_hwc


def _table(title: str, timings: dict[str, Timing]) -> Table:
    table = Table("", "median ms", "fastest", "slowest", "runs", title=title, title_justify="left")
    for name, timing in timings.items():
        fastest, slowest = timing.spread_s
        cells = (f"{value * 1e3:.1f}" for value in (timing.median_s, fastest, slowest))
        table.add_row(name, *cells, str(len(timing.times_s)))
    return table


def _times(timings: dict[str, Timing]) -> dict[str, Any]:
    return {"times_s": {name: timing.times_s for name, timing in timings.items()}}


if __name__ == "__main__":
    raise SystemExit(run(app, "bench"))
