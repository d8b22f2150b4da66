"""Compilers that are programs: asked who they are, run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from repsr_kernels.cpu import build
from repsr_kernels.errors import RuntimeUnavailableError

TIME_LIMIT_S = build.TIME_LIMIT_S


class CompileError(RuntimeUnavailableError):
    """A compiler refused a text, or cannot be started. The notes have all that it said."""


def run(command: Sequence[str]) -> str:
    """What a compiler says, on both outputs.

    Raises:
        CompileError: it fails, cannot be started, or takes longer than `TIME_LIMIT_S`.
    """
    try:
        return build.run(command, time_limit_s=TIME_LIMIT_S)
    except build.BuildError as error:
        raise compile_error(error) from error


def compile_error(error: build.BuildError) -> CompileError:
    """The same, for users."""
    told = CompileError(str(error))
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


def refusal(compiler: str, said: str, otherwise: str) -> CompileError:
    """The error of a compiler: its first line about one, with everything it said as a note."""
    error = CompileError(f"{compiler} failed: {build.first_error(said) or otherwise}")
    error.add_note(said)
    return error


@cache
def answer(*command: str) -> str:
    """What a program says, asked once; as `run`."""
    return run(command)
