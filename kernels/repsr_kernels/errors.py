"""Errors that a user can act on, as far down as they occur. `repsr_deploy.errors` has those of the other stages."""

from __future__ import annotations


class RepsrError(Exception):
    """Work failed: says what happened, the offending value, what was expected and what to do. Exit code 1."""

    exit_code = 1


class UsageError(RepsrError):
    """The request itself is wrong (an impossible scale, an unknown name). Exit code 2."""

    exit_code = 2


class RuntimeUnavailableError(RepsrError):
    """A runtime, a compiler or a device cannot be used here: says why, and what to install."""


class ModelFileError(RepsrError):
    """A file is no model, or a model of another kind than the one asked for."""


class NotPlainError(RuntimeUnavailableError):
    """A model is no plain network: the processor engine cannot run it, other runtimes can. Names the node."""
