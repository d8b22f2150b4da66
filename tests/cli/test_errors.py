"""Every way a command can end: the exit code, and what stderr says about it."""

from __future__ import annotations

import logging

import pytest
import typer

from repsr_deploy.cli.errors import run
from repsr_deploy.errors import ImageFileError, UsageError


def _app(ending: BaseException | int | None) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(count: int = 0) -> int | None:  # pyright: ignore[reportUnusedFunction]
        logging.getLogger("repsr_deploy.test").warning("count is %d", count)
        if isinstance(ending, BaseException):
            raise ending
        return ending

    return app


@pytest.mark.parametrize(
    ("ending", "code", "line"),
    [
        (None, 0, ""),
        (1, 1, ""),
        (ImageFileError("cannot read a.png:\nempty"), 1, "tool: error: cannot read a.png: empty\n"),
        (UsageError("tile is 3"), 2, "tool: error: tile is 3\n"),
        (
            ModuleNotFoundError("No module named 'torch._C'", name="torch._C"),
            1,
            "tool: error: needs the package torch, which is not installed; `pip install repsr-deploy[train]`\n",
        ),
        (KeyboardInterrupt(), 130, "tool: error: interrupted\n"),
        (typer.Abort(), 130, "tool: error: interrupted\n"),
    ],
)
def test_ending(ending: BaseException | int | None, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_app(ending), "tool", []) == code
    assert capsys.readouterr().err == "tool: warning: count is 0\n" + line


@pytest.mark.parametrize("args", [["--count", "many"], ["--cuont", "1"], ["stray"]])
def test_bad_usage_is_one_line_and_exit_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_app(None), "tool", args) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tool: error: ")
    assert captured.err.endswith("; see `tool --help`\n")
    assert captured.err.count("\n") == 1


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_app(None), "tool", ["--help"]) == 0
    assert "--count" in capsys.readouterr().out


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(_app(ZeroDivisionError()), "tool", [])
    with pytest.raises(ModuleNotFoundError):
        run(_app(ModuleNotFoundError("No module named 'tpyer'", name="tpyer")), "tool", [])


def test_nothing_is_left_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    run(_app(None), "tool", [])
    capsys.readouterr()
    logging.getLogger("repsr_deploy").warning("later")
    assert "tool" not in capsys.readouterr().err
