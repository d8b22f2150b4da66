"""Keys, and who is let in."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import pytest

from repsr_deploy.errors import RepsrError
from repsr_serve.http.auth import Keys

KEY, OTHER = secrets.token_hex(16), secrets.token_hex(16)


def key_file(folder: Path, text: str) -> Path:
    """A file that only its owner reads."""
    path = folder / "keys"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_keys_are_one_a_line(tmp_path: Path) -> None:
    keys = Keys(key_file(tmp_path, f"# of the team\n\n  {KEY}  \r\n{OTHER}"))
    assert keys.accepts(KEY.encode())
    assert keys.accepts(OTHER.encode())
    for wrong in (b"", KEY[:-1].encode(), f"{KEY}x".encode(), b"# of the team", KEY.upper().encode() + b"\xff"):
        assert not keys.accepts(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no key"), ("# none\n\n", "no key"), (f"{KEY}\nshort\n", "line 2 has 5 characters; expected 16 or more")],
)
def test_a_file_that_cannot_be_used_is_an_error_without_its_content(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RepsrError, match=said) as caught:
        Keys(key_file(tmp_path, text))
    assert KEY not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match="No such file"):
        Keys(tmp_path / "missing")
    with pytest.raises(RepsrError, match="Is a directory"):
        Keys(tmp_path)


def test_a_file_that_others_can_read_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = key_file(tmp_path, KEY)
    Keys(path)
    assert caplog.text == ""
    path.chmod(0o644)
    Keys(path)
    assert "chmod o-r" in caplog.text
    assert KEY not in caplog.text


def test_keys_can_be_exchanged_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys(path := key_file(tmp_path, KEY))
    path.write_text(f"{OTHER}\n")
    assert not keys.accepts(KEY.encode())
    assert keys.accepts(OTHER.encode())
    with caplog.at_level(logging.ERROR):
        for spoil in (lambda: path.write_text("half"), path.unlink):
            spoil()
            for _ in range(3):
                assert keys.accepts(OTHER.encode())
    assert len(caplog.records) <= 3
    assert "stay as they were" in caplog.text
    path.write_text(KEY)
    path.chmod(0o600)
    assert keys.accepts(KEY.encode())
    assert not keys.accepts(OTHER.encode())
