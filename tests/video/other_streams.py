"""Films with much beside the picture, segments made of them, and what is in a file, packet by packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from PIL import Image as PillowImage

from repsr_deploy.video.colour import Colour, to_frame
from repsr_deploy.video.encoder import Encoder, OutputVideo
from repsr_deploy.video.mux import Original
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.plan import plan_output
from repsr_deploy.video.segments import WorkFolder
from repsr_deploy.video.source import open_video
from tests.video.clips import moving_picture

SIZE = (48, 32)
VFR = (70, 103, 170, 171, 204, 270, 404, 405, 437, 470, 504, 900)
"""Time stamps of frames, ms: a start that is not 0, neighbours at 1 ms, a long still."""
FONT = bytes(range(256)) * 5
TAGS = {"title": "A film", "artist": "Somebody", "comment": "with \u00e4, \u6f22"}


@dataclass(frozen=True)
class Content:
    """A stream as a demuxer gives it."""

    kind: str
    codec: str | None
    tags: dict[str, str]
    disposition: int
    data: list[bytes]
    shown: list[Fraction]
    """pts of the packets, in seconds."""
    decoded: list[Fraction]
    """dts of those that have one, in seconds."""


def write_film(path: Path, *, times: Sequence[int] = VFR, offset_ms: int = 0, cover: bool = True) -> Path:
    """A film with B-frames, two sound tracks, and in Matroska subtitles, a font and a cover; chapters and tags.

    Args:
        times: of frames, in ms.
        offset_ms: by which the sound begins later than 0.
    """
    matroska = path.suffix == ".mkv"
    with av.open(str(path), "w") as film:
        video: Any = film.add_stream("libx264", rate=24, options={"crf": "30", "bf": "2", "preset": "ultrafast"})
        video.width, video.height = SIZE
        video.codec_context.time_base = Fraction(1, 1000)
        video.metadata["language"] = "jpn"
        sounds = [_sound(film, language) for language in ("eng", "deu")]
        words = _words(film) if matroska else None
        if matroska:
            film.add_attachment("sans.ttf", "font/ttf", FONT)
        picture = _cover(film, matroska=matroska) if cover else None
        film.set_chapters(_chapters())
        film.metadata.update(TAGS)
        film.start_encoding()
        if picture is not None:
            film.mux(picture)
        if words is not None:
            film.mux(words)
        for stream in sounds:
            _write_sound(film, stream, offset_ms)
        for number, time in enumerate(times):
            frame = to_frame(moving_picture(number, SIZE), Colour(matrix=1), "yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
    return path


def plan_for(source: Path, target: Path, **options: Any) -> OutputVideo:
    """What `target` will be, of the size of the source."""
    with open_video(source) as video:
        return plan_output(VideoOptions(**options), target, video.info, (video.info.width, video.info.height))


def encode_film(work: WorkFolder, source: Path, output: OutputVideo, *, length: int = 5) -> Original:
    """Finish segments of some frames each, of the frames that are not finished yet."""
    with open_video(source) as video:
        frames = list(video.frames(work.resume_pts))
        for start in range(0, len(frames), length):
            with Encoder(output, threads=1) as encoder, work.segment(encoder.extradata) as segment:
                for taken in frames[start : start + length]:
                    frame = to_frame(taken.image_hwc, output.colour, output.pix_fmt)
                    frame.pts, frame.duration = taken.pts, taken.duration
                    segment.write(encoder.encode(frame))
                segment.write(encoder.flush())
        return Original(path=source, video_index=video.info.stream_index)


def content_of(path: Path) -> list[Content]:
    """All streams of a file."""
    packets: dict[int, list[Any]] = {}
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.size:
                packets.setdefault(packet.stream_index, []).append(packet)
        return [_content(stream, packets.get(stream.index, [])) for stream in film.streams]


def shown_times(path: Path) -> list[Fraction]:
    """When every frame of a file is shown, as a decoder gives them, in seconds."""
    with av.open(str(path)) as film:
        frames: list[Any] = list(film.decode(video=0))
        return [frame.pts * frame.time_base for frame in frames]


def source_times(path: Path) -> list[Fraction]:
    """When every frame is shown, as they are read for upscaling."""
    with open_video(path) as video:
        return [frame.pts * video.info.time_base for frame in video.frames()]


def _content(stream: Any, packets: list[Any]) -> Content:
    data = [stream.data] if stream.type == "attachment" else [bytes(packet) for packet in packets]
    return Content(
        kind=stream.type,
        codec=stream.codec_context.name if stream.codec_context else None,
        tags=dict(stream.metadata),
        disposition=int(stream.disposition),
        data=data,
        shown=[packet.pts * packet.time_base for packet in packets if packet.pts is not None],
        decoded=[packet.dts * packet.time_base for packet in packets if packet.dts is not None],
    )


def _sound(film: Any, language: str) -> Any:
    stream = film.add_stream("aac", rate=8000)
    stream.metadata.update({"language": language, "title": f"sound {language}"})
    stream.disposition = Disposition.default if language == "eng" else Disposition.comment
    return stream


def _write_sound(film: Any, stream: Any, offset_ms: int) -> None:
    samples = (np.sin(np.arange(8192) / (5 + stream.index)) * 9000).astype(np.int16)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start + offset_ms * 8, Fraction(1, 8000)
        film.mux(stream.encode(frame))
    film.mux(stream.encode(None))


def _words(film: Any) -> Any:
    stream = film.add_mux_stream("subrip")
    stream.metadata.update({"language": "fra", "title": "signs"})
    stream.disposition = Disposition.forced
    packet: Any = av.Packet("Bonjour \u2014 <i>toi</i>".encode())
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 333
    packet.duration = 250
    return packet


def _cover(film: Any, *, matroska: bool) -> Any:
    file = BytesIO()
    PillowImage.new("RGB", (6, 4), (200, 10, 60)).save(file, "PNG")
    if matroska:
        film.add_attachment("cover.png", "image/png", file.getvalue())
        return None
    stream = film.add_mux_stream("png", width=6, height=4)
    stream.disposition = Disposition.attached_pic
    packet: Any = av.Packet(file.getvalue())
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet


def _chapters() -> list[Any]:
    return [
        {"id": number, "start": start, "end": start + 450, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
        for number, (start, name) in enumerate([(0, "one"), (450, "two")])
    ]
