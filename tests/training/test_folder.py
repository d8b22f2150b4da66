"""What is refused about the folder of a run before any work."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.nets.network import build
from repsr_train.folder import check_folder, check_space
from repsr_train.recipes import recipe


def test_a_disk_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(recipe("plain-m4c64-x2").network)
    check_space(tmp_path, net)

    def nearly_full(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=3_000_000)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(RepsrError, match="has 3 MB free; states and checkpoints of Plain-M4C64 need 9 MB; make space"):
        check_space(tmp_path, net)


def test_folders_hold_a_run_or_none(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", resume=False)
    assert (tmp_path / "new").is_dir()
    with pytest.raises(UsageError, match=r"nothing to resume in .*: no run\.json and state\.safetensors there"):
        check_folder(tmp_path / "new", resume=True)
    (tmp_path / "new" / "run.json").touch()
    (tmp_path / "new" / "state.previous.safetensors").touch()
    check_folder(tmp_path / "new", resume=True)
    with pytest.raises(UsageError, match="already holds a training run"):
        check_folder(tmp_path / "new", resume=False)
    with pytest.raises(RepsrError, match="cannot write /dev/null/run"):
        check_folder(Path("/dev/null/run"), resume=False)
