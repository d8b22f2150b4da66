"""Video through pipes: exactly, at once, and to its end or a clear word of why not."""

from __future__ import annotations

import io
import os
import select
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repsr_deploy.errors import RepsrError, UsageError, VideoFileError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.colour import to_frame
from repsr_deploy.video.options import RawFormat, VideoOptions
from repsr_deploy.video.pipe import PipeSource, StoppableInput, frame_bytes
from repsr_deploy.video.pipe_upscale import upscale_from_pipe, upscale_to_pipe
from repsr_deploy.video.segments import parts_path
from repsr_deploy.video.source import open_video
from repsr_deploy.video.tags import Colour
from tests.video.clips import moving_picture, write_clip

SIZE, LARGE = (32, 18), (64, 36)
HEADER = b"YUV4MPEG2 W32 H18 F24000:1001 Ip A16:11 C420mpeg2 XYSCSS=420MPEG2\n"
TWICE = Enlargement()
WAIT_S = 20.0


def _bytes(frame: av.VideoFrame, pix_fmt: str) -> bytes:
    """The planes one after the other, without what pads their lines: NumPy's account of what FFmpeg calls raw."""
    assert frame.format.name == pix_fmt
    if pix_fmt in ("nv12", "rgb24"):
        return frame.to_ndarray().tobytes()
    size = 1 if frame.format.components[0].bits == 8 else 2
    planes = [np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return b"".join(
        lines[: plane.height, : plane.width * size].tobytes() for lines, plane in zip(planes, frame.planes, strict=True)
    )


def _frames(count: int, pix_fmt: str = "yuv420p", colour: Colour | None = None) -> list[bytes]:
    colour = colour or Colour(matrix=6, chroma_location="left")
    return [_bytes(to_frame(moving_picture(number, SIZE), colour, pix_fmt), pix_fmt) for number in range(count)]


def _y4m(frames: list[bytes], header: bytes = HEADER) -> bytes:
    return header + b"".join(b"FRAME\n" + frame for frame in frames)


def _by_hand(source: PipeSource, upscaler: Upscaler, pix_fmt: str) -> list[bytes]:
    colour = source.info.colour
    return [_bytes(to_frame(upscaler.upscale(one.image_hwc), colour, pix_fmt), pix_fmt) for one in source.frames()]


FORMATS = [
    ("yuv420p", b"C420mpeg2 XYSCSS=420MPEG2"), ("yuv420p", b"C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL"),
    ("yuv422p", b"C422 XYSCSS=422"), ("yuv444p", b"C444 XYSCSS=444 XCOLORRANGE=LIMITED"), ("gray", b"Cmono"),
    ("yuv420p10le", b"C420p10 XYSCSS=420P10"), ("yuv444p10le", b"C444p10 XYSCSS=444P10"),
]  # fmt: skip


@pytest.mark.parametrize(("pix_fmt", "chroma"), FORMATS, ids=[chroma.decode() for _, chroma in FORMATS])
def test_y4m_to_y4m(pix_fmt: str, chroma: bytes, upscaler: Upscaler) -> None:
    line = b"YUV4MPEG2 W%d H%d F24000:1001 Ip A16:11 " + chroma + b"\n"
    data = _y4m(_frames(3, pix_fmt), line % SIZE)
    made = io.BytesIO()
    outcome = upscale_to_pipe(PipeSource(io.BytesIO(data)), made, upscaler, TWICE, VideoOptions())
    assert (outcome.frames, outcome.size, outcome.new_size) == (3, SIZE, LARGE)
    assert made.getvalue() == _y4m(_by_hand(PipeSource(io.BytesIO(data)), upscaler, pix_fmt), line % LARGE)
    made.seek(0)
    with av.open(made, "r", format="yuv4mpegpipe") as file:  # after all, FFmpeg has to read it
        video = file.streams.video[0]
        assert (video.width, video.height, video.average_rate, len([*file.decode(video)])) == (
            *LARGE, Fraction(24000, 1001), 3,
        )  # fmt: skip


def test_frames_are_those_that_ffmpeg_reads() -> None:
    data = _y4m(_frames(4))
    with open_video(io.BytesIO(data)) as video:
        expected = [frame.image_hwc for frame in video.frames()]
        info = video.info
    source = PipeSource(io.BytesIO(data))
    for frame, image in zip(source.frames(), expected, strict=True):
        np.testing.assert_array_equal(frame.image_hwc, image)
    assert source.problem is None
    for name in ("width", "height", "rate", "sample_aspect_ratio", "pix_fmt", "bit_depth", "colour"):
        assert getattr(source.info, name) == getattr(info, name)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "rgb24", "yuv422p10le", "gray16le", "gbrp"])
def test_raw_to_raw(pix_fmt: str, upscaler: Upscaler) -> None:
    raw = RawFormat(width=SIZE[0], height=SIZE[1], pix_fmt=pix_fmt, rate="30000/1001")
    matrix = 0 if pix_fmt in ("rgb24", "gbrp") else 6
    data = b"".join(_frames(3, pix_fmt, Colour(matrix=matrix, range="tv" if matrix else "pc")))
    made = io.BytesIO()
    upscale_to_pipe(PipeSource(io.BytesIO(data), raw), made, upscaler, TWICE, VideoOptions(pipe="raw"))
    assert len(made.getvalue()) == 3 * frame_bytes(*LARGE, pix_fmt)
    source = PipeSource(io.BytesIO(data), raw)
    assert source.info.rate == Fraction(30000, 1001)
    assert made.getvalue() == b"".join(_by_hand(source, upscaler, pix_fmt))


def test_raw_to_y4m_takes_the_nearest_format(upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    cases = [
        ("nv12", b" C420mpeg2 ", ""),
        ("rgb24", b" C444 ", ""),
        ("yuva422p", b" C422 ", "loses transparency of the"),
    ]
    for pix_fmt, chroma, said in cases:
        caplog.clear()
        raw = RawFormat(width=SIZE[0], height=SIZE[1], pix_fmt=pix_fmt, rate="25")
        made = io.BytesIO()
        source = PipeSource(io.BytesIO(bytes(frame_bytes(*SIZE, pix_fmt))), raw)
        upscale_to_pipe(source, made, upscaler, TWICE, VideoOptions())
        assert made.getvalue().startswith(b"YUV4MPEG2 W64 H36 F25:1 Ip A1:1" + chroma)
        assert said in caplog.text
        assert ("loses" in caplog.text) == bool(said)
    with pytest.raises(UsageError, match="--pix-fmt rgb24: Y4M takes yuv420p, "):
        upscale_to_pipe(PipeSource(io.BytesIO(_y4m([]))), io.BytesIO(), upscaler, TWICE, VideoOptions(pix_fmt="rgb24"))
    with pytest.raises(UsageError, match="pixel format is 'yuv17'"):
        PipeSource(io.BytesIO(), RawFormat(width=2, height=2, pix_fmt="yuv17", rate="25"))


@pytest.mark.parametrize(
    ("data", "done", "words"),
    [
        (_y4m([]), 0, "standard input ends before the first frame"),
        (_y4m(_frames(3))[:-1], 2, "standard input ends within frame 3, after 863 of 864 bytes; the frames before it"),
        (_y4m(_frames(1)) + b"FRAME\n", 1, "standard input ends within frame 2, after 0 of 864 bytes"),
        (_y4m(_frames(2)) + b"\0" * 9, 2, "where frame 3 starts; expected FRAME"),
    ],
)
def test_a_stream_that_ends_early(data: bytes, done: int, words: str, tmp_path: Path, upscaler: Upscaler) -> None:
    made, target = io.BytesIO(), tmp_path / "out.mkv"
    with pytest.raises(VideoFileError, match=words):
        upscale_to_pipe(PipeSource(io.BytesIO(data)), made, upscaler, TWICE, VideoOptions())
    assert made.getvalue().count(b"FRAME\n") == done
    with pytest.raises(VideoFileError, match=words):
        upscale_from_pipe(PipeSource(io.BytesIO(data)), target, upscaler, TWICE, VideoOptions())
    assert target.exists() == bool(done)
    assert not parts_path(target).exists()


def test_from_a_pipe_to_a_file(tmp_path: Path, upscaler: Upscaler) -> None:
    data, target = _y4m(_frames(5)), tmp_path / "out.mkv"
    options = VideoOptions(codec="ffv1", segment_s=0.1)
    outcome = upscale_from_pipe(PipeSource(io.BytesIO(data)), target, upscaler, TWICE, options)
    assert (outcome.frames, outcome.encoder) == (5, "ffv1")
    with av.open(str(target)) as file:
        video = file.streams.video[0]
        times = [float((frame.pts or 0) * (video.time_base or 1)) for frame in file.decode(video)]
        assert times == pytest.approx([number * 1001 / 24000 for number in range(5)], abs=1e-3)
        assert video.sample_aspect_ratio == Fraction(16, 11)
    with av.open(str(target)) as file:
        made = [_bytes(frame, "yuv420p") for frame in file.decode(video=0)]
    assert made == _by_hand(PipeSource(io.BytesIO(data)), upscaler, "yuv420p")
    assert [*tmp_path.iterdir()] == [target]


def test_what_came_from_a_pipe_is_kept(tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "out.mkv"

    def interrupt(now: Any) -> None:
        if now.frames == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_from_pipe(
            PipeSource(io.BytesIO(_y4m(_frames(8)))), target, upscaler, TWICE,
            VideoOptions(segment_s=0.08), progress=interrupt,
        )  # fmt: skip
    assert f"{target} holds the first 0:00:00.167 of the video" in caplog.text
    with av.open(str(target)) as file:
        assert len([*file.decode(video=0)]) == 4
    assert [*tmp_path.iterdir()] == [target]


def test_from_a_file_to_a_pipe(tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(tmp_path / "in.mkv", frames=4, colour=Colour(matrix=6, chroma_location="topleft"))
    made = io.BytesIO()
    with open_video(source) as video:
        upscale_to_pipe(video, made, upscaler, TWICE, VideoOptions(pix_fmt="yuv420p"))
    line, _, rest = made.getvalue().partition(b"\n")
    assert line == b"YUV4MPEG2 W128 H96 F24:1 Ip A1:1 C420paldv XYSCSS=420PALDV XCOLORRANGE=LIMITED"
    assert len(rest) == 4 * (len(b"FRAME\n") + 128 * 96 * 3 // 2)
    assert caplog.text == ""


def test_what_a_pipe_cannot_say_is_said(tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(tmp_path / "in.mkv", frames=4, times=[0, 40, 80, 300], colour=Colour(matrix=9, primaries=9))
    with open_video(source) as video:
        upscale_to_pipe(video, io.BytesIO(), upscaler, TWICE, VideoOptions())
    assert "the frames are not evenly spaced in time, which a pipe cannot say" in caplog.text
    assert "the matrix is bt2020" in caplog.text
    assert "setparams=colorspace=bt2020nc" in caplog.text


class _Chain:
    """A run between two pipes, in a thread."""

    def __init__(self, upscaler: Upscaler) -> None:
        reading, self.into = os.pipe()
        self.out, writing = os.pipe()
        self.stopped = threading.Event()
        self.error: BaseException | None = None

        def run() -> None:
            try:
                stream: Any = io.BufferedReader(StoppableInput(reading, self.stopped))
                with os.fdopen(writing, "wb", buffering=0) as target:
                    source = PipeSource(stream)
                    upscale_to_pipe(source, target, upscaler, TWICE, VideoOptions(), stopped=self.stopped)
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()
        self._reading = reading

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and select.select([self.out], [], [], WAIT_S)[0]:
            more = os.read(self.out, size - len(data))
            if not more:
                break
            data += more
        return data

    def end(self) -> None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        os.close(self._reading)


def test_a_frame_leaves_before_the_next_one_comes(upscaler: Upscaler) -> None:
    chain = _Chain(upscaler)
    header = len(HEADER)
    os.write(chain.into, HEADER)
    for number, frame in enumerate(_frames(3)):
        os.write(chain.into, b"FRAME\n" + frame)
        size = len(b"FRAME\n") + 4 * len(frame)
        assert len(chain.read(size if number else size + header)) == (size if number else size + header)
    os.close(chain.into)
    assert chain.read(1) == b""
    chain.end()
    os.close(chain.out)
    assert chain.error is None


def test_nobody_reads_on_and_nothing_more_comes(upscaler: Upscaler) -> None:
    """As when a player is closed in front of a camera that is still: the run ends, though its input does not."""
    chain = _Chain(upscaler)
    frame = _frames(1)[0]
    os.write(chain.into, HEADER + b"FRAME\n" + frame)
    assert chain.read(9) == b"YUV4MPEG2"
    os.close(chain.out)
    os.write(chain.into, b"FRAME\n" + frame)
    chain.end()
    os.close(chain.into)
    assert isinstance(chain.error, BrokenPipeError)
    assert chain.stopped.is_set()


def test_what_cannot_be_read_is_said(tmp_path: Path, upscaler: Upscaler) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(VideoFileError, match="cannot read standard input: Is a directory"):
        StoppableInput(folder, threading.Event())
    os.close(folder)


def test_a_full_disk_is_said(upscaler: Upscaler) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with (
        os.fdopen(full, "wb", buffering=0) as target,
        pytest.raises(RepsrError, match="standard output: No space left"),
    ):
        upscale_to_pipe(PipeSource(io.BytesIO(_y4m(_frames(1)))), target, upscaler, TWICE, VideoOptions())
