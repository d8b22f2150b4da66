"""`repsr-eval`: how well a model restores reference pictures, beside bicubic."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from repsr_deploy import __version__
from repsr_deploy.cli.errors import print_error, run
from repsr_deploy.errors import UsageError
from repsr_deploy.files import write_text
from repsr_deploy.imaging.image_file import FORMATS
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import EvaluationReport, ImageScore, SkippedImage, evaluate
from repsr_deploy.metrics.quality import Metric, Quality
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import BACKENDS
from repsr_deploy.runtimes.source import content_sha256
from repsr_deploy.weights import find_model

NAME = "repsr-eval"
COLUMNS: dict[Metric, tuple[str, str]] = {
    "psnr_y": ("PSNR-Y", ".2f"),
    "ssim_y": ("SSIM-Y", ".4f"),
    "psnr_rgb": ("PSNR-RGB", ".2f"),
}
PIPE_WIDTH = 200  # one line per picture, whatever its name, for `grep` and logs

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def command(
    model: Annotated[str, typer.Argument(help="A bundled model (photo-x2, photo-x4) or a model file (.onnx).")],
    hr: Annotated[Path, typer.Option(help="Folder of high-resolution pictures, the truth to be restored.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write every number to this file.")] = None,
    runtime: Annotated[
        str, typer.Option(help=f"The backend that runs the model, {', '.join(BACKENDS)}, or auto for the fastest.")
    ] = "onnxruntime",
    precision: Annotated[
        Precision | None, typer.Option(help="What the backend computes in.", show_default="the model's own")
    ] = None,
) -> int:
    """Measure how well MODEL restores pictures, beside bicubic.

    Each picture of the folder is reduced by the model's scale as MATLAB's imresize does it, enlarged again, and
    compared with the original: PSNR (dB) and SSIM, on Y (studio-range BT.601, the number that papers print) and on
    RGB, without a border of scale pixels. Higher is better. The mean is that of the pictures' values.

    Files that cannot be read are named and skipped, and the exit code is then 1. An infinite PSNR (identical
    pictures) is "inf" in the JSON file, which also holds the protocol, the versions and the model's SHA-256.

    Figures to be compared with others come from the default runtime, which computes a fp32 model in fp32. Another
    runtime or precision shows what that one costs.

    Example: repsr-eval photo-x2 --hr pictures --json scores.json
    """
    paths = find_images(hr)
    model_path = find_model(model)
    upscaler = Upscaler(model_path, runtime=runtime, precision=precision)
    report = with_progress(upscaler, paths)
    if report.images:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(width=width).print(table(report, title=f"{model} x{report.scale} on {hr}"))
    if json_file:
        content = document(model_path, upscaler, hr, report)
        write_text(json_file, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return 1 if report.skipped else 0


def find_images(folder: Path) -> list[Path]:
    """Image files of `folder` by name, without hidden ones.

    Raises:
        UsageError: no folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--hr {folder} is no folder; expected a folder of high-resolution pictures")
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in FORMATS and not path.name.startswith(".")
    )
    if not paths:
        raise UsageError(f"--hr {folder} holds no picture; expected files ending in {', '.join(FORMATS)}")
    return paths


def with_progress(upscaler: Upscaler, paths: list[Path]) -> EvaluationReport:
    """Evaluate with a progress bar on stderr; name skipped files there."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(paths))

        def advance(outcome: ImageScore | SkippedImage) -> None:
            if isinstance(outcome, SkippedImage):
                print_error(NAME, f"skipped: {outcome.reason}")
            progress.advance(task)

        return evaluate(upscaler.upscale, upscaler.info.scale, paths, skip_unreadable=True, progress=advance)


def table(report: EvaluationReport, title: str) -> Table:
    """Scores per picture and their means, the model's columns before bicubic's."""
    result = Table(title=Text(title), box=box.SIMPLE_HEAD, show_footer=True)
    mean = [*cells(report.model), *cells(report.bicubic)]
    headings = [heading for heading, _ in COLUMNS.values()]
    result.add_column("picture", footer=f"mean of {len(report.images)}", overflow="fold")
    for heading, footer in zip([*headings, *(f"bicubic\n{heading}" for heading in headings)], mean, strict=True):
        result.add_column(heading, footer=footer, justify="right", no_wrap=True)
    for image in report.images:
        result.add_row(Text(image.name), *cells(image.model), *cells(image.bicubic))
    return result


def cells(quality: Quality | None) -> list[str]:
    """Text of the shown metrics."""
    values = [(getattr(quality, metric), form) for metric, (_, form) in COLUMNS.items()]
    return ["-" if value is None else format(value, form) for value, form in values]


def document(model: Path, upscaler: Upscaler, folder: Path, report: EvaluationReport) -> dict[str, Any]:
    """What `--json` writes: what was measured, with what, and every number."""
    runtime = upscaler.runtime
    modules = {name: import_module(name) for name in ("numpy", "cv2", BACKENDS[runtime.name].module)}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {
        "command": NAME,
        "versions": {"repsr-deploy": __version__, "python": platform.python_version(), **versions},
        "platform": platform.platform(),
        "runtime": {"name": runtime.name, "precision": runtime.precision},
        "model": {"file": model.name, "sha256": content_sha256(model), "info": asdict(upscaler.info)},
        "hr": str(folder),
        **report.to_dict(),
    }


def main() -> None:
    """Entry point."""
    sys.exit(run(app, NAME))
