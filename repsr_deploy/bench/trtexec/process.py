"""A program in a process group of its own: its lines as they come, and no process left behind whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import RepsrError, RuntimeUnavailableError

STOP_GRACE_S = 5.0
"""Between asking the processes to end and ending them."""


@dataclass(frozen=True)
class Finished:
    """What a program did."""

    code: int
    """Its exit code; -N where signal N ended it."""
    lines: tuple[str, ...]
    """Standard output and standard error, in the order in which they came."""


def run_program(
    command: Sequence[str], *, folder: Path, on_line: Callable[[str], None], timeout_s: float | None = None
) -> Finished:
    """Run `command` in `folder` to its end, calling `on_line` with each line.

    An exception that `on_line` or the user's Ctrl-C raises ends the program and those that it started, and goes on.

    Raises:
        RuntimeUnavailableError: the program cannot be started.
        RepsrError: it took longer than `timeout_s`.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise RuntimeUnavailableError(
            f"cannot start {command[0]} ({error.strerror or error}); expected a program for this machine"
        ) from error
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _stop(process)

    watch = threading.Timer(timeout_s, expire) if timeout_s is not None else None
    lines: list[str] = []
    with process:
        try:
            if watch is not None:
                watch.daemon = True
                watch.start()
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                on_line(lines[-1])
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            if watch is not None:
                watch.cancel()
    if expired.is_set():
        raise RepsrError(
            f"{Path(command[0]).name} was stopped after its timeout of {timeout_s:g} s; its last words: "
            f"{next((line for line in reversed(lines) if line), 'none')}; allow it more time, or take smaller shapes"
        )
    return Finished(code, tuple(lines))


def _stop(process: subprocess.Popen[str]) -> None:
    """End the whole group, politely at first."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(STOP_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
