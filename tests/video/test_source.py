"""Frames of video files: order, time, place, and what is said of them."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from shutil import which
from typing import Any

import av
import numpy as np
import pytest

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.colour import Colour, image_of, to_frame
from repsr_deploy.video.orientation import Orientation
from repsr_deploy.video.source import SourceFrame, open_video
from tests.video.clips import moving_picture, write_clip

B_FRAMES = {"crf": "8", "g": "4", "bf": "2", "x264-params": "b-adapt=0:scenecut=0"}
QUIET = {"x265-params": "log-level=none:lossless=1:keyint=4:bframes=2"}
OPEN_GOP = {"crf": "12", "g": "4", "bf": "2", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
INTRA_REFRESH = {"crf": "12", "g": "6", "bf": "0", "x264-params": "intra-refresh=1"}
WITH_B_FRAMES: dict[str, dict[str, Any]] = {
    "a.mp4": {"options": B_FRAMES},
    "b.mkv": {"options": B_FRAMES},
    "c.ts": {"options": B_FRAMES},
    "d.avi": {"options": B_FRAMES},
    "e.mov": {"options": OPEN_GOP, "audio": True},
    "f.ts": {"options": OPEN_GOP},
    "g.mp4": {"options": INTRA_REFRESH},
    "h.ts": {"options": INTRA_REFRESH},
    "i.mkv": {"codec": "libx265", "options": QUIET},
    "j.ts": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=4:bframes=2:open-gop=1"}},
    "k.mpg": {"codec": "mpeg2video", "options": {"g": "4", "bf": "2", "qscale": "2"}},
    "l.webm": {"codec": "libvpx-vp9", "options": {"g": "4", "lossless": "1", "lag-in-frames": "8"}},
    "m.mp4": {"codec": "mpeg4", "options": {"g": "4", "bf": "2", "q": "2"}},
    "n.avi": {"codec": "mpeg4", "options": {"g": "4", "bf": "2", "q": "2"}},
}  # fmt: skip
needs_ffmpeg = pytest.mark.skipif(which("ffmpeg") is None, reason="ffmpeg is not installed")


def numbers_of(frames: list[SourceFrame], size: tuple[int, int] = (64, 48)) -> list[int]:
    """Which picture of the clip every frame shows: the nearest, as codecs lose a little."""
    pictures = np.stack([moving_picture(number, size) for number in range(24)]).astype(float)
    shown = [frame.image_hwc / np.iinfo(frame.image_hwc.dtype).max * 255 for frame in frames]
    return [int(np.abs(pictures - image).mean((1, 2, 3)).argmin()) for image in shown]


@pytest.mark.parametrize("name", WITH_B_FRAMES)
def test_frames_come_in_order_with_their_times_from_any_place(name: str, tmp_path: Path) -> None:
    """Whatever the container and the groups of pictures: from the start, and from each time stamp on, the same."""
    clip = write_clip(tmp_path / name, frames=14, **WITH_B_FRAMES[name])
    with open_video(clip) as video:
        whole = list(video.frames())
        assert numbers_of(whole) == list(range(14))
        seconds = [float((frame.pts - whole[0].pts) * video.info.time_base) for frame in whole]
        assert np.allclose(seconds, np.arange(14) / 24, atol=0.0006), "Matroska counts milliseconds"
        for number, first in enumerate(whole):
            part = list(video.frames(first.pts))
            assert [frame.pts for frame in part] == [frame.pts for frame in whole[number:]]
            assert all(a.same_as(b) for a, b in zip(part, whole[number:], strict=True))
        between = list(video.frames(whole[5].pts + 1))
        assert [frame.pts for frame in between] == [frame.pts for frame in whole[6:]]
        assert list(video.frames(whole[-1].pts + 10**6)) == []


def test_the_clips_of_these_tests_have_b_frames(tmp_path: Path) -> None:
    for name in ("a.mp4", "d.avi", "e.mov", "i.mkv", "k.mpg", "n.avi"):
        with av.open(str(write_clip(tmp_path / name, frames=14, **WITH_B_FRAMES[name]))) as container:
            types = {frame.pict_type for frame in container.decode(container.streams.video[0])}
        assert types == {1, 2, 3}, name


def test_another_process_sees_the_same_frames_from_the_middle(tmp_path: Path) -> None:
    """As after an interruption: a fresh decoder that has not seen the start."""
    clip = write_clip(tmp_path / "a.ts", frames=14, options=OPEN_GOP)
    with open_video(clip) as video:
        whole = list(video.frames())
    for number in (1, 6, 13):
        with open_video(clip) as video:
            part = list(video.frames(whole[number].pts))
        assert len(part) == 14 - number
        assert all(a.same_as(b) for a, b in zip(part, whole[number:], strict=True))


def test_variable_frame_rate_keeps_every_time(tmp_path: Path) -> None:
    times = [0, 40, 50, 90, 200, 210, 250, 300, 1380, 1400, 1500, 1501]
    for name in ("a.mkv", "a.mp4"):
        with open_video(write_clip(tmp_path / name, times=times)) as video:
            seen = [round(frame.pts * video.info.time_base * 1000) for frame in video.frames()]
        assert seen == times


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "f.ts", "i.mkv", "k.mpg", "n.avi"])
def test_ffprobe_sees_the_same_times(name: str, tmp_path: Path) -> None:
    """But for the last frames of formats that do not store times, of which it knows none."""
    clip = write_clip(tmp_path / name, **WITH_B_FRAMES[name])
    entry = "best_effort_timestamp"
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        f"frame={entry}",
        "-of",
        "json",
        str(clip),
    ]
    frames = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["frames"]
    known = [frame[entry] for frame in frames if entry in frame]
    with open_video(clip) as video:
        times = [frame.pts for frame in video.frames()]
    assert len(known) >= len(frames) - 1 == len(times) - 1
    assert times[: len(known)] == known


def test_frames_before_an_edit_list_are_not_shown(tmp_path: Path) -> None:
    """A clip cut out of a longer one by copying begins at a key frame, and says from where on it is to be seen."""
    longer = write_clip(tmp_path / "long.mp4", frames=14, options=B_FRAMES)
    cut = tmp_path / "cut.mp4"
    with av.open(str(longer)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - 6 * 512, packet.dts - 6 * 512
                packet.stream = stream
                target.mux(packet)
    with open_video(cut) as video:
        frames = list(video.frames())
        assert numbers_of(frames) == list(range(6, 14))
        assert [frame.pts for frame in frames] == [512 * number for number in range(8)]
        part = list(video.frames(frames[3].pts))
        assert all(a.same_as(b) for a, b in zip(part, frames[3:], strict=True))
        assert len(part) == 5


@needs_ffmpeg
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_that_of_ffmpeg_s_own_program(rotation: int, flipped: bool, tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.mp4", frames=1, rotation=rotation, flipped=flipped, aspect=Fraction(4, 3), options=B_FRAMES
    )
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    with open_video(clip) as video:
        info, frame = video.info, next(video.frames())
    assert (info.width, info.height) == ((48, 64) if rotation in (90, 270) else (64, 48))
    assert info.sample_aspect_ratio == (Fraction(3, 4) if rotation in (90, 270) else Fraction(4, 3))
    assert frame.image_hwc.shape == (info.height, info.width, 3)
    seen = np.frombuffer(raw, np.uint8).reshape(info.height, info.width, 3)
    assert np.abs(seen.astype(int) - frame.image_hwc).mean() < 4


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("ffv1", "yuv420p", "a.mkv"), ("ffv1", "yuv422p10le", "b.mkv"), ("libx264", "yuv444p10le", "c.mp4"),
        ("ffv1", "gray", "d.mkv"), ("ffv1", "gbrp12le", "e.mkv"), ("ffv1", "yuva420p", "f.mkv"),
    ],
)  # fmt: skip
def test_lossless_video_is_the_picture(codec: str, pix_fmt: str, name: str, tmp_path: Path) -> None:
    """Tags and samples, and sizes that chroma does not divide."""
    size = (37, 29) if codec == "ffv1" else (64, 48)
    colour = Colour(matrix=9, primaries=9, transfer=18, chroma_location="topleft")
    picture = np.random.default_rng(3).integers(0, 65536, (size[1], size[0], 3)).astype(np.uint16)
    frame = to_frame(picture, colour, pix_fmt)
    options = {"qp": "0"} if codec == "libx264" else {}
    clip = write_clip(
        tmp_path / name, frames=2, size=size, codec=codec, pix_fmt=pix_fmt, colour=colour, options=options,
        pictures=[picture, picture],
    )  # fmt: skip
    with open_video(clip) as video:
        info, (first, second) = video.info, list(video.frames())
    expected = colour.in_format(pix_fmt)
    assert np.array_equal(first.image_hwc, image_of(frame, expected))
    assert first.same_as(second)
    assert (info.pix_fmt, info.colour.primaries, info.colour.transfer) == (pix_fmt, 9, 18)
    assert info.colour.range == expected.range
    if pix_fmt.startswith("yuv"):
        assert info.colour.matrix == 9
    if "420" in pix_fmt:
        assert info.colour.chroma_location == "topleft"
    assert (info.width, info.height, info.has_alpha) == (*size, pix_fmt.startswith("yuva"))


@pytest.mark.parametrize(
    ("codec", "name", "location"),
    [
        ("libx264", "a.mp4", "left"), ("libx264", "a.ts", "center"), ("libx264", "a.mkv", "topleft"),
        ("libx265", "b.mkv", "center"), ("libx265", "b.mp4", "topleft"), ("libsvtav1", "c.mkv", "topleft"),
        ("ffv1", "d.mkv", "center"),
    ],
)  # fmt: skip
def test_chroma_location_is_read(codec: str, name: str, location: str, tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    clip = write_clip(
        tmp_path / name, frames=4, codec=codec, colour=Colour(matrix=1, chroma_location=location), options=options
    )
    with open_video(clip) as video:
        assert video.info.colour.chroma_location == location


def test_jpeg_video_is_of_full_range_with_chroma_in_the_middle(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.avi", frames=1, codec="mjpeg", pix_fmt="yuvj420p", colour=Colour(matrix=5, range="pc"), options={}
    )
    with open_video(clip) as video:
        colour = video.info.colour
        assert (video.info.pix_fmt, colour.range, colour.chroma_location, colour.matrix) == (
            "yuv420p",
            "pc",
            "center",
            5,
        )


def test_hdr_metadata_is_read(tmp_path: Path) -> None:
    params = (
        "log-level=none:hdr10=1:max-cll=1000,400:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    colour = Colour(matrix=9, primaries=9, transfer=16, chroma_location="topleft")
    clip = write_clip(
        tmp_path / "a.mkv",
        frames=4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        colour=colour,
        options={"x265-params": params},
    )
    with open_video(clip) as video:
        info, frame = video.info, next(video.frames())
    display, light = info.mastering_display, info.content_light
    assert display is not None
    assert light is not None
    assert (light.max_content, light.max_frame_average) == (1000, 400)
    assert display.red == (Fraction(34000, 50000), Fraction(16000, 50000))
    assert display.green == (Fraction(13250, 50000), Fraction(34500, 50000))
    assert display.blue == (Fraction(7500, 50000), Fraction(3000, 50000))
    assert display.white == (Fraction(15635, 50000), Fraction(16450, 50000))
    assert display.luminance == (Fraction(50, 10000), Fraction(1000))
    assert (info.colour, info.bit_depth, frame.image_hwc.dtype) == (colour, 10, np.uint16)


def test_the_file_says_how_long_and_how_fast_it_is(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=12, rate=Fraction(24000, 1001), audio=True)
    with open_video(clip) as video:
        info = video.info
    assert (info.rate, info.frames, info.codec) == (Fraction(24000, 1001), 12, "h264")
    assert info.duration_s == pytest.approx(12 * 1001 / 24000)
    assert info.sample_aspect_ratio == 1


def test_equal_frames_are_known(tmp_path: Path) -> None:
    """To the last sample: one code of one chroma sample makes another frame."""
    still = moving_picture(0, (64, 48))

    def frame_of(number: int) -> av.VideoFrame:
        frame = to_frame(still, Colour(matrix=1), "yuv420p")
        if number == 2:
            changed = np.frombuffer(memoryview(frame.planes[2]), np.uint8)
            changed[frame.planes[2].line_size * 23 + 31] ^= 1
        return frame

    with open_video(write_clip(tmp_path / "a.mkv", frames=4, codec="ffv1", options={}, frame_of=frame_of)) as video:
        first, second, third, fourth = video.frames()
    assert first.same_as(second)
    assert not second.same_as(third)
    assert not third.same_as(fourth)
    assert first.same_as(fourth)


def test_equal_samples_of_other_colours_are_another_frame() -> None:
    frame = av.VideoFrame(16, 16, "yuv420p")
    colours = Colour(matrix=1), Colour(matrix=6), Colour(matrix=1, range="pc"), Colour(matrix=1)
    first, *others = (SourceFrame(frame, number, 1, colour, Orientation()) for number, colour in enumerate(colours))
    assert [first.same_as(other) for other in others] == [False, False, True]


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_interlaced_video_is_refused_or_deinterlaced(name: str, tmp_path: Path) -> None:
    """Fields of a bar that moves fast: combs go, time stamps and number stay, also from the middle."""
    fields = [moving_picture(3 * number, (64, 48)) for number in range(24)]

    def woven(number: int) -> av.VideoFrame:
        picture = fields[2 * number].copy()
        picture[1::2] = fields[2 * number + 1][1::2]
        return to_frame(picture, Colour(matrix=6, chroma_location="left"), "yuv420p")

    options = {"qp": "0", "g": "4", "bf": "2", "flags": "+ildct+ilme", "x264-params": "tff=1"}
    clip = write_clip(tmp_path / name, frames=12, options=options, frame_of=woven)
    with pytest.raises(VideoFileError, match="--deinterlace"):
        open_video(clip)
    with open_video(clip, deinterlace=True) as video:
        assert video.info.interlaced
        whole = list(video.frames())
        step = {b.pts - a.pts for a, b in pairwise(whole)}
        assert len(whole) == 12
        assert step <= {3750, 41, 42}
        for number in (3, 7):
            combed = np.abs(np.diff(image_of(woven(number), Colour(matrix=6)).astype(float), axis=0)).mean()
            smooth = np.abs(np.diff(whole[number].image_hwc.astype(float), axis=0)).mean()
            original = np.abs(np.diff(fields[2 * number].astype(float), axis=0)).mean()
            assert smooth - original < 0.1 * (combed - original)
        for number, first in enumerate(whole):
            part = list(video.frames(first.pts))
            assert [frame.pts for frame in part] == [frame.pts for frame in whole[number:]]
            assert all(a.same_as(b) for a, b in zip(part, whole[number:], strict=True))


def test_progressive_video_is_left_as_it_is_by_the_deinterlacer(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", frames=5)
    with open_video(clip) as plain, open_video(clip, deinterlace=True) as video:
        assert not video.info.interlaced
        pairs = list(zip(plain.frames(), video.frames(), strict=True))
    assert all(a.same_as(b) and a.pts == b.pts and a.duration == b.duration for a, b in pairs)
