"""Videos from file to file: every frame once, at its time, as the upscaler makes it; and after an interruption."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_deploy.errors import RepsrError, UsageError, VideoFileError
from repsr_deploy.imaging.enlargement import Enlargement, enlarge
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.colour import Colour, to_frame
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.pixel_formats import planes_of
from repsr_deploy.video.problems import clock
from repsr_deploy.video.progress import VideoProgress
from repsr_deploy.video.segments import parts_path
from repsr_deploy.video.source import open_video
from repsr_deploy.video.upscale import upscale_video
from tests.runtimes.models import plain_model, spec_of
from tests.video.clips import moving_picture, write_clip

EXACT = VideoOptions(codec="ffv1", segment_s=0.25)
AS_THE_MODEL = Enlargement()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of 24 frames with sound, in five segments of a quarter of a second."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mkv", frames=24, audio=True)


def _decoded(path: Path) -> list[tuple[Fraction, list[NDArray[Any]]]]:
    """Time and planes of every frame, by FFmpeg alone."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return [
            (Fraction((frame.pts or 0) * (video.time_base or 1)), [np.array(plane) for plane in planes_of(frame)])
            for frame in container.decode(video)
        ]


def _expected(
    path: Path, upscaler: Upscaler, enlargement: Enlargement, pix_fmt: str
) -> list[tuple[Fraction, list[NDArray[Any]]]]:
    """Every frame of a video enlarged by itself."""
    with open_video(path) as video:
        return [
            (
                frame.pts * video.info.time_base,
                planes_of(to_frame(enlarge(upscaler, frame.image_hwc, enlargement), video.info.colour, pix_fmt)),
            )
            for frame in video.frames()
        ]


def _same(made: list[tuple[Fraction, list[Any]]], expected: list[tuple[Fraction, list[Any]]]) -> None:
    assert [time for time, _ in made] == [time for time, _ in expected]
    for (_, planes), (_, others) in zip(made, expected, strict=True):
        for plane, other in zip(planes, others, strict=True):
            np.testing.assert_array_equal(plane, other)


CASES: dict[str, tuple[dict[str, Any], Enlargement]] = {
    "8 bits": ({}, AS_THE_MODEL),
    "10 bits": ({"pix_fmt": "yuv422p10le"}, AS_THE_MODEL),
    "full range, bt2020": (
        {"colour": Colour(matrix=9, primaries=9, transfer=16, range="pc", chroma_location="topleft")}, AS_THE_MODEL
    ),
    "uneven times": ({"times": [0, 40, 45, 200, 210, 300, 700, 710, 720, 730, 1500, 1540]}, AS_THE_MODEL),
    "odd sides": ({"size": (31, 23), "codec": "ffv1", "pix_fmt": "yuv444p", "options": {}}, AS_THE_MODEL),
    "another factor": ({}, Enlargement(factor=1.5)),
    "a width, of the mean of views": ({}, Enlargement(width=96, tta=True)),
    "covered": ({}, Enlargement(width=100, height=100, fit="cover")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_frame_is_the_upscaled_one_at_its_time(name: str, tmp_path: Path, upscaler: Upscaler) -> None:
    changes, enlargement = CASES[name]
    source, target = write_clip(tmp_path / "in.mkv", **changes), tmp_path / "new" / "out.mkv"
    outcome = upscale_video(source, target, upscaler, enlargement, EXACT, workers=Workers(load=2, process=2, save=2))
    _same(_decoded(target), _expected(source, upscaler, enlargement, outcome.pix_fmt))
    with open_video(source) as before, open_video(target) as after:
        assert after.info.colour == before.info.colour
        assert outcome.pix_fmt == after.info.pix_fmt == before.info.pix_fmt
        assert outcome.size == (before.info.width, before.info.height)
        assert outcome.new_size == (after.info.width, after.info.height)
    assert (outcome.frames, outcome.resumed_frames, outcome.repeated_frames) == (12, 0, 0)
    assert [*target.parent.iterdir()] == [target]


def test_sound_stays_and_a_lossy_codec_keeps_all_times(tmp_path: Path, upscaler: Upscaler) -> None:
    source, target = write_clip(tmp_path / "in.mp4", frames=24, audio=True), tmp_path / "out.mp4"
    outcome = upscale_video(source, target, upscaler, AS_THE_MODEL, VideoOptions(segment_s=0.3))
    assert (outcome.frames, outcome.encoder) == (24, "libx264")
    assert [time for time, _ in _decoded(target)] == [time for time, _ in _decoded(source)]
    with av.open(str(source)) as before, av.open(str(target)) as after:
        sounds = [[bytes(packet) for packet in file.demux(file.streams.audio[0])] for file in (before, after)]
    assert sounds[0] == sounds[1]
    assert len(sounds[0]) > 8


class _StopError(Exception):
    """Ends a run from within."""


def _stopping_after(frames: int, error: BaseException) -> Any:
    def progress(now: VideoProgress) -> None:
        if now.frames >= frames:
            raise error

    return progress


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry for every picture that is upscaled from now on."""
    calls: list[int] = []
    original = Upscaler.upscale

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return original(*args, **options)

    monkeypatch.setattr(Upscaler, "upscale", counted)
    return calls


def _seen(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("error", [_StopError(), KeyboardInterrupt()])
def test_an_interrupted_run_is_continued(
    error: BaseException, clip: Path, tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, whole = tmp_path / "out.mkv", tmp_path / "whole.mkv"
    with pytest.raises(type(error)):
        upscale_video(clip, target, upscaler, AS_THE_MODEL, EXACT, progress=_stopping_after(15, error))
    assert not target.exists()
    assert parts_path(target).is_dir()
    calls = _counted(monkeypatch)
    seen: list[VideoProgress] = []
    outcome = upscale_video(clip, target, upscaler, AS_THE_MODEL, EXACT, progress=seen.append)
    assert (outcome.frames, outcome.resumed_frames) == (24, 12)  # two segments of six frames
    assert len(calls) == 12 + 1  # the rest, and the noise by which the model is known
    assert seen[0].frames == 13
    assert (seen[-1].frames, seen[-1].total, seen[-1].new_frames, seen[-1].remaining_s) == (24, 24, 12, 0)
    upscale_video(clip, whole, upscaler, AS_THE_MODEL, EXACT)
    _same(_decoded(target), _decoded(whole))
    assert target.read_bytes()[-2000:] == whole.read_bytes()[-2000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv", "whole.mkv"]


def test_an_interrupted_run_goes_on_in_another_container(clip: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    """As `join` says when that of the target is what is wrong."""
    first, second = tmp_path / "out.mp4", tmp_path / "out.mkv"
    options = VideoOptions(codec="libx264", segment_s=0.25)
    with pytest.raises(_StopError):
        upscale_video(clip, first, upscaler, AS_THE_MODEL, options, progress=_stopping_after(15, _StopError()))
    parts_path(first).rename(parts_path(second))
    outcome = upscale_video(clip, second, upscaler, AS_THE_MODEL, options)
    assert (outcome.frames, outcome.resumed_frames) == (24, 12)
    assert len(_decoded(second)) == 24


def test_what_is_all_made_is_only_joined(
    clip: Path, tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RepsrError("the disk is full")

    target = tmp_path / "out.mkv"
    with monkeypatch.context() as patch:
        patch.setattr("repsr_deploy.video.upscale.join", fail)
        with pytest.raises(RepsrError, match="full"):
            upscale_video(clip, target, upscaler, AS_THE_MODEL, EXACT)
    assert f"{target} is not finished; its first 24 frames are kept, and the same command continues" in _seen(caplog)
    outcome = upscale_video(clip, target, upscaler, AS_THE_MODEL, EXACT)
    assert (outcome.frames, outcome.resumed_frames, outcome.limiting) == (24, 24, "")
    _same(_decoded(target), _expected(clip, upscaler, AS_THE_MODEL, outcome.pix_fmt))


@dataclass(frozen=True)
class _Change:
    words: str
    options: VideoOptions = EXACT
    enlargement: Enlargement = AS_THE_MODEL
    seed: int = 0
    touched: bool = False


CHANGES = {
    "encoder": _Change("encoder is libx264, was ffv1", VideoOptions(codec="h264", segment_s=0.25)),
    "size": _Change("factor is 1.5, was None", enlargement=Enlargement(factor=1.5)),
    "model": _Change("model content is ", seed=1),
    "input": _Change("input time is ", touched=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_starts_anew_and_is_said(
    name: str, clip: Path, tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    change, source, target = CHANGES[name], tmp_path / "in.mkv", tmp_path / "out.mkv"
    shutil.copy(clip, source)
    with pytest.raises(_StopError):
        upscale_video(source, target, upscaler, AS_THE_MODEL, EXACT, progress=_stopping_after(8, _StopError()))
    if change.touched:
        shutil.copy(write_clip(tmp_path / "other.mkv", frames=9), source)
    if change.seed:
        model = tmp_path / "other.onnx"
        model.write_bytes(plain_model(spec_of(), change.seed).SerializeToString())
        upscaler = Upscaler(model, runtime="onnxruntime", threads=1)
    outcome = upscale_video(source, target, upscaler, change.enlargement, change.options)
    assert outcome.resumed_frames == 0
    assert outcome.frames == len(_decoded(target)) == (9 if change.touched else 24)
    assert f"{target}: an interrupted run is not continued, because " in _seen(caplog)
    assert change.words in _seen(caplog)
    assert not parts_path(target).exists()


def test_a_restart_and_another_length_of_segments(clip: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    target = tmp_path / "out.mkv"

    def run(**changes: Any) -> int:
        options = VideoOptions(codec="ffv1", segment_s=changes.pop("segment_s", 0.25), **changes)
        with pytest.raises(_StopError):
            upscale_video(clip, target, upscaler, AS_THE_MODEL, options, progress=_stopping_after(20, _StopError()))
        outcome = upscale_video(clip, target, upscaler, AS_THE_MODEL, options)
        assert len(_decoded(target)) == outcome.frames == 24
        return outcome.resumed_frames

    assert run() == 18
    assert run(restart=True) == 0
    assert run(segment_s=0.4) == 10


def test_repeated_frames_are_upscaled_once(tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample of one pixel is enough to make frames different."""
    pictures = [moving_picture(number, (32, 24)) for number in (0, 0, 0, 1, 1, 0, 2, 2)]
    pictures[7] = pictures[7].copy()
    pictures[7][23, 31] ^= 64
    source = write_clip(tmp_path / "in.mkv", codec="ffv1", options={}, size=(32, 24), frames=8, pictures=pictures)
    passed = _counted(monkeypatch)
    made: list[Path] = []
    for deduplicate, calls in ((False, 8), (True, 5)):
        made.append(tmp_path / f"{deduplicate}.mkv")
        passed.clear()
        options = VideoOptions(codec="ffv1", deduplicate=deduplicate, segment_s=0.08)
        outcome = upscale_video(source, made[-1], upscaler, AS_THE_MODEL, options)
        assert (outcome.frames, outcome.repeated_frames, len(passed)) == (8, 8 - calls, calls + 1)
    _same(_decoded(made[1]), _decoded(made[0]))


def test_a_video_that_ends_early(tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    source, cut, target = tmp_path / "in.mkv", tmp_path / "cut.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=24, rate=Fraction(6))
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    outcome = upscale_video(cut, target, upscaler, AS_THE_MODEL, EXACT)
    made = _decoded(target)
    assert 4 < outcome.frames == len(made) < 20
    _same(made, _expected(cut, upscaler, AS_THE_MODEL, outcome.pix_fmt))
    said = f"cut.mkv ends at {clock(float(made[-1][0]) + 1 / 6)[:-2]}"
    assert said in _seen(caplog)


@pytest.mark.parametrize(
    ("name", "data"), [("empty.mp4", b""), ("noise.mkv", bytes(range(256)) * 40), ("none.mp4", None)]
)
def test_no_video(name: str, data: bytes | None, tmp_path: Path, upscaler: Upscaler) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(VideoFileError, match=f"cannot open .*{name}"):
        upscale_video(tmp_path / name, tmp_path / "out.mkv", upscaler, AS_THE_MODEL, EXACT)
    assert not (tmp_path / "out.mkv").exists()


def test_what_is_refused(clip: Path, tmp_path: Path, upscaler: Upscaler) -> None:
    with pytest.raises(VideoFileError, match="64 x 48 pixels; expected at most 3071, or a higher --max-pixels"):
        upscale_video(clip, tmp_path / "out.mkv", upscaler, AS_THE_MODEL, EXACT, max_pixels=64 * 48 - 1)
    with pytest.raises(UsageError, match="no encoder"):
        upscale_video(clip, tmp_path / "out.mkv", upscaler, AS_THE_MODEL, VideoOptions(codec="divx"))
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RepsrError, match="cannot write"):
        upscale_video(clip, tmp_path / "file" / "out.mkv", upscaler, AS_THE_MODEL, EXACT)
