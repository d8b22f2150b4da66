"""The header of Y4M, against FFmpeg's own reader and writer."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.y4m import CHROMA, Y4mHeader, chroma_of, read_frame_line, read_header

SIZE = (22, 14)


def _header(**changes: object) -> Y4mHeader:
    values: dict[str, object] = {
        "width": SIZE[0], "height": SIZE[1], "rate": Fraction(24000, 1001), "sample_aspect_ratio": Fraction(16, 11),
        "chroma": "420mpeg2", "full_range": None,
    }  # fmt: skip
    return Y4mHeader(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("chroma", [value for value in CHROMA if value not in ("mono9", "mono10", "mono12")])
def test_ffmpeg_reads_what_is_written(chroma: str) -> None:
    header = _header(chroma=chroma, full_range=True)
    stream = io.BytesIO(header.line() + b"FRAME\n" + bytes(SIZE[0] * SIZE[1] * 6))
    with av.open(stream, format="yuv4mpegpipe") as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.average_rate) == (*SIZE, header.rate)
        assert video.sample_aspect_ratio == header.sample_aspect_ratio
        assert (video.pix_fmt or "").replace("yuvj", "yuv") == header.pix_fmt
        assert video.codec_context.color_range == 2  # AVCOL_RANGE_JPEG


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv422p12le", "gray16le"])
def test_what_ffmpeg_writes_is_read(pix_fmt: str) -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="yuv4mpegpipe", options={"strict": "-1"}) as container:
        video = container.add_stream("wrapped_avframe", rate=Fraction(30000, 1001))
        video.width, video.height, video.pix_fmt = *SIZE, pix_fmt
        for pts in range(2):
            frame = av.VideoFrame(*SIZE, pix_fmt)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = pts
            container.mux(video.encode(frame))
    stream.seek(0)
    header = read_header(stream, "it")
    assert (header.width, header.height, header.rate, header.pix_fmt) == (*SIZE, Fraction(30000, 1001), pix_fmt)
    assert header.sample_aspect_ratio is None
    rest = stream.getvalue()[stream.tell() :]
    size = len(rest) // 2 - len(b"FRAME\n")
    for number in (1, 2):
        assert read_frame_line(stream, "it", number)
        assert len(stream.read(size)) == size
    assert not read_frame_line(stream, "it", 3)


def test_its_own_header_comes_back() -> None:
    for full_range in (None, False, True):
        for chroma in CHROMA:
            header = _header(chroma=chroma, full_range=full_range, rate=None, sample_aspect_ratio=None)
            assert read_header(io.BytesIO(header.line()), "it") == header
            assert chroma_of(header.pix_fmt, header.chroma_location) in (chroma, "420jpeg")


def test_defaults() -> None:
    header = read_header(io.BytesIO(b"YUV4MPEG2 W720 H576\n"), "it")
    assert header == Y4mHeader(
        width=720, height=576, rate=None, sample_aspect_ratio=None, chroma="420jpeg", full_range=None
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty; expected a Y4M stream"),
        (b"RIFF....AVI LIST", "it starts with b'RIFF....AVI LIST'; expected a Y4M stream"),
        (b"YUV4MPEG2 W64 H48", "expected a Y4M stream"),
        (b"YUV4MPEG2 W64 H48 " + b"X" * 5000 + b"\n", "expected a Y4M stream"),
        (b"YUV4MPEG2 W64\n", "it has a side of '' in its header"),
        (b"YUV4MPEG2 W0 H48\n", "it has a side of '0' in its header"),
        (b"YUV4MPEG2 W64 H48 F25\n", "it has '25' in its header; expected a ratio"),
        (b"YUV4MPEG2 W64 H48 C444alpha\n", "it has chroma C444alpha; expected one of 420jpeg"),
        (b"YUV4MPEG2 W64 H48 It\n", "it is interlaced (It)"),
        (b"YUV4MPEG2 W64 H48 Ib\n", "it is interlaced (Ib)"),
        (b"YUV4MPEG2 W64 H48 Im\n", "it is interlaced (Im)"),
    ],
)
def test_what_is_no_y4m(data: bytes, words: str) -> None:
    with pytest.raises(VideoFileError) as caught:
        read_header(io.BytesIO(data), "it")
    assert words in str(caught.value)


def test_what_is_no_frame() -> None:
    assert read_frame_line(io.BytesIO(b"FRAME Ipp\n"), "it", 1)
    for data in (b"FRAM", b"FRAMES\n", b"\0" * 9, b"FRAME"):
        with pytest.raises(VideoFileError, match="where frame 7 starts"):
            read_frame_line(io.BytesIO(data), "it", 7)


def test_formats_that_y4m_lacks() -> None:
    assert chroma_of("yuvj420p", "left") == "420mpeg2"
    assert chroma_of("yuv420p", "unspecified") == chroma_of("yuv420p", "bottom") == "420mpeg2"
    with pytest.raises(VideoFileError, match="Y4M cannot hold rgb24; choose one of gray,"):
        chroma_of("rgb24", "")
