"""Everything of a file but its video, for the file that takes its place: streams as they are, chapters, tags."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

log = logging.getLogger(__name__)

_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands"}
"""Tags of a file that its writer makes."""
_OF_THE_CODING = re.compile(r"(?i)encoder|vendor_id|rotate|alpha_mode|_?(BPS|DURATION|NUMBER_OF_|STATISTICS_).*")
"""Tags of a video stream that hold for its old packets only."""
_APPLE = "com.apple.quicktime."
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""Codec of a picture in a file -> what it is called as an attachment, in Matroska."""


@dataclass(frozen=True)
class Copy:
    """A stream that is copied, and where its packets go; attachments have none."""

    source: Any
    """`av.Stream` of the input."""
    target: Any
    """`av.Stream` of the output, or None."""
    is_text: bool = False
    """Whether its packets, MP4's timed text, become SubRip."""


def left_out(source: Any, form: str, video_index: int) -> list[str]:
    """What a format cannot hold of an open input: streams, styles of subtitles and tags, in words.

    The format itself is asked, by writing a file in memory.
    """
    others = [stream for stream in source.streams if stream.index != video_index]
    lost = [_name(stream) for stream in others if not _is_made_anew(stream) and not _holds(form, stream)]
    lost += [f"the styles of {_name(stream)}" for stream in others if _becomes_subrip(stream, form)]
    tags = _lost_tags(form, _tags(source))
    return [*lost, f"the tags {', '.join(tags)}"] if tags else lost


def tag_options(source: Any) -> str:
    """The flag for MP4 and QuickTime that keeps the tags of Apple's cameras, where there are any.

    Without it tags have the form that more players read.
    """
    return "+use_metadata_tags" if any(name.startswith(_APPLE) for name in source.metadata) else ""


def add_copy(output: Any, form: str, stream: Any, covers: Mapping[int, bytes]) -> list[Copy]:
    """Add a stream to an output for one of an input: a list of it, empty where the format cannot hold it.

    Args:
        covers: see `read_covers`.
    """
    if _is_made_anew(stream) or not _holds(form, stream):
        return []
    added = _add(output, form, stream, covers.get(stream.index, b""))
    return [Copy(stream, added, is_text=_becomes_subrip(stream, form))]


def read_covers(path: Path) -> dict[int, bytes]:
    """The pictures in a file (as music and films have on their covers), by the index of their streams."""
    with av.open(str(path)) as source:
        streams = [stream for stream in source.streams if _is_cover(stream)]
        packets = source.demux(streams) if streams else ()
        return {packet.stream_index: bytes(packet) for packet in islice(packets, len(streams))}


def copy_tags(output: Any, source: Any) -> None:
    """Chapters and tags of the file."""
    output.metadata.update(_tags(source))
    output.set_chapters(source.chapters())


def copy_video_tags(target: Any, source: Any) -> None:
    """Language, title and the like of the video stream."""
    target.metadata.update(
        {name: text for name, text in _stream_tags(source).items() if not _OF_THE_CODING.fullmatch(name)}
    )
    target.disposition = source.disposition


class CopiedPackets:
    """The packets of the copied streams, as the input has them, with a decoding time each that never goes back.

    Files that are damaged or cut lack times, or have some that go back, which no container takes: they follow on the
    packet before, and that is said.
    """

    def __init__(self, source: Any, copies: list[Copy]) -> None:
        self._source = source
        self._copies = {copy.source.index: copy for copy in copies if copy.target is not None}
        self._ends: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._repaired: set[int] = set()

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        """Decoding time in seconds, and a packet that is ready to be muxed."""
        streams = [stream for stream in self._source.streams if stream.index in self._copies]
        if not streams:
            return
        try:
            for packet in self._source.demux(streams):
                if packet.size == 0 and packet.pts is None:  # PyAV's sign that a stream has ended
                    continue
                self._time(packet)
                copy = self._copies[packet.stream_index]
                if copy.is_text:
                    packet = as_subrip(packet)  # noqa: PLW2901
                    if not packet.size:  # MP4 has one for the time without a text
                        continue
                packet.stream = copy.target
                yield float(packet.dts * packet.time_base), packet
        except FFmpegError as error:
            log.warning("%s is damaged (%s): what follows in its other streams is missing", self._source.name, error)

    def _time(self, packet: Any) -> None:
        index = packet.stream_index
        last = self._last.get(index)
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None or (last is not None and dts < last):
            if last is not None:  # pictures on covers have no time
                self._tell(index)
            dts = self._ends.get(index, 0) if last is None or dts is None else last
        packet.dts = dts
        if packet.pts is None:
            packet.pts = dts
        self._last[index], self._ends[index] = dts, dts + (packet.duration or 1)

    def _tell(self, index: int) -> None:
        if index not in self._repaired:
            self._repaired.add(index)
            log.warning("%s: stream %d has time stamps that lack or go back; they are put in order",
                        self._source.name, index)  # fmt: skip


def as_subrip(packet: Any) -> Any:
    """A packet of MP4's timed text (3GPP TS 26.245: length, text, boxes of styles) as one of SubRip, without styles."""
    data = bytes(packet)
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text.startswith((b"\xfe\xff", b"\xff\xfe")):
        text = text.decode("utf-16").encode()
    made: Any = av.Packet(text)
    made.time_base, made.pts, made.dts, made.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    made.is_keyframe = True
    return made


def _add(output: Any, form: str, stream: Any, cover: bytes = b"-") -> Any:
    """Add one stream.

    Raises:
        ValueError, FFmpegError: the format cannot hold it.
    """
    if form == "matroska" and (stream.type == "attachment" or _is_cover(stream)):
        name, kind, data = _attachment(stream, cover)
        added = output.add_attachment(name, kind, data)
        added.metadata.update({**stream.metadata, "filename": name, "mimetype": kind})
        return None
    if _becomes_subrip(stream, form):
        added = output.add_mux_stream("subrip")
    else:
        added = output.add_stream_from_template(stream, opaque=True)
    added.metadata.update(_stream_tags(stream))
    added.disposition = stream.disposition
    return added


def _holds(form: str, stream: Any) -> bool:
    if stream.type == "attachment":
        return form == "matroska"
    if _is_cover(stream):
        return form in ("matroska", "mp4")
    try:
        with av.open(BytesIO(), "w", format=form) as probe:
            _add(probe, form, stream)
            probe.start_encoding()
    except (ValueError, FFmpegError):
        return False
    return True


def _tags(source: Any) -> dict[str, str]:
    return {name: text for name, text in source.metadata.items() if name.lower() not in _OF_THE_FILE}


def _stream_tags(stream: Any) -> dict[str, str]:
    """Tags of a stream; its title by the name that all formats know."""
    tags = dict(stream.metadata)
    if "name" in tags:  # of MP4 and QuickTime
        tags.setdefault("title", tags.pop("name"))
    return tags


def _lost_tags(form: str, tags: Mapping[str, str]) -> list[str]:
    if form not in ("mp4", "mov") or any(name.startswith(_APPLE) for name in tags):
        return []
    file = BytesIO()
    with av.open(file, "w", format=form) as probe:
        probe.add_mux_stream("h264", width=16, height=16)
        probe.metadata.update(tags)
        probe.start_encoding()
    file.seek(0)
    with av.open(file) as written:
        kept = {name.lower() for name in written.metadata}
    return [name for name in tags if name.lower() not in kept]


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def _becomes_subrip(stream: Any, form: str) -> bool:
    """Matroska has no timed text of MP4."""
    return form == "matroska" and stream.type == "subtitle" and _codec(stream) == "mov_text"


def _codec(stream: Any) -> str | None:
    return stream.codec_context.name if stream.codec_context is not None else None


def _is_made_anew(stream: Any) -> bool:
    """Tracks by which QuickTime files store chapters and time codes, which are copied as such."""
    from av.stream import Discard

    return stream.type == "data" and (stream.discard == Discard.all or "timecode" in stream.metadata)


def _attachment(stream: Any, cover: bytes) -> tuple[str, str, bytes]:
    if stream.type == "attachment":
        name = stream.name or f"attachment-{stream.index}"
        return name, stream.mimetype or "application/octet-stream", stream.data
    name, kind = _COVERS.get(stream.codec_context.name, ("cover", "application/octet-stream"))
    return stream.metadata.get("filename", name), stream.metadata.get("mimetype", kind), cover


def _name(stream: Any) -> str:
    kind = _codec(stream) or getattr(stream, "name", None)
    words = [f"stream {stream.index}", f"({' '.join(filter(None, (kind, stream.type)))})"]
    title = stream.metadata.get("title") or stream.metadata.get("language")
    return " ".join([*words, repr(title)] if title else words)
