"""`repsr-upscale`: image files and folders in, enlarged ones out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from repsr_deploy.cli.errors import log_to_stderr, print_error, run
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.batch import upscale_files
from repsr_deploy.imaging.folders import AUTO, Job, check_inputs_survive, find_images, is_folder, plan_jobs
from repsr_deploy.imaging.image_file import QUALITY
from repsr_deploy.imaging.upscaler import Upscaler, checked_factor
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import AUTO as AUTO_RUNTIME
from repsr_deploy.runtimes import BACKENDS

NAME = "repsr-upscale"
SMALL_MODEL, LARGE_MODEL = "photo-x2", "photo-x4"

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def upscale(
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="INPUT...", help="Images, and folders of them.")
    ] = None,
    *,
    output: Annotated[str, typer.Option("-o", "--output", help="A file, or a folder (existing, or ending in /).")] = "",
    more: Annotated[list[Path] | None, typer.Option("-i", "--input", help="Another way to name an INPUT.")] = None,
    model: Annotated[
        str,
        typer.Option("-m", "-n", "--model", help="A bundled name or a model file.", show_default="photo-x2, or -x4"),
    ] = "",
    factor: Annotated[
        float | None,
        typer.Option("-s", "--scale", "--outscale", help="Enlargement, up to 16.", show_default="the model's"),
    ] = None,
    tile: Annotated[
        int, typer.Option("-t", "--tile", help="Side of a tile, 16 pixels or more; 0 fits it to memory.")
    ] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.", show_default="one per core")] = None,
    runtime: Annotated[
        str, typer.Option(help=f"auto, or the backend that runs the model: {', '.join(BACKENDS)}.")
    ] = AUTO_RUNTIME,
    precision: Annotated[
        Precision | None, typer.Option(help="What the backend computes in.", show_default="the backend's choice")
    ] = None,
    extension: Annotated[
        str, typer.Option("-f", "--ext", help="auto, png, jpg or webp, for a folder of results.")
    ] = AUTO,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG and WebP.")] = QUALITY,
    suffix: Annotated[str, typer.Option(help="photo.png becomes photo_SUFFIX.png in a folder.")] = "",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what is done to every image.")] = False,
) -> int:
    """Enlarge images with a super-resolution model.

    \b
    repsr-upscale photo.jpg -o large.png             twice as large
    repsr-upscale photo.jpg -o large.png -s 3        photo-x4, then resized to three times
    repsr-upscale holiday/ more/a.png -o results/    a folder and a file
    repsr-upscale scans/ -o out/ -m my.onnx --ext webp --quality 90

    Reads PNG, JPEG and WebP by content, 8 or 16 bits, gray, colour, with or without alpha, and writes the same kind;
    the Exif orientation is applied. Without -m the model is photo-x2, or photo-x4 for a factor above 2. A factor that
    is not the model's is reached by an antialiased bicubic resize after the network.

    The runtime auto is the fastest backend and precision on this machine whose picture is the same as that of 32-bit
    floats: 54 dB or nearer, where rounding to 8 bits alone gives 59. A model is measured once, which takes a second; -v
    says what came out. For the same bits on other machines as well: --runtime onnxruntime.

    Files in a folder that are no images by their extension are skipped; folders in it are not entered. An existing
    output is overwritten, an input never. When an image fails, the others are still done: the failures are listed at
    the end, and the exit code is 1 (2 for bad usage).
    """
    if verbose:
        log_to_stderr(NAME, logging.INFO)
    jobs, skipped = _plan([*(inputs or []), *(more or [])], output, extension, suffix)
    if factor is not None:
        checked_factor(factor)
    name = model or (LARGE_MODEL if factor is not None and factor > 2 else SMALL_MODEL)
    upscaler = Upscaler(name, runtime=runtime, precision=precision, threads=threads, tile=tile or None)

    failures: list[str] = []
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("upscaling", total=len(jobs))
        done = upscale_files(
            upscaler, jobs, factor=factor, quality=quality, progress=lambda count: bar.update(task, completed=count)
        )
        for outcome in done:
            if outcome.error is not None:
                failures.append(str(outcome.error))
            elif verbose:
                (width, height), (new_width, new_height) = outcome.size, outcome.new_size
                bar.console.print(
                    f"{outcome.job.source} {width}x{height} -> {outcome.job.target} {new_width}x{new_height} "
                    f"in {outcome.seconds:.2f} s",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
    for failure in failures:
        print_error(NAME, failure)
    _summarise(jobs, len(failures), skipped)
    return 1 if failures else 0


def _plan(inputs: list[Path], output: str, extension: str, suffix: str) -> tuple[list[Job], int]:
    if not inputs:
        raise UsageError(f"no INPUT is given; expected images or folders (see `{NAME} --help`)")
    if not output:
        raise UsageError(f"no output is given; name a file or a folder with -o (see `{NAME} --help`)")
    found = find_images(inputs)
    folder = is_folder(output, several=found.several)
    jobs = plan_jobs(found.images, Path(output), into_folder=folder, extension=extension, suffix=suffix)
    check_inputs_survive(jobs)
    return jobs, found.skipped


def _summarise(jobs: list[Job], failed: int, skipped: int) -> None:
    done = len(jobs) - failed
    if len(jobs) > 1:
        notes = [f"{failed} failed"] * bool(failed) + [f"{skipped} other files skipped"] * bool(skipped)
        typer.echo(
            f"{done} of {len(jobs)} images written to {jobs[0].target.parent}" + "".join(f", {n}" for n in notes)
        )
    elif done:
        typer.echo(f"written {jobs[0].target}" + (f", {skipped} other files skipped" if skipped else ""))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, NAME, args)
