"""What the first frame and the file say of a video."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from fractions import Fraction

import av
import av.logging
from av.filter import Graph

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.decode import Decoder
from repsr_deploy.video.info import VideoInfo, content_light_of, mastering_display_of, side_data_of
from repsr_deploy.video.orientation import Orientation, orientation_of
from repsr_deploy.video.pixel_formats import layout_of
from repsr_deploy.video.problems import clock
from repsr_deploy.video.tags import CHROMA_POSITIONS, UNSPECIFIED_LOCATION, Colour, colour_of

log = logging.getLogger(__name__)

INTERLACED = (2, 3, 4, 5)
"""FFmpeg's `AVFieldOrder`: 0 is unknown, 1 progressive."""
LOST = {
    "A53_CC": "closed captions inside the pictures", "DOVI_METADATA": "Dolby Vision", "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+", "DYNAMIC_HDR_VIVID": "HDR Vivid", "SPHERICAL": "the projection of a panorama",
    "STEREO3D": "how two views lie in a frame",
}  # fmt: skip
"""What frames carry and no encoder here can write, by FFmpeg's name."""
USUAL_RATE = Fraction(25)
_log_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is known of a video, and what every frame of it must be."""

    info: VideoInfo
    orientation: Orientation
    stored: tuple[int, int, str]
    """Width, height and pixel format of the stored frames."""
    name: str

    def check(self, frame: av.VideoFrame, pts: int) -> Colour:
        """The colour of a frame, which may be another than that of the first.

        Raises:
            VideoFileError: the frame is interlaced, or of another size or pixel format than the first.
        """
        at_s = float(pts * self.info.time_base)
        if frame.interlaced_frame:
            raise interlaced_error(self.name, at_s)
        stored = (frame.width, frame.height, frame.format.name)
        if stored != self.stored:
            raise VideoFileError(
                f"{self.name} changes from {'{}x{} {}'.format(*self.stored)} to {'{}x{} {}'.format(*stored)} at "
                f"{clock(at_s)}; expected one size and pixel format; cut it there"
            )
        return colour_of(frame, self.info.colour.chroma_location)


def interlaced_error(name: str, at_s: float) -> VideoFileError:
    """What to say of a video that holds fields."""
    return VideoFileError(
        f"{name} is interlaced at {clock(at_s)}: its frames hold lines of two moments; expected whole frames; "
        "make them with --deinterlace"
    )


def probe(decoder: Decoder) -> Probe:
    """See `open_video`."""
    stream, frame = decoder.opened.stream, decoder.first
    interlaced = frame.interlaced_frame or stream.codec_context.field_order in INTERLACED
    if interlaced and not decoder.deinterlace:
        raise interlaced_error(decoder.name, float((frame.pts or 0) * decoder.time_base))
    side_data = side_data_of(frame)
    for lost in dict.fromkeys(LOST[name] for name in side_data if name in LOST):
        log.warning("%s carries %s, which the result will not", decoder.name, lost)
    orientation = orientation_of(side_data.get("DISPLAYMATRIX"))
    if orientation is None:
        log.warning(
            "%s asks to be turned by %d degrees; it is not: expected right angles", decoder.name, frame.rotation
        )
        orientation = Orientation()
    layout = layout_of(frame.format.name)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    sides = (frame.width, frame.height)
    rates = (stream.average_rate, stream.guessed_rate)
    rate = next(filter(None, rates if frame.pts is not None else reversed(rates)), USUAL_RATE)
    duration_s = _duration_s(decoder)
    width, height = reversed(sides) if orientation.swaps_sides else sides
    info = VideoInfo(
        width=width,
        height=height,
        rate=rate,
        time_base=decoder.time_base,
        frames=stream.frames or (None if duration_s is None else round(duration_s * rate)),
        duration_s=duration_s,
        sample_aspect_ratio=1 / aspect if orientation.swaps_sides else aspect,
        pix_fmt=frame.format.name.replace("yuvj", "yuv"),
        bit_depth=layout.bits,
        has_alpha=layout.alpha,
        colour=colour_of(frame, chroma_location_of(frame)),
        interlaced=interlaced,
        rotation=orientation.clockwise,
        mirrored=orientation.mirrored,
        mastering_display=mastering_display_of(side_data),
        content_light=content_light_of(side_data),
        codec=stream.codec.canonical_name,
        stream_index=stream.index,
        seekable=decoder.seekable,
    )
    stored = (frame.width, frame.height, frame.format.name)
    return Probe(info=info, orientation=orientation, stored=stored, name=decoder.name)


def _duration_s(decoder: Decoder) -> float | None:
    container, stream = decoder.opened
    if stream.duration is not None:
        return float(stream.duration * decoder.time_base)
    return None if container.duration is None else container.duration / av.time_base


def chroma_location_of(frame: av.VideoFrame) -> str:
    """FFmpeg's name of the chroma location of a frame.

    PyAV gives no other access to it than what FFmpeg's filter `showinfo` says in the log.
    """
    graph = Graph()
    source = graph.add("buffer", f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1")
    graph.link_nodes(source, graph.add("showinfo", "checksum=0"), graph.add("buffersink")).configure()
    with _log_lock:
        before = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            with av.logging.Capture(local=True) as lines:
                graph.vpush(frame)
                graph.vpull()
        finally:
            av.logging.set_level(before)
    words = [word for _, _, text in lines for word in text.split() if word.startswith("cl:")]
    location = words[0].removeprefix("cl:") if words else UNSPECIFIED_LOCATION
    return location if location in CHROMA_POSITIONS else UNSPECIFIED_LOCATION
