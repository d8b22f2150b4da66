from __future__ import annotations

import itertools
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from repsr_deploy.errors import RepsrError, UsageError, VideoFileError
from repsr_deploy.video.copied_packets import CopiedPackets
from repsr_deploy.video.copies import Copy, as_subrip
from repsr_deploy.video.encoder import Encoder
from repsr_deploy.video.matroska import display_shape
from repsr_deploy.video.mux import Joined, Original, decoding_times, join, warn_of_losses
from repsr_deploy.video.segments import WorkFolder
from tests.video.clips import write_clip
from tests.video.other_streams import (
    FONT,
    SIZE,
    TAGS,
    VFR,
    content_of,
    encode_film,
    plan_for,
    shown_times,
    source_times,
    write_film,
)  # fmt: skip


def remade(source: Path, target: Path, **options: Any) -> Joined:
    """Source to target through segments of five frames."""
    output = plan_for(source, target, **options)
    with WorkFolder(target, output.identity()) as work:
        original = encode_film(work, source, output)
        assert len(work.segments) > 1
        joined = join(work.segments, output, target, original)
        work.remove()
    return joined


@pytest.fixture(scope="module")
def mkv_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "film.mkv")


@pytest.fixture(scope="module")
def mp4_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", offset_ms=333)


@pytest.fixture(scope="module")
def mkv_again(mkv_film: Path) -> Path:
    target = mkv_film.with_name("again.mkv")
    assert remade(mkv_film, target).left_out == ()
    return target


def other_streams(path: Path) -> list[Any]:
    return content_of(path)[1:]


def test_every_frame_is_there_once_with_its_time(mkv_film: Path, mkv_again: Path) -> None:
    assert shown_times(mkv_again) == source_times(mkv_film)
    offset = source_times(mkv_film)[0] - Fraction(VFR[0], 1000)  # Matroska begins at 0, sound before that moves all
    assert shown_times(mkv_again) == [Fraction(time, 1000) + offset for time in VFR]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "h264"), ("a.mov", "h264"), ("a.mkv", "hevc"), ("a.webm", "vp9"), ("a.webm", "av1"), ("a.mp4", "av1"),
        ("a.mov", "prores"), ("a.mkv", "ffv1"),
    ],
)  # fmt: skip
def test_every_codec_and_container(mp4_film: Path, tmp_path: Path, name: str, codec: str) -> None:
    target = tmp_path / name
    assert remade(mp4_film, target, codec=codec).frames == len(VFR)
    shift = shown_times(target)[0] - source_times(mp4_film)[0]
    assert (shift == 0) or target.suffix in (".mkv", ".webm")
    assert [time - shift for time in shown_times(target)] == source_times(mp4_film)
    video = content_of(target)[0]
    assert all(before <= after for before, after in itertools.pairwise(video.decoded))
    late = len(video.shown) - len(video.decoded)  # Matroska stores no dts: those of the first packets are not known
    assert all(dts <= pts for pts, dts in zip(video.shown[late:], video.decoded, strict=True))


def test_times_finer_than_a_millisecond_are_exact_in_mp4(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", frames=11, rate=Fraction(24000, 1001), audio=True)
    remade(source, tmp_path / "b.mp4")
    assert shown_times(tmp_path / "b.mp4") == [number * Fraction(1001, 24000) for number in range(11)]
    remade(source, tmp_path / "b.mkv")
    found, exact = shown_times(tmp_path / "b.mkv"), shown_times(source)
    offset = found[0] - exact[0]
    assert all(abs(a - offset - b) <= Fraction(1, 1000) for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_start_between_milliseconds(mp4_film: Path, tmp_path: Path, name: str) -> None:
    target, times = tmp_path / name, [1000, 1001, 4750, 8501, 90007]
    output = replace(plan_for(mp4_film, target), time_base=Fraction(1, 90000))
    with WorkFolder(target, output.identity()) as work:
        with Encoder(output) as encoder, work.segment(encoder.extradata) as segment:
            for time in times:
                frame = av.VideoFrame(*SIZE, "yuv420p")
                frame.pts = time
                segment.write(encoder.encode(frame))
            segment.write(encoder.flush())
        join(work.segments, output, target, Original(path=mp4_film, video_index=0))
    assert shown_times(target) == [Fraction(time, 90000) for time in times]


def test_other_streams_are_copied_bit_for_bit(mkv_film: Path, mkv_again: Path) -> None:
    before, after = other_streams(mkv_film), other_streams(mkv_again)
    assert [stream.kind for stream in before] == ["audio", "audio", "subtitle", "attachment", "video"]
    for old, new in zip(before, after, strict=True):
        assert new.data == old.data
        assert (new.kind, new.codec, new.shown, new.disposition) == (old.kind, old.codec, old.shown, old.disposition)
        assert {name: text for name, text in new.tags.items() if name != "DURATION"} == {
            name: text for name, text in old.tags.items() if name != "DURATION"
        }
    assert after[3].data == [FONT]
    assert [stream.tags.get("language") for stream in after[:3]] == ["eng", "deu", "fra"]


def test_chapters_and_tags_are_kept(mkv_film: Path, mkv_again: Path, mp4_film: Path, tmp_path: Path) -> None:
    remade(mp4_film, tmp_path / "a.mp4")
    for source, target in ((mkv_film, mkv_again), (mp4_film, tmp_path / "a.mp4")):
        with av.open(str(source)) as old, av.open(str(target)) as new:
            assert [chapter["metadata"]["title"] for chapter in new.chapters()] == ["one", "two"]
            chapters: Any = zip(old.chapters(), new.chapters(), strict=True)
            for before, after in chapters:
                for side in ("start", "end"):
                    assert after[side] * after["time_base"] == before[side] * before["time_base"]
            assert {name.lower(): text for name, text in new.metadata.items()}.items() >= TAGS.items()
            assert new.streams.video[0].metadata["language"] == "jpn"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_stays_where_it_was(mp4_film: Path, tmp_path: Path, suffix: str) -> None:
    """It begins before its first sample (as AAC does), and 333 ms after 0; the picture begins at 70 ms."""
    target = tmp_path / f"a{suffix}"
    remade(mp4_film, target)
    video, *others = content_of(mp4_film)
    new_video, *new_others = content_of(target)
    tolerance = Fraction(1, 1000) if suffix == ".mkv" else 0
    sounds = [(old, new) for old, new in zip(others, new_others, strict=False) if old.kind == "audio"]
    assert len(sounds) == 2
    start, new_start = min(video.shown), min(new_video.shown)
    assert start > Fraction(69, 1000)
    for old, new in sounds:
        assert new.data == old.data
        for pts, new_pts in zip(old.shown, new.shown, strict=True):
            assert abs((new_pts - new_start) - (pts - start)) <= tolerance


def test_covers_go_from_container_to_container(mkv_film: Path, mp4_film: Path, tmp_path: Path) -> None:
    remade(mkv_film, tmp_path / "a.mp4")
    remade(mp4_film, tmp_path / "a.mkv")
    pictures = [
        stream.data
        for path in (mkv_film, mp4_film, tmp_path / "a.mp4", tmp_path / "a.mkv")
        for stream in other_streams(path)
        if stream.kind == "video" and stream.disposition == Disposition.attached_pic
    ]
    assert len(pictures) == 4
    assert all(picture == pictures[0] for picture in pictures)


def test_what_a_container_cannot_hold_is_said(
    mkv_film: Path, mp4_film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        joined = remade(mkv_film, tmp_path / "a.mp4")
    assert len(joined.left_out) == 2
    assert "'signs'" in joined.left_out[0]
    assert "sans.ttf" in joined.left_out[1]
    assert [stream.kind for stream in content_of(tmp_path / "a.mp4")] == ["video", "audio", "audio", "data", "video"]

    original = Original(path=mkv_film, video_index=0)
    caplog.clear()
    assert warn_of_losses(original, tmp_path / "b.mp4") == joined.left_out
    assert "choose .mkv" in caplog.text
    assert "signs" in caplog.text
    assert len(warn_of_losses(original, tmp_path / "b.webm")) == 5
    assert warn_of_losses(original, tmp_path / "b.mkv") == ()
    assert len(warn_of_losses(Original(path=mp4_film, video_index=0), tmp_path / "b.mov")) == 1  # the cover


def test_subtitles_of_mp4_become_subrip_in_matroska(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_clip(tmp_path / "a.mp4", subtitles=True)
    with caplog.at_level(logging.WARNING):
        warn_of_losses(Original(path=source, video_index=0), tmp_path / "b.mkv")
    assert "the styles of stream 1 (mov_text subtitle)" in caplog.text
    assert "choose .mp4" in caplog.text
    remade(source, tmp_path / "b.mkv")
    (words,) = other_streams(tmp_path / "b.mkv")
    assert words.data == [b"Hello"]
    assert words.shown == [Fraction(40, 1000)]
    remade(source, tmp_path / "b.mp4")
    old, new = other_streams(source)[0].data, other_streams(tmp_path / "b.mp4")[0].data
    assert new[: len(old)] == old
    assert new[len(old) :] in ([], [bytes(2)])  # an empty text ends the last one


def test_no_container_is_named_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """PyAV asks whether Matroska knows the sound by a name of its own, and not by that of Windows."""
    with av.open(str(tmp_path / "a.wmv"), "w", format="asf") as film:
        streams: list[Any] = [film.add_stream("wmv2", rate=25), film.add_stream("wmav2", rate=44100, bit_rate=64000)]
        streams[0].width, streams[0].height = SIZE
        film.start_encoding()
    warn_of_losses(Original(path=tmp_path / "a.wmv", video_index=0), tmp_path / "b.mkv")
    assert caplog.messages == [
        f"{tmp_path}/b.mkv: .mkv files do not hold stream 1 (wmav2 audio); it remains only in {tmp_path}/a.wmv"
    ]


def test_timed_text() -> None:
    for data, text in (
        (b"\0\x05Hello" + b"\0\0\0\x0cstyl....", b"Hello"), (b"\0\0", b""),
        (b"\0\x06" + "\ufeff\u00e4b".encode("utf-16-be"), "\u00e4b".encode()),
        (b"\0\x05" + "\ufeff\u00e4b".encode("utf-16-be"), "\u00e4\ufffd".encode()),
    ):  # fmt: skip
        packet: Any = av.Packet(data)
        packet.pts, packet.dts, packet.duration, packet.time_base = 5, 5, 9, Fraction(1, 50)
        made = as_subrip(packet)
        assert bytes(made) == text
        assert (made.pts, made.dts, made.duration) == (5, 5, 9)


def test_sound_of_a_transport_stream(tmp_path: Path) -> None:
    """Every packet of it has a header of its own (ADTS, ISO/IEC 13818-7), for which files have one place."""
    source = write_film(tmp_path / "a.ts", cover=False)
    for name in ("b.mp4", "b.mkv"):
        remade(source, tmp_path / name)
        assert shown_times(tmp_path / name) == source_times(source)
        for old, new in zip(other_streams(source), other_streams(tmp_path / name), strict=False):
            assert old.data[0][:2] == b"\xff\xf1"
            assert new.data == [packet[7:] for packet in old.data]


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_damaged_sound_of_a_transport_stream_costs_no_more_than_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Nor does damage at the very start look as if the container did not take the sound."""
    source = write_film(tmp_path / "a.ts", cover=False)
    data = bytearray(source.read_bytes())
    packets = other_streams(source)[0].data
    for number in 0, 3:
        place = data.index(packets[number][:12])
        data[place + 1] &= 0xFE  # four blocks of AAC with checksums, which FFmpeg does not take apart
        data[place + 6] |= 3
    source.write_bytes(data)
    assert remade(source, tmp_path / name).left_out == ()
    assert shown_times(tmp_path / name) == source_times(source)
    assert "a.ts: stream 1 has damaged packets; they are left out" in caplog.text
    sounds = other_streams(tmp_path / name)
    assert sounds[0].data == [packet[7:] for number, packet in enumerate(packets) if number not in (0, 3)]
    assert len(sounds[1].data) == len(packets)


def test_sound_that_does_not_name_its_speakers_goes_into_mp4(tmp_path: Path) -> None:
    """PCM in MP4 must say them, and in Matroska never does."""
    source = write_clip(tmp_path / "a.mkv", audio=True)
    assert remade(source, tmp_path / "b.mp4").left_out == ()
    (old,), (new,) = other_streams(source), other_streams(tmp_path / "b.mp4")
    assert b"".join(new.data) == b"".join(old.data)
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mp4")) as after:
        assert (before.streams.audio[0].layout.name, after.streams.audio[0].layout.name) == ("2 channels", "stereo")


def test_what_a_container_refuses_with_the_first_packet_is_said_before_the_work(tmp_path: Path) -> None:
    """Eleven channels have no usual places; MP4 takes the description of the stream, and no packet."""
    source = tmp_path / "a.mkv"
    with av.open(str(write_clip(tmp_path / "c.mkv"))) as clip, av.open(str(source), "w") as film:
        video = film.add_stream_from_template(clip.streams.video[0])
        sound = film.add_stream("pcm_s16le", rate=8000, layout="11 channels")
        for packet in clip.demux(clip.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                film.mux(packet)
        samples = np.zeros((1, 11 * 1000), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="11 channels")
        frame.sample_rate, frame.pts = 8000, 0
        film.mux([*sound.encode(frame), *sound.encode(None)])
    lost = warn_of_losses(Original(path=source, video_index=0), tmp_path / "b.mp4")
    assert lost == ("stream 1 (pcm_s16le audio)",)
    assert remade(source, tmp_path / "b.mp4").left_out == lost
    assert remade(source, tmp_path / "b.mkv").left_out == ()


@pytest.mark.parametrize("name", ["10:30.mp4", "concat:b.mkv", "a%03d.mov", "x" * 251 + ".mkv"])
def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_clip(tmp_path / "a.mp4", audio=True).rename(tmp_path / "part 1: the start.mp4")
    remade(Path(source.name), Path(name))
    assert len(shown_times(tmp_path / name)) == 12
    assert other_streams(tmp_path / name)[0].data == other_streams(source)[0].data


@pytest.mark.parametrize("length", [1, 2])
def test_segments_of_hardly_a_frame(mp4_film: Path, tmp_path: Path, length: int) -> None:
    """FFmpeg gives so short a video of libx265 random times of decoding, which must not matter."""
    target = tmp_path / "a.mp4"
    output = plan_for(mp4_film, target, codec="hevc", preset="ultrafast")
    found: list[Any] = []
    for _ in range(2):
        with WorkFolder(target, output.identity(), restart=True) as work:
            original = encode_film(work, mp4_film, output, length=length)
            join(work.segments, output, target, original)
        video = content_of(target)[0]
        assert shown_times(target) == source_times(mp4_film)
        assert all(before < after for before, after in itertools.pairwise(video.decoded))
        found.append((video.shown, video.decoded))
    assert found[0] == found[1]


def test_a_container_that_does_not_take_the_video_costs_no_work(mp4_film: Path, tmp_path: Path) -> None:
    """A time so late that nothing can say it."""
    target = tmp_path / "a.mp4"
    output = replace(plan_for(mp4_film, target), time_base=Fraction(1))
    with WorkFolder(target, output.identity()) as work:
        with Encoder(output) as encoder, work.segment(encoder.extradata) as segment:
            for time in (0, 2**62):
                packet: Any = av.Packet(b"data")
                packet.pts = time
                segment.write([packet])
        with pytest.raises(VideoFileError) as caught:
            join(work.segments, output, target, None)
        assert str(caught.value) == (
            f"cannot write {target}: Invalid argument; what is finished is kept: rename {tmp_path}/.a.mp4.parts to "
            f"{tmp_path}/.a.mkv.parts, and go on with -o {tmp_path}/a.mkv --codec libx264"
        )
        assert work.segments[0].is_whole()
    assert not target.exists()


@pytest.mark.parametrize("frames", [2, 3, 12])
@pytest.mark.parametrize("form", ["mp4", "mkv"])
def test_another_view_with_b_frames(tmp_path: Path, form: str, frames: int, caplog: pytest.LogCaptureFixture) -> None:
    """Matroska does not say when the first frames of a stream are to be decoded."""
    source = tmp_path / "a.mkv"
    options = {"crf": "30", "bf": "3", "x264-params": "b-adapt=0:scenecut=0"}
    with av.open(str(source), "w") as film:
        views: list[Any] = [film.add_stream("libx264", rate=25, options=options) for _ in range(2)]
        for view in views:
            view.width, view.height = SIZE
        for view in views:
            for number in range(frames):
                frame = av.VideoFrame(*SIZE, "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                film.mux(view.encode(frame))
            film.mux(view.encode(None))
    target = tmp_path / f"b.{form}"
    output = plan_for(source, target)
    with WorkFolder(target, output.identity()) as work:
        original = encode_film(work, source, output)
        join(work.segments, output, target, original)
    old, new = other_streams(source)[0], other_streams(target)[0]
    assert (new.data, new.shown) == (old.data, old.shown)
    assert caplog.text == ""


def test_a_file_that_ends_early(mkv_film: Path, tmp_path: Path) -> None:
    whole = mkv_film.read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    remade(tmp_path / "a.mkv", tmp_path / "b.mkv", codec="h264")
    assert shown_times(tmp_path / "b.mkv") == source_times(tmp_path / "a.mkv")
    for old, new in zip(other_streams(tmp_path / "a.mkv"), other_streams(tmp_path / "b.mkv"), strict=True):
        assert old.data == new.data


@pytest.mark.parametrize("form", ["matroska", "mp4"])
def test_times_that_go_back_or_lack_are_put_in_order(
    mkv_film: Path, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    """MP4 takes no two packets of one time either."""

    class Damaged:
        """The film, with times as cut broadcasts have them."""

        def __init__(self, film: Any) -> None:
            self.streams, self.name, self._film = film.streams, film.name, film
            self.last: int | None = None

        def demux(self, streams: Any) -> Any:
            for number, packet in enumerate(self._film.demux(streams)):
                if number == 4:
                    packet.pts = packet.dts = None
                if number == 6:
                    packet.pts = packet.dts = self.last
                if number == 8:
                    packet.dts = 0
                self.last = packet.dts
                yield packet

    with av.open(str(mkv_film)) as film:
        sound = film.streams.audio[0]
        with av.open(BytesIO(), "w", format=form) as output:
            target = output.add_stream_from_template(sound, opaque=True)
            output.start_encoding()
            times: list[Any] = []
            for _, packet in CopiedPackets(Damaged(film), [Copy(sound, target)]):
                output.mux(packet)
                times.append(packet.dts)
                assert packet.pts >= packet.dts
    assert len(times) == 9
    assert all(before <= after for before, after in itertools.pairwise(times))
    assert (len(set(times)) < 9) == (form == "matroska")
    assert "put in order" in caplog.text


def test_tags_that_mp4_does_not_know_are_said_and_those_of_cameras_kept(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", metadata={"TITLE": "t", "director": "d"})
    assert remade(source, tmp_path / "b.mp4").left_out == ("the tags DIRECTOR",)


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_tags_that_are_not_utf_8_are_kept_byte_for_byte(tmp_path: Path, name: str) -> None:
    source = write_clip(tmp_path / "a.mkv", metadata={"TITLE": "PROMENADE", "GENRE": "GRUENES"}, chapters=True)
    data = source.read_bytes().replace(b"PROMENADE", b"PROM\xe9NADE").replace(b"GRUENES", b"GR\xfcENES")
    source.write_bytes(data.replace(b"two", b"tw\xf6"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(source))
    assert remade(source, tmp_path / name).left_out == ()
    data = (tmp_path / name).read_bytes()
    assert all(text in data for text in (b"PROM\xe9NADE", b"GR\xfcENES", b"tw\xf6"))


def test_tags_of_cameras_are_kept(tmp_path: Path) -> None:
    tags = {"com.apple.quicktime.make": "A camera", "com.apple.quicktime.location.ISO6709": "+48.1+011.6/"}
    with av.open(str(tmp_path / "a.mov"), "w", options={"movflags": "use_metadata_tags"}) as film:
        stream: Any = film.add_stream("mpeg4", rate=25, width=16, height=16)
        film.metadata.update(tags)
        for _ in range(8):
            film.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        film.mux(stream.encode(None))
    assert remade(tmp_path / "a.mov", tmp_path / "b.mov").left_out == ()
    with av.open(str(tmp_path / "b.mov")) as film:
        assert film.metadata.items() >= tags.items()


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "h264"), ("a.mkv", "ffv1"), ("a.webm", "vp9"), ("a.mp4", "av1")])
def test_pixels_that_are_not_square(tmp_path: Path, name: str, codec: str) -> None:
    source = write_clip(tmp_path / "source.mp4", frames=6, size=(48, 32), aspect=Fraction(16, 15), audio=True)
    remade(source, tmp_path / name, codec=codec)
    with av.open(str(tmp_path / name)) as film:
        stream = film.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert "title" not in stream.metadata
        assert len([packet for packet in film.demux() if packet.size]) >= 6


def test_the_shape_of_a_picture() -> None:
    assert display_shape("matroska", (720, 576), Fraction(64, 45)) == (16, 9, 3)
    assert display_shape("webm", (720, 576), Fraction(64, 45)) == (1024, 576, 0)
    assert display_shape("webm", (720, 480), Fraction(32, 27)) == (720, 405, 0)
    assert display_shape("webm", (65, 49), Fraction(12, 11)) == (71, 49, 0)


def test_mp4_begins_with_its_index(mp4_film: Path, tmp_path: Path) -> None:
    remade(mp4_film, tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_another_program_finds_the_same(mp4_film: Path, tmp_path: Path, name: str) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the program ffmpeg")
    remade(mp4_film, tmp_path / name)

    def hashes(path: Path) -> list[str]:
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "streamhash", "-"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    assert len(hashes(mp4_film)) == 2
    assert hashes(tmp_path / name) == hashes(mp4_film)
    checked = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(tmp_path / name), "-map", "0:v:0", "-map", "0:a",
         "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.stderr == ""


def test_decoding_times_for_any_order_of_frames() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        count, depth = int(random.integers(1, 60)), int(random.integers(0, 6))
        shown = np.cumsum(random.integers(1, 1000, count)) + int(random.integers(-5000, 5000))
        times = shown[np.argsort(np.arange(count) + random.uniform(0, depth, count), kind="stable")]
        decoding = decoding_times(times, step=40)
        assert len(decoding) == count
        assert (np.diff(decoding) > 0).all()
        assert (decoding <= times).all()
        assert (np.isin(decoding, shown) | (decoding < shown[0])).all()


def test_frames_at_one_time_are_no_video() -> None:
    with pytest.raises(VideoFileError, match="same time stamp"):
        decoding_times(np.array([0, 40, 40]), step=1)


def test_segments_of_another_encoder_are_refused(mp4_film: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    output = plan_for(mp4_film, target)
    with WorkFolder(target, output.identity()) as work:
        original = encode_film(work, mp4_film, output)
        with pytest.raises(VideoFileError, match="--restart"):
            join(work.segments, replace(output, width=96, height=64), target, original)
    assert not target.exists()


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.video.other_streams import encode_film, plan_for
from repsr_deploy.errors import RepsrError
from repsr_deploy.video.mux import join
from repsr_deploy.video.segments import WorkFolder

source, target = Path(sys.argv[1]), Path(sys.argv[2])
output = plan_for(source, target)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with WorkFolder(target, output.identity()) as work:
    original = encode_film(work, source, output)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        join(work.segments, output, target, original)
    except RepsrError as error:
        print(error)
    print(len([segment for segment in work.segments if segment.is_whole()]))
"""


@pytest.mark.parametrize(("name", "limit"), [("a.mp4", 3000), ("a.mkv", 9000)])
def test_a_full_disk_leaves_the_old_file_and_the_segments(
    mkv_film: Path, tmp_path: Path, name: str, limit: int
) -> None:
    target = tmp_path / name
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(mkv_film), str(target), str(limit)], check=True, capture_output=True,
        text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    failure, segments = done.stdout.splitlines()
    assert failure.startswith(f"cannot write {tmp_path}")
    assert "File too large" in failure
    assert segments == "3"
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{name}.parts", name]


def test_a_folder_in_the_place_of_the_file(mp4_film: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    (target / "full").mkdir(parents=True)
    with pytest.raises(RepsrError, match=r"cannot write .*a\.mp4: Is a directory"):
        remade(mp4_film, target)


def test_a_video_alone(mp4_film: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    output = plan_for(mp4_film, target)
    with WorkFolder(target, output.identity()) as work:
        encode_film(work, mp4_film, output)
        assert join(work.segments, output, target, None) == Joined(frames=len(VFR), left_out=())
    assert [stream.kind for stream in content_of(target)] == ["video"]


def test_names_that_say_no_container(mp4_film: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.avi.*\.mkv"):
        plan_for(mp4_film, tmp_path / "a.avi")
