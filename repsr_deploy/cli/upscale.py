"""`repsr-upscale`: pictures, folders and videos in, enlarged ones out."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from repsr_deploy.cli.errors import log_to_stderr, run
from repsr_deploy.cli.upscale_request import NAME, PIPE, ModelChoice, Request, parse_workers
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.enlargement import Depth, Enlargement, Fit, Seamless
from repsr_deploy.imaging.folders import AUTO, EXTENSIONS
from repsr_deploy.imaging.image_file import MAX_PIXELS, QUALITY
from repsr_deploy.imaging.sizes import MAX_FACTOR
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import AUTO as AUTO_RUNTIME
from repsr_deploy.runtimes import BACKENDS
from repsr_deploy.video.options import SEGMENT_S, PipeFormat, RawFormat, VideoOptions

SIZES, FILES, WORK, VIDEO = "Size and quality", "Files and folders", "Model and machine", "Video"

app = typer.Typer(
    add_completion=False, rich_markup_mode="markdown", context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command()
def upscale(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT...", help="Pictures, videos, and folders of them; - is a pipe.")
    ] = None,
    *,
    output: Annotated[str, typer.Option("-o", "--output", help="A file, or a folder (existing, or ending in /).")] = "",
    more: Annotated[list[str] | None, typer.Option("-i", "--input", help="Another way to name an INPUT.")] = None,
    model: Annotated[
        str,
        typer.Option(
            "-m", "-n", "--model", help="A bundled name or a model file.", show_default="photo-x2, or -x4",
            rich_help_panel=WORK,
        ),
    ] = "",
    factor: Annotated[
        float | None,
        typer.Option(
            "-s", "--scale", "--outscale", help=f"Enlargement, up to {MAX_FACTOR:g}.", show_default="the model's",
            rich_help_panel=SIZES,
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Of the result.", rich_help_panel=SIZES)] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Of the result.", rich_help_panel=SIZES)] = None,
    fit: Annotated[
        Fit, typer.Option(help="How the picture fills both width and height.", rich_help_panel=SIZES)
    ] = "inside",
    tta: Annotated[
        bool, typer.Option("-x", "--tta", help="Mean of 8 flips and turns: 8 times the work.", rich_help_panel=SIZES)
    ] = False,
    seamless: Annotated[
        Seamless, typer.Option(help="Borders that meet when a texture repeats.", rich_help_panel=SIZES)
    ] = "no",
    depth: Annotated[Depth, typer.Option(help="Bits of the result's samples.", rich_help_panel=SIZES)] = "auto",
    tile: Annotated[
        int,
        typer.Option(
            "-t", "--tile", help="Side of a tile, 16 pixels or more; 0 fits it to memory.", rich_help_panel=WORK
        ),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Processor threads.", show_default="one per core", rich_help_panel=WORK),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(help=f"auto, or the backend that runs the model: {', '.join(BACKENDS)}.", rich_help_panel=WORK),
    ] = AUTO_RUNTIME,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="What the backend computes in.", show_default="the backend's choice", rich_help_panel=WORK
        ),
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(
            "-j", "--jobs", metavar="LOAD:PROC:SAVE", help="Threads that decode, upscale and encode.",
            show_default="what the machine has", rich_help_panel=WORK,
        ),
    ] = "",
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="A Ray cluster to do it on.", rich_help_panel=WORK)
    ] = "",
    extension: Annotated[
        str,
        typer.Option("-f", "--ext", help=f"{', '.join(EXTENSIONS)}, for a folder of results.", rich_help_panel=FILES),
    ] = AUTO,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Quality of JPEG, WebP and AVIF.", rich_help_panel=FILES)
    ] = QUALITY,
    suffix: Annotated[
        str, typer.Option(help="photo.png becomes photo_SUFFIX.png in a folder.", rich_help_panel=FILES)
    ] = "",
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Folders in folders, too.", rich_help_panel=FILES)
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave results that are there and whole.", rich_help_panel=FILES)
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what became of every file, as JSON.", rich_help_panel=FILES)
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option(min=0, help="Largest picture that is decoded; 0 for any.", rich_help_panel=FILES),
    ] = MAX_PIXELS,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Write a page and pictures that show before and after.", rich_help_panel=FILES
        ),
    ] = False,
    codec: Annotated[
        str,
        typer.Option(
            help="auto, h264, hevc, av1, vp9, prores, ffv1, or the name of an encoder of FFmpeg.",
            rich_help_panel=VIDEO,
        ),
    ] = "auto",
    crf: Annotated[
        float | None,
        typer.Option(
            min=0, help="Constant quality, as the encoder counts.", show_default="visually lossless",
            rich_help_panel=VIDEO,
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="As the encoder names it.", show_default="the encoder's", rich_help_panel=VIDEO)
    ] = "",
    pix_fmt: Annotated[
        str, typer.Option(help="As FFmpeg names it.", show_default="the input's", rich_help_panel=VIDEO)
    ] = "",
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="Interlaced video is refused without.", rich_help_panel=VIDEO)
    ] = False,
    deduplicate: Annotated[
        bool, typer.Option("--dedup", help="Upscale frames that equal the one before once.", rich_help_panel=VIDEO)
    ] = False,
    preview: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.04, help="Only the start, before and after side by side.", rich_help_panel=VIDEO
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not continue an interrupted run.", rich_help_panel=VIDEO)
    ] = False,
    segment: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.04, help="What is lost at most.", rich_help_panel=VIDEO)
    ] = SEGMENT_S,
    raw: Annotated[
        str,
        typer.Option(
            metavar="WIDTHxHEIGHT:PIX_FMT:RATE", help="Raw video on standard input.", show_default="Y4M",
            rich_help_panel=VIDEO,
        ),
    ] = "",
    pipe: Annotated[PipeFormat, typer.Option(help="Video on standard output.", rich_help_panel=VIDEO)] = "y4m",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what is done to every picture.")] = False,
) -> int:  # fmt: skip
    """Enlarge pictures and videos with a super-resolution model.

    ```text
    repsr-upscale photo.jpg -o large.png             twice as large
    repsr-upscale photo.jpg -o large.png -s 3        photo-x4, then resized to three times
    repsr-upscale holiday/ more/a.png -o results/    a folder and a file
    repsr-upscale clip.mp4 -o large.mkv              a video, with its sound
    ```

    Pictures are PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF, by content: 8 or 16 bits, gray, colour, with or without
    alpha, animated or still. The same kind is written, with its profile, Exif and XMP; the Exif orientation is applied.
    Without -m the model is photo-x2, or photo-x4 for a factor above 2. A factor that is not the model's is reached by
    an antialiased bicubic resize after the network.

    The runtime auto is the fastest backend and precision on this machine whose picture is the same as that of 32-bit
    floats: 54 dB or nearer, where rounding to 8 bits alone gives 59. A model is measured once, which takes a second; -v
    says what came out. For the same bits on other machines as well: --runtime onnxruntime.

    An existing output is overwritten, an input never. When a file fails, the others are still done: the failures are
    listed at the end, and the exit code is 1 (2 for bad usage). docs/upscale.md says more.
    """
    if verbose:
        log_to_stderr(NAME, logging.INFO)
    named = (*(inputs or []), *(more or []))
    if not named:
        raise UsageError(f"no INPUT is given; expected pictures, videos or folders (see `{NAME} --help`)")
    if not output:
        raise UsageError(f"no output is given; name a file or a folder with -o (see `{NAME} --help`)")
    request = Request(
        inputs=named,
        output=output,
        model=ModelChoice(name=model, runtime=runtime, precision=precision, threads=threads, tile=tile or None),
        enlargement=Enlargement(
            factor=factor, width=width, height=height, fit=fit, tta=tta, seamless=seamless, depth=depth
        ),
        extension=extension,
        suffix=suffix,
        quality=quality,
        recursive=recursive,
        skip_existing=skip_existing,
        workers=parse_workers(jobs),
        report=report,
        max_pixels=max_pixels or None,
        compare=compare,
        ray=ray,
        video=VideoOptions(
            codec=codec, crf=crf, preset=preset, pix_fmt=pix_fmt, deinterlace=deinterlace, deduplicate=deduplicate,
            preview_s=preview, restart=restart, segment_s=segment, raw=_raw_format(raw), pipe=pipe,
        ),
        verbose=verbose,
    )  # fmt: skip
    if PIPE in (*named, output):
        from repsr_deploy.cli.upscale_pipe import run_pipe

        return run_pipe(request)
    if ray:
        from repsr_deploy.cli.upscale_on_ray import run_on_ray

        return run_on_ray(request)
    from repsr_deploy.cli.upscale_files import run_files

    return run_files(request)


def _raw_format(text: str) -> RawFormat | None:
    if not text:
        return None
    parts = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4}):(\w+):([1-9]\d*(?:/[1-9]\d*|\.\d+)?)", text)
    if parts is None:
        raise UsageError(f"raw format is {text!r}; expected WIDTHxHEIGHT:PIX_FMT:RATE, as 1920x1080:yuv420p:24000/1001")
    width, height, pix_fmt, rate = parts.groups()
    return RawFormat(width=int(width), height=int(height), pix_fmt=pix_fmt, rate=rate)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, NAME, args)
