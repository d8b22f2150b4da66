"""The command: its help, its mistakes, its line."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from repsr_serve.cli import main, read_settings
from repsr_serve.settings import Settings
from tests.serve.conftest import Served


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """Exit code, and the one line on stderr."""
    code = main(args)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("repsr-serve: error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return code, err.removeprefix("repsr-serve: error: ")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--max-pixels", "abc"], "--max-pixels is 'abc'; expected a valid integer"),
        (["--port", "70000"], "--port is '70000'; expected less than or equal to 65535"),
        (["--precision", "int4"], "--precision is 'int4'; expected 'fp32', 'fp16', 'bf16' or 'int8'"),
        (
            ["--timeout", "0", "--queue=-1"],
            "--queue is '-1'; expected greater than or equal to 1; --timeout is '0'; expected greater",
        ),
        (["--grace", "inf"], "--grace is 'inf'; expected a finite number"),
        (["--model", ""], "--model is ''"),
        (["--max-pixel", "5"], "no such option: --max-pixel"),
        (["photo-x2"], "unexpected extra argument"),
        (["--port"], "'--port' requires an argument"),
    ],
)
def test_wrong_flags_are_named(capsys: pytest.CaptureFixture[str], args: list[str], text: str) -> None:
    code, message = said(capsys, *args)
    assert code == 2
    assert text in message


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("REPSR_SERVE_MAX_PIXELS", "abc", "REPSR_SERVE_MAX_PIXELS (--max-pixels) is 'abc'; expected a valid integer"),
        ("REPSR_SERVE_PORT", "tcp://10.0.0.1:80", "REPSR_SERVE_PORT (--port) is 'tcp://10.0.0.1:80'"),
        ("REPSR_SERVE_MODEL", "photo-x2,", "REPSR_SERVE_MODEL (--model) is ''"),
        ("REPSR_SERVE_MAX_PIXEL", "5", "REPSR_SERVE_MAX_PIXEL is no setting; did you mean REPSR_SERVE_MAX_PIXELS?"),
        ("REPSR_SERVE_XYZ", "5", "REPSR_SERVE_XYZ is no setting"),
    ],
)
def test_wrong_variables_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, text: str
) -> None:
    monkeypatch.setenv(variable, value)
    code, message = said(capsys)
    assert code == 2
    assert text in message


def test_a_flag_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSR_SERVE_MODEL", "photo-x4, my.onnx")
    monkeypatch.setenv("REPSR_SERVE_QUEUE", "7")
    monkeypatch.setenv("REPSR_SERVE_JOBS", "false")
    settings = read_settings({"queue": "9"})
    assert settings.model == ("photo-x4", "my.onnx")
    assert (settings.queue, settings.jobs, settings.port) == (9, False, 8000)
    assert read_settings({"model": ["photo-x2"]}).model == ("photo-x2",)


def test_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    for wanted in ("[default: 127.0.0.1]", "fp32|fp16|bf16|int8", "--jobs / --no-jobs", "PATH", "curl"):
        assert wanted in text
    assert "default_factory" not in text
    assert not re.search(r"lambda|None|Annotated", text)


def test_work_that_cannot_begin_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "data"), "--port", "0"]
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for args, code, text in (
        (["--model", "photo-x3"], 2, "photo-x3"),
        (["--model", str(tmp_path / "broken.onnx")], 1, "broken.onnx"),
        (["--runtime", "abacus"], 2, "abacus"),
        (["--api-key-file", str(tmp_path / "none")], 1, "No such file"),
        (["--memory", "1000"], 2, "memory"),
        (["--host", "203.0.113.7"], 1, "cannot listen on 203.0.113.7"),
        (["--host", "no such host"], 1, "cannot listen on no such host"),
    ):
        found, message = said(capsys, *data, *args)
        assert (found, text in message) == (code, True), message


def test_a_port_in_use_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, message = said(capsys, "--port", port, "--data-dir", str(tmp_path))
    assert code == 1
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in message


@pytest.mark.parametrize(
    "package", ["pydantic_settings", "fastapi", "uvicorn", "prometheus_client", "python_multipart"]
)
def test_a_missing_package_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("repsr_serve", package)]:
        if name != "repsr_serve.cli":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    code, message = said(capsys)
    assert code == 1
    assert message == f"needs the package {package}, which is not installed; `pip install repsr-deploy[serve]`\n"


def test_its_line_says_where_and_what(server: Served) -> None:
    assert re.fullmatch(
        r"repsr-serve: http://127\.0\.0\.1:\d+ serves photo-x2 \(onnxruntime\), photo-x4 \(onnxruntime\)\n", server.line
    )
