from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repsr_deploy.errors import UsageError, VideoFileError
from repsr_deploy.video.codecs import SOFTWARE, available, choose_encoder
from repsr_deploy.video.colour import to_frame
from repsr_deploy.video.encoder import Encoder, OutputVideo
from repsr_deploy.video.info import (
    ContentLight,
    MasteringDisplay,
    VideoInfo,
    content_light_of,
    mastering_display_of,
    side_data_of,
)
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.plan import plan_output
from repsr_deploy.video.tags import Colour
from tests.video.clips import moving_picture

HDR = Colour(matrix=9, primaries=9, transfer=16, chroma_location="topleft")
DISPLAY = MasteringDisplay(
    red=(Fraction(34000, 50000), Fraction(16000, 50000)),
    green=(Fraction(13250, 50000), Fraction(34500, 50000)),
    blue=(Fraction(7500, 50000), Fraction(3000, 50000)),
    white=(Fraction(15635, 50000), Fraction(16450, 50000)),
    luminance=(Fraction(50, 10000), Fraction(1000)),
)
INFO = VideoInfo(
    width=24, height=16, rate=Fraction(24), time_base=Fraction(1, 90000), frames=None, duration_s=None,
    sample_aspect_ratio=Fraction(1), pix_fmt="yuv420p", bit_depth=8, has_alpha=False,
    colour=Colour(matrix=1, primaries=1, transfer=1, chroma_location="left"), interlaced=False, rotation=0,
    mirrored=False, mastering_display=None, content_light=None, codec="h264", stream_index=0, seekable=True,
)  # fmt: skip
DEEP = replace(INFO, pix_fmt="yuv420p10le", bit_depth=10, codec="hevc", colour=HDR)
TIMES = (100, 4000, 4001, 9000, 90000, 90100, 95000)


def plan(info: VideoInfo = INFO, name: str = "a.mkv", size: tuple[int, int] = (48, 32), **options: Any) -> OutputVideo:
    return plan_output(VideoOptions(**options), Path(name), info, size)


def encoded(output: OutputVideo, threads: int | None = 1) -> tuple[list[av.Packet[Any]], bytes]:
    with Encoder(output, threads=threads) as encoder:
        packets: list[Any] = []
        for number, time in enumerate(TIMES):
            picture = moving_picture(number, (output.width, output.height), np.uint16)
            frame = to_frame(picture, output.colour, output.pix_fmt)
            frame.pts, frame.duration = time, 7 + number
            packets += encoder.encode(frame)
        return packets + encoder.flush(), encoder.extradata


def decoded(packets: list[av.Packet[Any]], extradata: bytes, codec: str) -> list[av.VideoFrame]:
    context: Any = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    context.width, context.height = 48, 32  # which FFV1 leaves to the container
    context.extradata = extradata or None
    context.thread_count = 1
    return [frame for packet in [*packets, None] for frame in context.decode(packet)]


@pytest.mark.parametrize("codec", SOFTWARE)
def test_every_frame_comes_out_once_with_its_time(codec: str) -> None:
    output = plan(DEEP if codec in ("hevc", "av1", "prores") else INFO, codec=codec)
    packets, extradata = encoded(output)
    assert sorted(packet.pts for packet in packets if packet.pts is not None) == list(TIMES)
    assert {packet.pts: packet.duration for packet in packets} == {
        time: 7 + number for number, time in enumerate(TIMES)
    }
    assert packets[0].is_keyframe
    assert packets[0].pts == TIMES[0]
    frames = decoded(packets, extradata, codec)
    assert [frame.pts for frame in frames] == list(TIMES)
    for number, frame in enumerate(frames):
        picture = to_frame(moving_picture(number, (48, 32), np.uint16), output.colour, output.pix_fmt)
        difference = frame.to_ndarray().astype(float) - picture.to_ndarray()
        assert np.abs(difference).mean() < 0.02 * 2 ** picture.format.components[0].bits


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_decoders_are_told_the_colour(codec: str) -> None:
    output = plan(replace(DEEP, codec=codec))
    assert output.codec == codec
    for frame in decoded(*encoded(output), codec):
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (9, 9, 16, 1)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_hdr_brightness_goes_through(codec: str) -> None:
    light = ContentLight(max_content=1000, max_frame_average=400)
    output = plan(replace(DEEP, codec=codec, mastering_display=DISPLAY, content_light=light))
    data = side_data_of(decoded(*encoded(output), codec)[0])
    assert content_light_of(data) == light
    found = mastering_display_of(data)
    assert found is not None
    for name in ("red", "green", "blue", "white"):
        assert getattr(found, name) == pytest.approx(getattr(DISPLAY, name), abs=1e-4)
    assert [float(value) for value in found.luminance] == pytest.approx([0.005, 1000], rel=0.02)


def test_hdr_brightness_that_cannot_go_through_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plan(replace(DEEP, mastering_display=DISPLAY), codec="ffv1")
    assert "HDR" in caplog.text


def test_a_film_through_two_encoders_is_one_film() -> None:
    """No packet of an encoder refers to another's: each decodes alone, and both after one another."""
    for codec in ("h264", "hevc", "vp9", "av1"):
        output = plan(codec=codec)
        first, extradata = encoded(output)
        second, again = encoded(output, threads=2)
        assert extradata == again
        for packet in second:
            assert packet.pts is not None
            packet.pts, packet.dts = packet.pts + 200000, None
        for packet in first:
            packet.dts = None
        assert len(decoded([*first, *second], extradata, codec)) == 2 * len(TIMES)


@pytest.mark.parametrize("size", [(48, 32), (34, 18), (16, 16), (62, 48)])
def test_narrow_hevc(size: tuple[int, int]) -> None:
    """A build of libx265 that is left to itself ends the program here."""
    assert len(encoded(plan(codec="hevc", size=size))[0]) == len(TIMES)


def test_encoders_do_not_print(capfd: pytest.CaptureFixture[str]) -> None:
    for codec in ("hevc", "av1"):
        encoded(plan(codec=codec, crf=30))
    errors = [line for line in capfd.readouterr().err.splitlines() if "info" in line.lower()]
    assert errors == []


def test_no_thread_is_left_behind() -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before, during = threads(), 0
    for codec in ("h264", "hevc", "av1", "vp9"):
        with Encoder(plan(codec=codec, size=(128, 96)), threads=3) as encoder:
            for time in (0, 40):
                frame = av.VideoFrame(128, 96, "yuv420p")
                frame.pts = time
                encoder.encode(frame)
            during = max(during, threads())
        assert threads() == before
    assert during > before


def test_times_must_grow() -> None:
    with Encoder(plan()) as encoder:
        frame = av.VideoFrame(48, 32, "yuv420p")
        frame.pts = 5
        encoder.encode(frame)
        with pytest.raises(ValueError, match="5 after one at 5"):
            encoder.encode(frame)


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("a.mp4", INFO, "libx264 yuv420p"),
        ("a.mkv", replace(INFO, codec="mpeg2video"), "libx264 yuv420p"),
        ("a.mov", replace(INFO, codec="vp9"), "libx264 yuv420p"),
        ("a.MP4", replace(INFO, codec="av1"), "libsvtav1 yuv420p"),
        ("a.mp4", DEEP, "libx265 yuv420p10le"),
        ("a.mkv", replace(DEEP, codec="mpeg4"), "libx265 yuv420p10le"),
        ("a.webm", INFO, "libvpx-vp9 yuv420p"),
        ("a.webm", DEEP, "libsvtav1 yuv420p10le"),
        ("a.mkv", replace(DEEP, codec="vp9"), "libx265 yuv420p10le"),
        ("a.mov", replace(DEEP, codec="prores", pix_fmt="yuva444p10le", has_alpha=True), "prores_ks yuva444p10le"),
        ("a.mkv", replace(INFO, codec="ffv1", pix_fmt="gbrp"), "ffv1 bgr0"),
        ("a.mp4", replace(INFO, codec="ffv1", pix_fmt="yuv422p"), "libx264 yuv422p"),
        ("a.webm", replace(INFO, pix_fmt="gray"), "libvpx-vp9 yuv420p"),
    ],
)  # fmt: skip
def test_auto(name: str, info: VideoInfo, expected: str, caplog: pytest.LogCaptureFixture) -> None:
    output = plan(info, name)
    assert f"{output.encoder} {output.pix_fmt}" == expected
    assert caplog.text == ""


def test_auto_leaves_h264_where_players_do() -> None:
    assert plan(size=(4096, 16)).encoder == "libx264"
    assert plan(size=(4098, 64)).encoder == "libx265"


def test_auto_does_what_is_asked_for_with_its_codec() -> None:
    assert plan(preset="fast").options == {"crf": "16", "preset": "fast"}
    assert plan(DEEP, pix_fmt="yuv420p").encoder == "libx265"
    assert plan(replace(INFO, bit_depth=10), pix_fmt="yuv420p12le").encoder == "libx265"


def test_losses_are_said(caplog: pytest.LogCaptureFixture) -> None:
    plan(DEEP, codec="vp9")
    assert "libvpx-vp9 as yuv420p loses bits of every sample" in caplog.text
    caplog.clear()
    plan(replace(INFO, pix_fmt="yuva444p", has_alpha=True), codec="av1")
    assert "resolution of colours and transparency" in caplog.text
    caplog.clear()
    assert plan(DEEP, codec="hevc", pix_fmt="yuv420p").pix_fmt == "yuv420p"  # as asked for
    assert caplog.text == ""


def test_odd_sides(caplog: pytest.LogCaptureFixture) -> None:
    for codec, expected in (("h264", "yuv444p"), ("hevc", "yuv444p")):
        assert plan(codec=codec, size=(49, 33)).pix_fmt == expected
        assert "odd sides (49 x 33) only as yuv444p" in caplog.text
        caplog.clear()
    assert plan(codec="h264", size=(48, 33)).pix_fmt == "yuv422p"
    caplog.clear()
    for codec in ("vp9", "av1", "ffv1"):
        assert plan(codec=codec, size=(49, 33)).pix_fmt == "yuv420p"
    assert caplog.text == ""
    with pytest.raises(UsageError, match=r"yuv420p.*49x33.*yuv444p"):
        plan(codec="h264", pix_fmt="yuv420p", size=(49, 33))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "h265"}, r"'h265'.*libx265"),
        ({"codec": "libmp3lame"}, "expected auto"),
        ({"codec": "h264", "crf": 51.5}, r"51\.5.*from 0 to 51"),
        ({"codec": "av1", "crf": 0.0}, "from 1 to 63"),
        ({"codec": "vp9", "crf": 20.5}, "whole numbers from 0 to 63"),
        ({"codec": "ffv1", "crf": 3.0}, "lossless"),
        ({"codec": "h264", "preset": "quick"}, r"quick.*ultrafast.*placebo"),
        ({"codec": "vp9", "preset": "quick"}, "best, good, realtime"),
        ({"codec": "av1", "preset": "14"}, "from -2 to 13"),
        ({"codec": "prores", "preset": "huge"}, "4444xq"),
        ({"codec": "ffv1", "preset": "slow"}, "none"),
        ({"codec": "h264", "pix_fmt": "yuv411p"}, r"yuv411p.*yuv444p10le"),
    ],
)  # fmt: skip
def test_options_that_an_encoder_does_not_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**options)


def test_what_is_asked_for_reaches_the_encoder() -> None:
    assert choose_encoder("h264", crf=12.5, preset="slow").options == {"crf": "12.5", "preset": "slow"}
    sizes: dict[tuple[str, float], int] = {}
    for codec, crf in itertools.product(("h264", "hevc", "vp9", "av1", "prores"), (4.0, 40.0)):
        packets, _ = encoded(plan(DEEP if codec == "prores" else INFO, codec=codec, crf=crf))
        sizes[codec, crf] = sum(packet.size for packet in packets)
    for codec in ("h264", "hevc", "vp9", "av1", "prores"):
        assert sizes[codec, 40.0] < 0.7 * sizes[codec, 4.0], codec


def test_a_container_that_does_not_hold_the_codec() -> None:
    with pytest.raises(UsageError, match=r"\.mp4 files hold no prores; expected h264, hevc, av1, vp9"):
        plan(name="a.mp4", codec="prores")


def test_an_encoder_that_does_not_open_here() -> None:
    hardware = [name for name in available() if name.endswith(("_nvenc", "_qsv"))]
    if not hardware:
        pytest.skip("this build of FFmpeg has no encoder in hardware")
    failures: dict[str, str] = {}
    for name in hardware:
        try:
            plan(codec=name)
        except VideoFileError as error:
            failures[name] = str(error)
    for name, failure in failures.items():
        assert f"{name} does not open for 48x32" in failure
        assert "choose another with --codec" in failure
    if not failures:
        pytest.skip("all encoders in hardware open on this machine")


def test_threads_and_identity() -> None:
    assert plan().identity() == plan().identity()
    for other in (plan(crf=17), plan(preset="fast"), plan(size=(50, 32)), plan(DEEP), plan(codec="ffv1")):
        assert other.identity() != plan().identity()
