"""The finished file: the video of all segments, and everything else of the input as it was."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from repsr_deploy.errors import RepsrError, VideoFileError
from repsr_deploy.files import atomic_path
from repsr_deploy.video.containers import CONTAINERS, format_of
from repsr_deploy.video.copied_packets import CopiedPackets
from repsr_deploy.video.copies import (
    DAMAGE,
    TAG_ERRORS,
    Copy,
    Kept,
    add_copy,
    copy_tags,
    copy_video_tags,
    read_covers,
    tag_options,
    what_is_kept,
)  # fmt: skip
from repsr_deploy.video.encoder import OutputVideo, configure
from repsr_deploy.video.matroska import FORMATS, RESERVE, display_shape, write_pixel_shape
from repsr_deploy.video.opening import url_of
from repsr_deploy.video.segments import Segment, parts_path

log = logging.getLogger(__name__)

Times = NDArray[np.int64]
"""pts or dts of packets, in decoding order."""
_LARGEST_TIMESCALE = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Original:
    """The file whose other streams go into the result."""

    path: Path
    video_index: int
    """Of the stream that was upscaled."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What went into the result."""

    frames: int
    left_out: tuple[str, ...]
    """What the container cannot hold of the input, in words: streams, styles of subtitles, tags."""


def warn_of_losses(original: Original, target: Path) -> tuple[str, ...]:
    """Say what of the input the container of `target` cannot hold: worth knowing before the work.

    Returns:
        They, in words.
    """
    form = format_of(target)
    lost = what_is_kept(original.path, form, original.video_index).left_out
    keeping = original.path.suffix if form == "matroska" else ".mkv"
    advice = f"choose {keeping} to keep what is in" if keeping.lower() in CONTAINERS else "it remains only in"
    for name in lost:
        log.warning("%s: %s files do not hold %s; %s %s", target, target.suffix, name, advice, original.path)
    return lost


def join(segments: Sequence[Segment], output: OutputVideo, target: Path, original: Original | None) -> Joined:
    """Write `target`, whole or not at all.

    Every frame of the segments goes in once, with the time stamp that it has; the other streams of the input are
    copied packet for packet, with their time stamps, and so are chapters and tags. Times are as exact as the container
    has them: milliseconds in Matroska and WebM, those of the input in MP4 and QuickTime.

    Args:
        segments: in order, of encoders that were opened for the same `output`.
        original: None for video alone.

    Raises:
        VideoFileError: the segments do not belong together, or the container does not take them.
        RepsrError: the disk is full.
    """
    form = format_of(target)
    times = np.concatenate([np.array(segment.times(), np.int64) for segment in segments] or [np.zeros(0, np.int64)])
    decoding = decoding_times(times, step=max(1, round(1 / (output.rate * output.time_base))))
    parts = parts_path(target)
    finished = parts / f"finished{target.suffix}" if parts.is_dir() else target  # what a kill leaves is swept up there
    try:
        with atomic_path(finished) as temporary:
            lost = _write(temporary, form, segments, decoding, output, original)
            if _has_own_shape(output, form):
                write_pixel_shape(
                    temporary, display_shape(form, (output.width, output.height), output.sample_aspect_ratio)
                )
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        finished.replace(target)
    except OSError as error:
        raise RepsrError(f"cannot write {target}: {error.strerror}; choose another output") from error
    except FFmpegError as error:
        raise VideoFileError(f"cannot write {target}: {error.strerror}; {_way_on(target, output)}") from error
    return Joined(frames=len(times), left_out=lost)


def _way_on(target: Path, output: OutputVideo) -> str:
    """What to do when a container does not take the streams, in words; what is finished is still of use."""
    other, parts = target.with_suffix(".mkv"), parts_path(target)
    if not parts.is_dir() or other == target:
        return "choose another container or codec"
    return (
        f"what is finished is kept: rename {parts} to {parts_path(other)}, and go on with -o {other} "
        f"--codec {output.encoder}"
    )


def decoding_times(times: Times, *, step: int) -> Times:
    """When every packet is to be decoded, so that none is later than its frame is shown, and each later than the last.

    A frame that is shown as the n-th, and decoded as the m-th, needs the decoder to be m - n frames ahead. With the
    largest of these delays, d, the m-th packet is decoded when frame m - d is shown; the first d come before all.

    Args:
        times: pts of the packets, in decoding order.
        step: between packets before the first frame is shown.

    Raises:
        VideoFileError: two frames at the same time.
    """
    order = np.argsort(times, kind="stable")
    shown = times[order]
    if (np.diff(shown) <= 0).any():
        raise VideoFileError("two frames have the same time stamp: these segments are not parts of one video")
    place = np.empty(len(times), np.int64)
    place[order] = np.arange(len(times))
    delay = int(np.max(np.arange(len(times)) - place, initial=0))
    before = shown[:1] - step * np.arange(delay, 0, -1)
    return np.concatenate([before, shown])[: len(times)]


def _write(
    path: Path,
    form: str,
    segments: Sequence[Segment],
    decoding: Times,
    output: OutputVideo,
    original: Original | None,
) -> tuple[str, ...]:
    with ExitStack() as stack:
        source: Any = None
        if original is not None:
            source = stack.enter_context(av.open(url_of(original.path), metadata_errors=TAG_ERRORS))
        options = _options(form, source, output)
        target = stack.enter_context(
            av.open(url_of(path), "w", format=form, options=options, metadata_errors=TAG_ERRORS)
        )
        kept = what_is_kept(original.path, form, original.video_index) if original else Kept()
        covers = read_covers(original.path) if original else {}
        copies: list[Copy] = []
        video: Any = None
        for stream in source.streams if source else [None]:
            if stream is None or (original and stream.index == original.video_index):
                video = _add_video(target, form, output, stream)
            elif stream.index in kept.streams:
                copies.append(add_copy(target, form, stream, covers))
        if source:
            copy_tags(target, source)
        target.start_encoding()
        _check_headers(segments, bytes(video.codec_context.extradata or b""))
        copied = CopiedPackets(source, copies)
        for packet in _by_time(_video_packets(segments, decoding, output, video), iter(copied)):
            try:
                target.mux(packet)
            except DAMAGE:
                if not copied.leave_out(packet):
                    raise
    return kept.left_out


def _add_video(target: Any, form: str, output: OutputVideo, template: Any) -> Any:
    """The video stream, described by an encoder like those that made the segments."""
    stream = target.add_stream(output.encoder, rate=output.rate)
    configure(stream.codec_context, output)
    if template is not None:
        copy_video_tags(stream, template)
    if _has_own_shape(output, form):
        stream.metadata["title"] = stream.metadata.get("title", "") + RESERVE
    return stream


def _has_own_shape(output: OutputVideo, form: str) -> bool:
    """Whether the shape of pixels must be written into the finished file."""
    return form in FORMATS and output.sample_aspect_ratio not in (0, 1)


def _check_headers(segments: Sequence[Segment], extradata: bytes) -> None:
    for segment in segments:
        if segment.extradata() != extradata:
            raise VideoFileError(f"{segment.path} was made by another encoder; run again with --restart")


def _video_packets(
    segments: Sequence[Segment], decoding: Times, output: OutputVideo, stream: Any
) -> Iterator[tuple[float, Any]]:
    times = iter(decoding.tolist())
    for segment in segments:
        for stored in segment.packets():
            packet: Any = av.Packet(stored.data)
            packet.time_base = output.time_base
            packet.pts, packet.dts, packet.duration = stored.pts, next(times), stored.duration
            packet.is_keyframe = stored.is_key
            packet.stream = stream
            yield float(packet.dts * output.time_base), packet


def _by_time(*sources: Iterator[tuple[float, Any]]) -> Iterator[Any]:
    """Packets of several sources, each in its own order, the earliest of the next ones first."""
    waiting = [(entry, source) for source in sources if (entry := next(source, None)) is not None]
    while waiting:
        place = min(range(len(waiting)), key=lambda index: waiting[index][0][0])
        (_, packet), source = waiting[place]
        yield packet
        if (entry := next(source, None)) is None:
            del waiting[place]
        else:
            waiting[place] = (entry, source)


def _options(form: str, source: Any, output: OutputVideo) -> dict[str, str]:
    if form not in ("mp4", "mov"):
        return {}
    flags = "+faststart" + (tag_options(source) if source else "")
    return {"movflags": flags, "movie_timescale": str(_timescale(source, output))}


def _timescale(source: Any, output: OutputVideo) -> int:
    """Units of a second in which MP4 says when its streams begin, so that none is rounded."""
    scales = [output.time_base.denominator]
    for stream in source.streams if source else ():
        if stream.type == "audio" and stream.codec_context is not None:
            scales.append(stream.codec_context.sample_rate or 1)
    exact = math.lcm(*scales)
    return exact if exact <= _LARGEST_TIMESCALE else scales[0]
