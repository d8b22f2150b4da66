"""Whole frames of interlaced video, one of every two fields, by FFmpeg's bwdif."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph

OPTIONS = "mode=send_frame:parity=auto:deint=interlaced"


def deinterlaced(frames: Iterator[av.VideoFrame], time_base: Fraction) -> Iterator[av.VideoFrame]:
    """As many frames, with the same time stamps; those that are not flagged as interlaced are left as they are."""
    first = next(frames, None)
    if first is None:
        return
    graph = Graph()
    source = graph.add(
        "buffer",
        f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}:time_base={time_base}"
        f":colorspace={first.colorspace}:range={first.color_range}",
    )
    graph.link_nodes(source, graph.add("bwdif", OPTIONS), graph.add("buffersink")).configure()
    graph.vpush(first)
    for frame in frames:
        yield from _ready(graph, time_base)
        graph.vpush(frame)
    graph.vpush(None)
    yield from _ready(graph, time_base)


def _ready(graph: Graph, time_base: Fraction) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):  # needs another frame; has given the last
            return
        ratio = Fraction(frame.time_base or time_base) / time_base  # bwdif halves the unit of time
        frame.pts = None if frame.pts is None else int(frame.pts * ratio)
        frame.duration = int(frame.duration * ratio)
        frame.time_base = time_base
        yield frame
