"""Small videos, made with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from repsr_deploy.video.colour import Colour, to_frame
from repsr_deploy.video.tags import CHROMA_POSITIONS

SIZE = (64, 48)
MEMBER = b"FONT" * 100


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What to write. Frames are moving pictures, each different, unless `pictures` gives them."""

    frames: int = 12
    """Of libx265 at least 3: FFmpeg gives those of a shorter video times of decoding out of uninitialised memory."""
    size: tuple[int, int] = SIZE
    """Width, height."""
    rate: Fraction = Fraction(24)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    colour: Colour = field(default_factory=lambda: Colour(matrix=1, primaries=1, transfer=1, chroma_location="left"))
    options: Mapping[str, str] = field(default_factory=lambda: {"crf": "12", "g": "5", "bf": "2"})
    """Of the encoder. Three frames and a key frame make a group by default, with two B-frames between others."""
    times: Sequence[int] | None = None
    """Time stamps of the frames in 1/1000 s; None for a constant rate."""
    aspect: Fraction | None = None
    """Width of a pixel by its height."""
    rotation: int = 0
    """Degrees counterclockwise that players turn it (in mp4)."""
    flipped: bool = False
    """Left to right, before that."""
    audio: bool = False
    """A second stream: a tone, PCM or AAC."""
    subtitles: bool = False
    chapters: bool = False
    attachment: bool = False
    """A file within the file (in mkv)."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    pictures: Sequence[NDArray[Any]] | None = None
    """RGB H x W x 3."""
    frame_of: Callable[[int], av.VideoFrame] | None = None
    """Frames as they are; in place of pictures."""


def write_clip(path: Path, clip: Clip | None = None, **changes: Any) -> Path:
    """Write a video; the container is that of the name.

    Args:
        changes: fields of `Clip`.
    """
    clip = Clip(**changes) if clip is None else clip
    with av.open(str(path), "w") as container:
        video = _video_stream(container, clip)
        audio = container.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=8000) if clip.audio else None
        words = container.add_mux_stream("mov_text" if path.suffix == ".mp4" else "subrip") if clip.subtitles else None
        if clip.attachment:
            container.add_attachment("sans.ttf", "application/x-truetype-font", MEMBER)
        if clip.chapters:
            container.set_chapters(_chapters(clip))
        container.metadata.update(clip.metadata)
        container.start_encoding()
        if words is not None:
            _write_subtitles(container, words, plain=path.suffix != ".mp4")
        for number in range(clip.frames):
            frame = _frame(clip, number)
            if clip.times is not None:
                frame.pts, frame.time_base = clip.times[number], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, 1 / clip.rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            _write_tone(container, audio, float(clip.frames / clip.rate))
    return path


def moving_picture(number: int, size: tuple[int, int], kind: Any = np.uint8) -> NDArray[Any]:
    """RGB H x W x 3: a soft pattern that moves, of values that differ from frame to frame."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x * (3 + channel) + number * 9) / 29 + y / (11 + 4 * channel)) for channel in range(3)]
    return ((np.stack(waves, 2) * 0.4 + 0.5) * np.iinfo(kind).max).astype(kind)


def _frame(clip: Clip, number: int) -> av.VideoFrame:
    if clip.frame_of is not None:
        return clip.frame_of(number)
    if clip.pictures is not None:
        return to_frame(clip.pictures[number], clip.colour, clip.pix_fmt)
    return to_frame(moving_picture(number, clip.size, np.uint16), clip.colour, clip.pix_fmt)


def _video_stream(container: OutputContainer, clip: Clip) -> Any:
    colour = clip.colour.in_format(clip.pix_fmt)
    located = {"chroma_sample_location": colour.chroma_location} if colour.chroma_location in CHROMA_POSITIONS else {}
    options = {**located, **clip.options}
    stream: Any = container.add_stream(clip.codec, rate=clip.rate, options=options)
    stream.width, stream.height = clip.size
    stream.pix_fmt = clip.pix_fmt
    if clip.times is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    if clip.aspect is not None:
        stream.codec_context.sample_aspect_ratio = clip.aspect
    colour.tag(stream.codec_context)
    if clip.rotation or clip.flipped:
        stream.set_display_rotation(clip.rotation, hflip=clip.flipped)
    return stream


def _write_tone(container: OutputContainer, stream: Any, duration_s: float) -> None:
    count = max(1024, int(8000 * duration_s))
    samples = (np.sin(np.arange(count) / 5) * 9000).astype(np.int16)
    for start in range(0, count, 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_subtitles(container: OutputContainer, stream: Any, *, plain: bool) -> None:
    text = b"Hello"
    packet = av.Packet(text if plain else len(text).to_bytes(2, "big") + text)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = 40
    packet.duration = 200
    container.mux(packet)


def _chapters(clip: Clip) -> list[Any]:
    half = int(500 * clip.frames / clip.rate)
    return [
        {"id": number, "start": start, "end": start + half, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
        for number, (start, name) in enumerate([(0, "one"), (half, "two")])
    ]
