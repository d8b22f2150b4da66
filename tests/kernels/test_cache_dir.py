"""Where the cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_kernels.cache_dir import cache_dir


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REPSR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_users_cache_folder(tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / ".cache" / "repsr-deploy"
    assert cache_dir("engines", "x.engine") == tmp_path / ".cache" / "repsr-deploy" / "engines" / "x.engine"
    assert list(tmp_path.iterdir()) == []


def test_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_dir("a") == Path("/elsewhere/repsr-deploy/a")
    for useless in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", useless)
        assert cache_dir() == tmp_path / ".cache" / "repsr-deploy"


def test_our_own_variable_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("REPSR_CACHE", "/own")
    assert cache_dir("a", "b") == Path("/own/a/b")
    monkeypatch.setenv("REPSR_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.setenv("REPSR_CACHE", "here")
    assert cache_dir() == Path.cwd() / "here"
