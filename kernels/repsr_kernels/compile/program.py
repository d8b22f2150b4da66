"""Compilers that are programs: found, asked who they are, run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import cache

from repsr_kernels.errors import RuntimeUnavailableError

TIME_LIMIT_S = 600


class CompileError(RuntimeUnavailableError):
    """A compiler refused a text, or cannot be started. The notes have all that it said."""


def run(command: Sequence[str]) -> str:
    """What a compiler says, on both outputs.

    Raises:
        CompileError: it fails, cannot be started, or takes longer than `TIME_LIMIT_S`.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CompileError(f"cannot start {command[0]}: {error.strerror}") from error
    with process:
        try:
            said, _ = process.communicate(timeout=TIME_LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # what does the work are children of the compiler's
            if isinstance(error, subprocess.TimeoutExpired):
                raise CompileError(f"{command[0]} took longer than {TIME_LIMIT_S} s; stopped") from error
            raise
    if process.returncode:
        raise refusal(command[0], said, f"exit code {process.returncode}")
    return said


def refusal(compiler: str, said: str, otherwise: str) -> CompileError:
    """The error of a compiler: its first line about one, with everything it said as a note."""
    lines = [line.strip() for line in said.splitlines()]
    first = next((line for line in lines if "error" in line or "fatal" in line), otherwise)
    error = CompileError(f"{compiler} failed: {first}")
    error.add_note(said)
    return error


@cache
def answer(*command: str) -> str:
    """What a program says, asked once; as `run`."""
    return run(command)
