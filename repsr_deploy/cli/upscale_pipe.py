"""`repsr-upscale` with `-` for standard input or output: video in chains of programs."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import typer

from repsr_deploy.cli.printable import printable
from repsr_deploy.cli.upscale_request import PIPE, Request
from repsr_deploy.cli.upscale_video import check_video_request, refuse, say
from repsr_deploy.cli.video_bar import video_bar
from repsr_deploy.errors import UsageError
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.pipe import STANDARD_INPUT, STANDARD_OUTPUT, PipeSource, StoppableInput
from repsr_deploy.video.pipe_upscale import upscale_from_pipe, upscale_to_pipe
from repsr_deploy.video.progress import VideoOutcome
from repsr_deploy.video.source import open_video

log = logging.getLogger(__name__)

INPUT, OUTPUT, MESSAGES = 0, 1, 2
BUFFER_BYTES = 1 << 20


def run_pipe(request: Request) -> int:
    """Upscale one video from or to a pipe: 0 when it is done, or when nobody reads on.

    Raises:
        UsageError: options that do not go with a pipe.
        RepsrError: the work failed.
    """
    _check(request)
    source = request.inputs[0]
    if request.output != PIPE:
        made = _from_pipe(request, Path(request.output))
        typer.echo(printable(f"written {request.output}"))
    else:
        try:
            with _standard_output() as target:
                made = _to_pipe(request, source, target)
        except BrokenPipeError:
            log.info("nobody reads %s any more", STANDARD_OUTPUT)
            return 0
    say(
        STANDARD_INPUT if source == PIPE else source,
        STANDARD_OUTPUT if request.output == PIPE else request.output,
        made,
    )
    return 0


def _to_pipe(request: Request, name: str, target: BinaryIO) -> VideoOutcome:
    upscaler = request.model.open(request.enlargement.factor)
    stopped = threading.Event()
    upscale = partial(
        upscale_to_pipe, target=target, upscaler=upscaler, enlargement=request.enlargement, options=request.video,
        workers=request.workers, max_pixels=request.max_pixels, stopped=stopped,
    )  # fmt: skip
    with video_bar(STANDARD_INPUT if name == PIPE else Path(name).name) as progress:
        if name == PIPE:
            return upscale(_standard_input(request.video, stopped), progress=progress)
        with open_video(Path(name), deinterlace=request.video.deinterlace) as video:
            return upscale(video, progress=progress)


def _from_pipe(request: Request, target: Path) -> VideoOutcome:
    upscaler = request.model.open(request.enlargement.factor)
    stopped = threading.Event()
    source = _standard_input(request.video, stopped)
    log.info("%s cannot be read twice: when this is interrupted, it cannot be continued", STANDARD_INPUT)
    with video_bar(STANDARD_INPUT) as progress:
        return upscale_from_pipe(
            source, target, upscaler, request.enlargement, request.video, workers=request.workers,
            max_pixels=request.max_pixels, progress=progress, stopped=stopped,
        )  # fmt: skip


def _check(request: Request) -> None:
    video, from_pipe, to_pipe = request.video, PIPE in request.inputs, request.output == PIPE
    if len(request.inputs) != 1:
        raise UsageError(f"{PIPE} stands for one video, and {len(request.inputs)} inputs are given; expected one")
    check_video_request(request)
    options = {
        "--ray": bool(request.ray),
        "--report": request.report is not None,
        "--skip-existing": request.skip_existing,
        "--suffix": bool(request.suffix),
        "--preview": video.preview_s is not None,
        "--restart": video.restart,
    }
    refuse("does not go with a pipe", options)
    if from_pipe:
        refuse("does not go with standard input, use ffmpeg -vf bwdif", {"--deinterlace": video.deinterlace})
    else:
        refuse("says what standard input holds, and the input is a file", {"--raw": video.raw is not None})
    if to_pipe:
        encoding = {"--codec": video.codec != "auto", "--crf": video.crf is not None, "--preset": bool(video.preset)}
        refuse("is for results in files, and the output is a pipe", encoding)
    else:
        refuse("is for standard output, and the output is a file", {"--pipe": video.pipe != "y4m"})
    if not to_pipe and (Path(request.output).is_dir() or request.output.endswith(("/", os.sep))):
        raise UsageError(f"output {request.output} is a folder, and standard input has no name; expected a file's name")
    if from_pipe and os.isatty(INPUT):
        raise UsageError(f"{STANDARD_INPUT} is a terminal; expected a video, as ffmpeg -i clip.mp4 -f yuv4mpegpipe -")
    if to_pipe and os.isatty(OUTPUT):
        raise UsageError(f"{STANDARD_OUTPUT} is a terminal; expected a pipe or a file, as | ffmpeg -i - clip.mp4")


def _standard_input(options: VideoOptions, stopped: threading.Event) -> PipeSource:
    stream: Any = io.BufferedReader(StoppableInput(INPUT, stopped), BUFFER_BYTES)
    return PipeSource(stream, options.raw)


@contextmanager
def _standard_output() -> Generator[BinaryIO]:
    """Standard output for video alone: what anything else prints there meanwhile goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(OUTPUT), "wb", buffering=0) as stream:
        os.dup2(MESSAGES, OUTPUT)
        try:
            yield stream
        finally:
            sys.stdout.flush()
            os.dup2(stream.fileno(), OUTPUT)
