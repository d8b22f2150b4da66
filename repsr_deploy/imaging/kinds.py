"""Pictures and videos told apart: by extension where a folder is searched, by content before extension else."""

from __future__ import annotations

from pathlib import Path

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import UnknownFormatError, read_container

VIDEO_ENDINGS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".y4m", ".ogv",
    ".3gp", ".mxf", ".vob",
)  # fmt: skip

_HEAD_BYTES = 4096
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1", b"jxl ", b"crx ")
"""Of files in ISO's base media format (14496-12) that hold pictures."""
_VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",  # EBML: Matroska, WebM
    b"YUV4MPEG2 ",
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
)
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide")
_TRANSPORT_SYNC = 0x47


def is_video(path: Path) -> bool:
    """Whether a file is to be taken as a video: its content says so, or its name where its content says nothing."""
    head = _head(path)
    if _starts_video(head):
        return True
    return path.suffix.lower() in VIDEO_ENDINGS and not _starts_picture(head)


def _head(path: Path) -> bytes:
    """Start of a file; nothing of what is no file or cannot be read, which its reader will say better."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _starts_picture(head: bytes) -> bool:
    try:
        read_container(head)
    except UnknownFormatError:
        return False
    except ImageFileError:
        return True  # a picture's start, and then it ends
    return True


def _starts_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    # packets of 188 bytes, or of 192 with a time before each
    packets = any(
        len(head) > at + 2 * step and head[at] == head[at + step] == head[at + 2 * step] == _TRANSPORT_SYNC
        for at, step in ((0, 188), (4, 192))
    )
    return packets or head.startswith(_VIDEO_STARTS) or head[4:8] in _QUICKTIME_ATOMS
