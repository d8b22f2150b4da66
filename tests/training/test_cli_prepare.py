"""`repsr-train prepare`, run as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repsr_deploy.cli.errors import run
from repsr_deploy.imaging.image_file import write_image
from repsr_train.cli_prepare import app
from repsr_train.data.manifest import read_manifest
from tests.training.data.scenes import scene, write_mixed


def prepare(*arguments: object) -> int:
    return run(app, "prepare", [str(argument) for argument in arguments])


def test_a_store_is_made_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mixed(tmp_path)
    folders = (tmp_path / "mine", tmp_path / "other")
    out = tmp_path / "store"
    options = ("--out", out, "--scale", 3, "--reduction", 4, "--licence", "CC0", "--licence", "own", "--workers", 1)
    assert prepare(*folders, *options, "--min-side", 80) == 0
    said = capsys.readouterr().err
    manifest = read_manifest(out)
    assert manifest.settings.scales == (3,)
    assert manifest.settings.reduction == 4
    assert manifest.settings.licences == ("CC0", "own")
    for name in (*(file.name for file in manifest.rejected), *(file.name for file in manifest.duplicates)):
        assert name in said
    assert f"{len(manifest.images)} photographs" in said
    assert f"{len(manifest.rejected)} files rejected, {len(manifest.duplicates)} copies dropped" in said
    assert prepare(*folders, *options, "--min-side", 80) == 0
    assert "finished already, and whole" in capsys.readouterr().err


def test_copies_are_kept_when_asked(tmp_path: Path) -> None:
    write_mixed(tmp_path)
    assert prepare(tmp_path / "other", "--out", tmp_path / "store", "--keep-duplicates") == 0
    assert len(read_manifest(tmp_path / "store").images) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing", "--out", "{tmp}/store"], "no folder missing"),
        (["{tmp}", "--out", "{tmp}/store"], "no photographs in {tmp}"),
        (["{tmp}", "--out", "{tmp}/store", "--reduction", "much"], "reduction is 'much'; expected auto or 1 to 8"),
        (["{tmp}", "--out", "{tmp}/store", "--reduction", "0"], "reduction is 0"),
        (["{tmp}"], "missing option '--out'"),
    ],
)
def test_a_bad_request_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(*(argument.format(tmp=tmp_path) for argument in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prepare: error: ")
    assert message.format(tmp=tmp_path) in line


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    for seed in range(16):
        write_image(tmp_path / "in" / f"{seed:02}.png", scene(seed, 300, 400))
    out = tmp_path / "store"
    code = "import sys; from repsr_deploy.cli.errors import run; from repsr_train.cli_prepare import app; "
    code += "sys.exit(run(app, 'prepare'))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "in", "--out", out, "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    journal = out / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130, message
    assert message == f"prepare: error: stopped; what is done is kept in {out}, and the same command continues it\n"
    assert prepare(tmp_path / "in", "--out", out) == 0
    assert len(read_manifest(out).images) == 16
