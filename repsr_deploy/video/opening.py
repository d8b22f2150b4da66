"""Opening a file with FFmpeg, and finding the video in it."""

from __future__ import annotations

from errno import EIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import av.logging
from av.container import Flags, InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video.stream import VideoStream

from repsr_deploy.errors import VideoFileError

Input = Path | BinaryIO


class Opened(NamedTuple):
    """A file that is open."""

    container: InputContainer
    stream: VideoStream


URL = "file:"


def url_of(path: Path) -> str:
    """A path as FFmpeg takes it, which would take part of a name (`10:30.mkv`) for a protocol."""
    return f"{URL}{path}"


def open_input(file: Input, name: str) -> Opened:
    """Open a file, or a stream of bytes where it begins.

    Raises:
        VideoFileError: no file, or no video in it, or no decoder for that.
    """
    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.PANIC)  # nothing is printed, but errors are counted: see `error_count`
    try:
        container = av.open(url_of(file) if isinstance(file, Path) else file, "r", metadata_errors="replace")
    except FFmpegError as error:
        reason = error.strerror or str(error)
        if isinstance(error, InvalidDataError | EOFError) or error.errno == EIO:  # of a header without its end, too
            reason += "; it is no video, or damaged, or cut off"
        raise VideoFileError(f"cannot open {name} as a video: {reason}") from error
    try:
        stream = _video_stream(container, name)
    except BaseException:
        container.close()
        raise
    # where a file says only when to decode its frames (AVI), FFmpeg's guess at when to show them is wrong
    container.flags &= ~Flags.gen_pts.value
    stream.codec_context.thread_type = "AUTO"  # type: ignore[assignment]  # takes names, too
    return Opened(container, stream)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    """No cover art; the default one before others."""
    no_film = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & no_film]
    if not videos:
        others = ", ".join(dict.fromkeys(stream.type for stream in container.streams)) or "nothing"
        covers = " (cover art)" if container.streams.video else ""
        raise VideoFileError(f"{name} holds no video, but {others}{covers}; expected a file with a video")
    stream = next((stream for stream in videos if stream.disposition & Disposition.default), videos[0])
    if stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison]  # the stubs do not say so
        raise VideoFileError(
            f"FFmpeg has no decoder for the video of {name}; convert it first with a program that knows it"
        )
    return stream


def error_count() -> tuple[int, str]:
    """How many errors FFmpeg has logged in this process, and the last one.

    Decoders hide damage as well as they can and then only log it.
    """
    count, last = av.logging.get_last_error()
    return count, "" if last is None else last[2].strip()
