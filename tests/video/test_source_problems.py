"""Video files with something wrong, and what must not stay behind."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.colour import Colour, to_frame
from repsr_deploy.video.problems import clock
from repsr_deploy.video.source import open_video
from tests.video.clips import moving_picture, write_clip


class Pipe(io.RawIOBase):
    """Bytes that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


def shuffled(data: bytes, start: float, stop: float) -> bytes:
    """With a part of the bytes, from and to a share of all, replaced."""
    first, last = int(len(data) * start), int(len(data) * stop)
    return data[:first] + np.random.default_rng(1).bytes(last - first) + data[last:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "cannot open"), (b"Hello, this is text.\n" * 50, "cannot open"), (b"\x00" * 5000, "cannot open")],
)
def test_what_is_no_video_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(VideoFileError, match=rf"{reason}.*a\.mp4"):
        open_video(path)


def test_what_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoFileError, match="No such file"):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(VideoFileError, match="cannot open"):
        open_video(tmp_path)


def test_a_file_cut_off_before_its_index_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4")
    clip.write_bytes(clip.read_bytes()[:-200])
    with pytest.raises(VideoFileError, match="cut off"):
        open_video(clip)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(VideoFileError, match="holds no video, but audio"):
        open_video(path)


def write_with_cover(path: Path, *, film: bool) -> None:
    """A cover first, and then a film or sound."""
    with av.open(str(path), "w") as container:
        cover: Any = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = Disposition.attached_pic
        other: Any = container.add_stream("mpeg4" if film else "aac", rate=24 if film else 8000)
        if film:
            other.width, other.height, other.pix_fmt = 64, 48, "yuv420p"
        container.mux(cover.encode(to_frame(np.zeros((32, 32, 3), np.uint8), Colour(matrix=0, range="pc"), "rgb24")))
        container.mux(cover.encode(None))
        for number in range(3):
            if film:
                frame: Any = to_frame(moving_picture(number, (64, 48)), Colour(matrix=6), "yuv420p")
            else:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate = 8000
            frame.pts = number * (1 if film else 1024)
            container.mux(other.encode(frame))
        container.mux(other.encode(None))


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    write_with_cover(tmp_path / "film.mp4", film=True)
    with open_video(tmp_path / "film.mp4") as video:
        assert (video.info.width, video.info.codec, len(list(video.frames()))) == (64, "mpeg4", 3)
    write_with_cover(tmp_path / "song.mp4", film=False)
    with pytest.raises(VideoFileError, match="cover art"):
        open_video(tmp_path / "song.mp4")


def test_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", codec="mpeg4", options={})
    clip.write_bytes(clip.read_bytes().replace(b"FMP4", b"QQQQ"))
    with pytest.raises(VideoFileError, match=r"no decoder for the video of a\.avi"):
        open_video(clip)


def test_a_video_of_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    """As one that is encrypted."""
    clip = write_clip(tmp_path / "a.mp4")
    data = clip.read_bytes()
    start, stop = data.index(b"mdat") + 4, data.index(b"moov") - 4
    clip.write_bytes(data[:start] + np.random.default_rng(2).bytes(stop - start) + data[stop:])
    with pytest.raises(VideoFileError, match=r"no frame of a\.mp4 can be decoded"):
        open_video(clip)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_damage_in_the_middle_is_said_and_the_rest_goes_on(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = list(np.random.default_rng(4).integers(0, 256, (24, 48, 64, 3)).astype(np.uint8))
    clip = write_clip(tmp_path / name, frames=24, options={"qp": "20", "g": "4", "bf": "0"}, pictures=noise)
    with open_video(clip) as video:
        whole = [frame.pts for frame in video.frames()]
    assert not caplog.records
    clip.write_bytes(shuffled(clip.read_bytes(), 0.45, 0.5))
    with open_video(clip) as video:
        frames = list(video.frames())
    assert 16 <= len(frames) <= 24
    assert frames[-1].pts == whole[-1]
    assert "is damaged" in caplog.text


def test_a_video_that_ends_early_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=72, options={"qp": "20", "g": "12"})
    index_first = tmp_path / "b.mp4"
    with av.open(str(clip)) as source, av.open(str(index_first), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    index_first.write_bytes(index_first.read_bytes()[: index_first.stat().st_size // 2])
    with open_video(index_first) as video:
        frames = list(video.frames())
    assert 20 < len(frames) < 50
    assert "ends at 0:00:0" in caplog.text
    assert "should end at 0:00:03.000" in caplog.text


def test_what_frames_carry_and_nobody_can_write_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Closed captions of ATSC A/53 part 4, put into the stream by hand: an SEI message before every picture."""
    clip = write_clip(tmp_path / "a.h264", frames=2, options={"g": "1"})
    caption = bytes([0xB5, 0x00, 0x31]) + b"GA94" + bytes([0x03, 0xC1, 0xFF, 0xFC, 0x94, 0x2C, 0xFF])
    message = b"\x00\x00\x00\x01\x06\x04" + bytes([len(caption)]) + caption + b"\x80"
    idr = b"\x00\x00\x01\x65"
    clip.write_bytes(clip.read_bytes().replace(idr, message + idr))
    open_video(clip).close()
    assert "closed captions" in caplog.text


def test_a_video_that_changes_its_size_is_refused_where_it_does(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "a.h264", frames=4).read_bytes()
    large = write_clip(tmp_path / "b.h264", frames=4, size=(96, 48)).read_bytes()
    both = tmp_path / "c.h264"
    both.write_bytes(small + large)
    with open_video(both) as video, pytest.raises(VideoFileError, match=r"changes from 64x48 yuv420p to 96x48"):
        list(video.frames())


def test_frames_without_times_get_some(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_video(write_clip(tmp_path / "a.h264", frames=8)) as video:
        times = [float(frame.pts * video.info.time_base) for frame in video.frames()]
        again = [float(frame.pts * video.info.time_base) for frame in video.frames(int(0.1 / video.info.time_base))]
    assert times == pytest.approx([number / 24 for number in range(8)], abs=1e-6)
    assert again == times[3:]
    assert caplog.text.count("without time stamps") == 1


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mkv").read_bytes()
    with open_video(Pipe(data)) as video:  # pyright: ignore[reportArgumentType]  # typeshed: RawIOBase is no BinaryIO
        assert not video.info.seekable
        assert len(list(video.frames())) == 12
        with pytest.raises(VideoFileError, match="pipe"):
            list(video.frames())
    with open_video(Pipe(data)) as video:  # pyright: ignore[reportArgumentType]
        assert len(list(video.frames(start_pts=100))) == 9, "what is before is decoded and left out"
    with open_video(io.BytesIO(data)) as video:
        assert [len(list(video.frames(start))) for start in (None, 100, None)] == [12, 9, 12]


def test_a_new_iteration_ends_the_one_before(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "a.mkv")) as video:
        first = video.frames()
        next(first)
        assert len(list(video.frames())) == 12
        assert list(first) == []


@pytest.mark.parametrize(
    "name", ["\N{FILM FRAMES} é.mkv", "two\nlines.mkv", "http:x.mkv", "a%03d.mkv", "-i.mkv", "x" * 251 + ".mkv"]
)
def test_any_name_will_do(name: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", frames=1).rename(tmp_path / name)
    with open_video(clip) as video:
        assert len(list(video.frames())) == 1


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """Neither threads nor open files, whether it was read to the end, in part, or could not be opened."""
    clip = write_clip(tmp_path / "a.mkv")
    broken = write_clip(tmp_path / "b.mkv", options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    before = (threading.active_count(), _open_files(), _tasks())
    for _ in range(3):
        with open_video(clip) as video:
            next(video.frames())
        with open_video(clip) as video:
            list(video.frames())
            list(video.frames(300))
        with pytest.raises(VideoFileError):
            open_video(broken)
    assert (threading.active_count(), _open_files(), _tasks()) == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _tasks() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_times_are_said_as_people_read_them() -> None:
    assert [clock(seconds) for seconds in (0, 3723.4567, 59.9996, -1.5)] == [
        "0:00:00.000", "1:02:03.457", "0:01:00.000", "-0:00:01.500",
    ]  # fmt: skip
