"""`repsr-train study`: what is wrong with a command line is said before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.cli.errors import run
from repsr_train.cli_study import app


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["nonsense"], "unknown study 'nonsense'; expected one of blocks, weight-norm, adadm, dropout"),
        (["blocks", "--seeds", "0,x"], "--seeds is '0,x'; expected whole numbers such as 0,1,2"),
        (["blocks", "--seeds", "0,0"], "seeds (0, 0); expected"),
        (["blocks", "--test", "missing=Set5"], "no pictures in missing"),
        (["blocks", "--set", "bach=4"], "unknown key 'bach'"),
    ],
)
def test_mistakes_are_one_line(
    change: list[str], message: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data", str(photographs), "--test", f"{photographs}=Three", "--out", str(tmp_path / "out")]
    assert run(app, "repsr-train study", [*change, *common]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_help_lists_the_studies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "repsr-train study", ["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in ("blocks", "weight-norm", "adadm", "dropout"):
        assert name in text
