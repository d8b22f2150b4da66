"""What every command line shares: errors as one line on stderr with an exit code, log lines on stderr."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence

import typer

from repsr_deploy.cli.printable import printable
from repsr_deploy.errors import RepsrError

INTERRUPTED = 130
LOGGERS = ("repsr_deploy", "repsr_serve")
EXTRAS = {
    **dict.fromkeys(("torch", "onnx_ir", "safetensors", "skimage", "yaml", "tensorboard"), "train"),
    **dict.fromkeys(("onnx", "onnxruntime"), "cpu"),
    "matplotlib": "bench",
    "openvino": "openvino",
    "av": "video",
    "pyvips": "large",
    **dict.fromkeys(("ray", "pyarrow", "fsspec"), "cluster"),
    "sklearn": "analysis",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings"), "serve"),
    **dict.fromkeys(("prometheus_client", "python_multipart"), "serve"),
}
"""Optional package -> the extra of this project that brings it."""


def run(app: typer.Typer, name: str, args: Sequence[str] | None = None) -> int:
    """Run the command `name` and return its exit code; `args` defaults to the process's own.

    0: done (or the code that the command returns). 1: work failed. 2: bad usage. 130: interrupted. A user's mistake
    prints `name: error: message` as one line on stderr; any other exception is a defect and passes through.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    log_to_stderr(name, logging.WARNING)
    try:
        code = app(args=args, prog_name=name, standalone_mode=False)
    except RepsrError as error:
        print_error(name, str(error))
        return error.exit_code
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        print_error(name, f"{message[:1].lower()}{message[1:]}; see `{name} --help`")
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        print_error(
            name, f"needs the package {package}, which is not installed; `pip install repsr-deploy[{EXTRAS[package]}]`"
        )
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    finally:
        _stop_logging()
    if code == INTERRUPTED:
        print_error(name, "interrupted")
    return code if isinstance(code, int) else 0


def print_error(name: str, message: str) -> None:
    """Print `name: error: message` as one line on stderr, whatever line breaks or control characters it holds."""
    print(f"{name}: error: {printable(' '.join(message.split()))}", file=sys.stderr)  # noqa: T201


def log_to_stderr(name: str, level: int) -> None:
    """Show log records of this project from `level` on as `name: level: message` lines on stderr."""
    _stop_logging()
    for logger in map(logging.getLogger, LOGGERS):
        logger.addHandler(_StderrHandler(name))
        logger.setLevel(level)


def _stop_logging() -> None:
    """Leave the loggers as they were: a program that calls a command may show log records in its own way."""
    for logger in map(logging.getLogger, LOGGERS):
        for handler in [*logger.handlers]:
            if isinstance(handler, _StderrHandler):
                logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


class _StderrHandler(logging.Handler):
    """Looks `sys.stderr` up for every record, so that a progress bar that redirects it keeps its line."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{self._command}: {record.levelname.lower()}: {printable(record.getMessage())}", file=sys.stderr)  # noqa: T201
