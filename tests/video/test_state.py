from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from repsr_deploy.errors import RepsrError
from repsr_deploy.video.state import (
    STATE,
    SegmentRecord,
    State,
    differences,
    file_identity,
    key_of,
    read_state,
    sample_places,
    write_state,
)  # fmt: skip

RECORD = SegmentRecord(name="000000.seg", frames=3, first_pts=-4, last_pts=90, size=123, sha256="ab")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = State(identity={"input": "\u6f22.mkv", "crf": "16"}, segments=(RECORD,))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"version": 1}', '{"version": 1, "identity": {}, "segments": [{}]}']
)
def test_a_damaged_state_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE).write_text(text)
    assert read_state(tmp_path) is None


def test_a_state_of_another_version_is_none(tmp_path: Path) -> None:
    write_state(tmp_path, State(identity={}))
    content = json.loads((tmp_path / STATE).read_text())
    (tmp_path / STATE).write_text(json.dumps({**content, "version": content["version"] + 1}))
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "nothing") is None


def test_differences_are_named() -> None:
    before, now = {"crf": "16", "model": "a", "old": "x"}, {"crf": "18", "model": "a", "new": "y"}
    assert differences(before, now) == ["crf is 18, was 16", "old is not given, was x", "new is y, was not given"]
    assert differences(now, dict(now)) == []


def test_keys_are_of_the_content() -> None:
    assert key_of({"a": "1", "b": "2"}) == key_of({"b": "2", "a": "1"})
    keys = {key_of(identity) for identity in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {}, {"a": "1", "b": ""})}
    assert len(keys) == 5


def test_a_file_is_known_by_its_content_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    data = bytearray(os.urandom(20 << 20))
    path.write_bytes(data)
    os.utime(path, ns=(1, 1000))
    known = file_identity(path)
    assert file_identity(path) == known
    for place in (0, len(data) - 1, sample_places(len(data))[7] + 5):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        os.utime(path, ns=(1, 1000))
        assert differences(known, file_identity(path))[0].startswith("input content")
    path.write_bytes(data)
    os.utime(path, ns=(1, 2000))
    assert [text[:10] for text in differences(known, file_identity(path))] == ["input time"]
    path.write_bytes(data[:-1])
    os.utime(path, ns=(1, 1000))
    assert differences(known, file_identity(path))[0].startswith("input size")


def test_small_files_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    data = bytearray(700_001)
    for place in range(0, len(data), 99_991):
        changed = bytearray(data)
        changed[place] = 1
        path.write_bytes(data)
        known = file_identity(path)["input content"]
        path.write_bytes(changed)
        assert file_identity(path)["input content"] != known
    path.write_bytes(b"")
    assert file_identity(path)["input size"] == "0 bytes"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepsrError, match="cannot write"):
        write_state(tmp_path / "file" / "folder", State(identity={}))
