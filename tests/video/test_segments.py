from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest

from repsr_deploy.errors import RepsrError, VideoFileError
from repsr_deploy.video.mux import join
from repsr_deploy.video.segments import Segment, StoredPacket, WorkFolder, parts_path
from repsr_deploy.video.state import STATE, file_identity
from tests.video.clips import write_clip
from tests.video.other_streams import encode_film, plan_for, shown_times, source_times

IDENTITY = {"input": "film", "crf": "16"}


def packet(pts: int, data: bytes, *, key: bool = False, duration: int = 40) -> av.Packet[Any]:
    made: av.Packet[Any] = av.Packet(data)
    made.pts, made.duration, made.is_keyframe = pts, duration, key
    return made


def finish(work: WorkFolder, *times: int) -> None:
    with work.segment(b"extra") as writer:
        writer.write([packet(time, os.urandom(50 + time), key=not index) for index, time in enumerate(times)])


def fail(work: WorkFolder, error: type[BaseException]) -> None:
    with work.segment(b"") as writer:
        writer.write([packet(40, b"data")])
        raise error


def times_of(work: WorkFolder) -> list[list[int]]:
    return [segment.times() for segment in work.segments]


def test_packets_come_back_exactly(tmp_path: Path) -> None:
    written = [(90, b"key"), (2**40, b""), (-7, bytes(range(256)) * 300)]
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        with work.segment(b"\0head") as writer:
            writer.write([packet(pts, data, key=not index) for index, (pts, data) in enumerate(written)])
        (segment,) = work.segments
        assert segment.extradata() == b"\0head"
        assert segment.times() == [90, 2**40, -7]
        assert list(segment.packets()) == [
            StoredPacket(pts, 40, not index, data) for index, (pts, data) in enumerate(written)
        ]
        assert segment.is_whole()
        assert (segment.record.frames, segment.record.first_pts, segment.record.last_pts) == (3, -7, 2**40)


def test_the_next_run_goes_on(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert (work.segments, work.frames, work.resume_pts) == ((), 0, None)
        finish(work, 0, 80, 40)
        finish(work, 120)
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert times_of(work) == [[0, 80, 40], [120]]
        assert (work.frames, work.resume_pts) == (4, 121)
        finish(work, 160)
        assert times_of(work) == [[0, 80, 40], [120], [160]]
        work.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0)
        before = sorted(path.name for path in work.segments[0].path.parent.iterdir())
        for error in (KeyboardInterrupt, ValueError):
            with pytest.raises(error):
                fail(work, error)
        assert sorted(path.name for path in work.segments[0].path.parent.iterdir()) == before
        assert times_of(work) == [[0]]


def test_an_empty_segment_is_refused(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        with pytest.raises(ValueError, match="no packets"), work.segment(b""):
            pass
        assert work.segments == ()


@pytest.mark.parametrize("damage", ["cut", "longer", "changed", "gone"])
def test_damage_is_done_again_from_there(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        for time in (0, 40, 80):
            finish(work, time)
        path = work.segments[1].path
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[-1] ^= 1
        path.write_bytes({"cut": data[:-1], "longer": data + b"x", "changed": data}[damage])
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert times_of(work) == [[0]]
        assert work.resume_pts == 1
        finish(work, 41)
        assert times_of(work) == [[0], [41]]
    assert "000001.seg is damaged or missing" in caplog.text
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert times_of(work) == [[0], [41]]


def test_other_options_start_anew_and_destroy_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0)
    with caplog.at_level(logging.WARNING), WorkFolder(tmp_path / "a.mkv", {**IDENTITY, "crf": "18"}) as work:
        assert work.segments == ()
        finish(work, 5)
    assert "because crf is 18, was 16; its 1 segments are kept" in caplog.text
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert times_of(work) == [[0]]
    with WorkFolder(tmp_path / "a.mkv", IDENTITY, restart=True) as work:
        assert work.segments == ()
        assert len([path for path in parts_path(tmp_path / "a.mkv").iterdir() if path.is_dir()]) == 1


def test_a_damaged_state_starts_anew(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0)
        folder = work.segments[0].path.parent
    (folder / STATE).write_text("{")
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert work.segments == ()
        finish(work, 7)
        assert times_of(work) == [[7]]


def test_what_a_kill_leaves_is_swept_up(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0)
        folder = work.segments[0].path.parent
    for junk in (folder / ".000001.abc.seg", parts_path(tmp_path / "a.mkv") / ".finished.xyz.mkv"):
        junk.write_bytes(b"half")
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        assert times_of(work) == [[0]]
    files = sorted(path.name for path in parts_path(tmp_path / "a.mkv").rglob("*") if path.is_file())
    assert files == ["000000.seg", "lock", STATE]


def test_a_segment_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0, 40)
        segment = work.segments[0]
        segment.path.write_bytes(segment.path.read_bytes()[:-1])
        with pytest.raises(VideoFileError, match="ends early"):
            list(segment.packets())


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        for identity in (IDENTITY, {"crf": "3"}):
            with pytest.raises(VideoFileError, match=r"another run is writing .*a\.mkv"):
                WorkFolder(tmp_path / "a.mkv", identity)
        with WorkFolder(tmp_path / "b.mkv", IDENTITY):
            finish(work, 0)
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        work.remove()
        with WorkFolder(tmp_path / "a.mkv", IDENTITY) as next_work:  # its lock is another file
            assert next_work.segments == ()


def test_descriptors_are_closed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
            with pytest.raises(VideoFileError):
                WorkFolder(tmp_path / "a.mkv", IDENTITY)
            finish(work, work.resume_pts or 0)
            assert list(work.segments[0].packets())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["a" * 251 + ".mkv", "\U0001f3ac" * 62 + ".mkv", "a\nb \u00e4.mkv", ".mkv"])
def test_any_name(tmp_path: Path, name: str) -> None:
    with WorkFolder(tmp_path / name, IDENTITY) as work:
        finish(work, 0)
    with WorkFolder(tmp_path / name, IDENTITY) as work:
        assert work.frames == 1
    assert parts_path(tmp_path / name).name.startswith(".")
    assert parts_path(tmp_path / ("a" * 251 + ".mkv")) != parts_path(tmp_path / ("a" * 251 + ".mp4"))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepsrError, match="cannot write"):
        WorkFolder(tmp_path / "file" / "a.mkv", IDENTITY)


def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").mkdir()
    with pytest.raises(RepsrError, match=r"a\.mkv: Is a directory; choose another output"):
        WorkFolder(tmp_path / "a.mkv", IDENTITY)
    with pytest.raises(RepsrError, match=r"\.mkv: File name too long; choose another output"):
        WorkFolder(tmp_path / ("a" * 252 + ".mkv"), IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_file_that_is_no_segment(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "a.mkv", IDENTITY) as work:
        finish(work, 0)
        record = work.segments[0].record
    (tmp_path / "x").write_bytes(b"something else entirely")
    with pytest.raises(VideoFileError, match="no segment"):
        Segment(tmp_path / "x", record).times()


RUN = """
import sys, os, signal
from pathlib import Path
from tests.video import other_streams
from repsr_deploy.video.encoder import Encoder
from repsr_deploy.video.segments import WorkFolder
from repsr_deploy.video.state import file_identity

source, target, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
encode, count = Encoder.encode, 0

def counted(self, frame):
    global count
    count += 1
    if count > limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, frame)

Encoder.encode = counted
output = other_streams.plan_for(source, target)
with WorkFolder(target, {**file_identity(source), **output.identity()}) as work:
    other_streams.encode_film(work, source, output)
"""


def test_a_killed_run_goes_on_and_has_every_frame_once(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", frames=17, audio=True)
    target = tmp_path / "b.mp4"
    killed = subprocess.run(
        [sys.executable, "-c", RUN, str(source), str(target), "13"], check=False, cwd=Path(__file__).parents[2]
    )
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    output = plan_for(source, target)
    with WorkFolder(target, {**file_identity(source), **output.identity()}) as work:
        assert [segment.record.frames for segment in work.segments] == [5, 5]
        kept = [segment.path.stat().st_mtime_ns for segment in work.segments]
        original = encode_film(work, source, output)
        assert [segment.record.frames for segment in work.segments] == [5, 5, 5, 2]
        assert [segment.path.stat().st_mtime_ns for segment in work.segments[:2]] == kept
        join(work.segments, output, target, original)
        work.remove()
    assert shown_times(target) == source_times(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


FULL = """
import resource, signal, sys
from pathlib import Path
import av
from repsr_deploy.errors import RepsrError
from repsr_deploy.video.segments import WorkFolder

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with WorkFolder(Path(sys.argv[1]), {"a": "b"}) as work:
    for number in range(3):
        packet = av.Packet(bytes(1000 + 100000 * (number == 2)))
        packet.pts = number
        if number == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
        try:
            with work.segment(b"") as writer:
                writer.write([packet])
        except RepsrError as error:
            print(number, error)
    print(work.frames, len(list(work.segments[0].path.parent.iterdir())))
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    done = subprocess.run([sys.executable, "-c", FULL, str(target)], check=True, capture_output=True, text=True)
    failure, counts = done.stdout.splitlines()
    assert failure.startswith("2 cannot write")
    assert counts == "2 3"  # two segments and the state
    with WorkFolder(target, {"a": "b"}) as work:
        assert times_of(work) == [[0], [1]]
