"""Everything of a file but its video, for the file that takes its place: streams as they are, chapters, tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError, InvalidDataError, PatchWelcomeError

from repsr_deploy.video.opening import url_of

_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands"}
"""Tags of a file that its writer makes."""
_OF_THE_CODING = re.compile(r"(?i)encoder|vendor_id|rotate|alpha_mode|_?(BPS|DURATION|NUMBER_OF_|STATISTICS_).*")
"""Tags of a video stream that hold for its old packets only."""
_APPLE = "com.apple.quicktime."
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""Codec of a picture in a file -> what it is called as an attachment, in Matroska."""
TAG_ERRORS = "surrogateescape"
"""What becomes of tags that are not UTF-8: bytes that are written as they were read."""
DAMAGE = (InvalidDataError, PatchWelcomeError)
"""What FFmpeg's writers say of packets that are no good, whatever the container."""
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What FFmpeg takes for the speakers of so many channels: PCM in MP4 must say them, and Matroska does not."""
_LOOK_BYTES = 1 << 26
"""How much of a file is read to find a packet of every stream."""


@dataclass(frozen=True)
class Copy:
    """A stream that is copied, and where its packets go; attachments have none."""

    source: Any
    """`av.Stream` of the input."""
    target: Any
    """`av.Stream` of the output, or None."""
    is_text: bool = False
    """Whether its packets, MP4's timed text, become SubRip."""


@dataclass(frozen=True)
class Kept:
    """What a format takes of a file beside its video."""

    streams: frozenset[int] = frozenset()
    """By their indexes in the file."""
    left_out: tuple[str, ...] = ()
    """The others, in words, and styles of subtitles and tags."""


def what_is_kept(path: Path, form: str, video_index: int) -> Kept:
    """What of a file goes into one of another format.

    The format itself is asked: a packet of each stream is written in memory.

    Args:
        video_index: of the stream that is not copied.
    """
    with av.open(url_of(path), metadata_errors=TAG_ERRORS) as source:
        others = [stream for stream in source.streams if stream.index != video_index and not _is_made_anew(stream)]
        packets = _first_packets(source, {stream.index for stream in others if stream.type != "attachment"})
        kept = [stream for stream in others if _holds(form, stream, packets.get(stream.index))]
        lost = [_name(stream) for stream in others if stream not in kept]
        lost += [f"the styles of {_name(stream)}" for stream in kept if _becomes_subrip(stream, form)]
        tags = _lost_tags(form, _tags(source))
        lost += [f"the tags {', '.join(tags)}"] * bool(tags)
        return Kept(frozenset(stream.index for stream in kept), tuple(lost))


def tag_options(source: Any) -> str:
    """The flag for MP4 and QuickTime that keeps the tags of Apple's cameras, where there are any.

    Without it tags have the form that more players read.
    """
    return "+use_metadata_tags" if any(name.startswith(_APPLE) for name in source.metadata) else ""


def add_copy(output: Any, form: str, stream: Any, covers: Mapping[int, bytes]) -> Copy:
    """Add a stream to an output for one of an input that the format takes; see `what_is_kept`.

    Args:
        covers: see `read_covers`.
    """
    added = _add(output, form, stream, covers.get(stream.index, b""))
    return Copy(stream, added, is_text=_becomes_subrip(stream, form))


def read_covers(path: Path) -> dict[int, bytes]:
    """The pictures in a file (as music and films have on their covers), by the index of their streams."""
    with av.open(url_of(path), metadata_errors=TAG_ERRORS) as source:
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


def as_subrip(packet: Any) -> Any:
    """A packet of MP4's timed text (3GPP TS 26.245: length, text, boxes of styles) as one of SubRip, without styles."""
    data = bytes(packet)
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text.startswith((b"\xfe\xff", b"\xff\xfe")):
        text = text.decode("utf-16", "replace").encode()
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
    context = added.codec_context
    if form == "mp4" and stream.type == "audio" and context is not None and "channels" in context.layout.name:
        context.layout = _USUAL_LAYOUTS.get(context.layout.nb_channels, context.layout)
    return added


def _first_packets(source: Any, indexes: set[int]) -> dict[int, Any]:
    """The first packet of each of some streams; not of those in which nothing happens for long."""
    found: dict[int, Any] = {}
    looked_at = 0
    try:
        for packet in source.demux():
            if packet.size and packet.stream_index in indexes:
                found.setdefault(packet.stream_index, packet)
            looked_at += packet.size
            if len(found) == len(indexes) or looked_at > _LOOK_BYTES:
                break
    except FFmpegError:
        pass  # it is damaged, and that is said where its packets are copied
    return found


def _holds(form: str, stream: Any, packet: Any) -> bool:
    """Whether a format takes a stream and its first packet (None where that is not known), damage aside."""
    if stream.type == "attachment":
        return form == "matroska"
    if _is_cover(stream):
        return form in ("matroska", "mp4")
    try:
        with av.open(BytesIO(), "w", format=form, metadata_errors=TAG_ERRORS) as probe:
            added = _add(probe, form, stream)
            probe.start_encoding()
            if packet is not None:
                made = as_subrip(packet) if _becomes_subrip(stream, form) else packet
                made.stream, made.pts, made.dts = added, 0, 0
                probe.mux(made)
    except DAMAGE:
        return packet is not None
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
    with av.open(file, "w", format=form, metadata_errors=TAG_ERRORS) as probe:
        probe.add_mux_stream("h264", width=16, height=16)
        probe.metadata.update(tags)
        probe.start_encoding()
    file.seek(0)
    with av.open(file, metadata_errors=TAG_ERRORS) as written:
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
