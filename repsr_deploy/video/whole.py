"""Whether a video file is complete, without decoding it."""

from __future__ import annotations

from pathlib import Path

import av
from av.error import FFmpegError

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.opening import Opened, open_input
from repsr_deploy.video.problems import expected_end_s

TAIL_S = 2.0
"""What is looked at, before the end that the file claims."""
MISSING_S = 1.0
"""By how much packets may end before that: longer than frames last, sound aside."""


def is_whole(path: Path) -> bool:
    """Whether a file is there, is a video, and has packets up to the end that it claims."""
    try:
        opened = open_input(path, path.name)
    except VideoFileError:
        return False
    with opened.container:
        try:
            return _reaches_its_end(opened)
        except FFmpegError:
            return False


def _reaches_its_end(opened: Opened) -> bool:
    container, stream = opened
    if container.duration is None:
        return False  # it was never closed
    end_s, streams = expected_end_s(opened), [stream]
    if end_s is None:  # of the video alone; sound may be longer
        end_s, streams = (container.duration + (container.start_time or 0)) / av.time_base, [*container.streams]
    container.seek(max(0, int((end_s - TAIL_S) * av.time_base)), backward=True)
    reached_s = 0.0
    for packet in container.demux(streams):
        if packet.is_corrupt:
            return False
        if packet.pts is not None:
            reached_s = max(reached_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return reached_s >= end_s - MISSING_S
