"""`repsr-upscale --ray`: what is refused before anything starts. What it does is in tests/cluster."""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from repsr_deploy.cli.upscale import main
from tests.cluster.work import write_picture


@pytest.fixture
def address() -> Generator[str]:
    """Something listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    """(exit code, what is said)."""
    code = main([*map(str, args)])
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return code, said.err


def test_videos_are_refused(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    write_picture(tmp_path / "a.png", 1)
    code, said = refusal(capsys, tmp_path, "-o", f"{tmp_path}/out/", "--ray", address)
    assert code == 2
    assert f"{tmp_path}/clip.mp4 is a video; a cluster takes pictures alone" in said


def test_inputs_survive(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = write_picture(tmp_path / "a.png", 1)
    before = picture.read_bytes()
    code, said = refusal(capsys, picture, "-o", picture, "--ray", address)
    assert (code, "is the input" in said) == (2, True)
    code, said = refusal(capsys, "memory://in/a.png", "-o", "memory://in/a.png", "--ray", address)
    assert (code, "memory://in/a.png is an input itself" in said) == (2, True)
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-m", "{tmp}/nothing.onnx"], "no model"),
        (["-m", "{tmp}/engine.xml"], "engine.xml; expected a bundled name or an .onnx file"),
        (["-o", "{tmp}/out.xyz"], "extension '.xyz'"),
    ],
)
def test_bad_usage(
    given: list[str], said: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "engine.xml").write_text("<net/>")
    picture = write_picture(tmp_path / "a.png", 1)
    options = [option.format(tmp=tmp_path) for option in given]
    code, text = refusal(capsys, picture, "-o", tmp_path / "out.png", *options, "--ray", address)
    assert (code, said in text) == (2, True), text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "engine.xml"]


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = write_picture(tmp_path / "a.png", 1)
    code, said = refusal(capsys, picture, "-o", tmp_path / "out.png", "--ray", "127.0.0.1:1")
    assert (code, "cannot reach a Ray cluster at 127.0.0.1:1" in said) == (1, True)
    code, said = refusal(capsys, picture, "-o", tmp_path / "out.png", "--ray", "nonsense")
    assert (code, "expected local, auto, HOST:PORT" in said) == (2, True)
